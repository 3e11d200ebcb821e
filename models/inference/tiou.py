"""How much segments overlap in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64] | float


def tiou(starts: Times, ends: Times, other_starts: Times, other_ends: Times) -> NDArray[np.float64]:
    """Temporal intersection over union of segments, elementwise, in any unit; 0/0 is nan.

    The intersection is clipped at zero; the union is the sum of lengths minus the intersection, even for segments that
    end before they start, exactly as in ActivityNet's `segment_iou`.
    """
    intersection = np.clip(np.minimum(ends, other_ends) - np.maximum(starts, other_starts), 0, None)
    union = (other_ends - other_starts) + (ends - starts) - intersection
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: NDArray[np.float64] = intersection / union
    return ratio
