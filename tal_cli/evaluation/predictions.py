"""Predictions as columns, and reading them from the files that `tal detect` and others' code write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.json_files import parse_json, read_json, read_text

Row = tuple[str, str, float, float, float]


@dataclass(frozen=True)
class Predictions:
    """Predicted segments of many videos, one row each, in file order (which decides between equal scores).

    Attributes:
        videos: video names, [n].
        labels: label names, [n].
        starts, ends: seconds, float64 [n]; in no way checked, as the evaluators do not either.
        scores: float64 [n].
    """

    videos: tuple[str, ...]
    labels: tuple[str, ...]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    scores: NDArray[np.float64]

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> Predictions:
        """From (video, label, start, end, score) rows."""
        columns = list(zip(*rows, strict=True)) or [()] * 5
        videos, labels, *numbers = columns
        starts, ends, scores = (np.asarray(column, dtype=np.float64) for column in numbers)
        return cls(tuple(videos), tuple(labels), starts, ends, scores)

    def take(self, rows: NDArray[np.bool_]) -> Predictions:
        """Those rows, bool [n]."""
        return Predictions(
            tuple(compress(self.videos, rows.tolist())),
            tuple(compress(self.labels, rows.tolist())),
            self.starts[rows],
            self.ends[rows],
            self.scores[rows],
        )


def load_predictions(path: str | Path, label_key: str = "label") -> Predictions:
    """Read ActivityNet results JSON or the JSON lines of `tal detect`, gzipped or not.

    Args:
        path: the file.
        label_key: which entry of a row is its label; EPIC-KITCHENS submissions have `verb`, `noun` and `action`.

    Raises:
        InputError: the file cannot be read or is not such a file; the message names the video.
    """
    is_lines = Path(path).name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))
    videos = _from_lines(path) if is_lines else _from_results(path)
    found = Predictions.from_rows(row for video, items in videos for row in _rows(path, video, items, label_key))
    finite = np.isfinite(found.starts) & np.isfinite(found.ends) & np.isfinite(found.scores)
    if not finite.all():
        raise InputError(path, f"video {found.videos[int(finite.argmin())]}: a number that is not finite")
    return found


def _from_results(path: str | Path) -> Iterator[tuple[str, Any]]:
    content = read_json(path)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise InputError(path, 'not a predictions file: expected {"results": {VIDEO: [...]}} at the top')
    yield from results.items()


def _from_lines(path: str | Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = parse_json(path, line)
            yield str(entry["video"]), entry["segments"]
        except (InputError, KeyError, TypeError) as error:
            raise InputError(path, f"line {number}: expected {{video, segments}}") from error


def _rows(path: str | Path, video: str, items: Any, label_key: str) -> Iterator[Row]:
    if not isinstance(items, list):
        raise InputError(path, f"video {video}: expected a list of rows")
    for number, item in enumerate(items, start=1):
        try:
            start, end = item["segment"]
            yield video, str(item[label_key]), float(start), float(end), float(item["score"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            expected = f"expected {label_key}, score and segment [start, end]"
            raise InputError(path, f"video {video}, row {number}: {expected}") from error
