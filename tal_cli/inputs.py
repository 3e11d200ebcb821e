"""Resolves INPUT arguments to a list of files with unique names."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tal_cli import console
from tal_cli.extractors.errors import InputError, RemoteError, UsageError
from tal_cli.extractors.features.formats import is_feature_file
from tal_cli.extractors.files.json_files import UTF_16_MARKS
from tal_cli.extractors.files.remote import find_files, is_url, local_path, name_of
from tal_cli.safe_text import counted, printable

# Suffixes of every supported container (`FORMATS` of the PyAV decoder), as cameras and programs write them.
VIDEO_SUFFIXES = frozenset(
    """.264 .265 .360 .3g2 .3gp .asf .avc .avi .divx .dv .dvr-ms .f4v .flv .gif .h264 .h265 .hevc .insv .ismv .ivf .lrv
    .m1v .m2p .m2t .m2ts .m2v .m4v .mj2 .mjpeg .mjpg .mk3d .mkv .mod .mov .mp4 .mpe .mpeg .mpg .mpv .mqv .mts .mxf .nut
    .obu .ogm .ogv .qt .rm .rmvb .tod .tp .trp .ts .vc1 .vob .vro .webm .wmv .wtv .xvid .y4m""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Source:
    """One input file.

    Attributes:
        path: path of the file.
        name: unique among the sources of a run and printable: the file's stem, or a relative path (with forward slashes
            and no `..`) if stems clash.
        url: URL of a remote file; `path` is then only used to derive names.
    """

    path: Path
    name: str
    url: str | None = None

    @property
    def path_or_url(self) -> str:
        """Path or URL of the file."""
        return self.url or os.fspath(self.path)


@dataclass(frozen=True)
class Inputs:
    """The files to process, and errors of arguments that match no file."""

    sources: tuple[Source, ...]
    problems: tuple[InputError, ...]

    def shard(self, index: int, count: int) -> Inputs:
        """Every `count`-th source starting at `index` (from 0); problems belong to the first shard."""
        return Inputs(self.sources[index::count], self.problems if index == 0 else ())


@dataclass(frozen=True)
class _Found:
    path: Path
    folder: Path | None  # the folder argument in which the file was found, if any
    url: str | None = None


def gather(
    arguments: Sequence[str], *, null_separated: bool = False, stdin: BinaryIO | None = None, remote: bool = False
) -> Inputs:
    """Find the files given by command-line arguments.

    An argument is a file (with any suffix), a folder (searched recursively for video files), a glob pattern, or `-` for
    paths on standard input, one per line or, with `null_separated`, each ended by a NUL byte. With `remote`, arguments
    may be URLs that fsspec opens. Duplicates are dropped.

    Raises:
        UsageError: no argument at all.
        PackageMissing: a URL whose package is not installed.
    """
    if not arguments:
        raise UsageError(
            "no INPUT", "name video files, folders or glob patterns, or - to read paths from standard input"
        )
    found: dict[str, _Found] = {}
    problems: list[InputError] = []
    for argument in _expand_stdin(arguments, null_separated, stdin):
        try:
            for item in _find_remote(argument) if remote and is_url(argument) else _find(argument):
                found.setdefault(item.url or os.path.abspath(item.path), item)
        except InputError as problem:
            problems.append(problem)
    return Inputs(_name(list(found.values())), tuple(problems))


def _expand_stdin(arguments: Iterable[str], null_separated: bool, stdin: BinaryIO | None) -> Iterator[str]:
    for argument in arguments:
        if argument != "-":
            yield argument
            continue
        data = (stdin or sys.stdin.buffer).read().removeprefix(codecs.BOM_UTF8)
        if data.startswith(UTF_16_MARKS):  # a list as PowerShell writes it
            data = data.decode("utf-16", errors="replace").encode()
        lines = data.split(b"\0") if null_separated else data.splitlines()
        yield from (os.fsdecode(line) for line in lines if line)


