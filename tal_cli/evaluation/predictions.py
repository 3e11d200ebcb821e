"""Predictions in columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal_cli.results.readers import read_results
from tal_cli.results.run_videos import RunVideos

Row = tuple[str, str, float, float, float]


@dataclass(frozen=True)
class Predictions:
    """Predicted segments of many videos, one row each, in file order (the tie-breaker of equal scores).

    Attributes:
        videos: video names, [n].
        labels: label names, [n].
        starts, ends: seconds, float64 [n]; not validated, as in the official evaluators.
        scores: float64 [n].
        run_videos: what the model was trained on; None where unknown.
        display_score: from which the model shows segments: of all labels, or by label; None where unknown.
    """

    videos: tuple[str, ...]
    labels: tuple[str, ...]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    scores: NDArray[np.float64]
    run_videos: RunVideos | None = None
    display_score: float | dict[str, float] | None = None

    def shown_from(self, label: str) -> float:
        """The score from which segments of a label are shown; 0 where that is not known."""
        told = self.display_score
        return told.get(label, 0.0) if isinstance(told, dict) else told or 0.0

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> Predictions:
        """Predictions from (video, label, start, end, score) rows."""
        videos, labels, numbers = [], [], array("d")
        for video, label, *times_and_score in rows:
            videos.append(video)
            labels.append(label)
            numbers.extend(times_and_score)
        starts, ends, scores = np.array(numbers).reshape(-1, 3).T.copy()
        return cls(tuple(videos), tuple(labels), starts, ends, scores)

    def take(self, rows: NDArray[np.bool_]) -> Predictions:
        """The selected rows, bool [n]."""
        return Predictions(
            tuple(compress(self.videos, rows.tolist())),
            tuple(compress(self.labels, rows.tolist())),
            self.starts[rows],
            self.ends[rows],
            self.scores[rows],
            self.run_videos,
            self.display_score,
        )


def load_predictions(path: str | Path, label_key: str = "label") -> Predictions:
    """Read a results file; see `tal_cli.results.readers` for formats and errors."""
    results = read_results(path, label_key)
    found = Predictions.from_rows((part.video, *row[:4]) for part in results.videos for row in part.rows)
    return replace(found, run_videos=results.run_videos, display_score=results.display_score)
