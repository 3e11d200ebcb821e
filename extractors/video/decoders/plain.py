"""Decoders other than PyAV: the files that they may be given, and what they have in common.

FFmpeg decides by content what a file is, and each version decides differently: one reads as MPEG what an older one
takes for a playlist, and follows. So what PyAV made of a file says nothing about another decoder's FFmpeg. A file
that begins with the signature of one of these containers is that container for every version: playlists and lists of
files are text from their first byte on, and none of these containers leads to another file unless asked to.
"""

from __future__ import annotations

from typing import Any

from av.video.frame import VideoFrame

from tal_cli.extractors.video.decoders.pyav import PyavSource
from tal_cli.extractors.video.messages import DecodeError, Opened

HEAD = 64  # bytes
SHORTEST_BOX = 8


class OtherSource:
    """Base of the other decoders, which read a file that PyAV opened; `frames` counts what it decodes."""

    _gate: PyavSource
    _reader: Any  # its length is the number of frames in the decoder's index
    _opened: Opened
    _decoded: int

    @property
    def lost(self) -> int:
        """Frames in the decoder's index that it has not decoded."""
        return max(0, len(self._reader) - self._decoded)

    @property
    def last_shown(self) -> float | None:
        """Not known."""
        return None

    def opened(self) -> Opened:
        """Size, rate and orientation as PyAV finds them, after the decoder's own rotation."""
        return self._opened

    def skip_to(self, seconds: float) -> float | None:
        """Nothing is skipped."""
        return None

    def scale(self, frame: VideoFrame, width: int, height: int) -> tuple[memoryview, int]:
        """Scales as PyavSource does, so that decoders differ only in decoding."""
        return self._gate.scale(frame, width, height)


def check_plain(path: str, format: str, decoder: str) -> None:
    """Raises DecodeError unless a file is MP4, QuickTime, Matroska, WebM or AVI, by its first bytes and for PyAV.

    format: FFmpeg's name of the container as PyAV read it.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if format != container_of(head):
        known = "MP4, QuickTime, Matroska, WebM and AVI files"
        raise DecodeError(f"{decoder} is given {known} only; --decoder pyav reads others")


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container that a file begins as, None if it is none of these."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat") and int.from_bytes(head[:4], "big") >= SHORTEST_BOX:
        return "mov,mp4,m4a,3gp,3g2,mj2"
    if head.startswith(b"\x1aE\xdf\xa3") and (b"matroska" in head or b"webm" in head):
        return "matroska,webm"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    return None
