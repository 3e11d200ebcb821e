"""Training data of `tal train`: annotations, feature files and subsets, checked before training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import Annotations, split_names
from tal_cli.datasets.catalog import BENCHMARKS, own_annotations
from tal_cli.datasets.checks import (
    EMPTY_SUBSET,
    LABEL_NOT_IN_TRAINING,
    UNKNOWN_LABEL,
    Expected,
    check_annotations,
    summarise,
)
from tal_cli.datasets.formats import load_annotations
from tal_cli.datasets.splits import split_own
from tal_cli.datasets.training_data import FeatureVideo, load_videos
from tal_cli.evaluation.average_precision import parse_tiou
from tal_cli.extractors.errors import InputError, MissingError, UsageError, did_you_mean
from tal_cli.extractors.features.lookup import default_source, find_features
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.features import UNKNOWN, FeatureSpec
from tal_cli.models.recipe.loading import override
from tal_cli.models.recipe.schema import Recipe

OWN_DATA_TIOU = "0.3:0.1:0.7"
USUAL_NAME = "annotations"
LABEL = "label some of them with `tal label`; a video without `reviewed` counts as reviewed completely"
MAKE_FEATURES = "extract them with `tal extract-features VIDEOS --output DIR`, or give their folder with --features"


@dataclass(frozen=True)
class TrainingData:
    """Annotations and features for one training run.

    Attributes:
        name: name of the data set, or `name_of` the annotation file.
        path: the annotation file.
        annotations: the ground truth, with the subsets to use.
        features: a folder, or one file with all features.
        train, test: names of the subsets; the second may be None.
        tiou: tIoU thresholds of the evaluation.
        recipe: name of the data set's default recipe, if it has one.
        expected: properties that annotations and features are checked for, except the feature contract.
    """

    name: str
    path: Path
    annotations: Annotations
    features: Path
    train: str
    test: str | None
    tiou: tuple[float, ...]
    recipe: str | None
    expected: Expected

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets that are read."""
        return (self.train,) if self.test is None else (self.train, self.test)


def find_data(
    dataset: str,
    features: Path | None,
    train_subset: str | None,
    test_subset: str | None,
    *,
    holds_out: bool = True,
) -> TrainingData:
    """The annotations and features of a built-in data set or of an annotation file.

    holds_out: whether there is a subset to evaluate on, part of the training videos if need be.

    Raises:
        MissingError: the annotations are not there.
        UsageError: an unknown name, a subset without videos.
        InputError: a file that cannot be read, or without instances.
    """
    path = own_annotations(dataset)
    if path is None:
        data = _benchmark_data(dataset, features, train_subset, test_subset)
    else:
        data = _own_data(path, features, train_subset, test_subset, holds_out=holds_out)
    if not holds_out:
        data = replace(data, test=None, expected=replace(data.expected, subsets=data.expected.subsets[:1]))
    if not data.features.exists():
        raise MissingError(f"{data.features}: no such file or folder of features", MAKE_FEATURES)
    for subset in data.subsets:
        if not data.annotations.of(subset):
            known = ", ".join(data.annotations.subsets) or "none"
            raise UsageError(f"the annotations have no video in subset {subset!r}", f"their subsets: {known}")
    return data


def name_of(path: Path) -> str:
    """Name of user data: the stem of the annotation file, or of its folder if the file has the default name."""
    stem = path.name.split(".")[0]
    return path.resolve().parent.name or stem if stem == USUAL_NAME else stem


def _own_data(
    path: Path, features: Path | None, train: str | None, test: str | None, *, holds_out: bool
) -> TrainingData:
    told = load_annotations(path)
    annotations = told.settled()
    if told.videos and not annotations.videos:
        raise InputError(path, "nothing of its videos was reviewed: `reviewed` is empty everywhere", LABEL)
    if train is None and test is None:
        split = split_own(annotations, path, holds_out=holds_out)
        if split.note:
            console.note(split.note)
        annotations, train, test = split.annotations, split.train, split.test
    train = train or split_names(annotations, path)[0]
    return TrainingData(
        name=name_of(path),
        path=path,
        annotations=annotations,
        features=features or default_source(path.parent),
        train=train,
        test=test,
        tiou=parse_tiou(OWN_DATA_TIOU),
        recipe=None,
        expected=Expected(tuple((subset, 0) for subset in (train, test) if subset is not None)),
    )


