"""Evaluation by frames: what holds at each frame, against what was annotated (`tal eval --protocol frames`).

Frame i lies in a segment if start <= i / fps < end; its score is the largest of the segments of the label that hold
it, 0 without. Average precision is that of scikit-learn, the sum of (R_n - R_n-1) P_n over distinct scores. Frames that
were not reviewed are left out. Bouts are matched by falling score, each with the free one of largest tIoU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.behaviour.bouts import Counts
from tal_cli.behaviour.frames import SLACK, frame_span, frames_within
from tal_cli.datasets.annotations import Annotations, VideoAnnotation
from tal_cli.datasets.formats.behaviour.feral import BACKGROUND
from tal_cli.datasets.formats.values import last_end
from tal_cli.evaluation.behaviour.banos import banos, means
from tal_cli.evaluation.behaviour.bouts import bout_counts
from tal_cli.evaluation.behaviour.frame_scores import (
    OneLabel,
    Tuned,
    average_precision,
    best_threshold,
    counts_of,
    one_label,
    shared_threshold,
    tuned,
)
from tal_cli.evaluation.behaviour.score_tables import ScoreTables
from tal_cli.evaluation.behaviour.vtrace import Vtrace, cut_scores, vtrace
from tal_cli.evaluation.matching import Floats
from tal_cli.evaluation.predictions import Predictions
from tal_cli.evaluation.reviewed import on_reviewed
from tal_cli.extractors.errors import UsageError

Row = tuple[str, float, float, float]  # label, start, end, score


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
        accuracy: share of frames of which all labels are right.
        banos, banos_optimal: the behaviour annotation score of what is shown, by label, with bouts matched in order of
            time and as many as possible; nan where there is nothing to measure.
        bouts: by tIoU threshold, and by label.
        ignored: number of predictions of other labels.
        one_label, tuned: figures of FERAL and DeepEthogram, where the predictions are scores of frames.
        vtrace: V-TRACE's figures, where they are segments.
    """

    subset: str
    score: Mapping[str, float]
    frames: int
    counts: Mapping[str, Counts]
    precision: Mapping[str, float]
    best: Mapping[str, tuple[float, float]]
    shared: tuple[float, float]
    accuracy: float
    banos: Mapping[str, Mapping[str, float]]
    banos_optimal: Mapping[str, Mapping[str, float]]
    bouts: Mapping[float, Mapping[str, Counts]]
    ignored: int
    one_label: OneLabel | None = None
    tuned: Tuned | None = None
    vtrace: Vtrace | None = None

    def as_json(self) -> dict[str, Any]:
        """The document that `tal eval --protocol frames --format json` prints."""
        per_label = {
            label: {
                **counts.as_json(),
                "ap": self.precision[label],
                "score": self.score[label],
                "best_score": self.best[label][0],
                "best_f1": self.best[label][1],
                "banos": _told(self.banos[label]),
                "banos_optimal": _told(self.banos_optimal[label]),
                "bout_f1": {f"{level:.6g}": found[label].f1 for level, found in self.bouts.items()},
            }
            for label, counts in self.counts.items()
        }
        return {
            **{name: _mean(row[name] for row in per_label.values()) for name in ("precision", "recall", "f1")},
            "mAP": _mean(self.precision.values()),
            "best_score": self.shared[0],
            "best_f1": self.shared[1],
            "accuracy": self.accuracy,
            "banos": _told(means(list(self.banos.values()))),
            "banos_optimal": _told(means(list(self.banos_optimal.values()))),
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
            **({} if self.one_label is None else {"one_label": self.one_label.as_json()}),
            **({} if self.tuned is None else {"tuned": self.tuned.as_json()}),
            **({} if self.vtrace is None else {"vtrace": self.vtrace.as_json()}),
        }


