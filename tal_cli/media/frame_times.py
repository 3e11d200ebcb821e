"""The presentation time of every frame of a video."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.media.packet_index import packet_index
from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

MICROSECONDS = Fraction(1, 1_000_000)
GREY_SIZE = 32


@dataclass(frozen=True)
class Steps:
    """When the frames of a video are shown.

    base: the time base. first: the first frame's time in it. steps: from each frame to the next, that of the last being
    how long it is shown. longest_group: the most frames from one key frame to the next.
    """

    base: Fraction
    first: int
    steps: NDArray[np.int64]
    longest_group: int


def frame_times(path: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The task `frame_times`, without arguments.

    Result: what Steps has, `base` as [numerator, denominator], `steps` as base64 of deflated int64; and of the video
    `width`, `height` (upright), `fps`, `offset` (see Reader.player_offset), `container`, `codec`, `pixels` (its pixel
    format), `sound`, whether it has any, and `grey`, the mean of the first frame, 0 to 255.
    """
    reader = Reader(path, threads=1)
    small = reader.first.reformat(GREY_SIZE, GREY_SIZE, format="gray", interpolation="AREA").to_ndarray()
    found = frame_steps(reader, progress)
    turned = reader.rotation % 180 == 90
    width, height = (reader.height, reader.width) if turned else (reader.width, reader.height)
    context = reader.stream.codec_context
    return {
        "base": [found.base.numerator, found.base.denominator],
        "first": found.first,
        "steps": base64.b64encode(zlib.compress(found.steps.tobytes(), 1)).decode(),
        "width": width,
        "height": height,
        "fps": len(found.steps) / float(int(found.steps.sum()) * found.base),
        "offset": reader.player_offset,
        "container": reader.container.format.name,
        "codec": context.codec.canonical_name,
        "pixels": context.pix_fmt or "",
        "sound": bool(reader.container.streams.audio),
        "longest_group": found.longest_group,
        "grey": float(small.mean()),
    }


def frame_steps(reader: Reader, progress: Progress) -> Steps:
    """Steps of a reader's file. Changes the reader's position."""
    index = packet_index(reader, progress)
    if index is not None:
        base, stamps = index.base, index.ascending
        keys = np.flatnonzero(index.keys) if index.keys.any() else np.array([0])
        longest = int(np.diff(keys, append=len(stamps)).max())
    else:
        base, stamps, longest = MICROSECONDS, _decoded(reader.path, progress), 0
    steps = np.diff(stamps, append=0)
    # How long the last frame is shown: as long as the file says, else as the one before it.
    first = reader.first
    shown = Fraction(first.duration) * first.time_base if first.duration and first.time_base else 0
    said = round(shown / base)
    before = int(steps[-2]) if len(steps) > 1 else round(1 / Fraction(reader.rate) / base)
    constant = len(steps) > 1 and (steps[:-1] == before).all()
    steps[-1] = max(1, before if constant or not said else said)
    return Steps(base, int(stamps[0]), steps, longest)


def _decoded(path: str, progress: Progress) -> NDArray[np.int64]:
    """Times of all frames in microseconds, from the decoder: the file's own are missing or wrong."""
    stamps: list[int] = []
    for time, _ in Reader(path).frames():
        stamp = round(time / MICROSECONDS)
        stamps.append(stamp if not stamps or stamp > stamps[-1] else stamps[-1] + 1)
        progress(len(stamps), None)
    return np.array(stamps)
