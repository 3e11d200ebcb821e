"""A recipe for data that nobody has written one for: levels, ranges and lengths from the annotated durations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extractors.contract import FeatureContract
from models.architectures import GmgSettings
from models.recipe import FeatureSpec, ModelConfig, Recipe, TrainingConfig
from tal_cli.datasets.features import FeatureVideo

FEWEST_LEVELS, MOST_LEVELS = 3, 8
FINEST_RANGE = 4.0  # grid cells that the finest level regresses at most
LONGEST = 2304  # cells; longer sequences are cropped
WIDTH = 256
BATCH = 8


@dataclass(frozen=True)
class DataShape:
    """What a recipe is derived from: durations of instances and lengths of videos, in grid cells."""

    durations: tuple[float, ...]
    lengths: tuple[int, ...]


def data_shape(videos: Sequence[FeatureVideo]) -> DataShape:
    """The shape of the videos to train on."""
    durations = [duration for video in videos for duration in np.diff(video.segments, axis=1).ravel().tolist()]
    return DataShape(tuple(durations), tuple(video.length for video in videos))


def spec_of(contract: FeatureContract) -> FeatureSpec:
    """What a recipe says of features made under a contract."""
    return FeatureSpec(**{name: getattr(contract, name) for name in FeatureSpec.model_fields})


def levels_for(durations: Sequence[float]) -> int:
    """Pyramid levels so that the coarsest range begins near half the longest usual instance (the 98th percentile).

    Level l regresses distances of 4 * 2 ** (l - 1) to 4 * 2 ** l cells, and the middle of an instance is half its
    duration from either end.
    """
    longest = float(np.quantile(durations, 0.98)) if len(durations) else FINEST_RANGE
    levels = math.ceil(math.log2(max(longest / 2, FINEST_RANGE) / FINEST_RANGE)) + 2
    return min(max(levels, FEWEST_LEVELS), MOST_LEVELS)


def derive_recipe(name: str, spec: FeatureSpec, shape: DataShape, classes: int) -> Recipe:
    """A released-variant CLTDR-GMG recipe that fits the data's durations and lengths."""
    levels = levels_for(shape.durations)
    top = 1 << (levels - 1)
    usual = float(np.quantile(shape.lengths, 0.95))
    length = math.ceil(min(max(usual, 4 * top), LONGEST) / top) * top
    batch = max(1, min(BATCH, len(shape.lengths)))
    return Recipe(
        name=name,
        description="derived from the annotated durations",
        features=spec,
        model=ModelConfig(
            classes=classes,
            width=WIDTH,
            head_width=WIDTH,
            encoder=GmgSettings(windows=5, mlp_width=2 * WIDTH),
            levels=levels,
            pad_length=length,
        ),
        training=TrainingConfig(
            max_length=length, batch_size=batch, learning_rate=1e-3 if batch > 2 else 1e-4, epochs=40, warmup_epochs=5
        ),
    )


def summary(recipe: Recipe, shape: DataShape) -> list[str]:
    """What was derived, in lines for a person."""
    durations = np.asarray(shape.durations)
    low, middle, high = np.quantile(durations, [0.02, 0.5, 0.98]) if len(durations) else (0.0, 0.0, 0.0)
    ranges = ", ".join(f"{a:g}-{b:g}" for a, b in recipe.model.level_ranges[:-1])
    last = recipe.model.level_ranges[-1][0]
    return [
        f"instances last {low:.1f} to {high:.1f} grid cells, {middle:.1f} in the middle (2, 98, 50 %)",
        f"derived: {recipe.model.levels} levels, regression ranges {ranges}, from {last:g}; "
        f"sequences of {recipe.training.max_length} cells, batches of {recipe.training.batch_size}, "
        f"{recipe.training.warmup_epochs} + {recipe.training.epochs} epochs",
    ]
