"""Settings and result of a training run."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from tal_cli import __version__
from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.models.recipe.schema import Recipe
from tal_cli.results.run_videos import RUN_RECORD
from tal_cli.training.distributed import ALONE, Processes
from tal_cli.training.options import TrainingOptions
from tal_cli.training.trackers import Tracker
from tal_cli.training.tuning.frames import FrameStore


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Settings of one training run.

    Attributes:
        recipe: everything that defines the detector and its training.
        labels: labels in class order.
        videos: videos to train on.
        validation: videos to evaluate on; may be empty.
        out: the run folder.
        tiou: tIoU thresholds of the evaluations.
        evaluate_every: epochs between evaluations; the last epoch is always evaluated.
        precision: `auto`, `fp32`, `bf16` of the forward pass; auto is fp32.
        threads: number of torch threads on a CPU; None: chosen by `useful_threads`.
        resume: continue from the state in the run folder, if there is one.
        options: the options of the command, for the run record.
        initial: initial weights by parameter name; those of another shape are ignored.
        trained_before: names of the videos on which the initial weights were trained, if recorded.
        frames: the frames of all videos, where the backbone is trained as well.
        processes: process group; every process computes a part of each batch.
        folds: number of folds of the videos, each held out once before training on all; None: no folds.
        stop: epochs after which training ends, whatever is left of the schedule; None: all of it.
        keep_found: whether what each evaluation finds is kept in the run folder.
    """

    recipe: Recipe
    labels: tuple[str, ...]
    videos: Sequence[FeatureVideo]
    validation: Sequence[FeatureVideo]
    out: Path
    tiou: tuple[float, ...]
    device: torch.device
    evaluate_every: int
    precision: str
    threads: int | None
    resume: bool
    options: TrainingOptions
    initial: dict[str, Tensor] | None = None
    trained_before: tuple[str, ...] = ()
    tracker: Tracker | None = None
    processes: Processes = ALONE
    folds: int | None = None
    stop: int | None = None
    keep_found: bool = False
    frames: FrameStore | None = None


@dataclass(frozen=True)
class TrainingResult:
    """Epoch (from 1) of the weights in the run folder and their average mAP if evaluated; the best epoch evaluated, and
    its average mAP."""

    epoch: int
    average: float | None
    best_epoch: int = 0  # 0: none was evaluated
    best: float = -1.0
    folds: int = 0  # that chose the number of epochs

    def description(self, run: TrainingRun) -> str:
        """The weights in the run folder, as text."""
        chosen = f"of as many epochs as were best in {self.folds} folds" if self.folds else "of the last epoch"
        if run.recipe.training.select == "best-test" and run.validation:
            chosen = f"with the highest mAP on {run.validation[0].annotation.subset}, chosen by looking at it"
        reached = "" if self.average is None else f": average mAP {self.average:.4f}"
        return f"the averaged weights of epoch {self.epoch}, those {chosen}{reached}"

    def hint(self) -> str:
        """How to keep the best epoch, if another one is kept; else nothing."""
        if self.average is None or self.best <= self.average:
            return ""
        better = f"epoch {self.best_epoch} had average mAP {self.best:.4f}"
        return f"{better}; --set training.select=best-test keeps the best epoch"


def write_record(run: TrainingRun, *, finished: bool) -> None:
    """Write `run.json` in the run folder: whether all steps are done, the command and its options, versions, seed, and
    the videos in the order that the seed permutes. Recipe and overrides are in `recipe.yaml` beside it."""
    config = run.recipe.training
    decay = f"times {config.decay_factor:g} after epochs {', '.join(map(str, config.decay_epochs))}"
    record = {
        "finished": finished,
        "tal": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "command": sys.argv[1:],
        "options": asdict(run.options),
        "device": str(run.device),
        "precision": run.precision,
        "processes": run.processes.count,
        "seed": config.seed,
        "order": "epoch e sees numpy.random.default_rng([seed, e, 0]).permutation(crops * number of training videos), "
        "each modulo the number of training videos",
        "crops": config.crops,
        "select": config.select,
        "schedule": f"linear warm-up over {config.warmup_epochs} epochs, "
        + (decay if config.decay_epochs else f"cosine over {config.epochs}, by the step"),
        "training": [video.annotation.name for video in run.videos],
        "validation": [video.annotation.name for video in run.validation],
        "trained_before": sorted(set(run.trained_before) - {video.annotation.name for video in run.videos}),
    }
    write_atomically(run.out / RUN_RECORD, (json.dumps(record, indent=1, default=str) + "\n").encode())
