"""Fusion of unlabelled proposals with video-level class scores, as in published results on ActivityNet.

Each of a video's best proposals is repeated for each of its best classes, with score sqrt(class score · proposal
score), as in ActionFormer and later code. Score files are read in their published formats:

- JSON `{"results": {VIDEO: [score, ...]}, "class": [name, ...]}` (CUHK's for ActivityNet; TCANet's for HACS, whose
  lists are nested one level deeper and need the softmax);
- JSON `{"results": {VIDEO: [{"label", "score"}, ...]}}`;
- UntrimmedNet's array for THUMOS14's test videos, `.npy` [videos by number, 101 classes of UCF101].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.formats.values import finite
from tal_cli.evaluation.predictions import Predictions
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.extractors.features.formats import read_npy
from tal_cli.extractors.features.lookup import PREFIX
from tal_cli.extractors.files.error_text import library_message
from tal_cli.extractors.files.json_files import read_json

Floats = NDArray[np.float64]

BEST_CLASSES = 2
BEST_PROPOSALS = 200
UCF101_CLASSES = 101
# THUMOS14's classes among those of UCF101, counted from 1 in alphabetical order.
UCF101_THUMOS = {
    "BaseballPitch": 7,
    "BasketballDunk": 9,
    "Billiards": 12,
    "CleanAndJerk": 21,
    "CliffDiving": 22,
    "CricketBowling": 23,
    "CricketShot": 24,
    "Diving": 26,
    "FrisbeeCatch": 31,
    "GolfSwing": 33,
    "HammerThrow": 36,
    "HighJump": 40,
    "JavelinThrow": 45,
    "LongJump": 51,
    "PoleVault": 68,
    "Shotput": 79,
    "SoccerPenalty": 85,
    "TennisSwing": 92,
    "ThrowDiscus": 93,
    "VolleyballSpiking": 97,
}
THUMOS_TEST = "video_test_"


@dataclass(frozen=True)
class VideoScores:
    """Video-level class scores.

    Attributes:
        labels: the classes, L.
        scores: [L] for each video.
        own_labels: classes of the videos whose scores, of that many classes, are not of all L.
    """

    labels: tuple[str, ...]
    scores: dict[str, Floats]
    own_labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, video: str) -> tuple[tuple[str, ...], Floats] | None:
        """Classes and scores of a video, which may be named v_VIDEO in the file; None if it is missing."""
        for name in (video, PREFIX + video, video.removeprefix(PREFIX)):
            if name in self.scores:
                return self.own_labels.get(name, self.labels), self.scores[name]
        return None


def load_video_scores(path: Path, labels: Sequence[str] = (), *, softmax: bool = False) -> VideoScores:
    """Read a file in one of the published formats.

    Args:
        path: the file.
        labels: classes in the file's order, for a file without class names.
        softmax: whether to apply softmax first; some files contain logits.

    Raises:
        InputError: the file cannot be read or is not a score file; the message names the video.
        UsageError: neither the file nor `labels` contains class names.
    """
    found = _from_array(path) if path.suffix == ".npy" else _from_json(path, tuple(labels))
    if not softmax:
        return found
    return replace(found, scores={video: _softmax(scores) for video, scores in found.scores.items()})


def label_proposals(
    proposals: Predictions, classes: VideoScores, best_classes: int = BEST_CLASSES, best: int = BEST_PROPOSALS
) -> tuple[Predictions, tuple[str, ...]]:
    """Each video's best proposals under its best classes; and the videos that have proposals but no class scores.

    Among equal scores the first ranks higher.
    """
    rows: list[tuple[str, str, float, float, float]] = []
    missing = []
    of_video: dict[str, list[int]] = {}
    for row, video in enumerate(proposals.videos):
        of_video.setdefault(video, []).append(row)
    for video, found in of_video.items():
        of_classes = classes.of(video)
        if of_classes is None:
            missing.append(video)
            continue
        labels, scores = of_classes
        here = np.asarray(found)
        here = here[np.argsort(-proposals.scores[here], kind="stable")][:best]
        for number in np.argsort(-scores, kind="stable")[:best_classes].tolist():
            combined = np.sqrt(np.maximum(scores[number] * proposals.scores[here], 0))
            rows.extend(
                (video, labels[number], float(proposals.starts[row]), float(proposals.ends[row]), float(score))
                for row, score in zip(here.tolist(), combined.tolist(), strict=True)
            )
    return Predictions.from_rows(rows), tuple(missing)


def _from_array(path: Path) -> VideoScores:
    try:
        values = read_npy(path, None)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(path, f"not an array ({library_message(error)})") from error
    if values.ndim != 2 or values.shape[1] != UCF101_CLASSES or values.dtype.kind not in "fiu":
        raise InputError(path, f"expected scores of {UCF101_CLASSES} classes, [videos, {UCF101_CLASSES}]")
    chosen = values[:, [number - 1 for number in UCF101_THUMOS.values()]].astype(np.float64)
    scores = {f"{THUMOS_TEST}{row + 1:07d}": chosen[row] for row in range(len(chosen))}
    return VideoScores(tuple(UCF101_THUMOS), scores)


def _from_json(path: Path, labels: tuple[str, ...]) -> VideoScores:
    content = read_json(path)
    results = content.get("results", content) if isinstance(content, dict) else None
    if not isinstance(results, dict) or not results:
        raise InputError(path, 'not a file of video scores: expected {"results": {VIDEO: [...]}}')
    named = content.get("class", content.get("classes"))
    if isinstance(named, list) and all(isinstance(name, str) for name in named):
        labels = tuple(named)
    entries = {video: _flat(entry) for video, entry in results.items()}
    if not any(entries.values()):
        raise InputError(path, "it contains no scores")
    if all(isinstance(item, dict) for entry in entries.values() for item in entry):
        pairs = {video: _pairs(path, video, entry) for video, entry in entries.items()}
        labels = tuple(sorted({label for entry in pairs.values() for label in entry}))
        return VideoScores(
            labels,
            {video: np.asarray(list(entry.values()), dtype=np.float64) for video, entry in pairs.items()},
            {video: tuple(entry) for video, entry in pairs.items()},
        )
    if not labels:
        raise UsageError(f"{path} has no class names", "give them with --labels FILE, one per line")
    return VideoScores(labels, {video: _scores(path, video, entry, len(labels)) for video, entry in entries.items()})


def _flat(entry: Any) -> list[Any]:
    while isinstance(entry, list) and len(entry) == 1 and isinstance(entry[0], list):
        entry = entry[0]
    return entry if isinstance(entry, list) else [entry]


def _pairs(path: Path, video: str, entry: list[Any]) -> dict[str, float]:
    found = {str(item.get("label")): finite(item.get("score")) for item in entry}
    scores = {label: score for label, score in found.items() if score is not None}
    if len(scores) < len(found):
        raise InputError(path, f"video {video}: expected rows of label and score")
    return dict(sorted(scores.items()))


def _scores(path: Path, video: str, entry: list[Any], count: int) -> Floats:
    numbers = [finite(item) for item in entry]
    if len(numbers) != count or any(number is None for number in numbers):
        raise InputError(path, f"video {video}: expected {count} scores, one per class")
    return np.asarray(numbers, dtype=np.float64)


def _softmax(values: Floats) -> Floats:
    powers = np.exp(values - values.max(initial=-np.inf))
    shares: Floats = powers / powers.sum()
    return shares
