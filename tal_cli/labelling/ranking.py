"""Which stretches of video teach most for the time that labelling them takes.

A stretch has kinds of content: labels that a model expects in it, clusters of features, which tell stretches apart
where no model does yet, and the video it is of, since what is alike in one video may differ in the next. What it
teaches is how much it adds to the logarithm of the examples of each kind: the first example of something counts most,
the hundredth next to nothing. Stretches are chosen one by one, each with what it still adds after those before it, per
second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SETTLING = 2.0  # seconds that it takes to get into a stretch, whatever its length


@dataclass(frozen=True)
class Stretch:
    """A part of a video that could be labelled next; start, end in seconds."""

    video: str
    start: float
    end: float

    @property
    def effort(self) -> float:
        """Seconds that labelling it takes."""
        return self.end - self.start + SETTLING


def gains(expected: Floats, known: Floats, weights: Floats) -> Floats:
    """What stretches add to what is known, by kind.

    Args:
        expected: examples of each kind in each stretch, [stretches, kinds].
        known: examples of each kind so far, [kinds].
        weights: of the kinds, [kinds].
    """
    more: Floats = weights * np.log1p(expected / (1 + known))
    return more


def choose(
    stretches: Sequence[Stretch], expected: Floats, known: Floats, weights: Floats, most: int
) -> list[tuple[int, Floats]]:
    """Indices of the best stretches, best first, and what each adds by kind; no two overlap."""
    known = known.astype(np.float64)
    videos = np.asarray([stretch.video for stretch in stretches])
    starts, ends, effort = (
        np.asarray([getattr(each, name) for each in stretches]) for name in ("start", "end", "effort")
    )
    left = np.ones(len(stretches), dtype=bool)
    chosen: list[tuple[int, Floats]] = []
    while left.any() and len(chosen) < most:
        added = gains(expected, known, weights)
        worth = np.where(left, added.sum(axis=1) / effort, -np.inf)
        best = int(np.argmax(worth))
        chosen.append((best, added[best]))
        known = known + expected[best]
        left &= ~((videos == videos[best]) & (starts < ends[best]) & (starts[best] < ends))
    return chosen
