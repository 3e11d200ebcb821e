"""Evaluation by frames: what holds at each frame, against what was annotated (`tal eval --protocol frames`).

Frame i lies in a segment if start <= i / fps < end; its score is the largest of the segments of the label that hold
it, 0 without. Average precision is that of scikit-learn, the sum of (R_n - R_n-1) P_n over distinct scores. Frames that
were not reviewed are left out. Bouts are matched by falling score, each with the free one of largest tIoU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.behaviour.bouts import Counts
from tal_cli.behaviour.frames import SLACK, frame_span
from tal_cli.datasets.annotations import Annotations, VideoAnnotation
from tal_cli.datasets.formats.values import last_end
from tal_cli.evaluation.behaviour.banos import banos, means
from tal_cli.evaluation.behaviour.bouts import bout_counts
from tal_cli.evaluation.behaviour.frame_scores import best_threshold, counts_of, shared_threshold
from tal_cli.evaluation.matching import Floats
from tal_cli.evaluation.predictions import Predictions
from tal_cli.evaluation.reviewed import on_reviewed
from tal_cli.extractors.errors import UsageError


@dataclass(frozen=True)
class FrameEvaluation:
    """Metrics of one prediction file by frames.

    Attributes:
        subset: the evaluated subset.
        score: the score from which segments count for precision, recall and F1, by label.
        frames: number of frames.
        counts: frames, by label; labels are those with ground truth.
        precision: average precision of frames, by label.
        best: the score from which F1 of frames is largest, and that F1, by label.
        shared: the one score from which the mean F1 of all labels is largest, and that mean.
        banos: the behaviour annotation score of what is shown, by label; nan where there is nothing to measure.
        bouts: by tIoU threshold, and by label.
        ignored: number of predictions of other labels.
    """

    subset: str
    score: Mapping[str, float]
    frames: int
    counts: Mapping[str, Counts]
    precision: Mapping[str, float]
    best: Mapping[str, tuple[float, float]]
    shared: tuple[float, float]
    banos: Mapping[str, Mapping[str, float]]
    bouts: Mapping[float, Mapping[str, Counts]]
    ignored: int

    def as_json(self) -> dict[str, Any]:
        """The document that `tal eval --protocol frames --format json` prints."""
        per_label = {
            label: {
                **counts.as_json(),
                "ap": self.precision[label],
                "score": self.score[label],
                "best_score": self.best[label][0],
                "best_f1": self.best[label][1],
                "banos": {name: None if np.isnan(value) else value for name, value in self.banos[label].items()},
                "bout_f1": {f"{level:.6g}": found[label].f1 for level, found in self.bouts.items()},
            }
            for label, counts in self.counts.items()
        }
        return {
            **{name: _mean(row[name] for row in per_label.values()) for name in ("precision", "recall", "f1")},
            "mAP": _mean(self.precision.values()),
            "best_score": self.shared[0],
            "best_f1": self.shared[1],
            "bout_f1": {
                f"{level:.6g}": _mean(each.f1 for each in found.values()) for level, found in self.bouts.items()
            },
            "per_label": per_label,
            "bouts": {
                f"{level:.6g}": {label: each.as_json() for label, each in found.items()}
                for level, found in self.bouts.items()
            },
            "frames": self.frames,
            "subset": self.subset,
            "ignored": self.ignored,
        }


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def evaluate_frames(
    predictions: Predictions,
    annotations: Annotations,
    subset: str,
    tiou: Sequence[float],
    score: Mapping[str, float],
) -> FrameEvaluation:
    """Evaluate predictions by frames on one subset.

    score: from which segments count, by label; others count from 0.

    Raises:
        UsageError: the subset has no instance, or a video's frame rate is not known.
    """
    videos = [video for video in annotations.of(subset) if not video.is_unseen]
    labels = sorted({item.label for video in videos for item in video.settled})
    if not labels:
        raise UsageError(f"no instance in subset {subset!r}")
    by_video: dict[str, list[int]] = {}
    for row, name in enumerate(predictions.videos):
        by_video.setdefault(name, []).append(row)
    true: list[NDArray[np.bool_]] = []
    found: list[Floats] = []
    known: list[NDArray[np.bool_]] = []
    for video in videos:
        times = frame_clock(video)
        items = [(item.label, item.start, item.end, 1.0) for item in video.settled]
        rows = [
            (predictions.labels[row], predictions.starts[row], predictions.ends[row], predictions.scores[row])
            for row in by_video.get(video.name, ())
        ]
        true.append(frame_scores(items, labels, times) > 0)
        found.append(frame_scores(rows, labels, times))
        known.append(np.stack([_seen(video, label, times) for label in labels], axis=1))
    truth, scores, seen = np.concatenate(true), np.concatenate(found), np.concatenate(known)
    counts, precision, best = {}, {}, {}
    least = np.asarray([score.get(label, 0.0) for label in labels])
    listed = [(each > 0) & (each >= least) for each in found]
    both = zip(true, listed, known, strict=True)
    judged = [
        [banos(one[seen_in[:, n], n], other[seen_in[:, n], n]) for n in range(len(labels))]
        for one, other, seen_in in both
    ]
    for place, label in enumerate(labels):
        mine = seen[:, place]
        is_true, told = truth[mine, place], scores[mine, place]
        counts[label] = counts_of(is_true, (told > 0) & (told >= score.get(label, 0.0)))
        best[label] = best_threshold(is_true, told) if is_true.any() else (0.0, 0.0)
        precision[label] = average_precision(is_true, told)
    moved = on_reviewed(predictions, annotations)
    bouts = bout_counts(*moved, subset, tiou, score)
    ignored = sum(label not in counts for label in predictions.labels)
    thresholds = {label: score.get(label, 0.0) for label in labels}
    frames = int(seen.any(axis=1).sum())
    scores_of = {label: means([video[place] for video in judged]) for place, label in enumerate(labels)}
    shared = shared_threshold(truth & seen, np.where(seen, scores, 0.0))
    return FrameEvaluation(subset, thresholds, frames, counts, precision, best, shared, scores_of, bouts, ignored)


def frame_clock(video: VideoAnnotation) -> Floats:
    """Times of a video's frames, i / fps, seconds. Raises UsageError if the frame rate is not known."""
    if not video.fps:
        raise UsageError(
            f"video {video.name}: its frame rate is not known",
            "add it with `tal datasets convert ANNOTATIONS OUT.json --videos DIR`",
        )
    duration = video.duration or last_end(video.segments)
    return np.arange(video.frames or max(1, round(duration * video.fps))) / video.fps


