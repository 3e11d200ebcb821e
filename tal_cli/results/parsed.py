"""Results as readers return them, and the parsing of their rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tal_cli.datasets.annotations import POINT
from tal_cli.extractors.errors import InputError
from tal_cli.results.run_videos import RunVideos
from tal_cli.results.segments import Detections, Segment


class Row(NamedTuple):
    """A segment of a file: seconds, score, kind (`state` or `point`) and subject."""

    label: str
    start: float
    end: float
    score: float
    kind: str = "state"
    subject: str | None = None


@dataclass(frozen=True)
class VideoSegments:
    """Segments of one video in a file; a table with interleaved videos yields several per video.

    Attributes:
        video: the video's name.
        rows: in file order; numbers are finite, and unchecked otherwise.
        path, duration, fps, frames: properties of the video; "" and 0 if the file lacks them.
    """

    video: str
    rows: tuple[Row, ...]
    path: str = ""
    duration: float = 0.0
    fps: float = 0.0
    frames: int = 0


@dataclass(frozen=True)
class Results:
    """Contents of a results file.

    Attributes:
        videos: in file order; read as they are iterated over, which can be done once and raises InputError.
        model, version: of the run that made it; empty where unknown.
        labels: labels of the model; may be empty.
        run_videos: what the model was trained on; None where unknown.
        display_score: from which the model shows segments: of all labels, or by label; None where unknown.
    """

    videos: Iterator[VideoSegments]
    model: str = ""
    version: str = ""
    labels: tuple[str, ...] = ()
    run_videos: RunVideos | None = None
    display_score: float | dict[str, float] | None = None

    def detections(self) -> tuple[Detections, ...]:
        """All videos, each once, without empty segments; starts are clipped to 0.

        Raises:
            InputError: invalid content; the message names the video or the line.
        """
        first: dict[str, VideoSegments] = {}
        kept: dict[str, list[Segment]] = {}
        for part in self.videos:
            first.setdefault(part.video, part)
            segments = (Segment(row.label, max(0.0, row.start), *row[2:]) for row in part.rows)
            kept.setdefault(part.video, []).extend(s for s in segments if s.end > s.start or s.kind == POINT)
        return tuple(
            Detections(name, part.path, part.duration, part.fps, part.frames, tuple(kept[name]))
            for name, part in first.items()
        )


def parse_rows(
    path: str | Path, video: str, rows: Iterable[Any], parse: Callable[[Any], Row], expected: str
) -> tuple[Row, ...]:
    """The rows of one video; `expected` says of what, in the error.

    Raises:
        InputError: a row cannot be parsed; the message names the video and the row.
    """
    segments = []
    number = 0
    try:
        for number, row in enumerate(rows, start=1):  # noqa: B007 - the message has it
            segments.append(parse(row))
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(path, f"video {video}, row {number}: expected {expected}") from error
    return tuple(segments)


def row_of(label: object, start: Any, end: Any, score: Any, kind: object = "state", subject: object = None) -> Row:
    """A row from values of any type. Raises ValueError, TypeError or OverflowError for numbers that are not finite."""
    numbers = float(start), float(end), float(score)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not a finite number")
    return Row(str(label), *numbers, POINT if kind == POINT else "state", str(subject) if subject else None)


def number_of(value: Any) -> float:
    """An optional number: 0 for anything that is not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def dict_of(value: Any) -> dict[str, Any]:
    """The value if it is a dict, else an empty one."""
    return value if isinstance(value, dict) else {}
