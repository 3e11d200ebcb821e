"""Non-maximum suppression of segments: Gaussian Soft-NMS (Bodla et al. 2017), hard NMS and segment voting.

Compiled with numba at first use and cached on disk; on the host, wherever the detector runs: copying some ten thousand
candidates from a GPU takes less time than launching the sequential selections there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.cpu import compiled
from tal_cli.models.recipe.inference import InferenceConfig

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ScoredSegments:
    """n segments: labels int64 [n], scores in [0, 1] float32 [n], starts and ends [n] in grid cells, float32 where they
    are to be suppressed."""

    labels: Integers
    starts: NDArray[np.floating[Any]]
    ends: NDArray[np.floating[Any]]
    scores: Floats

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[Any]) -> ScoredSegments:
        """Those at an index array or mask."""
        return ScoredSegments(self.labels[index], self.starts[index], self.ends[index], self.scores[index])

    @classmethod
    def join(cls, parts: Sequence[ScoredSegments]) -> ScoredSegments:
        """All of one or more parts, one after the other."""
        columns = ((part.labels, part.starts, part.ends, part.scores) for part in parts)
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def suppress(candidates: ScoredSegments, config: InferenceConfig) -> ScoredSegments:
    """Candidates after NMS and voting, by falling score, at most `max_segments`.

    Per class with `multiclass`, and then without voting, as published; over all classes otherwise.
    """
    if not len(candidates) or config.nms == "none":
        return candidates
    if config.nms == "overlaps":  # done where chunks were joined
        return _best(candidates, config.max_segments)
    labels = candidates.labels if config.multiclass else np.zeros_like(candidates.labels)
    kept = _suppress_groups(candidates, labels, config)
    if not config.multiclass and config.voting_threshold > 0:
        kept = vote(kept, candidates, config.voting_threshold, by_overlap=config.voting_weight == "score-iou")
    return _best(kept, config.max_segments)


def _best(candidates: ScoredSegments, limit: int) -> ScoredSegments:
    return candidates.take(np.argsort(-candidates.scores, kind="stable")[:limit])


def _suppress_groups(candidates: ScoredSegments, labels: Integers, config: InferenceConfig) -> ScoredSegments:
    """Suppression within each group of equal `labels`, at most `max_segments` of each, group after group."""
    hard = config.nms == "hard"
    if hard:
        enough = candidates.scores > np.float32(config.min_score)
        candidates, labels = candidates.take(enough), labels[enough]
    order = np.argsort(labels, kind="stable")
    edges = np.flatnonzero(np.diff(labels[order])) + 1
    bounds = np.concatenate([[0], edges, [len(order)]]).astype(np.int64)
    group = candidates.take(order)
    if hard:
        threshold = np.float32(config.iou_threshold)
        kept = compiled(_hard_nms)(group.starts, group.ends, group.scores, bounds, threshold, config.max_segments)
        return group.take(kept)
    sigma, least = np.float32(config.sigma), np.float32(config.min_score)
    index, scores = compiled(_soft_nms)(
        group.starts, group.ends, group.scores, bounds, sigma, least, config.max_segments
    )
    return replace(group.take(index), scores=scores)


def vote(kept: ScoredSegments, everyone: ScoredSegments, threshold: float, *, by_overlap: bool) -> ScoredSegments:
    """Move each kept segment to the mean of all candidates that overlap it by `threshold` or more, weighted by score
    (or score times IoU). A segment that overlaps nothing, not even itself (zero length), stays where it is."""
    starts, ends = compiled(_vote)(
        kept.starts, kept.ends, everyone.starts, everyone.ends, everyone.scores, np.float32(threshold), by_overlap
    )
    return replace(kept, starts=starts, ends=ends)


def _soft_nms(
    starts: Floats,
    ends: Floats,
    scores: Floats,
    bounds: Integers,
    sigma: np.float32,
    min_score: np.float32,
    limit: int,
) -> tuple[Integers, Floats]:
    """Indices and decayed scores, group after group (group g is bounds[g] to bounds[g + 1]), in order of selection.

    Ties go to the first in order. Candidates are tested against `min_score` only after a selection, so that the
    best one always stays. One loop decays, drops and finds the next best; a freed slot is filled by the
    group's last candidate. The exponential is rounded once, from float64.
    """
    starts, ends, scores = starts.copy(), ends.copy(), scores.copy()
    lengths = ends - starts + np.float32(1e-6)
    place = np.arange(len(starts))
    index = np.empty(len(starts), np.int64)
    selected = np.empty(len(starts), np.float32)
    total = 0
    for group in range(len(bounds) - 1):
        first, count = bounds[group], bounds[group + 1]
        enough = total + limit
        best = first
        for other in range(first + 1, count):
            if scores[other] > scores[best]:
                best = other
        while count > first and total < enough:
            start, end, length = starts[best], ends[best], lengths[best]
            index[total], selected[total] = place[best], scores[best]
            total += 1
            count -= 1
            starts[best], ends[best], lengths[best] = starts[count], ends[count], lengths[count]
            scores[best], place[best] = scores[count], place[count]
            best = other = first
            while other < count:
                inner = min(end, ends[other]) - max(start, starts[other])
                if inner > 0:
                    overlap = inner / (length + lengths[other] - inner)
                    scores[other] *= np.float32(np.exp(np.float64(-(overlap * overlap) / sigma)))
                if scores[other] < min_score:
                    count -= 1
                    starts[other], ends[other], lengths[other] = starts[count], ends[count], lengths[count]
                    scores[other], place[other] = scores[count], place[count]
                    continue
                if scores[other] > scores[best] or (scores[other] == scores[best] and place[other] < place[best]):
                    best = other
                other += 1
    return index[:total], selected[:total]


def _hard_nms(
    starts: Floats, ends: Floats, scores: Floats, bounds: Integers, threshold: np.float32, limit: int
) -> Integers:
    """Indices kept, group after group, by falling score: each whose IoU with every kept one is below threshold."""
    lengths = ends - starts + np.float32(1e-6)
    dropped = np.zeros(len(starts), np.bool_)
    kept = np.empty(len(starts), np.int64)
    total = 0
    for group in range(len(bounds) - 1):
        order = bounds[group] + np.argsort(-scores[bounds[group] : bounds[group + 1]], kind="mergesort")
        enough = total + limit
        for rank in range(len(order)):
            best = order[rank]
            if dropped[best]:
                continue
            if total == enough:
                break
            kept[total] = best
            total += 1
            for other in order[rank + 1 :]:
                inner = max(np.float32(0), min(ends[best], ends[other]) - max(starts[best], starts[other]))
                if inner / (lengths[best] + lengths[other] - inner) >= threshold:
                    dropped[other] = True
    return kept[:total]


def _vote(
    starts: Floats,
    ends: Floats,
    all_starts: Floats,
    all_ends: Floats,
    all_scores: Floats,
    threshold: np.float32,
    by_overlap: bool,
) -> tuple[Floats, Floats]:
    new_starts, new_ends = starts.copy(), ends.copy()
    for segment in range(len(starts)):
        total, start_sum, end_sum = 0.0, 0.0, 0.0
        for other in range(len(all_starts)):
            inner = min(ends[segment], all_ends[other]) - max(starts[segment], all_starts[other])
            if inner <= 0:
                continue
            union = (ends[segment] - starts[segment]) + (all_ends[other] - all_starts[other]) - inner
            overlap = inner / union
            if overlap >= threshold:
                weight = all_scores[other] * overlap if by_overlap else all_scores[other]
                total += weight
                start_sum += weight * all_starts[other]
                end_sum += weight * all_ends[other]
        if total > 0:
            new_starts[segment] = start_sum / total
            new_ends[segment] = end_sum / total
    return new_starts, new_ends
