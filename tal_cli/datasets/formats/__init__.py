"""Readers of annotation files: one module per format.

A module has `NAME`, `recognises(head)`, which detects its files by their first characters, and `read(path, text, how)`,
which returns `Annotations`. Nothing in a file is executed, and no file is opened because another refers to it. A new
format is a module here and a line in `READERS`, or an entry point in the group `tal.annotation_formats`.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from tal_cli import console
from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.formats import activitynet, elan, epic, labelstudio, table, thumos
from tal_cli.datasets.formats.behaviour import (
    cvat,
    feral,
    fiftyone,
    frames,
    soccernet,
    solomon,
    textgrid,
    via,
    vtrace,
)
from tal_cli.datasets.formats.boris import project as boris_project
from tal_cli.datasets.formats.boris import tables as boris_tables
from tal_cli.datasets.formats.sheets import first_row
from tal_cli.datasets.formats.values import How, is_video
from tal_cli.extractors.errors import AnnotationError, PluginWarning
from tal_cli.extractors.files.error_text import library_message
from tal_cli.extractors.files.json_files import NotText, read_text
from tal_cli.extractors.plugins import Registry

FOLDER = "a folder, not an annotation file"
LONGEST, FASTEST = 1e10, 1e6  # seconds (BORIS may count from 1970), frames per second
HEAD = 1 << 16  # characters by which a format is detected, of JSON as many at the end


@runtime_checkable
class Reader(Protocol):
    """Interface of the modules of this package."""

    NAME: str

    def recognises(self, head: str) -> bool: ...

    def read(self, path: Path, text: str, how: How) -> Annotations: ...


# In order of precedence: tables come last, as they have no signature.
BUILT_IN: dict[str, Reader] = {
    "boris": boris_project,
    "boris-tables": boris_tables,
    "vtrace": vtrace,
    "feral": feral,
    "fiftyone": fiftyone,
    "soccernet": soccernet,
    "via": via,
    "cvat": cvat,
    "textgrid": textgrid,
    "activitynet": activitynet,
    "labelstudio": labelstudio,
    "elan": elan,
    "epic": epic,
    "thumos": thumos,
    "table": table,
    "frames": frames,
    "solomon": solomon,
}
READERS = Registry("tal.annotation_formats", Reader, BUILT_IN)


def load_annotations(path: str | Path, label_key: str = "label", fps: float | None = None) -> Annotations:
    """Read an annotation file of any format, gzipped or not.

    Args:
        path: the file.
        label_key: entry of an annotation that is its label; EPIC-KITCHENS has `verb`, `noun` and `action`.
        fps: frame rate of frame numbers, if the file does not contain it.

    Raises:
        AnnotationError: an unknown format, or invalid content; the reason names the video.
        InputError: the file cannot be read.
    """
    return read_annotations(path, How(label_key, fps))


def read_annotations(path: str | Path, how: How) -> Annotations:
    """`load_annotations` with all that a reader can be told."""
    if Path(path).is_dir():
        raise AnnotationError(path, FOLDER, files_of(Path(path)))
    try:
        text = read_text(path)
    except NotText as error:
        # Programs, and spreadsheets in between, write the code page of Windows; other tables are better not guessed.
        text = error.as_windows
        if not any(reader.recognises(text[:HEAD].lstrip()) for reader in (boris_tables, textgrid, solomon)):
            raise
        console.note(f"{path}: not UTF-8; read in the code page of Western Windows")
    head = text[:HEAD].lstrip()
    if not head.strip("\0"):  # a crash can leave a file's length, filled with zeros
        raise AnnotationError(path, "the file is empty")
    if head.startswith("{"):
        head += text[HEAD:][-HEAD:]  # keys of an object may come in any order
    found = reader_for(path, head).read(Path(path), text, how)
    _check_numbers(path, found)
    for names in look_alikes(found.labels):
        console.warn(f"{path}: similar labels: {', '.join(map(repr, names))}; are they the same?")
    return found


def _check_numbers(path: str | Path, annotations: Annotations) -> None:
    """Raise AnnotationError for times and rates that no video has, infinite ones among them."""
    for video in annotations.videos.values():
        times = [time for item in (*video.segments, *video.suggestions) for time in (item.start, item.end)]
        if wrong := next((time for time in (*times, video.duration) if abs(time) > LONGEST), None):
            raise AnnotationError(path, f"video {video.name}: {wrong:g} s is no time of a video")
        if (video.fps or 0.0) > FASTEST:
            raise AnnotationError(path, f"video {video.name}: {video.fps:g} frames per second is no rate of a video")


def files_of(folder: Path) -> str:
    """A hint that names the annotation files in a folder: those of its commonest suffix that is not a video's."""
    suffixes = Counter(file.suffix for file in folder.iterdir() if file.is_file() and not is_video(file.name))
    pattern = folder / f"*{max(suffixes, key=suffixes.__getitem__, default='')}"
    return f"name the files in it: `tal datasets convert {pattern} annotations.json` joins them to one"


def reader_for(path: str | Path, head: str) -> Reader:
    """The reader for a file's first characters.

    Raises:
        AnnotationError: an unknown format, or formats of two plug-in packages match.
    """
    readers = READERS.usable()
    # Plug-in formats first: the built-in readers accept any JSON and any table.
    added = [name for name in readers if name not in BUILT_IN and _recognises(name, readers[name], head)]
    if len(added) > 1:
        raise AnnotationError(path, f"several plug-in annotation formats match: {' and '.join(added)}")
    fitting = added or [name for name in BUILT_IN if name in readers and readers[name].recognises(head)]
    if not fitting:
        known = "; ".join(reader.NAME for reader in readers.values())
        columns = first_row(head)
        hint = f"a table needs the columns video, label, start, end; it has {', '.join(columns)}"[:200]
        reason = f"not an annotation file of any known format ({known})"
        raise AnnotationError(path, reason, hint if len(columns) > 1 else "")
    return readers[fitting[0]]


def _recognises(name: str, reader: Reader, head: str) -> bool:
    try:
        return bool(reader.recognises(head))
    except Exception as error:
        warnings.warn(f"left out: annotation format {name}: {library_message(error)}", PluginWarning, stacklevel=1)
        return False


def look_alikes(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only in case, spaces, hyphens, underscores or what cannot be seen."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        visible = "".join(c for c in unicodedata.normalize("NFKC", label) if unicodedata.category(c) != "Cf")
        groups.setdefault(re.sub(r"[\s_-]+", " ", visible).strip().casefold(), []).append(label)
    return [names for names in groups.values() if len(names) > 1]