def frame_scores(items: Sequence[tuple[str, float, float, float]], labels: Sequence[str], times: Floats) -> Floats:
    """The score of each frame, [frames, labels]: the largest of those segments (label, start, end, score) around it."""
    places = {label: index for index, label in enumerate(labels)}
    scores = np.zeros((len(times), len(labels)))
    for label, start, end, score in items:
        if label in places:
            first, after = frame_span(start, end, times)
            part = scores[first:after, places[label]]
            np.maximum(part, score, out=part)
    return scores


def _seen(video: VideoAnnotation, label: str, times: Floats) -> NDArray[np.bool_]:
    ranges = video.reviewed_of(label)
    if ranges is None:
        return np.ones(len(times), dtype=bool)
    inside: NDArray[np.bool_] = np.zeros(len(times), dtype=bool)
    for start, end in ranges:
        inside |= (times >= start - SLACK) & (times < end - SLACK)
    return inside


def average_precision(true: NDArray[np.bool_], scores: Floats) -> float:
    """Area under the steps of precision over recall; 0 where nothing is true."""
    total = int(true.sum())
    if not total:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(true[order])
    # Frames of one score are one step.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    recall = hits[ends] / total
    return float((np.diff(recall, prepend=0.0) * hits[ends] / (ends + 1)).sum())
