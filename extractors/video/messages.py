"""The protocol between a decoding child and its parent.

    parent -> child   one JSON line: Request          (standard input)
    child  -> parent  OPENED, JSON of Opened          (standard output)
    parent -> child   one JSON line: [width, height]
    child  -> parent  FRAMES ... FRAMES (a chunk without frames is a sign of life), SUMMARY
Any message may be replaced by FAILED, which ends the conversation. Standard input stays open as long as the parent
lives; its end tells the child to exit. This module imports neither numpy nor a video library.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

OPENED, FRAMES, SUMMARY, FAILED = b"O", b"F", b"S", b"E"

# kind, frames in the message, bytes per row of a frame, bytes that follow
HEADER = struct.Struct("<cIIQ")


class DecodeError(Exception):
    """Why this file cannot be decoded: one line, without the path."""


class DecoderMissing(DecodeError):
    """The requested decoder is not installed."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to decode a video. Rates in frames per second; start: seconds since the first frame before which no
    frame is needed."""

    path: str
    decoder: str
    sampling_rate: float | None
    max_rate: float | None
    start: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Information available once the first frame is decoded. Width and height as stored, before rotation.

    fps, nominal_fps, frames and duration (seconds) are declared by the container: fps on average, nominal_fps the rate
    whose multiples all time stamps are (higher if repeated frames are dropped). end: the container's time at which
    the stream ends, seconds, or None. joinable: whether its clock may restart in the middle.
    origin: the container's time at which the file begins, seconds; timecode: of the first frame, `HH:MM:SS:FF`, if any.
    streams: how many video streams there are; stream: which of them, from 0, is read. rotation is in degrees
    counter-clockwise, one of 0, 90, 180, 270, by which stored frames are turned to be upright.
    """

    width: int
    height: int
    fps: float
    nominal_fps: float
    frames: int | None
    duration: float | None
    end: float | None
    origin: float
    timecode: str | None
    joinable: bool
    streams: int
    stream: int
    rotation: int


@dataclass(frozen=True, kw_only=True)
class VideoSummary:
    """Information about a video, available once its last frame is decoded.

    fps: frames per second of the file itself, measured if the container's value does not match.
    delivered_fps: the same after resampling or decimation.
    frames: frames decoded. duration: last - first time + how long the last frame is shown, seconds.
    start: the container's time of the first frame, seconds; all other times count from there.
    lost: frames that are in the file and could not be decoded.
    constant_rate: delivered frame i is at i / delivered_fps seconds, within a quarter of a frame.
    repeated: number of repetitions of held frames. jumps: number of restarts of the container's clock.
    """

    fps: float
    delivered_fps: float
    frames: int
    duration: float
    start: float
    lost: int
    constant_rate: bool
    repeated: int
    jumps: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why decoding ended: reason is one line."""

    reason: str
    missing_decoder: bool = False


def dump(message: Request | Opened | VideoSummary | Failure) -> bytes:
    """One message as ASCII JSON, so that file names that are not UTF-8 survive as surrogates."""
    return json.dumps(asdict(message)).encode("ascii")


def send(write: Callable[[bytes | memoryview], object], kind: bytes, body: bytes) -> None:
    """Write one message without frames."""
    write(HEADER.pack(kind, 0, 0, len(body)) + body)


def load(body: bytes | bytearray) -> Any:
    """The JSON of one message body."""
    return json.loads(body)
