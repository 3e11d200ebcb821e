"""Derives a recipe for data without one from the durations of instances and the lengths and number of videos.

Each rule is a function; the derived values are printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import CltdrSettings
from tal_cli.models.recipe.encoders import GmgSettings
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.recipe.training import TrainingConfig
from tal_cli.safe_text import counted

FEWEST_LEVELS, MOST_LEVELS = 3, 8
FINEST_RANGE = 4.0  # grid cells that the finest level regresses at most
LONGEST = 2304  # cells of a crop, as in the published settings
SCENE = 16  # length of a crop relative to the longest usual instance, up to LONGEST
WHOLE, MOST_CELLS = 2, 16_384  # minimum of that ratio, so that a crop contains the instance, up to MOST_CELLS
SHORTEST_CROP = 128
VIEWS = 40  # times that a run sees all of the data
FEWEST_STEPS, MOST_STEPS = (300, 1200), 15_000
STEPS_EACH = 10  # per instance, within FEWEST_STEPS: longer runs overfit few instances
EPOCHS, FEWEST_EPOCHS = 40, 8  # including warm-up
RARE = 0.02  # smaller fractions of instances are not reported
POSITIVES = 4  # approximate number of positive points per instance
# Where channels outnumber instances, chance tells any two of these apart: so many are dropped that about KEPT are left.
DROPPED, KEPT = (0.5, 0.75), 256
SHOWN_RIGHT = 0.5  # share of the segments that a person is shown that should be right, where it can be measured
NARROW, WIDE, WIDE_FROM = 128, 256, 2000  # model widths; WIDE_FROM instances and more use the wide one


@dataclass(frozen=True)
class DataShape:
    """Durations of instances and lengths of videos, in grid cells, from which a recipe is derived.

    cell: seconds from one grid cell to the next, the median over videos.
    known: cells of each video of which the truth is known, for any label; empty: all of them.
    """

    durations: tuple[float, ...]
    lengths: tuple[int, ...]
    cell: float = 1.0
    known: tuple[int, ...] = ()

    @property
    def share(self) -> float:
        """The share of the videos of which the truth is known."""
        return sum(self.known or self.lengths) / sum(self.lengths)

    def views(self, length: int) -> float:
        """Number of crops of `length` cells that cover all that is known of the videos once."""
        return sum(max(1.0, cells / length) for cells in self.known or self.lengths)


@dataclass(frozen=True)
class Visits:
    """Crops per video and epoch, warm-up epochs, further epochs, and batch size."""

    batch: int
    crops: int
    warmup: int
    epochs: int

    def steps(self, videos: int) -> int:
        """Steps of the whole run."""
        return (self.warmup + self.epochs) * (videos * self.crops // self.batch)


def data_shape(videos: Sequence[FeatureVideo]) -> DataShape:
    """The shape of the videos to train on."""
    durations = [duration for video in videos for duration in np.diff(video.segments, axis=1).ravel().tolist()]
    rates = [float(np.diff(video.sequence.grid([0.0, 1.0]))[0]) for video in videos]
    cells = [(video.length, video.reviewed_cells(0, video.length)) for video in videos]
    known = tuple(length if seen is None else int(seen.any(axis=1).sum()) for length, seen in cells)
    return DataShape(tuple(durations), tuple(video.length for video in videos), 1 / float(np.median(rates)), known)


def longest_usual(durations: Sequence[float]) -> float:
    """The 98th percentile of durations, in cells."""
    return float(np.quantile(durations, 0.98)) if len(durations) else FINEST_RANGE


def levels_for(durations: Sequence[float]) -> int:
    """Number of pyramid levels such that the coarsest range begins near half the longest usual instance.

    Level l regresses distances of 4 * 2 ** (l - 1) to 4 * 2 ** l cells, and the middle of an instance is half its
    duration from either end.
    """
    longest = longest_usual(durations)
    levels = math.ceil(math.log2(max(longest / 2, FINEST_RANGE) / FINEST_RANGE)) + 2
    return min(max(levels, FEWEST_LEVELS), MOST_LEVELS)


def length_for(shape: DataShape, levels: int) -> int:
    """Length of a training sequence in cells: complete videos unless they are long relative to their instances.

    With crops, a batch of the same cost contains parts of more videos; 16 times the longest usual instance leaves
    context around each. A sequence is at least twice as long as that instance, so that the middle of an instance is
    never further from its ends than from those of the crop.
    """
    top = 1 << (levels - 1)
    usual, longest = float(np.quantile(shape.lengths, 0.95)), longest_usual(shape.durations)
    scene = min(max(SCENE * longest, SHORTEST_CROP), LONGEST)
    cells = min(usual, max(scene, WHOLE * longest), MOST_CELLS)
    return math.ceil(max(cells, 4 * top) / top) * top


def window_for(durations: Sequence[float]) -> int:
    """Local window of a level in cells: an instance is 4 to 8 cells long on the level that detects it."""
    middle = float(np.median(durations)) if len(durations) else FINEST_RANGE
    return 3 if middle < FINEST_RANGE else 5


def visits_for(shape: DataShape, length: int) -> Visits:
    """Batch size that gives an epoch several steps, and the number of epochs in which all data is seen 40 times.

    For few or long videos, an epoch takes several crops of each, so that epochs do not become too short.
    """
    videos = len(shape.lengths)
    batch = min(videos, next(size for size, fewer in ((2, 16), (4, 64), (8, 1000), (16, math.inf)) if videos < fewer))
    low, high = FEWEST_STEPS
    fewest = min(max(STEPS_EACH * len(shape.durations), low), high)
    steps = min(max(VIEWS * shape.views(length) / batch, fewest), MOST_STEPS)
    crops = max(1, round(steps * batch / (EPOCHS * videos)))
    epochs = max(FEWEST_EPOCHS, round(steps / max(videos * crops // batch, 1)))
    warmup = max(1, epochs // 10)
    return Visits(batch, crops, warmup, epochs - warmup)


def dropped_for(channels: int, instances: int) -> float:
    """The share of a video's channels that training drops."""
    low, high = DROPPED
    return round(min(max(1 - KEPT / channels, low), high), 2) if channels > instances else 0.0