def _told(measures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in measures.items()}


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def evaluate_frames(
    predictions: Predictions | ScoreTables,
    annotations: Annotations,
    subset: str,
    tiou: Sequence[float],
    score: Mapping[str, float],
) -> FrameEvaluation:
    """Evaluate predictions by frames on one subset.

    score: from which segments count, by label; others count from 0. Scores of frames count above it.

    Raises:
        UsageError: the subset has no instance, or a video's frame rate is not known.
    """
    videos = [video for video in annotations.of(subset) if not video.is_unseen]
    labels = sorted({item.label for video in videos for item in video.settled})
    if not labels:
        raise UsageError(f"no instance in subset {subset!r}")
    thresholds = {label: score.get(label, 0.0) for label in labels}
    segments = predictions.segments(videos, thresholds) if isinstance(predictions, ScoreTables) else predictions
    rows = _rows(segments)
    parts = list(_parts(videos, labels, predictions, rows))
    truth, scores, seen = (
        np.concatenate([getattr(part, what) for part in parts]) for what in ("true", "scores", "seen")
    )
    is_above = np.greater if isinstance(predictions, ScoreTables) else np.greater_equal
    least = np.asarray(list(thresholds.values()))
    listed = [(part.scores > 0) & is_above(part.scores, least) for part in parts]
    is_listed = np.concatenate(listed)
    counts, precision, best = {}, {}, {}
    for place, label in enumerate(labels):
        mine = seen[:, place]
        is_true, scored = truth[mine, place], scores[mine, place]
        counts[label] = counts_of(is_true, is_listed[mine, place])
        best[label] = best_threshold(is_true, scored) if is_true.any() else (0.0, 0.0)
        precision[label] = average_precision(is_true, scored)
    whole = seen.all(axis=1)
    one = all_tuned = as_vtrace = None
    if isinstance(predictions, Predictions):
        cut = [
            cut_scores(rows.get(video.name, []), labels, video.fps or 0.0, len(part.true))
            for video, part in zip(videos, parts, strict=True)
        ]
        as_vtrace = vtrace(truth, np.concatenate(cut), seen, labels, thresholds)
    elif whole.any():
        one = one_label(truth[whole], scores[whole], labels, BACKGROUND)
        all_tuned = tuned(truth[whole], scores[whole], labels)
    right = (is_listed == truth)[whole].all(axis=1)
    return FrameEvaluation(
        subset,
        thresholds,
        int(seen.any(axis=1).sum()),
        counts,
        precision,
        best,
        shared_threshold(truth & seen, np.where(seen, scores, 0.0)),
        float(right.mean()) if len(right) else 0.0,
        _judged(parts, listed, labels, optimal=False),
        _judged(parts, listed, labels, optimal=True),
        bout_counts(*on_reviewed(segments, annotations), subset, tiou, score),
        sum(label not in counts for label in segments.labels),
        one,
        all_tuned,
        as_vtrace,
    )


@dataclass(frozen=True)
class _Part:
    """One video, [frames, labels] each: what holds, its scores, and what was reviewed."""

    true: NDArray[np.bool_]
    scores: Floats
    seen: NDArray[np.bool_]


def _rows(segments: Predictions) -> dict[str, list[Row]]:
    """The segments of each video."""
    rows: dict[str, list[Row]] = {}
    columns = (segments.starts.tolist(), segments.ends.tolist(), segments.scores.tolist())
    for name, label, start, end, score in zip(segments.videos, segments.labels, *columns, strict=True):
        rows.setdefault(name, []).append((label, start, end, score))
    return rows


def _parts(
    videos: Iterable[VideoAnnotation],
    labels: Sequence[str],
    predictions: Predictions | ScoreTables,
    rows: Mapping[str, list[Row]],
) -> Iterator[_Part]:
    for video in videos:
        times = frame_clock(video)
        items = [(item.label, item.start, item.end, 1.0) for item in video.settled]
        yield _Part(
            frame_scores(items, labels, times) > 0,
            predictions.of(video, labels, len(times))
            if isinstance(predictions, ScoreTables)
            else frame_scores(rows.get(video.name, []), labels, times),
            np.stack([_seen(video, label, times) for label in labels], axis=1),
        )


def _judged(
    parts: Sequence[_Part], listed: Sequence[NDArray[np.bool_]], labels: Sequence[str], *, optimal: bool
) -> dict[str, dict[str, float]]:
    """The behaviour annotation score of each label, of frames that were reviewed."""
    by_video = [
        [
            banos(part.true[part.seen[:, place], place], found[part.seen[:, place], place], optimal=optimal)
            for place in range(len(labels))
        ]
        for part, found in zip(parts, listed, strict=True)
    ]
    return {label: means([video[place] for video in by_video]) for place, label in enumerate(labels)}


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
    """The score of each frame, [frames, labels]: the largest of those segments (label, start, end, score) around it.

    A segment between two frames has none; a point has the frame that is shown then.
    """
    places = {label: index for index, label in enumerate(labels)}
    scores = np.zeros((len(times), len(labels)))
    for label, start, end, score in items:
        if label in places:
            first, after = (frame_span if start == end else frames_within)(start, end, times)
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