def _benchmark_data(name: str, features: Path | None, train: str | None, test: str | None) -> TrainingData:
    benchmark = BENCHMARKS[name]
    path = benchmark.annotations_file()
    annotations = load_annotations(path, benchmark.label_key)
    names = benchmark.label_names or annotations.labels
    subsets = tuple(
        usual if asked is None else (asked, 0)
        for asked, usual in ((train, benchmark.train), (test, benchmark.test))
    )  # fmt: skip
    return TrainingData(
        name=benchmark.name,
        path=path,
        annotations=annotations,
        features=features or benchmark.features_folder,
        train=subsets[0][0],
        test=subsets[1][0],
        tiou=parse_tiou(benchmark.tiou),
        recipe=benchmark.recipe,
        expected=Expected(subsets, benchmark.labels, names if len(names) == benchmark.labels else ()),
    )


def check_ground_truth(data: TrainingData, *, speak: bool = True) -> None:
    """Check the annotations as `tal datasets check` does; problems that do not end the run are printed if `speak`.

    Raises:
        InputError: a subset without instances, or to evaluate on without a label that is taught; an unknown label.
    """
    found = list(check_annotations(data.annotations, data.expected))
    fatal = {EMPTY_SUBSET, UNKNOWN_LABEL}
    if (
        data.name not in BENCHMARKS
        and data.test is not None
        and not _labels(data, data.test) & _labels(data, data.train)
    ):
        fatal.add(LABEL_NOT_IN_TRAINING)
    ends = summarise([problem for problem in found if problem.kind in fatal])
    if ends:
        raise InputError(data.path, "; ".join(ends), "`tal datasets check` lists all problems")
    told = [problem for problem in found if problem.kind != LABEL_NOT_IN_TRAINING]  # `doubts` tells of these
    for line in summarise(told) if speak else ():
        console.warn(line)


def _labels(data: TrainingData, subset: str) -> set[str]:
    return {item.label for video in data.annotations.of(subset) for item in video.segments}


def load_subsets(
    data: TrainingData, spec: FeatureSpec, *, speak: bool = True
) -> tuple[list[FeatureVideo], list[FeatureVideo]]:
    """The videos to train on, and those to evaluate on (may be empty); raises as `load_videos`."""
    subsets = [data.annotations.of(name) for name in data.subsets]
    every = list({video.name: video for subset in subsets for video in subset}.values())
    with console.progress("reading features", len(every), "videos") as progress:
        loaded, found = load_videos(every, data.features, data.annotations.labels, spec, progress=progress)
    for line in summarise(found) if speak else ():
        console.warn(line)
    videos = {video.annotation.name: video for video in loaded}
    train, *rest = ([videos[video.name] for video in subset] for subset in subsets)
    return train, rest[0] if rest else []


def feature_spec(data: TrainingData, overrides: Mapping[str, object]) -> FeatureSpec:
    """The contract of the first training video's features: from the file beside them, else from overrides.

    Raises:
        MissingError: there are no features, or their contract is unknown.
        RecipeError: invalid overrides.
        FeatureError: the file cannot be read.
    """
    video = data.annotations.of(data.train)[0]
    file = find_features(data.features, video.name, video.subset)
    if file is None:
        there = [path.stem for path in data.features.glob("*.npy")]
        remedy = did_you_mean(video.name, there, MAKE_FEATURES)
        raise MissingError(f"no features of {video.name} in {data.features}", remedy)
    contract = file.contract()
    if contract is not None:
        return FeatureSpec.of(contract)
    said = {path: value for path, value in overrides.items() if path.startswith("features.")}
    if not {"features.window", "features.stride"} <= said.keys():
        raise MissingError(
            f"{file}: its window and stride are unknown: there is no feature contract beside it",
            "give them with --set features.window=16 --set features.stride=4, or choose a recipe with --recipe",
        )
    unsaid = FeatureSpec(extractor=UNKNOWN, channels=file.outline().features.shape[1], window=1, stride=1)
    blank = Recipe(name=data.name, features=unsaid, model=ModelConfig(classes=1))
    return override(blank, said).features
