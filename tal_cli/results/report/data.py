"""The data of a video on the page, as JSON."""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tal_cli.datasets.annotations import GroundTruth
from tal_cli.error_report import exit_code_of, reason_of
from tal_cli.extractors.errors import InputError
from tal_cli.media.host import Progress, run_task
from tal_cli.results.media_links import relative_url
from tal_cli.results.segments import Detections, Segment
from tal_cli.safe_text import printable

THUMBNAIL_WIDTH = 160
POSTER_WIDTH = 480
QUALITY = 70
# About 4 KB each, so that a report of fifty videos is small enough to send.
MOST_THUMBNAILS = 300
DECIMALS = 3
# Formats that browsers play, by FFmpeg's names; not all browsers play the last two containers.
PLAYED_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg")
PLAYED_CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "theora")


@dataclass(frozen=True)
class Look:
    """Request of `tal_cli.media.thumbnails.look`: ascending times in seconds, widths in pixels."""

    times: tuple[float, ...]
    width: int = THUMBNAIL_WIDTH
    poster_width: int = POSTER_WIDTH
    quality: int = QUALITY


@dataclass(frozen=True)
class Stills:
    """Images from a video, and its playback properties.

    thumbnails: data URIs. shown: for each segment the index of its thumbnail, or None. poster: one larger image. width,
    height: size of the upright video. offset: difference of a browser's clock to the times. unplayable: codec or
    container that no browser plays, such as "MPEG-4 part 2"; empty if some do. steps: times of the frames, see
    `tal_cli.media.thumbnails.look`. problem: reason for missing stills.
    """

    thumbnails: Sequence[str | None] = ()
    shown: Sequence[int | None] = ()
    poster: str | None = None
    width: int = 16
    height: int = 9
    offset: float = 0.0
    unplayable: str = ""
    steps: Mapping[str, Any] | None = None
    problem: str = ""


def take_stills(path: str, segments: Sequence[Segment], duration: float, progress: Progress | None) -> Stills:
    """Stills from the middle of the segments, best segments first; from the middle of a video without segments."""
    times = moments_of(segments) or [duration / 2]
    try:
        seen = run_task("look", path, Look(tuple(times)), progress)
    except Exception as error:
        if exit_code_of(error) != InputError.exit_code:
            raise
        return Stills(shown=[None] * len(segments), problem=reason_of(error))
    return Stills(
        seen["thumbnails"],
        [moment_of(segment, times) for segment in segments],
        seen["poster"],
        seen["width"],
        seen["height"],
        seen["offset"],
        unplayable(seen["container"], seen["codec"], seen["codec_name"]),
        seen["steps"],
    )


def moments_of(segments: Sequence[Segment]) -> list[float]:
    """Times of the stills, ascending seconds: the middle of each segment, unless its middle half has one already."""
    times: list[float] = []
    for segment in segments:
        quarter = (segment.end - segment.start) / 4
        at = bisect_left(times, segment.start + quarter)
        if at == len(times) or times[at] > segment.end - quarter:
            insort(times, middle(segment))
        if len(times) == MOST_THUMBNAILS:
            break
    return times


def moment_of(segment: Segment, times: Sequence[float]) -> int | None:
    """Index of the time nearest to the middle of a segment, if it is within the segment, else None."""
    at = bisect_left(times, middle(segment))
    around = [number for number in (at - 1, at) if 0 <= number < len(times)]
    nearest = min(around, key=lambda number: abs(times[number] - middle(segment)), default=None)
    return nearest if nearest is not None and segment.start <= times[nearest] <= segment.end else None


def middle(segment: Segment) -> float:
    """The middle of a segment, in seconds."""
    return (segment.start + segment.end) / 2


def unplayable(container: str, codec: str, codec_name: str) -> str:
    """Container or codec that no browser plays, by FFmpeg's names; empty if some do."""
    if container not in PLAYED_CONTAINERS:
        return f"{container.split(',')[0]} files"
    return "" if codec in PLAYED_CODECS else codec_name


def video_json(
    detections: Detections,
    stills: Stills,
    ground_truth: Sequence[GroundTruth],
    labels: Mapping[str, int],
    folder: Path,
) -> dict[str, Any]:
    """Data of one video for the page; labels and thumbnails by index, segments in temporal order.

    Args:
        labels: label -> its index on the page.
        folder: folder of the page, for relative links to the video.
    """
    ordered = sorted(range(len(detections.segments)), key=lambda i: (detections.segments[i].start, i))
    rows = [(index, detections.segments[index]) for index in ordered]
    return {
        "name": printable(detections.video),
        "path": printable(detections.path),
        "source": relative_url(detections.path, folder) if not stills.problem else None,
        "problem": stills.problem,
        "unplayable": stills.unplayable,
        "duration": round(detections.duration, DECIMALS),
        "fps": round(detections.fps, DECIMALS),
        "frames": detections.frames,
        "width": stills.width,
        "height": stills.height,
        "offset": stills.offset,
        "steps": stills.steps,
        "segments": [
            # Unrounded: the page rounds once, as the table does.
            [labels[s.label], s.start, s.end, s.score]
            for _, s in rows
        ],
        "thumbnails": [stills.shown[index] for index, _ in rows],
        "truth": [
            [labels[item.label], round(item.start, DECIMALS), round(item.end, DECIMALS)]
            for item in sorted(ground_truth, key=lambda item: item.start)
        ],
    }


def safe_json(value: Any) -> str:
    """JSON escaped for a script element: it cannot end the element or start markup."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
