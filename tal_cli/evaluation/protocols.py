"""Evaluation protocols: labels and annotations that count, in the ground truth and in the predictions.

All protocols match and average in the same way. ActivityNet's uses label names and every annotation. ActionFormer's,
with which most papers since 2022 report results, ignores annotations shorter than a millisecond and duplicates.
EPIC-KITCHENS-100's uses class numbers in its submission format and evaluates verbs, nouns and actions, an action being
"verb,noun" with the number 300 verb + noun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import ALL_SUBSETS, POINT, Annotations, GroundTruth, split_names
from tal_cli.datasets.formats import load_annotations
from tal_cli.datasets.splits import HELD_OUT
from tal_cli.evaluation.average_precision import Evaluation, evaluate
from tal_cli.evaluation.behaviour.bouts import shown
from tal_cli.evaluation.behaviour.frames import FrameEvaluation, evaluate_frames
from tal_cli.evaluation.behaviour.score_tables import load_score_tables
from tal_cli.evaluation.held_out import keep_held_out, warn_of_training
from tal_cli.evaluation.names import unmatched
from tal_cli.evaluation.predictions import Predictions, load_predictions
from tal_cli.evaluation.reviewed import on_reviewed
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.safe_text import counted

EPIC_TIOU = "0.1:0.1:0.5"
EPIC_NOUNS = 300
SAME_SECONDS = 1e-3
SHOWN_FRAMES = 0.5  # above which scores of frames count
THRESHOLDED = 0.1  # the lowest score of results from which weaker segments were left out


@dataclass(frozen=True)
class Task:
    """One evaluation.

    Attributes:
        truth_key, prediction_key: entries of annotations and of predictions that contain the label.
        counts_repeats: whether empty and duplicate annotations count.
        normalise: converts a label to its canonical form; raises ValueError for invalid labels.
    """

    truth_key: str
    prediction_key: str
    counts_repeats: bool = True
    normalise: Callable[[str], str] | None = None

    def predictions(self, path: Path, ground_truth: Annotations) -> Predictions:
        """Read predictions and warn about videos that are not annotated.

        Raises InputError, also where none is annotated.
        """
        predicted = load_predictions(path, self.prediction_key)
        told = unmatched(predicted.videos, ground_truth.videos)
        if told and not set(predicted.videos) & ground_truth.videos.keys():
            raise InputError(path, told, "evaluate on the annotations of these videos")
        if told:
            console.warn(f"{path}: {told}")
        normalised = self._normalised(path, predicted.labels)
        return replace(predicted, labels=tuple(normalised.get(label, label) for label in predicted.labels))

    def ground_truth(self, path: Path) -> Annotations:
        """Read annotations. Raises InputError."""
        known = load_annotations(path, self.truth_key)
        normalised = self._normalised(path, known.labels)
        if not normalised:
            return known
        videos = {
            name: replace(video, segments=tuple(replace(item, label=normalised[item.label]) for item in video.segments))
            for name, video in known.videos.items()
        }
        return replace(known, videos=videos, labels=tuple(dict.fromkeys(normalised.values())))

    def _normalised(self, path: Path, labels: Iterable[str]) -> dict[str, str]:
        """The canonical form of each label; empty if the protocol compares labels unchanged."""
        if self.normalise is None:
            return {}
        normalised: dict[str, str] = {}
        for label in dict.fromkeys(labels):
            try:
                normalised[label] = self.normalise(label)
            except (ValueError, OverflowError):
                reason = f"{label!r} is not an EPIC-KITCHENS class number ({self.prediction_key})"[:200]
                raise InputError(
                    path, reason, "class numbers are in submissions and in EPIC_100_validation.csv"
                ) from None
        return normalised


def _class(text: str) -> str:
    return str(int(float(text)))


def _action(text: str) -> str:
    verb, noun = (int(part) for part in text.split(",")[:2])
    return ",".join(map(str, divmod(EPIC_NOUNS * verb + noun, EPIC_NOUNS)))


EPIC_TASKS = {
    "verb": Task("verb_id", "verb", normalise=_class),
    "noun": Task("noun_id", "noun", normalise=_class),
    "action": Task("action", "action", normalise=_action),
}


def evaluate_files(
    predictions: Path,
    annotations: Path,
    task: Task,
    subset: str | None,
    tiou: Sequence[float],
    min_score: float | None = None,
) -> Evaluation:
    """Evaluate a file on another; subset and errors are those of `load_files`.

    min_score: from which segments are shown; by default the model's display score, where the file tells it, or 0.

    Raises:
        UsageError: the subset has no instance.
    """
    (predicted,), ground_truth, chosen = load_files([predictions], annotations, task, subset)
    found = evaluate(predicted, ground_truth, chosen, tiou)
    return replace(found, shown=shown(predicted, ground_truth, chosen, min_score))


def evaluate_frame_files(
    predictions: Path,
    annotations: Path,
    task: Task,
    subset: str | None,
    tiou: Sequence[float],
    min_score: float | None = None,
    smooth: int = 1,
) -> FrameEvaluation:
    """Evaluate a file on another by frames; see `evaluate_files`. The file may hold scores of frames instead of
    segments, of which those above 0.5 count by default; they are averaged over `smooth` frames first."""
    tables = load_score_tables(predictions)
    if tables is None:
        if smooth > 1:
            raise UsageError("--smooth is for scores of frames, not for segments")
        (predicted,), ground_truth, chosen = load_files([predictions], annotations, task, subset, all_times=True)
        labels = {item.label for video in ground_truth.of(chosen) for item in video.segments}
        score = {label: predicted.shown_from(label) if min_score is None else min_score for label in labels}
        return evaluate_frames(predicted, ground_truth, chosen, tiou, score)
    ground_truth = task.ground_truth(annotations)
    there = tables.annotated(list(ground_truth.videos.values()))
    if not there:
        raise InputError(predictions, f"it has no video of {annotations}", f"its videos are {', '.join(tables.videos)}")
    subsets = {video.subset for video in there}
    chosen = subset or (next(iter(subsets)) if len(subsets) == 1 else ALL_SUBSETS)
    evaluated = ground_truth.of(chosen)
    if absent := len(evaluated) - len(tables.annotated(evaluated)):
        about = f"{absent} of {counted(len(evaluated), 'evaluated video')}"
        console.note(f"{predictions}: no scores of {about}; frames there count as 0")
    score = dict.fromkeys(ground_truth.labels, SHOWN_FRAMES if min_score is None else min_score)
    tables = tables.named(ground_truth.labels)
    tables = tables.smoothed(smooth) if smooth > 1 else tables
    return evaluate_frames(tables, ground_truth, chosen, tiou, score)


def load_files(
    predictions: Sequence[Path], annotations: Path, task: Task, subset: str | None, *, all_times: bool = False
) -> tuple[list[Predictions], Annotations, str]:
    """Predictions, ground truth, and the subset to look at: `held-out` is what the model's run held out; without one it
    is that whose videos the first file predicts, `all` if several are. Warns of videos that were trained on. Times that
    were not reviewed are taken out, unless `all_times`.

    Raises:
        InputError: a file cannot be read.
        UsageError: nothing tells what was held out.
    """
    ground_truth = task.ground_truth(annotations)
    if not task.counts_repeats:
        ground_truth = without_repeats(ground_truth)
    predicted = [task.predictions(path, ground_truth) for path in predictions]
    for path, each in zip(predictions, predicted, strict=True):
        if len(each.scores) and each.scores.min() >= THRESHOLDED:
            console.warn(f"{path}: no score is below {each.scores.min():.2f}; weaker segments raise average precision")
            console.hint("detect with `tal detect --min-score 0` before an evaluation")
    if not all_times:
        seen = [on_reviewed(each, ground_truth) for each in predicted]
        predicted, ground_truth = [each for each, _ in seen], seen[0][1]
    if subset == HELD_OUT:
        predicted, ground_truth = keep_held_out(predictions, predicted, ground_truth)
    chosen = subset or predicted_subset(predicted[0], ground_truth, annotations)
    evaluated = [video.name for video in ground_truth.of(chosen)]
    annotated = {video.name for video in ground_truth.of(chosen) if video.segments}
    for path, each in zip(predictions, predicted, strict=True):
        if absent := len(annotated - set(each.videos)):
            about = f"{absent} of {counted(len(evaluated), 'evaluated video')}"
            console.note(f"{path}: no segments in {about}; instances there count as missed")
    warned = [
        warn_of_training(path, each.run_videos, evaluated) for path, each in zip(predictions, predicted, strict=True)
    ]
    if any(warned) and chosen != HELD_OUT and any(each.run_videos and each.run_videos.held_out for each in predicted):
        console.hint(f"--subset {HELD_OUT} evaluates on the videos that the model's run held out")
    return predicted, ground_truth, chosen


def without_repeats(annotations: Annotations) -> Annotations:
    """The annotations without those shorter than 1 ms and without duplicates: same video and label, and within 1 ms of
    an earlier one at both ends."""
    videos = {name: replace(video, segments=_distinct(video.segments)) for name, video in annotations.videos.items()}
    return replace(annotations, videos=videos)


def _distinct(segments: Sequence[GroundTruth]) -> tuple[GroundTruth, ...]:
    kept: list[GroundTruth] = []
    for item in segments:
        repeats = any(
            item.label == other.label
            and abs(item.start - other.start) <= SAME_SECONDS
            and abs(item.end - other.end) <= SAME_SECONDS
            for other in kept
        )
        if (item.end - item.start >= SAME_SECONDS or item.kind == POINT) and not repeats:
            kept.append(item)
    return tuple(kept)


def predicted_subset(predictions: Predictions, ground_truth: Annotations, path: Path) -> str:
    """The subset of the predicted videos; `all` for several, the default evaluation subset for none."""
    names = {ground_truth.videos[video].subset for video in set(predictions.videos) & ground_truth.videos.keys()}
    if len(names) > 1:
        return ALL_SUBSETS
    train, test = split_names(ground_truth, path)
    return next(iter(names), test or train)
