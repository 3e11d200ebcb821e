"""Many videos: each gets its feature file, fails alone, and is left alone once it is finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from extractors.backbones import Backbone
from extractors.contract import FeatureContract
from extractors.extract import Progress, extract_features
from extractors.store import FeatureError, FeatureSequence, is_finished, load_contract, save_features
from extractors.video import VideoError


@dataclass(frozen=True)
class Job:
    """A video and the feature file it shall have (its suffix names the format)."""

    video: Path
    target: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a sequence that was written, an error that says why not, or neither: it was finished."""

    job: Job
    sequence: FeatureSequence | None = None
    error: VideoError | FeatureError | OSError | None = None


def is_done(target: Path, contract: FeatureContract) -> bool:
    """Whether the file is there, whole, and made under this very contract."""
    try:
        return is_finished(target) and load_contract(target) == contract
    except FeatureError:
        return False


def run_job(
    job: Job,
    backbone: Backbone,
    *,
    device: str | torch.device = "cpu",
    batch_size: int | Literal["auto"] = "auto",
    decoder: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Do one job, unless it is done already. What is wrong with its files is in the outcome, all else is raised."""
    if not overwrite and is_done(job.target, backbone.contract):
        return Outcome(job)
    try:
        sequence = extract_features(
            job.video, backbone, device=device, batch_size=batch_size, decoder=decoder, progress=progress
        )
        save_features(sequence, job.target)
    except (VideoError, FeatureError, OSError) as error:
        return Outcome(job, error=error)
    return Outcome(job, sequence=sequence)
