"""Transitions between shots from scores of single frames: where one is, from when to when, and of which kind.

As TransNet V2 is meant (Souček & Lokoč 2020): one score says of a frame that it is the middle of a transition, the
other that it is part of one. The first finds transitions, the second tells how long they are.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from tal_cli.models.classifier import WindowClassifier
from tal_cli.models.inference.chunks import NOTHING, check_features
from tal_cli.models.inference.evidence import class_scores, runs
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.recipe.classifier import TransitionConfig
from tal_cli.models.recipe.inference import InferenceConfig

CUT, GRADUAL = 0, 1  # classes, in the order of the model's labels


@torch.inference_mode()
def transitions(
    classifier: WindowClassifier, features: Tensor, config: TransitionConfig, inference: InferenceConfig
) -> ScoredSegments:
    """Cuts and gradual transitions in features float [T, C] of single frames, by falling score, in grid cells.

    A cut is the instant after its frame, told as `cut_length` around it. Raises ValueError as `detect`.
    """
    check_features(features, classifier.channels)
    if not len(features):
        return NOTHING
    middle, part = torch.sigmoid(class_scores(classifier, features)).T.numpy()
    spans = runs(part > config.part)
    found = []
    for first, end in runs(middle > config.middle):
        best = first + int(middle[first:end].argmax())
        span = span_around(spans, best)
        if span[1] - span[0] > config.longest_cut:
            found.append((GRADUAL, span[0] - 0.5, span[1] - 0.5, middle[best]))
        else:
            found.append((CUT, best + 0.5 - config.cut_length / 2, best + 0.5 + config.cut_length / 2, middle[best]))
    if not found:
        return NOTHING
    labels, starts, ends, scores = (np.array(column) for column in zip(*found, strict=True))
    candidates = ScoredSegments(labels, starts.astype(np.float32), ends.astype(np.float32), scores.astype(np.float32))
    return suppress(candidates, inference)


def span_around(spans: list[tuple[int, int]], row: int) -> tuple[int, int]:
    """The span (start, end) of sorted ones that holds a row; without one, the row alone."""
    before = bisect_right(spans, row, key=itemgetter(0)) - 1
    start, end = spans[before] if before >= 0 else (row, row)
    return (start, end) if start <= row < end else (row, row + 1)
