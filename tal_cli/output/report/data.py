"""What the page knows of a video, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tal_cli.datasets.annotations import GroundTruth
from tal_cli.errors import InputProblem, exit_code_of, reason_of
from tal_cli.media.apart import Progress, work_apart
from tal_cli.output.places import relative_url
from tal_cli.segments import Detections, Segment
from tal_cli.text import printable

THUMBNAIL_WIDTH = 160
POSTER_WIDTH = 480
QUALITY = 70
# Some 5 KB each, so that a report of fifty videos stays one that can be sent around.
MOST_THUMBNAILS = 120
DECIMALS = 3


@dataclass(frozen=True)
class Look:
    """What `tal_cli.media.thumbnails.look` is asked: ascending times in seconds, widths in pixels."""

    times: tuple[float, ...]
    width: int = THUMBNAIL_WIDTH
    poster_width: int = POSTER_WIDTH
    quality: int = QUALITY


@dataclass(frozen=True)
class Pictures:
    """What was seen of a video.

    thumbnails: data URIs by index of the segment, for the best ones. poster: one larger picture. width, height: of the
    video, upright. offset: what a browser's clock adds to the times. problem: why nothing could be seen.
    """

    thumbnails: Mapping[int, str]
    poster: str | None = None
    width: int = 16
    height: int = 9
    offset: float = 0.0
    problem: str = ""


def take_pictures(path: str, segments: Sequence[Segment], duration: float, progress: Progress | None) -> Pictures:
    """A picture from the middle of each of the best segments; of the video's middle where there are none."""
    chosen = sorted(range(min(len(segments), MOST_THUMBNAILS)), key=lambda index: middle(segments[index]))
    times = tuple(middle(segments[index]) for index in chosen) or (duration / 2,)
    try:
        seen = work_apart("look", path, Look(times), progress)
    except Exception as error:
        if exit_code_of(error) != InputProblem.exit_code:
            raise
        return Pictures({}, problem=reason_of(error))
    pairs = zip(chosen, seen["thumbnails"], strict=False)
    thumbnails = {index: picture for index, picture in pairs if picture is not None}
    return Pictures(thumbnails, seen["poster"], seen["width"], seen["height"], seen["offset"])


def middle(segment: Segment) -> float:
    """The moment half way through, in seconds."""
    return (segment.start + segment.end) / 2


def video_json(
    detections: Detections,
    pictures: Pictures,
    truth: Sequence[GroundTruth],
    labels: Mapping[str, int],
    folder: Path,
) -> dict[str, Any]:
    """One video as the page reads it; labels by number, segments in the order of time.

    Args:
        labels: label -> its number on the page.
        folder: where the page will stand, from which the video is linked.
    """
    ordered = sorted(range(len(detections.segments)), key=lambda i: (detections.segments[i].start, i))
    rows = [(index, detections.segments[index]) for index in ordered]
    return {
        "name": printable(detections.video),
        "path": printable(detections.path),
        "source": relative_url(detections.path, folder) if not pictures.problem else None,
        "problem": pictures.problem,
        "duration": round(detections.duration, DECIMALS),
        "fps": round(detections.fps, DECIMALS),
        "frames": detections.frames,
        "width": pictures.width,
        "height": pictures.height,
        "offset": round(pictures.offset, DECIMALS),
        "poster": pictures.poster,
        "segments": [
            [labels[s.label], round(s.start, DECIMALS), round(s.end, DECIMALS), round(s.score, 4)] for _, s in rows
        ],
        "thumbnails": [pictures.thumbnails.get(index) for index, _ in rows],
        "truth": [
            [labels[item.label], round(item.start, DECIMALS), round(item.end, DECIMALS)]
            for item in sorted(truth, key=lambda item: item.start)
        ],
    }


def safe_json(value: Any) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element or begin markup."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