def _find(argument: str) -> list[_Found]:
    if not argument:
        # An unset shell variable; Path("") would mean the current folder.
        raise InputError("''", "an empty path")
    path = local_path(argument)
    argument = os.fspath(path) if argument.startswith("file://") else argument
    try:
        if path.is_dir():
            return _search(path)
        if os.path.lexists(path):
            return [_Found(path, None)]
    except (OSError, ValueError) as error:
        raise InputError(argument, getattr(error, "strerror", None) or str(error)) from error
    if is_url(argument):
        raise InputError(argument, "URLs can only be read by `tal extract-features`")
    if not glob.has_magic(argument):
        raise InputError(argument, "no such file or folder")
    matches = sorted(glob.glob(argument, recursive=True))
    if not matches:
        raise InputError(argument, "no file matches this pattern")
    return [
        item
        for match in matches
        for item in (_search(Path(match), empty=True) if os.path.isdir(match) else _find(match))
    ]


def _find_remote(url: str) -> list[_Found]:
    """The remote file, the videos in a remote folder, or the files that match a pattern."""
    try:
        files = find_files(url)
    except RemoteError as error:
        raise InputError(url, error.reason) from None
    if not files:
        raise InputError(url, "no such file or folder, or nothing matches this pattern")
    whole = glob.has_magic(url) or (len(files) == 1 and name_of(files[0]) == name_of(url))
    folder = None if whole else _as_path(url)
    videos = [_Found(_as_path(file), folder, file) for file in files if whole or _is_video(name_of(file))]
    if not videos:
        raise InputError(url, "no video file in this folder")
    return videos


def _as_path(url: str) -> Path:
    return Path("/", url.partition("://")[2].strip("/"))


def _is_video(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def _search(folder: Path, empty: bool = False) -> list[_Found]:
    videos = find_videos(folder)
    features = sum(map(is_feature_file, walk(folder)))
    if features:
        there = counted(features, "feature file")
        console.note(f"{folder}: {there} ignored; to use them, name them: {folder / '*.npy'}")
    if not videos and not empty:
        raise InputError(folder, "no video file in this folder")
    return [_Found(path, folder) for path in videos]


def find_videos(folder: Path) -> list[Path]:
    """Video files in a folder and its subfolders, by their suffixes, without hidden files."""
    return [path for path in walk(folder) if _is_video(path.name)]


def walk(folder: Path) -> Iterator[Path]:
    """Files in a folder and its subfolders, in order. Hidden folders are skipped, links are followed, and no folder is
    searched twice."""
    searched: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        here = os.stat(parent)
        if (here.st_dev, here.st_ino) in searched:
            folders.clear()
            continue
        searched.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files))


def _name(found: Sequence[_Found]) -> tuple[Source, ...]:
    names = [item.path.stem for item in found]
    for rename in (_within_folder, _within_common_parent, _whole_path):
        clashing = defaultdict(list)
        for index, name in enumerate(names):
            clashing[printable(name)].append(index)
        for indices in clashing.values():
            if len(indices) > 1:
                for index, name in zip(indices, rename([found[index] for index in indices]), strict=True):
                    names[index] = name
    return tuple(Source(item.path, printable(name), item.url) for item, name in zip(found, names, strict=True))


def _within_folder(found: Sequence[_Found]) -> list[str]:
    common = _within_common_parent(found)
    return [
        item.path.relative_to(item.folder).as_posix() if item.folder is not None else name
        for item, name in zip(found, common, strict=True)
    ]


def _within_common_parent(found: Sequence[_Found]) -> list[str]:
    paths = [Path(os.path.abspath(item.path)) for item in found]
    parent = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(parent).as_posix() for path in paths]


def _whole_path(found: Sequence[_Found]) -> list[str]:
    paths = [Path(os.path.abspath(item.path)) for item in found]
    return [path.relative_to(path.anchor).as_posix() for path in paths]
