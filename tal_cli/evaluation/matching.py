"""Matching of predictions with instances, for all labels and videos at once.

Shapes: P predictions, G instances, K pairs of both with the same label and video, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import VideoAnnotation
from tal_cli.evaluation.predictions import Predictions
from tal_cli.models.inference.tiou import tiou

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK = 1 << 22  # pairs whose tIoU is computed at once


@dataclass(frozen=True)
class Matching:
    """Predictions and instances as arrays. Predictions are sorted by label, then by descending score.

    Attributes:
        labels: labels with instances, L; instances: the number of instances of each, [L].
        row: row of each prediction in the file, [P]; label_of: its label, [P].
        rank: number of preceding predictions of the same label and video, [P].
        pair_first, pair_count: slice of the pairs of each prediction, [P]; sorted by descending tIoU, nan first.
        pair_prediction, pair_instance, pair_overlap: prediction, instance and tIoU of each pair, [K].
        instance_label: label of each instance, [G]; instance_group: instances of its label in its video, [G].
        instance_row: each instance's position in file order, [G].
        ignored: number of predictions ignored because their label has no instance.
    """

    labels: tuple[str, ...]
    instances: Ints
    row: Ints
    label_of: Ints
    rank: Ints
    pair_first: Ints
    pair_count: Ints
    pair_prediction: Ints
    pair_instance: Ints
    pair_overlap: Floats
    instance_label: Ints
    instance_group: Ints
    instance_row: Ints
    ignored: int

    @classmethod
    def of(cls, predictions: Predictions, videos: Sequence[VideoAnnotation]) -> Matching:
        """Index predictions and the instances of these videos, and pair them."""
        ground_truth = _Instances.of(videos)
        known = {label: index for index, label in enumerate(ground_truth.labels)}
        label = np.asarray([known.get(name, -1) for name in predictions.labels], dtype=np.int64)
        # lexsort is stable: among equal scores the first row stays first.
        order = np.lexsort((-predictions.scores, label))
        order = order[label[order] >= 0]
        label = label[order]
        numbers: dict[str, int] = {}
        video = np.asarray([numbers.setdefault(name, len(numbers)) for name in predictions.videos], dtype=np.int64)
        group = ground_truth.groups(label, video[order], numbers)
        prediction, instance, overlap = ground_truth.pairs(group, predictions.starts[order], predictions.ends[order])
        by_overlap = np.lexsort((-instance, np.where(np.isnan(overlap), -np.inf, -overlap), prediction))
        count = np.bincount(prediction, minlength=len(order))
        return cls(
            labels=ground_truth.labels,
            instances=np.bincount(ground_truth.label, minlength=len(ground_truth.labels)),
            row=order,
            label_of=label,
            rank=_rank_within(group),
            pair_first=np.cumsum(count) - count,
            pair_count=count,
            pair_prediction=prediction[by_overlap],
            pair_instance=instance[by_overlap],
            pair_overlap=overlap[by_overlap],
            instance_label=ground_truth.label,
            instance_group=ground_truth.count[ground_truth.group],
            instance_row=ground_truth.row,
            ignored=len(predictions.labels) - len(order),
        )

    def true_positives(self, threshold: float) -> NDArray[np.bool_]:
        """Whether each prediction is matched to an instance, bool [P]."""
        return self.claims(threshold) >= 0

    def claims(self, threshold: float) -> Ints:
        """The instance matched to each prediction, -1 for none, [P].

        Greedy matching by descending score is the stable matching in which instances prefer higher scores, so it is
        computed by deferred acceptance over all labels and videos at once.
        """
        unmatched = len(self.label_of)
        holder = np.full(len(self.instance_label), unmatched)
        enough = ~(self.pair_overlap < threshold)
        count = np.bincount(self.pair_prediction[enough], minlength=unmatched)
        tried = np.zeros(unmatched, dtype=np.int64)
        active = np.flatnonzero(count)
        while active.size:
            target = self.pair_instance[self.pair_first[active] + tried[active]]
            before = holder[target]
            np.minimum.at(holder, target, active)
            lost = active[holder[target] != active]
            displaced = before[(before != holder[target]) & (before != unmatched)]
            active = np.unique(np.concatenate([lost, displaced]))
            tried[active] += 1
            active = active[tried[active] < count[active]]
        claimed = np.full(unmatched, -1)
        held = np.flatnonzero(holder < unmatched)
        claimed[holder[held]] = held
        return claimed

    def recall(self, multiple: int, threshold: float) -> float:
        """Mean over labels of the fraction of instances matched by any of the best predictions."""
        allowed = self.rank[self.pair_prediction] < multiple * self.instance_group[self.pair_instance]
        found = np.zeros(len(self.instance_label), dtype=bool)
        found[self.pair_instance[allowed & (self.pair_overlap >= threshold)]] = True
        return float((np.bincount(self.instance_label, weights=found) / self.instances).mean())


@dataclass(frozen=True)
class _Instances:
    """Instances sorted by group: a group is one label in one video, if it has instances.

    key: label * videos + video of each group, ascending; first and count: slice of the instances of each group. Memory
    is proportional to the number of instances, not to labels times videos.
    """

    labels: tuple[str, ...]
    videos: tuple[str, ...]
    label: Ints
    starts: Floats
    ends: Floats
    row: Ints
    group: Ints
    key: Ints
    first: Ints
    count: Ints

    @classmethod
    def of(cls, videos: Sequence[VideoAnnotation]) -> _Instances:
        labels = tuple(sorted({segment.label for video in videos for segment in video.segments}))
        known = {label: index for index, label in enumerate(labels)}
        rows = [
            (known[item.label] * len(videos) + index, item.start, item.end)
            for index, video in enumerate(videos)
            for item in video.segments
        ]
        unsorted = np.asarray(rows, dtype=np.float64).reshape(-1, 3)
        row = np.argsort(unsorted[:, 0], kind="stable")
        table = unsorted[row]
        key, group, count = np.unique(table[:, 0].astype(np.int64), return_inverse=True, return_counts=True)
        names = tuple(video.name for video in videos)
        label = key[group] // max(len(videos), 1)
        first = np.cumsum(count) - count
        return cls(labels, names, label, table[:, 1], table[:, 2], row, group, key, first, count)

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.videos)}

    def groups(self, label: Ints, video: Ints, names: dict[str, int]) -> Ints:
        """Group of each prediction; without ground truth a negative number that differs per label and video."""
        here = np.asarray([self.numbers.get(name, -1) for name in names], dtype=np.int64)[video] if names else video
        elsewhere = -1 - (label * max(len(names), 1) + video)
        if not len(self.key):
            return elsewhere
        key = label * len(self.videos) + here
        group = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where((here >= 0) & (self.key[group] == key), group, elsewhere)

    def pairs(self, group: Ints, starts: Floats, ends: Floats) -> tuple[Ints, Ints, Floats]:
        """Pairs of predictions and overlapping instances of their group: indices of both and their tIoU."""
        count = np.where(group >= 0, self.count[np.maximum(group, 0)], 0)
        prediction = np.repeat(np.arange(len(group)), count)
        position = np.arange(len(prediction)) - np.repeat(np.cumsum(count) - count, count)
        instance = self.first[group[prediction]] + position
        pieces = [
            tiou(starts[p], ends[p], self.starts[i], self.ends[i])
            for p, i in zip(_chunks(prediction), _chunks(instance), strict=True)
        ]
        overlap = np.concatenate(pieces) if pieces else np.empty(0)
        meets = ~(overlap <= 0)
        return prediction[meets], instance[meets], overlap[meets]


def _chunks(values: Ints) -> list[Ints]:
    return [values[start : start + CHUNK] for start in range(0, len(values), CHUNK)]


def _rank_within(group: Ints) -> Ints:
    """Number of earlier elements with the same value, for each element."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    lengths = np.diff(np.append(starts, len(ordered)))
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(starts, lengths)
    return rank
