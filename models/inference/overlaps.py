"""Joins what overlapping chunks found, where every chunk keeps all of it (Liu et al. 2022, TadTR)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.recipe.inference import InferenceConfig


def join_overlaps(
    found: Sequence[ScoredSegments], chunks: Sequence[range], config: InferenceConfig, edge: float
) -> ScoredSegments:
    """All that chunks of a sequence found, after hard NMS where two neighbours overlap; times in cells of the sequence.

    What touches an overlap is suppressed by what else does; all else stays. What touches two may be kept twice,
    as published. edge: cells by which a chunk begins before its first point.
    """
    hard = config.model_copy(update={"nms": "hard"})
    alone = [np.ones(len(part), np.bool_) for part in found]
    kept = []
    for left, right in itertools.pairwise(range(len(found))):
        start, end = chunks[right].start - edge, chunks[left].stop - edge
        both = []
        for side in (left, right):
            touching = (found[side].starts < end) & (found[side].ends > start)
            alone[side] &= ~touching
            both.append(found[side].take(touching))
        kept.append(suppress(ScoredSegments.join(both), hard))
    return ScoredSegments.join([*kept, *(part.take(index) for part, index in zip(found, alone, strict=True))])
