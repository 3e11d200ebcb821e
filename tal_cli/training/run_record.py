"""What a run was: enough to do it again."""

from __future__ import annotations

import json
import platform
import sys
from typing import TYPE_CHECKING

import torch

from tal_cli import __version__
from tal_cli.results.output_files import write_atomically

if TYPE_CHECKING:
    from tal_cli.training.run import TrainingRun

FILE = "run.json"


def write_record(run: TrainingRun) -> None:
    """Write `run.json` in the run folder: the command, versions, seed, and the videos in the order that the seed
    permutes. Recipe and overrides are in `recipe.yaml` beside it."""
    config = run.recipe.training
    record = {
        "tal": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "command": sys.argv[1:],
        "device": str(run.device),
        "precision": run.precision,
        "processes": run.processes.count,
        "seed": config.seed,
        "order": "epoch e sees numpy.random.default_rng([seed, e, 0]).permutation(crops * number of training videos), "
        "each modulo the number of training videos",
        "crops": config.crops,
        "select": config.select,
        "schedule": f"linear warm-up over {config.warmup_epochs} epochs, cosine over {config.epochs}, by the step",
        "training": [video.annotation.name for video in run.videos],
        "validation": [video.annotation.name for video in run.validation],
    }
    write_atomically(run.out / FILE, (json.dumps(record, indent=1) + "\n").encode())
