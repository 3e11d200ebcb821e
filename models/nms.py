"""Non-maximum suppression of segments: Gaussian Soft-NMS (Bodla et al. 2017), hard NMS and segment voting.

Compiled with numba at first use and cached on disk; arrays are float32 starts, ends, scores and int64 labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.recipe import InferenceConfig

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """n segments: labels int64 [n], starts and ends float32 [n] in grid cells, scores float32 [n]."""

    labels: Integers
    starts: Floats
    ends: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[Any]) -> Candidates:
        """Those at an index array or mask."""
        return Candidates(self.labels[index], self.starts[index], self.ends[index], self.scores[index])

    def shift(self, cells: int) -> Candidates:
        """The same segments, later by a number of grid cells."""
        offset = np.float32(cells)
        return Candidates(self.labels, self.starts + offset, self.ends + offset, self.scores)


def concatenate(parts: list[Candidates]) -> Candidates:
    """All parts one after the other; empty when there are none."""
    return Candidates(
        labels=np.concatenate([np.empty(0, np.int64), *(part.labels for part in parts)]),
        starts=np.concatenate([np.empty(0, np.float32), *(part.starts for part in parts)]),
        ends=np.concatenate([np.empty(0, np.float32), *(part.ends for part in parts)]),
        scores=np.concatenate([np.empty(0, np.float32), *(part.scores for part in parts)]),
    )


def suppress(candidates: Candidates, config: InferenceConfig) -> Candidates:
    """Candidates after NMS and voting, by falling score, at most `max_segments`.

    Per class with `multiclass`, and then without voting, as published; over all classes otherwise.
    """
    if not len(candidates) or config.nms == "none":
        return _best(candidates, config.max_segments) if config.nms != "none" else candidates
    if config.multiclass:
        groups = [np.flatnonzero(candidates.labels == label) for label in np.unique(candidates.labels)]
        kept = concatenate([_suppress_group(candidates.take(group), config) for group in groups])
    else:
        kept = _suppress_group(candidates, config)
        if config.voting_threshold > 0:
            kept = vote(kept, candidates, config.voting_threshold, by_overlap=config.voting_weight == "score-iou")
    return _best(kept, config.max_segments)


def _best(candidates: Candidates, limit: int) -> Candidates:
    return candidates.take(np.argsort(-candidates.scores, kind="stable")[:limit])


def _suppress_group(candidates: Candidates, config: InferenceConfig) -> Candidates:
    if config.nms == "hard":
        candidates = candidates.take(candidates.scores > np.float32(config.min_score))
        order = np.argsort(-candidates.scores, kind="stable")
        kept = _compiled(_hard_nms)(
            candidates.starts[order], candidates.ends[order], np.float32(config.iou_threshold), config.max_segments
        )
        return candidates.take(order[kept])
    index, scores = _compiled(_soft_nms)(
        candidates.starts,
        candidates.ends,
        candidates.scores,
        np.float32(config.sigma),
        np.float32(config.min_score),
        config.max_segments,
    )
    kept_candidates = candidates.take(index)
    return Candidates(kept_candidates.labels, kept_candidates.starts, kept_candidates.ends, scores)


def vote(kept: Candidates, everyone: Candidates, threshold: float, *, by_overlap: bool) -> Candidates:
    """Move each kept segment to the mean of all candidates that overlap it by `threshold` or more, weighted by score
    (or score times IoU). A segment that overlaps nothing, not even itself (zero length), stays where it is."""
    starts, ends = _compiled(_vote)(
        kept.starts, kept.ends, everyone.starts, everyone.ends, everyone.scores, np.float32(threshold), by_overlap
    )
    return Candidates(kept.labels, starts, ends, kept.scores)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba  # here, because importing it costs a noticeable part of a second

    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to write a cache: compile in every run
        compiled = numba.njit(nogil=True)(function)
    return compiled


def _soft_nms(
    starts: Floats, ends: Floats, scores: Floats, sigma: np.float32, min_score: np.float32, limit: int
) -> tuple[Integers, Floats]:
    """Indices and decayed scores in order of selection.

    Ties go to the one that stands first; a dropped candidate's place is taken by the last one. Candidates are tested
    against `min_score` only after a selection, so that the best one always stays.
    """
    starts, ends, scores = starts.copy(), ends.copy(), scores.copy()
    lengths = ends - starts + np.float32(1e-6)
    index = np.arange(len(starts))
    count = len(starts)
    position = 0
    while position < count and position < limit:
        best = position
        for other in range(position + 1, count):
            if scores[other] > scores[best]:
                best = other
        start, end, score, length, chosen = starts[best], ends[best], scores[best], lengths[best], index[best]
        starts[best], ends[best], scores[best] = starts[position], ends[position], scores[position]
        lengths[best], index[best] = lengths[position], index[position]
        starts[position], ends[position], scores[position] = start, end, score
        lengths[position], index[position] = length, chosen
        other = position + 1
        while other < count:
            inner = min(end, ends[other]) - max(start, starts[other])
            if inner > 0:
                overlap = inner / (length + lengths[other] - inner)
                scores[other] *= np.exp(-(overlap * overlap) / sigma)
            if scores[other] < min_score:
                count -= 1
                starts[other], ends[other], scores[other] = starts[count], ends[count], scores[count]
                lengths[other], index[other] = lengths[count], index[count]
            else:
                other += 1
        position += 1
    return index[:position], scores[:position]


def _hard_nms(starts: Floats, ends: Floats, threshold: np.float32, limit: int) -> Integers:
    """Indices kept of segments sorted by falling score: each one whose IoU with every kept one is below threshold."""
    lengths = ends - starts + np.float32(1e-6)
    dropped = np.zeros(len(starts), np.bool_)
    kept = np.empty(len(starts), np.int64)
    count = 0
    for position in range(len(starts)):
        if dropped[position]:
            continue
        kept[count] = position
        count += 1
        if count == limit:
            break
        for other in range(position + 1, len(starts)):
            inner = max(np.float32(0), min(ends[position], ends[other]) - max(starts[position], starts[other]))
            if inner / (lengths[position] + lengths[other] - inner) >= threshold:
                dropped[other] = True
    return kept[:count]


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
