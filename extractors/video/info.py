"""Information about a video before all its frames are decoded."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from tal_cli.extractors.errors import VideoError
from tal_cli.extractors.files.error_text import HEAD, stand_in
from tal_cli.extractors.video.messages import Opened


@dataclass(frozen=True)
class VideoInfo:
    """Information about a video, available once its first frame is decoded.

    width, height: pixels as displayed, after rotation (the sample aspect ratio is left alone).
    fps, frames, duration (seconds): as declared by the container, or None.
    rotation: degrees counter-clockwise (0, 90, 180, 270) by which stored frames are turned to be upright.
    streams: how many video streams the file has; stream: which of them, from 0, is read.
    origin: the container's time at which the file begins, seconds; timecode: of the first frame, `HH:MM:SS:FF`, if any.
    """

    path: str
    width: int
    height: int
    fps: float
    frames: int | None
    duration: float | None
    rotation: int
    streams: int = 1
    stream: int = 0
    origin: float = 0.0
    timecode: str | None = None


def info_of(path: str, opened: Opened) -> VideoInfo:
    """A video's information from the decoder, its size turned upright."""
    width, height = turned((opened.width, opened.height), opened.rotation)
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        fps=opened.fps,
        frames=opened.frames,
        duration=opened.duration,
        rotation=opened.rotation,
        streams=opened.streams,
        stream=opened.stream,
        origin=opened.origin,
        timecode=opened.timecode,
    )


def turned(size: tuple[int, int], rotation: int) -> tuple[int, int]:
    """(width, height) before rotation of what is (width, height) after it, and the other way round."""
    return (size[1], size[0]) if rotation % 180 == 90 else size


def regular_file(path: str) -> str:
    """The path of a readable regular file. Raises VideoError, before a decoder opens it."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise VideoError(path, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(found.st_mode):
        raise VideoError(path, f"it is {'a folder' if stat.S_ISDIR(found.st_mode) else 'not a regular file'}")
    try:
        with open(path, "rb") as file:
            reason = stand_in(file.read(HEAD))
    except OSError as error:
        raise VideoError(path, (error.strerror or str(error)).lower()) from None
    if reason is not None:
        raise VideoError(path, reason)
    return path
