"""Class scores over time to segments, without training: where a class is probable, and more so than beside it.

The score of a candidate is the mean probability inside, less a part of the mean beside it (outer-inner contrast, as
AutoLoc, Shou et al. 2018), times what its class scores say of there being any of the classes at all (as energy scores
do, Liu et al. 2020).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.models.classifier import WindowClassifier, group_matrix
from tal_cli.models.inference.chunks import NOTHING, check_features
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.recipe.classifier import EvidenceConfig
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.inference import InferenceConfig

ROWS_AT_ONCE = 1 << 14
Floats = NDArray[np.float32]


@torch.inference_mode()
def segments_of_evidence(
    classifier: WindowClassifier,
    features: Tensor,
    spec: FeatureSpec,
    config: EvidenceConfig,
    inference: InferenceConfig,
    class_names: tuple[str, ...],
) -> ScoredSegments:
    """Segments in features float [T, C] after NMS, by falling score, in grid cells.

    Segments that reach the first or last row reach the video's edge. Raises ValueError as `detect`.
    """
    check_features(features, classifier.channels)
    if not len(features):
        return NOTHING
    scores = class_scores(classifier, features)
    groups = group_matrix(config.groups, class_names)
    probabilities = (torch.softmax(smooth(scores, config.smoothing), 1) @ groups).numpy()
    strongest = torch.stack([scores[:, members.bool()].amax(1) for members in groups.T], 1).numpy()
    found = [
        candidates(label, probabilities[:, label], strongest[:, label], config)
        for label in np.flatnonzero(probabilities.max(0) > min(config.thresholds)).tolist()
    ]
    if not found:
        return NOTHING
    rows = ScoredSegments.join(found)
    # Row g stands for the frames around the centre of window g: from g - 1/2 to g + 1/2.
    edge = 0.5 * spec.window / spec.stride
    starts = np.where(rows.starts == 0, -edge, rows.starts - 0.5)
    ends = np.where(rows.ends == len(features), len(features) - 1 + edge, rows.ends - 0.5)
    return suppress(
        ScoredSegments(rows.labels, starts.astype(np.float32), ends.astype(np.float32), rows.scores), inference
    )


def class_scores(classifier: WindowClassifier, features: Tensor) -> Tensor:
    """Class scores [T, classes] of features [T, C], on the host."""
    weights = classifier.linear.weight
    parts = [classifier(part.to(weights.device, weights.dtype)).float().cpu() for part in features.split(ROWS_AT_ONCE)]
    return torch.cat(parts)


def smooth(scores: Tensor, rows: int) -> Tensor:
    """Means [T, K] over `rows` neighbouring rows, the first and last row repeated beyond the ends."""
    half = rows // 2
    padded = F.pad(scores.T[None], (half, half), mode="replicate")
    return F.avg_pool1d(padded, rows, stride=1)[0].T


def candidates(label: int, probability: Floats, strongest: Floats, config: EvidenceConfig) -> ScoredSegments:
    """Candidates of one label, in rows, with their scores.

    probability: [T] of the label, smoothed. strongest: [T] the highest class score of the label's classes.
    """
    spans = sorted({span for threshold in config.thresholds for span in runs(probability > threshold)})
    shortest = min(config.shortest, len(probability))
    spans = [(start, end) for start, end in spans if end - start >= shortest]
    total = np.concatenate([[0.0], np.cumsum(probability, dtype=np.float64)])
    scores = [
        max(0.0, contrast(total, start, end, config)) * certainty(strongest[start:end], config) for start, end in spans
    ]
    starts, ends = np.array(spans, np.float64).reshape(-1, 2).T
    return ScoredSegments(np.full(len(spans), label, np.int64), starts, ends, np.array(scores, np.float32))


def runs(above: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, end) of every run of true values, end exclusive."""
    edges = np.flatnonzero(np.diff(above, prepend=False, append=False))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def contrast(total: NDArray[np.float64], start: int, end: int, config: EvidenceConfig) -> float:
    """Mean probability of a span less a part of the mean beside it. total: [T + 1] sums of all before each row."""
    width = max(1, round((end - start) * config.beside))
    left, right = max(0, start - width), min(len(total) - 1, end + width)
    inside = (total[end] - total[start]) / (end - start)
    outside = total[start] - total[left] + total[right] - total[end]
    rows = start - left + right - end
    return float(inside - (config.contrast * outside / rows if rows else 0.0))


def certainty(strongest: Floats, config: EvidenceConfig) -> float:
    """How far the stronger half of a span's class scores lies above what any scene reaches, in [0, 1]."""
    if config.evidence is None:
        return 1.0
    half = np.sort(strongest)[len(strongest) // 2 :]
    return float(1 / (1 + np.exp(-(half.mean() - config.evidence) / config.evidence_scale)))
