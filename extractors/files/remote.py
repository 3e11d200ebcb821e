"""Paths of this machine, and URLs of object stores and the like (`s3://bucket/videos`), read through fsspec.

Anything that begins with `SCHEME://` is a URL, except `file://`, which is a path. Videos from URLs are copied to this
machine before they are decoded, because FFmpeg opens local files only; results are written here and then copied in
one piece, so that no reader sees a partial file.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tal_cli.extractors.errors import InputError, PackageMissing, RemoteError
from tal_cli.extractors.files.atomic import naming, scratch_folder
from tal_cli.extractors.files.error_text import library_message

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Extras of tal-cli by the package they install.
EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")}
LARGEST_UNKNOWN = 64 << 30  # bytes of a file whose length its server does not state
LEAST_SPEED, MEASURED = 1000, 60.0  # bytes per second that a server must have sent after so many seconds
GLOB = re.compile(r"[*?\[]")


def is_url(path_or_url: str | os.PathLike[str]) -> bool:
    """Whether it is a URL and not a path of this machine."""
    return (
        isinstance(path_or_url, str)
        and URL.match(path_or_url) is not None
        and not path_or_url.lower().startswith("file://")
    )


def local_path(path_or_url: str | os.PathLike[str]) -> Path:
    """The path of a path or a `file://` URL; `file:///a%20b` is /a b."""
    if isinstance(path_or_url, str) and path_or_url.lower().startswith("file://"):
        return Path(unquote(urlsplit(path_or_url).path))
    return Path(path_or_url)


def join(path_or_url: str | os.PathLike[str], *names: str) -> str:
    """The path or URL of a file in a folder."""
    if is_url(path_or_url):
        return "/".join([str(path_or_url).rstrip("/"), *names])
    return os.path.join(local_path(path_or_url), *names)


def sibling(path_or_url: str, name: str) -> str:
    """The path or URL of another file in the same folder."""
    return (
        path_or_url.rpartition("/")[0] + "/" + name
        if is_url(path_or_url)
        else os.fspath(local_path(path_or_url).with_name(name))
    )


def name_of(path_or_url: str) -> str:
    """The last part: a file's name."""
    return path_or_url.rstrip("/").rpartition("/")[2] if is_url(path_or_url) else local_path(path_or_url).name


def find_files(url: str) -> list[str]:
    """The files of a URL, sorted: the file itself, all files in that folder and below, or all that match a pattern.

    Raises RemoteError, PackageMissing.
    """
    with remote(url) as (system, path):
        if GLOB.search(path):
            found = [name for name, info in system.glob(path, detail=True).items() if info["type"] == "file"]
        else:
            found = system.find(path)
        return sorted(str(system.unstrip_protocol(name)) for name in found)


def exists(path_or_url: str) -> bool:
    """Whether a file exists. Raises RemoteError, PackageMissing."""
    if not is_url(path_or_url):
        return local_path(path_or_url).is_file()
    with remote(path_or_url) as (system, path):
        return bool(system.isfile(path))


def read(path_or_url: str) -> bytes:
    """A small file's content. Raises RemoteError, PackageMissing."""
    if not is_url(path_or_url):
        try:
            return local_path(path_or_url).read_bytes()
        except OSError as error:
            raise RemoteError(path_or_url, error.strerror or str(error)) from None
    with remote(path_or_url) as (system, path):
        return bytes(system.cat_file(path))


def read_ends(path_or_url: str, most: int) -> tuple[int, bytes, bytes]:
    """A file's size, its first `most` bytes and its last ones. Raises RemoteError, PackageMissing."""
    if not is_url(path_or_url):
        try:
            with local_path(path_or_url).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                first = file.read(most)
                file.seek(max(0, size - most))
                return size, first, file.read(most)
        except OSError as error:
            raise RemoteError(path_or_url, error.strerror or str(error)) from None
    with remote(path_or_url) as (system, path):
        size = int(system.size(path))
        start = max(0, size - most)
        return (
            size,
            bytes(system.cat_file(path, start=0, end=min(most, size))),
            bytes(system.cat_file(path, start=start, end=size)),
        )


@contextmanager
def on_this_machine(path_or_url: str) -> Iterator[Path]:
    """Yields the path of a file, which is a temporary copy for a URL.

    Raises RemoteError, PackageMissing; InputError where there is no room for a copy.
    """
    if not is_url(path_or_url):
        yield local_path(path_or_url)
        return
    with scratch_folder() as folder:
        target = folder / (re.sub(r"[^\w.-]", "_", name_of(path_or_url))[-100:] or "file")
        with remote(path_or_url) as (system, path), system.open(path, "rb") as source, target.open("wb") as file:
            copied, started = 0, time.monotonic()
            stated = getattr(source, "size", None)
            most = LARGEST_UNKNOWN if stated is None else stated
            while piece := source.read(1 << 20):
                copied += len(piece)
                took = time.monotonic() - started
                if copied > most:
                    raise RemoteError(path_or_url, f"it is longer than {most} bytes, which is the most that it may be")
                if took > MEASURED and copied < LEAST_SPEED * took:
                    raise RemoteError(path_or_url, f"it comes at less than {LEAST_SPEED} bytes per second")
                with naming(target):
                    file.write(piece)
        yield target


def send(file: Path, url: str) -> None:
    """Copies a file of this machine to a URL, where it appears in one piece. Raises RemoteError, PackageMissing."""
    with remote(url) as (system, path):
        if system.protocol in ("sftp", "smb") or "local" in system.protocol:
            system.makedirs(system._parent(path), exist_ok=True)
        system.put_file(os.fspath(file), path)


def remove(path_or_url: str) -> None:
    """Removes a file, if it exists. Raises RemoteError, PackageMissing."""
    if not is_url(path_or_url):
        local_path(path_or_url).unlink(missing_ok=True)
        return
    with remote(path_or_url) as (system, path):
        if system.exists(path):
            system.rm_file(path)


@contextmanager
def remote(url: str) -> Iterator[tuple[Any, str]]:
    """The fsspec file system and path of a URL; errors in the block are raised as RemoteError."""
    scheme = url.partition("://")[0].lower()
    try:
        import fsspec
    except ImportError:
        raise PackageMissing(*EXTRAS.get(scheme, ("fsspec", "s3"))) from None
    try:
        system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
        yield system, path
    except ImportError as error:
        named = re.search(r"[Ii]nstall [\"'`]?([\w.-]+)", str(error))  # as fsspec does for every scheme that it knows
        if scheme not in EXTRAS and named is None:
            raise RemoteError(url, library_message(error)) from None
        raise PackageMissing(*EXTRAS.get(scheme, (named and named[1], None))) from None
    except (InputError, PackageMissing):
        raise
    except FileNotFoundError:
        raise RemoteError(url, "no such file") from None
    except FileExistsError:
        raise
    except Exception as error:  # every store has its own exceptions: no credentials, no bucket, no network
        raise RemoteError(url, library_message(error)) from None
