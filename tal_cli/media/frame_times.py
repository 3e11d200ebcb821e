"""The presentation time of every frame of a video."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

from tal_cli.media.packet_index import packet_index
from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

MICROSECONDS = Fraction(1, 1_000_000)
GREY_SIZE = 32


def frame_times(path: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The task `frame_times`, without arguments.

    Result: `base`, the time base as [numerator, denominator]; `first`, the first frame's time in it; `steps`, from each
    frame to the next, that of the last being how long it is shown; and of the video `width`, `height` (upright), `fps`,
    `offset` (see Reader.player_offset), `container`, `codec`, `pixels` (its pixel format), `sound`, whether it has any,
    `longest_group`, the most frames from one key frame to the next, and `grey`, the mean of the first frame, 0 to 255.
    """
    reader = Reader(path)
    grey, shown = _first_frame(reader)
    longest = 0
    base = Fraction(reader.stream.time_base or MICROSECONDS)
    index = packet_index(reader, progress)
    if index is not None:
        stamps = sorted(index.stamps)
        keys = [place for place, is_key in enumerate(index.keys) if is_key] or [0]
        ends = [*keys[1:], len(stamps)]
        longest = max(end - start for start, end in zip(keys, ends, strict=True))
    else:
        stamps, base = _decoded(path, progress), MICROSECONDS
    # How long the last frame is shown: as long as the file says, else as the one before it.
    said = round(shown / base) if shown else 0
    before = stamps[-1] - stamps[-2] if len(stamps) > 1 else round(1 / Fraction(reader.rate) / base)
    steps = [later - stamp for stamp, later in pairwise(stamps)]
    constant = len(set(steps)) == 1
    steps.append(max(1, before if constant or not said else said))
    turned = reader.rotation % 180 == 90
    width, height = (reader.height, reader.width) if turned else (reader.width, reader.height)
    context = reader.stream.codec_context
    return {
        "base": [base.numerator, base.denominator],
        "first": stamps[0],
        "steps": steps,
        "width": width,
        "height": height,
        "fps": len(stamps) / float(sum(steps) * base),
        "offset": reader.player_offset,
        "container": reader.container.format.name,
        "codec": context.codec.canonical_name,
        "pixels": context.pix_fmt or "",
        "sound": bool(reader.container.streams.audio),
        "longest_group": longest,
        "grey": grey,
    }


def _first_frame(reader: Reader) -> tuple[float, Fraction | None]:
    """Mean grey of the first frame, and how long frames are shown by its own account, in seconds."""
    _, frame = next(reader.frames())
    small = frame.reformat(GREY_SIZE, GREY_SIZE, format="gray", interpolation="AREA").to_ndarray()
    base = frame.time_base
    return float(small.mean()), Fraction(frame.duration) * base if frame.duration and base else None


def _decoded(path: str, progress: Progress) -> list[int]:
    """Times of all frames in microseconds, from the decoder: the file's own are missing or wrong."""
    stamps: list[int] = []
    for time, _ in Reader(path).frames():
        stamp = round(time / MICROSECONDS)
        stamps.append(stamp if not stamps or stamp > stamps[-1] else stamps[-1] + 1)
        progress(len(stamps), None)
    return stamps
