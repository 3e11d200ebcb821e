"""Learning rate schedule: linear warm-up, then cosine decay or steps down."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tal_cli.models.recipe.training import TrainingConfig


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up from zero over `warmup_steps`, then cosine decay from `peak` to `floor` until `steps`; with
    `drops` instead a rate that is multiplied by `factor` at each of these steps."""

    peak: float
    floor: float
    warmup_steps: int
    steps: int
    drops: tuple[int, ...] = ()
    factor: float = 1.0

    @classmethod
    def of(cls, config: TrainingConfig, steps_per_epoch: int) -> Schedule:
        """The recipe's schedule, which lasts `warmup_epochs + epochs`."""
        warmup = config.warmup_epochs * steps_per_epoch
        total = warmup + config.epochs * steps_per_epoch
        drops = tuple(epoch * steps_per_epoch for epoch in config.decay_epochs)
        return cls(config.learning_rate, config.min_learning_rate, warmup, total, drops, config.decay_factor)

    def rate(self, step: int, times: float = 1.0) -> float:
        """Learning rate of step 0, 1, ...: zero at the first step of a warm-up, `peak` at its last; times: of which the
        peak is multiplied, for parameters with a rate of their own."""
        peak = self.peak * times
        if step < self.warmup_steps:
            return peak * min(1.0, step / max(self.warmup_steps - 1, 1)) if self.warmup_steps > 1 else peak
        if self.drops:
            return peak * self.factor ** sum(step >= drop for drop in self.drops)
        progress = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        return self.floor + 0.5 * (peak - self.floor) * (1 + math.cos(math.pi * min(progress, 1.0)))
