"""Evaluation on what a model's run held out, and a warning where it is on what the model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tal_cli import console
from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.splits import HELD_OUT
from tal_cli.evaluation.predictions import Predictions
from tal_cli.extractors.errors import UsageError
from tal_cli.results.run_videos import RunVideos
from tal_cli.safe_text import counted


def keep_held_out(
    paths: Sequence[Path], predicted: Sequence[Predictions], ground_truth: Annotations
) -> tuple[list[Predictions], Annotations]:
    """Predictions and ground truth of the videos that the runs behind the predictions held out, all of them where there
    are several; the subset of these videos is then `held-out`.

    Predictions in other videos are left out, rather than false positives. Where no file tells what its run held out,
    a subset of the annotations that is called so is meant.

    Raises:
        UsageError: no file tells, or there is no such video.
    """
    told = [set(each.run_videos.held_out) for each in predicted if each.run_videos is not None]
    if not told:
        if ground_truth.of(HELD_OUT):
            return list(predicted), ground_truth
        raise UsageError(
            f"--subset {HELD_OUT}: {' and '.join(map(str, paths))} {'do' if len(paths) > 1 else 'does'} not say which "
            "videos the model's run held out",
            "make json or parquet with `tal detect --model RUN`, RUN being a run folder, or name another --subset",
        )
    names = set.intersection(*told)
    videos = {name: replace(video, subset=HELD_OUT) for name, video in ground_truth.videos.items() if name in names}
    if not videos:
        runs = "the model's run" if len(told) == 1 else "both models' runs"
        reason = f"none of {counted(len(names), 'video')} that {runs} held out is annotated" if names else (
            f"{runs} held out no video"
        )  # fmt: skip
        known = ", ".join(ground_truth.subsets) or "none"
        raise UsageError(f"--subset {HELD_OUT}: {reason}", f"the annotations have the subsets {known}")
    if any(names != each for each in told):
        console.warn(f"the runs held out different videos; compared on {counted(len(videos), 'video')} of both")
    kept = [each.take(np.asarray([name in names for name in each.videos], dtype=bool)) for each in predicted]
    return kept, replace(ground_truth, videos=videos)


def warn_of_training(path: Path, run_videos: RunVideos | None, evaluated: Collection[str]) -> bool:
    """Warn of evaluated videos that the model was trained on; of what is not recorded nothing is said. Gives
    whether there are any."""
    trained_on = set(run_videos.trained_on if run_videos else ())
    count = sum(name in trained_on for name in evaluated)
    if not count:
        return False
    were = "was" if count == 1 else "were"
    console.warn(f"{path}: {count} of {counted(len(evaluated), 'evaluated video')} {were} trained on")
    return True
