"""A data set and a recipe that a model overfits in seconds, and runs of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_up import FPS, WINDOW, frames_of, spec_of, write_annotations, write_video

from tal_cli.datasets.annotations import GroundTruth
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import CltdrSettings
from tal_cli.models.recipe.encoders import GmgSettings
from tal_cli.models.recipe.loading import dump_recipe, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.recipe.training import TrainingConfig
from tal_cli.training.options import TrainingOptions
from tal_cli.training.prepare import prepare
from tal_cli.training.run import TrainingRun

LABELS = ("hop", "skip", "jump")
CHANNELS, STRIDE, LENGTH = 16, 4, 64
RECIPE = Recipe(
    name="small",
    features=spec_of(CHANNELS, STRIDE),
    model=ModelConfig(
        classes=3, width=32, head_width=32, levels=4, pad_length=LENGTH, embedding_layers=1, head_layers=2,
        encoder=GmgSettings(mlp_width=32, windows=5, stem_blocks=1, branch_scale=None, conv_init_std=0.1),
        decoder=CltdrSettings(bins=8),
    ),
    training=TrainingConfig(
        epochs=28, warmup_epochs=2, batch_size=4, learning_rate=4e-3, max_length=LENGTH, drop_path=0.1, ema_decay=0.95,
        initial_loss_norm=50, crop_ratio=None, input_noise=0.01,
    ),
)  # fmt: skip


def write_small_data(folder: Path) -> None:
    """Eight videos to train on and two to evaluate on: a label is a direction in feature space, on noise."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((len(LABELS), CHANNELS))
    videos = []
    for number in range(10):
        windows = int(rng.integers(LENGTH * 2 // 3, LENGTH))
        duration = frames_of(windows, STRIDE) / FPS
        times = (np.arange(windows) * STRIDE + WINDOW / 2) / FPS
        features = 0.3 * rng.standard_normal((windows, CHANNELS))
        segments, start = [], float(rng.uniform(0, 1))
        while start < duration - 1.5:
            end, label = min(start + float(rng.uniform(0.8, 4)), duration), int(rng.integers(len(LABELS)))
            features[(times >= start) & (times <= end)] += directions[label]
            segments.append(GroundTruth(LABELS[label], start, end))
            start = end + float(rng.uniform(0.5, 2))
        subset = "validation" if number % 5 == 4 else "training"
        videos.append(write_video(folder, f"video{number}", subset, features, segments, stride=STRIDE))
    write_annotations(folder, videos, LABELS)
    (folder / "small.yaml").write_text(dump_recipe(RECIPE))


def request(data: Path, out: Path, *assignments: str) -> TrainingOptions:
    overrides: dict[str, object] = {}
    for assignment in assignments:
        overrides |= parse_overrides([assignment])
    return TrainingOptions(
        dataset=str(data / "annotations.json"),
        recipe=str(data / "small.yaml"),
        output=out,
        device="cpu",
        overrides=overrides,
    )


def short_run(data: Path, out: Path, *assignments: str) -> TrainingRun:
    """Of three epochs."""
    return prepare(request(data, out, "training.epochs=2", "training.warmup_epochs=1", *assignments))
