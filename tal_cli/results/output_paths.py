"""Output paths: file or folder, and checks that they can be written to."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from tal_cli import console
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.extractors.features.identity import VideoIdentity, identity_of

# The extended attribute of an output that names its video. File systems without such attributes know no origins.
ORIGIN = "user.tal.video"


def file_for(folder: Path, video: str, suffix: str) -> Path:
    """The file of a video's results inside a folder; names cannot escape the folder."""
    parts = [part for part in video.split("/") if part not in ("", "..", ".")]
    return folder.joinpath(*parts[:-1], f"{parts[-1] if parts else 'video'}{suffix}")


def is_folder(path: str) -> bool:
    """Whether an output path is a folder: an existing one, one with a trailing slash, or a new path without suffix."""
    return os.path.isdir(path) or path.endswith(("/", os.sep)) or (not os.path.lexists(path) and not Path(path).suffix)


def check_writable(path: Path) -> None:
    """Check before the work begins that the result can be written.

    Raises:
        UsageError: the place cannot be written to.
    """
    check_folder(path if path.is_dir() else path.parent)


def check_folder(folder: Path) -> None:
    """Check before the work begins that a folder, which may not exist yet, can be written to.

    Raises:
        UsageError: it cannot be written to, or is a file.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"{there}: this is a file, not a folder", "name a folder to write into")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{there}: no write permission", "choose another folder")


def check_origin(output: Path, video: str) -> None:
    """Check that an output that exists was not made from another video of the same name; an earlier state of the same
    file is warned of.

    Raises:
        InputError: it was; the message names both videos.
    """
    known = _origin(output)
    if known is None or known == (own := identity_of(os.path.abspath(video))):
        return
    if known.path != own.path:
        reason = f"{output} was made from another video of this name, {known.path}"
        raise InputError(video, reason, f"write to another folder, or remove {output}")
    console.warn(f"{output}: made from an earlier {video}, and replaced")


def record_origin(output: Path, video: str) -> None:
    """Record which video an output was made from, for `check_origin`."""
    with suppress(OSError, InputError, AttributeError):  # only Linux has these calls
        os.setxattr(output, ORIGIN, json.dumps(vars(identity_of(os.path.abspath(video)))).encode())


def _origin(output: Path) -> VideoIdentity | None:
    try:
        return VideoIdentity(**json.loads(os.getxattr(output, ORIGIN)))
    except (OSError, AttributeError, ValueError, TypeError):
        return None