def derive_recipe(name: str, spec: FeatureSpec, shape: DataShape, classes: int) -> Recipe:
    """A CLTDR-GMG recipe (released variant) for the durations, lengths and size of the data."""
    levels = levels_for(shape.durations)
    length = length_for(shape, levels)
    visits = visits_for(shape, length)
    width = WIDE if len(shape.durations) >= WIDE_FROM else NARROW
    positives = POSITIVES * visits.batch * len(shape.durations) / shape.views(length)
    return Recipe(
        name=name,
        description="derived from the annotated durations",
        features=spec,
        model=ModelConfig(
            classes=classes,
            width=width,
            head_width=width,
            encoder=GmgSettings(windows=window_for(shape.durations), mlp_width=2 * width),
            decoder=CltdrSettings(factor_start=1.0),  # learns sooner than from 0, see docs/explanation/learning.md
            levels=levels,
            pad_length=length,
        ),
        training=TrainingConfig(
            max_length=length,
            batch_size=visits.batch,
            crops=visits.crops,
            epochs=visits.epochs,
            warmup_epochs=visits.warmup,
            # The published rate is 1e-3 for batches of 16; lower for smaller batches.
            learning_rate=round(min(1e-3, 1e-3 * (visits.batch / 8) ** 0.5), 6),
            # Averages over the last tenth of the run; at most the published decay.
            ema_decay=round(min(max(1 - 10 / max(visits.steps(len(shape.lengths)), 1), 0.9), 0.999), 4),
            initial_loss_norm=max(1.0, round(positives)),
            input_dropout=dropped_for(spec.channels, len(shape.durations)),
            class_loss="focal",
            iou_weight_power=0.2,
            select="best-test",
            display_precision=SHOWN_RIGHT,
        ),
        inference=InferenceConfig(chunk_length=length, chunk_overlap=length // 2),
    )


def summary(recipe: Recipe, shape: DataShape) -> list[str]:
    """The derived values and their reasons, as lines of text."""
    model, training, cell = recipe.model, recipe.training, shape.cell
    lengths = cell * np.quantile(shape.lengths, [0, 0.5, 1])
    durations = np.asarray(shape.durations)
    low, middle, high = cell * np.quantile(durations, [0.02, 0.5, 0.98]) if len(durations) else (0.0, 0.0, 0.0)
    ranges = ", ".join(f"{cell * a:.3g}-{cell * b:.3g}" for a, b in model.level_ranges[:-1])
    videos = len(shape.lengths)
    visits = Visits(min(training.batch_size, videos), training.crops, training.warmup_epochs, training.epochs)
    lines = [
        f"{counted(videos, 'video')} of {lengths[0]:.3g} to {lengths[2]:.3g} s (median {lengths[1]:.3g})"
        + (f", {shape.share:.0%} of them reviewed" if shape.share < 1 else "")
        + f", a row of features every {cell:.3g} s; {counted(len(durations), 'instance')} of {low:.3g} to {high:.3g} s "
        f"(2nd to 98th percentile, median {middle:.3g})",
        f"derived model: {model.levels} levels, boundaries {ranges}, {cell * model.level_ranges[-1][0]:.3g}+ s away; "
        f"width {model.width}{_window(recipe)}",
        f"derived training: sequences of {cell * training.max_length:.3g} s, batches of {training.batch_size}, "
        f"{counted(training.crops, 'crop')} per video and epoch, {training.warmup_epochs} + {training.epochs} epochs = "
        f"{visits.steps(videos)} steps, learning rate {training.learning_rate:g}"
        + (f", {training.input_dropout:.0%} of the channels dropped" if training.input_dropout else ""),
    ]
    for odd, what, stride in (
        (durations < 1, "shorter than a row of features", "smaller"),
        (durations > training.max_length, "longer than a training sequence", "larger"),
    ):
        share = odd.sum() / max(odd.size, 1)
        if share > RARE:
            lines.append(f"{share:.0%} of the instances are {what}: extract features with a {stride} --stride")
    return lines


def _window(recipe: Recipe) -> str:
    encoder = recipe.model.encoder
    return f", local windows of {encoder.windows} rows" if isinstance(encoder, GmgSettings) else ""
