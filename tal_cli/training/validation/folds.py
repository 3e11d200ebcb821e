"""Cross-validation for small sets: detectors that were each trained without some of the videos, judged on these.

Every video is held out once. The epoch at which the detectors together were best on what they had not seen, and the
display scores that would have been best there, are those of a last detector, trained on all videos.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tal_cli import __version__, console
from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.splits import HELD_OUT
from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.files.json_files import read_json
from tal_cli.models.recipe.loading import override
from tal_cli.models.store.checkpoint import WEIGHTS
from tal_cli.results.readers import read_results
from tal_cli.results.run_videos import RunVideos
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.json import write
from tal_cli.safe_text import counted
from tal_cli.training.run import TrainingResult, TrainingRun
from tal_cli.training.state import FILE, FOLDER, fingerprint, read_evaluation
from tal_cli.training.validation.videos import Validation, judge

FOLDS = "folds"  # a run folder of each fold, in the run folder
RECORD = "folds.json"
FOUND = "held-out.json"  # what the folds found in the videos that they held out

Fit = Callable[[TrainingRun], TrainingResult]


@dataclass(frozen=True)
class Folds:
    """What folds have shown.

    Attributes:
        fingerprint: of the run, see `TrainingState`.
        held_out: names of the videos of each fold.
        epoch: at which the folds together were best.
        averages: average mAP of each fold on its own videos.
        evaluation: JSON of the evaluation of all that was found in held-out videos.
        display: display scores chosen on it.
        precision: average precision of each label in each fold that has it.
    """

    fingerprint: str
    held_out: list[list[str]]
    epoch: int
    averages: list[float]
    evaluation: dict[str, Any]
    display: dict[str, float]
    precision: dict[str, list[float]]

    def description(self) -> str:
        """The figures as text."""
        spread = statistics.stdev(self.averages)
        shown = self.evaluation["shown"]
        return (
            f"{len(self.averages)} folds: average mAP {statistics.fmean(self.averages):.4f} ± {spread:.4f} (mean and "
            f"standard deviation of the folds), {self.evaluation['average']:.4f} of all held-out videos together; F1 "
            f"{shown['f1']:.2f} at the display scores; best after epoch {self.epoch}"
        )


def cross_validate(run: TrainingRun, fit: Fit) -> TrainingResult:
    """Train a detector for each fold, then one on all videos for as many epochs as were best in the folds.

    Raises:
        UsageError: a record of other folds is in the run folder.
    """
    digest = fingerprint(run.recipe, run.labels, run.videos, f"{run.precision} {run.folds} folds")
    told = run.processes.agree(read_folds(run.out) if run.processes.leads else None)
    if told is not None and told.fingerprint != digest:
        raise UsageError(
            f"{run.out}: its folds belong to another recipe, precision or data set",
            "resume with the same options, or train into another folder with --output",
        )
    if told is None:
        told = _of_folds(run, fit, digest)
    console.note(told.description())
    console.note(f"training on all {counted(len(run.videos), 'video')}")
    recipe = override(run.recipe, {"inference.display_score": told.display}) if told.display else run.recipe
    result = fit(replace(run, folds=None, recipe=recipe, stop=told.epoch))
    return replace(result, folds=len(told.averages))


def _of_folds(run: TrainingRun, fit: Fit, digest: str) -> Folds:
    groups = split(run.videos, run.folds or 0)
    parts = [_fold(run, number, group) for number, group in enumerate(groups, start=1)]
    with console.progress("folds", len(parts), "folds") as progress:
        for number, part in enumerate(parts):
            names = ", ".join(video.annotation.name for video in part.validation)
            console.note(f"fold {number + 1} of {len(parts)}: {names} held out")
            fit(part)
            progress(number + 1, len(parts))
    told: Folds = run.processes.agree(_judged(run, parts, digest) if run.processes.leads else None)
    return told


def split(videos: Sequence[FeatureVideo], count: int) -> list[list[FeatureVideo]]:
    """Videos in `count` groups of about the same size, the instances of each label spread over them.

    The choice depends on labels and names alone. Videos of rare labels are placed first, each where its labels are
    fewest.
    """
    labels = [Counter(item.label for item in video.annotation.segments) for video in videos]
    spread = Counter(label for each in labels for label in each)

    def order(number: int) -> tuple[float, bytes]:
        name = videos[number].annotation.name.encode("utf-8", "surrogatepass")
        return min((spread[label] for label in labels[number]), default=len(videos)), hashlib.sha256(name).digest()

    groups: list[list[int]] = [[] for _ in range(count)]
    held: list[Counter[str]] = [Counter() for _ in range(count)]
    most = -(-len(videos) // count)
    for number in sorted(range(len(videos)), key=order):
        free = [group for group in range(count) if len(groups[group]) < most]
        share = {group: sum(held[group][label] / spread[label] for label in labels[number]) for group in free}
        best = min(free, key=lambda group: (share[group], len(groups[group]), group))
        groups[best].append(number)
        held[best].update(dict.fromkeys(labels[number], 1))
    return [[videos[number] for number in sorted(group)] for group in groups]


def _fold(run: TrainingRun, number: int, group: Sequence[FeatureVideo]) -> TrainingRun:
    names = {video.annotation.name for video in group}
    held = [replace(video, annotation=replace(video.annotation, subset=HELD_OUT)) for video in group]
    out = run.out / FOLDS / str(number)
    return replace(
        run,
        folds=None,
        videos=[video for video in run.videos if video.annotation.name not in names],
        validation=held,
        out=out,
        resume=(out / FOLDER / FILE).is_file(),
        tracker=None,
        keep_found=True,
    )


def keep_found(found: Sequence[Detections], run: TrainingRun, epoch: int) -> None:
    """Write what a fold found in its held-out videos after an epoch."""
    _write(run.out / _found_file(epoch), found, run, {})


def _found_file(epoch: int) -> str:
    return f"held-out/{epoch}.json"


def _write(path: Path, found: Sequence[Detections], run: TrainingRun, display: dict[str, float]) -> None:
    videos = RunVideos((), tuple(each.video for each in found))
    scores = run.recipe.inference.display_scores(run.labels) | display
    about = RunInfo(__version__, run.recipe.name, "", run.labels, videos, display_score=scores)
    write_atomically(path, partial(_to_json, found, about))


def _to_json(found: Sequence[Detections], about: RunInfo, file: Any) -> None:
    write(found, file, about)


def _judged(run: TrainingRun, parts: Sequence[TrainingRun], digest: str) -> Folds:
    """Choose the epoch, and write the record and what was found after that epoch."""
    held = [video for part in parts for video in part.validation]
    truth = Annotations("", {video.annotation.name: video.annotation for video in held}, run.labels)
    # Where no display score is asked for by precision, that of the highest F1 is chosen.
    wanted = run.recipe.training.display_precision or 0.0
    recipe = override(run.recipe, {"training.display_precision": wanted})

    def at(epoch: int) -> Validation:
        found = [each for part in parts for each in read_results(part.out / _found_file(epoch)).detections()]
        return judge(sorted(found, key=lambda each: each.video), truth, recipe, HELD_OUT, run.tiou)

    epochs = sorted(int(path.stem) for path in (parts[0].out / "held-out").glob("*.json"))
    chosen = epochs[-1:] if run.recipe.training.select == "last" else epochs
    epoch, best = max(((epoch, at(epoch)) for epoch in chosen), key=lambda pair: pair[1].evaluation.average)
    told = [read_evaluation(part.out, epoch) or {} for part in parts]
    precision = {
        label: [statistics.fmean(each["per_label"][label].values()) for each in told if label in each["per_label"]]
        for label in best.evaluation.labels
    }
    folds = Folds(
        digest,
        [[video.annotation.name for video in part.validation] for part in parts],
        epoch,
        [each["average"] for each in told],
        best.evaluation.as_json(),
        best.display,
        precision,
    )
    _write(run.out / FOUND, best.found, run, best.display)
    write_atomically(run.out / RECORD, (json.dumps(vars(folds), indent=1, ensure_ascii=False) + "\n").encode())
    for part in parts:  # their part is done
        for path in (part.out / "held-out").iterdir():
            path.unlink()
        (part.out / "held-out").rmdir()
    return folds


def read_folds(run: Path) -> Folds | None:
    """What the folds of a run folder have shown; None if they are not done.

    Raises:
        InputError: the record is damaged.
    """
    path = run / RECORD
    if not path.is_file():
        return None
    try:
        return Folds(**read_json(path))
    except TypeError as error:
        raise InputError(path, "not the record of a training's folds") from error


def fold_models(run: Path) -> list[Path]:
    """The model folders of a run's folds; empty if it has none."""
    found = [path.parent for path in run.glob(f"{FOLDS}/*/{WEIGHTS}")]
    return sorted(found, key=lambda path: path.name)
