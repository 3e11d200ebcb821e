"""Error analysis of detections after Alwassel et al., Diagnosing Error in Temporal Action Detectors (ECCV 2018).

Three analyses, with the same results as the authors' tool (DETAD):

- false positives: the best 10 G predictions of each label, where G is its number of instances, by error type; and the
  gain in average mAP_N if the errors of one type were removed;
- sensitivity: average mAP_N over the instances of a single bucket of a characteristic;
- false negatives: the fraction of a bucket's instances that no prediction matches at a normalised precision above 0.05.

mAP_N is mAP with precision normalised to the average number of instances per label, N: R N / (R N + F), where R is
recall and F the number of false positives so far. Predictions in videos without instances are skipped and counted.

Shapes: N thresholds, L labels, P predictions sorted by label and descending score, G instances in file order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import Annotations, VideoAnnotation
from tal_cli.evaluation.diagnosis.characteristics import Bucketed, characterise, usable
from tal_cli.evaluation.diagnosis.error_types import ERRORS, Kind, classify
from tal_cli.evaluation.matching import Floats, Ints, Matching
from tal_cli.evaluation.predictions import Predictions
from tal_cli.extractors.errors import UsageError

Bools = NDArray[np.bool_]

MOST_GROUPS = 10  # G, 2G, ... of the false positive profile
MISSED_BELOW = 0.05  # normalised precision below which an instance counts as missed


@dataclass(frozen=True)
class FalsePositives:
    """The false positive profile and the cost of each error type.

    Attributes:
        kept: number of predictions among the best 10 G of their labels.
        precision: average precision per label, mean over thresholds, [L].
        total: predictions of each kind per threshold, [N, 6].
        counts: predictions of each kind in the first, second, ... G, mean over thresholds, [10, 6].
        sizes: predictions in the first, second, ... G, [10].
        gain: increase of average mAP_N when the errors of a type are removed, [5].
    """

    kept: int
    precision: Floats
    total: Ints
    counts: Floats
    sizes: Ints
    gain: Floats

    @property
    def profile(self) -> Floats:
        """Fraction of each kind in the first, second, ... G, [10, 6]; zero without predictions."""
        shares: Floats = self.counts / np.maximum(self.sizes, 1)[:, None]
        return shares


@dataclass(frozen=True)
class Sensitivity:
    """Average precision per label (mean over thresholds, [L]), and average mAP_N per characteristic and bucket; nan for
    a bucket without instances."""

    precision: Floats
    by_bucket: tuple[Floats, ...]


@dataclass(frozen=True)
class FalseNegatives:
    """Average mAP_N of the matched predictions, and the fraction of missed instances: overall, and per characteristic
    and bucket; nan for a bucket without instances."""

    average: float
    rate: float
    by_bucket: tuple[Floats, ...]


@dataclass(frozen=True)
class Scatter:
    """For every analysed prediction, or those of one video: its score, its highest tIoU with an instance of its label,
    and whether it is a true positive at the first threshold, all [P]."""

    scores: Floats
    overlaps: Floats
    true: Bools
    video: str | None


@dataclass(frozen=True)
class Diagnosis:
    """Error analysis of one prediction file on one subset.

    Attributes:
        subset: the analysed subset.
        tiou: tIoU thresholds, [N].
        labels: labels with instances, [L]; instances: the number of instances of each.
        characteristics: characteristics of all instances.
        left_out: number of skipped predictions: in videos or of labels without instances.
        unusable: number of skipped instances: empty, or longer than their video.
        false_positives, sensitivity, false_negatives, scatter: the analyses.
    """

    subset: str
    tiou: tuple[float, ...]
    labels: tuple[str, ...]
    instances: Ints
    characteristics: tuple[Bucketed, ...]
    left_out: int
    unusable: int
    false_positives: FalsePositives
    sensitivity: Sensitivity
    false_negatives: FalseNegatives
    scatter: Scatter

    def buckets(self) -> list[tuple[str, str, str, int, float, float]]:
        """Characteristic, bucket, range, instances, average mAP_N and fraction missed of every bucket."""
        return [
            (item.characteristic.title, name, text, int(count), float(value), float(missed))
            for item, values, rates in zip(
                self.characteristics, self.sensitivity.by_bucket, self.false_negatives.by_bucket, strict=True
            )
            for name, text, count, value, missed in zip(
                item.characteristic.buckets, item.characteristic.ranges, item.counts, values, rates, strict=True
            )
        ]


def diagnose(
    predictions: Predictions,
    annotations: Annotations,
    subset: str,
    tiou: Sequence[float] = (0.5,),
    scale: str = "auto",
    video: str | None = None,
) -> Diagnosis:
    """Analyse predictions on one subset of the ground truth.

    `scale` is that of `characterise`; `video` selects the predictions of the scatter, None for all.

    Raises:
        UsageError: the subset has no instance that can be analysed, or an unknown scale or video.
    """
    everything = annotations.of(subset)
    videos = usable(everything)
    if not videos:
        known = ", ".join(f"{name} ({count} videos)" for name, count in annotations.subsets.items())
        raise UsageError(f"no usable instance in subset {subset!r}", f"the file has the subsets {known}")
    names = {item.name for item in videos}
    if video is not None and video not in names:
        raise UsageError(f"no video {video} with instances in subset {subset!r}")
    within = predictions.take(np.asarray([name in names for name in predictions.videos], dtype=bool))
    counts = {item.name: len(item.segments) for item in everything}
    analysis = _Analysis.of(within, videos, tiou)
    characteristics = characterise(videos, counts, scale)
    return Diagnosis(
        subset=subset,
        tiou=tuple(tiou),
        labels=analysis.matching.labels,
        instances=analysis.matching.instances,
        characteristics=characteristics,
        left_out=len(predictions.videos) - len(analysis.matching.row),
        unusable=sum(counts.values()) - int(analysis.matching.instances.sum()),
        false_positives=analysis.false_positives(within, videos),
        sensitivity=analysis.sensitivity(characteristics),
        false_negatives=analysis.false_negatives(characteristics),
        scatter=analysis.scatter(within, video),
    )


@dataclass(frozen=True)
class _Analysis:
    """Predictions matched with instances; `claims` is the matched instance of each prediction in file order or -1,
    [N, P]; `place` its rank among the predictions of its label, [P]."""

    matching: Matching
    tiou: Floats
    claims: Ints
    place: Ints

    @classmethod
    def of(cls, predictions: Predictions, videos: Sequence[VideoAnnotation], tiou: Sequence[float]) -> _Analysis:
        matching = Matching.of(predictions, videos)
        claims = np.stack([matching.claims(threshold) for threshold in tiou])
        rows = np.append(matching.instance_row, -1)  # -1 stays -1
        per_label = np.bincount(matching.label_of, minlength=len(matching.labels))
        place = np.arange(len(matching.label_of)) - np.repeat(np.cumsum(per_label) - per_label, per_label)
        return cls(matching, np.asarray(tiou, dtype=np.float64), rows[claims], place)

    def false_positives(self, predictions: Predictions, videos: Sequence[VideoAnnotation]) -> FalsePositives:
        matched = self.claims >= 0
        group = self.place // self.matching.instances[self.matching.label_of]
        kept = group < MOST_GROUPS
        kinds = classify(predictions, self.matching.row, videos, matched, self.tiou)
        everything = np.broadcast_to(kept, matched.shape)
        precision = self._precision(matched, everything)
        without = [self._precision(matched, everything & (kinds != kind)).mean() for kind in ERRORS]
        thresholds = len(self.tiou)
        counts = np.zeros((MOST_GROUPS, len(Kind)))
        np.add.at(counts, (np.tile(group[kept], thresholds), kinds[:, kept].ravel()), 1 / thresholds)
        return FalsePositives(
            kept=int(kept.sum()),
            precision=precision.mean(axis=1),
            total=np.stack([np.bincount(row, minlength=len(Kind)) for row in kinds[:, kept]]),
            counts=counts,
            sizes=np.bincount(group[kept], minlength=MOST_GROUPS),
            gain=np.asarray(without) - precision.mean(),
        )

    def sensitivity(self, characteristics: Sequence[Bucketed]) -> Sensitivity:
        matched = self.claims >= 0
        base = self._precision(matched, np.ones_like(matched)).mean(axis=1)
        return Sensitivity(base, tuple(self._by_bucket(matched, item) for item in characteristics))

    def _by_bucket(self, matched: Bools, item: Bucketed) -> Floats:
        """Average mAP_N with the instances of one bucket only, without predictions matched to others: [buckets]."""
        bucket = np.append(item.bucket, -1)[self.claims]
        label = np.empty(len(item.bucket), dtype=np.int64)
        label[self.matching.instance_row] = self.matching.instance_label
        values = np.full(len(item.characteristic.buckets), np.nan)
        for number in np.flatnonzero(item.counts):
            here = np.bincount(label[item.bucket == number], minlength=len(self.matching.labels))
            kept = (~matched | (bucket == number)).all(axis=0)
            precision = self._precision(matched, np.broadcast_to(kept, matched.shape), here)
            values[number] = precision[here > 0].mean(axis=1).mean()
        return values

    def false_negatives(self, characteristics: Sequence[Bucketed]) -> FalseNegatives:
        matched = self.claims >= 0
        hits, misses = self._counts(matched, np.ones_like(matched))
        enough = self._normalised(hits, misses, self.matching.instances) > MISSED_BELOW
        found = matched & enough
        average = self._precision(found, np.ones_like(matched)).mean()
        missed = np.ones((len(self.tiou), len(self.matching.instance_row)), dtype=bool)
        for row, claims, good in zip(missed, self.claims, found, strict=True):
            row[claims[good]] = False
        rate = missed.mean(axis=0)  # of thresholds, per instance
        by_bucket = []
        for item in characteristics:
            with np.errstate(invalid="ignore"):
                by_bucket.append(np.bincount(item.bucket, rate, len(item.characteristic.buckets)) / item.counts)
        return FalseNegatives(float(average), float(rate.mean()), tuple(by_bucket))

    def scatter(self, predictions: Predictions, video: str | None) -> Scatter:
        nearest = np.zeros(len(self.place))
        some = self.matching.pair_count > 0
        nearest[some] = np.nan_to_num(self.matching.pair_overlap[self.matching.pair_first[some]])
        rows = self.matching.row.tolist()
        shown = np.asarray([video is None or predictions.videos[row] == video for row in rows], dtype=bool)
        return Scatter(predictions.scores[rows][shown], nearest[shown], (self.claims[0] >= 0)[shown], video)

    def _counts(self, matched: Bools, kept: Bools) -> tuple[Floats, Floats]:
        """Cumulative true and false positives of the label down to each prediction, [N, P]."""
        return self._running(matched & kept), self._running(~matched & kept)

    def _running(self, flags: Bools) -> Floats:
        total = np.cumsum(flags, axis=1, dtype=np.int64)
        if not total.shape[1]:
            return total.astype(np.float64)
        first = np.arange(len(self.place)) - self.place
        return (total - total[:, first] + flags[:, first]).astype(np.float64)

    def _normalised(self, hits: Floats, misses: Floats, instances: Ints) -> Floats:
        """Precision normalised to the average number of instances per label, [N, P]; 0 before the first kept one."""
        average = self.matching.instances.sum() / len(self.matching.labels)
        recall = hits / np.maximum(instances, 1)[self.matching.label_of]
        total = recall * average + misses
        precision: Floats = np.divide(recall * average, total, out=np.zeros_like(total), where=total > 0)
        return precision

    def _precision(self, matched: Bools, kept: Bools, instances: Ints | None = None) -> Floats:
        """Average normalised precision per label and threshold, [L, N], of the kept predictions."""
        instances = self.matching.instances if instances is None else instances
        hits, misses = self._counts(matched, kept)
        precision = self._normalised(hits, misses, instances)
        splits = np.cumsum(np.bincount(self.matching.label_of, minlength=len(instances)))[:-1]
        areas = [
            _area(part, recall / max(count, 1))
            for part, recall, count in zip(
                np.split(precision, splits, axis=1), np.split(hits, splits, axis=1), instances.tolist(), strict=True
            )
        ]
        return np.stack(areas)


def _area(precision: Floats, recall: Floats) -> Floats:
    """Area under the monotonic precision-recall curve, [N]."""
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    steps = np.diff(recall, axis=1, prepend=0.0)
    area: Floats = (steps * envelope).sum(axis=1)
    return area
