"""What `tal train` learns from: annotations, feature files and subsets, checked before anything else is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import Annotations, split_names
from tal_cli.datasets.catalog import BENCHMARKS, find_benchmark
from tal_cli.datasets.checks import (
    EMPTY_SUBSET,
    UNKNOWN_LABEL,
    UNTAUGHT_LABEL,
    Expected,
    check_annotations,
    summarise,
)
from tal_cli.datasets.formats import load_annotations
from tal_cli.datasets.splits import split_own
from tal_cli.datasets.training_data import FeatureVideo, load_videos
from tal_cli.evaluation.average_precision import parse_tiou
from tal_cli.extractors.errors import InputError, MissingError, UsageError
from tal_cli.extractors.features.lookup import default_source, find_features
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.features import UNKNOWN, FeatureSpec
from tal_cli.models.recipe.loading import override
from tal_cli.models.recipe.schema import Recipe

OWN_DATA_TIOU = "0.3:0.1:0.7"
USUAL_NAME = "annotations"
MAKE_FEATURES = "make them with `tal extract-features VIDEOS --output DIR`, or say with --features where they are"


@dataclass(frozen=True)
class TrainingData:
    """What to train on.

    Attributes:
        name: the data set's, or `name_of` the annotation file.
        path: the annotation file.
        annotations: with the subsets that are meant.
        features: a folder, or a file that holds all.
        train, test: subsets; the second may be absent.
        tiou: thresholds of the evaluation.
        recipe: the data set's usual one, if it has one.
        expected: what annotations and features are checked against, but for the features' making.
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
        """Those that are read."""
        return (self.train,) if self.test is None else (self.train, self.test)


def find_data(dataset: str, features: Path | None, train_subset: str | None, test_subset: str | None) -> TrainingData:
    """Annotations and features of a data set's name or of an annotation file.

    Raises:
        MissingError: the annotations are not there.
        UsageError: an unknown name, a subset without videos.
        InputError: a file that cannot be read, or without instances.
    """
    path = Path(dataset)
    if path.suffix in (".json", ".gz") or path.is_file():
        data = _own_data(path, features, train_subset, test_subset)
    else:
        data = _benchmark_data(dataset, features, train_subset, test_subset)
    if not data.features.exists():
        raise MissingError(f"{data.features}: no such file or folder of features", MAKE_FEATURES)
    for subset in data.subsets:
        if not data.annotations.of(subset):
            known = ", ".join(data.annotations.subsets) or "none"
            raise UsageError(f"the annotations have no video in subset {subset!r}", f"their subsets: {known}")
    return data


def name_of(path: Path) -> str:
    """What one's own data is called: as its annotation file, or as the folder of one that has the usual name."""
    stem = path.name.split(".")[0]
    return path.resolve().parent.name or stem if stem == USUAL_NAME else stem


def _own_data(path: Path, features: Path | None, train: str | None, test: str | None) -> TrainingData:
    if not path.is_file():
        raise MissingError(f"{path}: no such annotation file", "name a file, or a data set of `tal datasets list`")
    annotations = load_annotations(path)
    if train is None and test is None:
        split = split_own(annotations, path)
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
    benchmark = find_benchmark(name)
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
    """Check the annotations as `tal datasets check` does; what does not end the run is said, if `speak`.

    Raises:
        InputError: a subset without instances, an unknown label, one's own label that is missing from the training set.
    """
    fatal = (EMPTY_SUBSET, UNKNOWN_LABEL) if data.name in BENCHMARKS else (EMPTY_SUBSET, UNKNOWN_LABEL, UNTAUGHT_LABEL)
    found = list(check_annotations(data.annotations, data.expected))
    ends = summarise([problem for problem in found if problem.kind in fatal])
    if ends:
        raise InputError(data.path, "; ".join(ends), "`tal datasets check` lists all problems")
    for line in summarise(found) if speak else ():
        console.warn(line)


def load_subsets(
    data: TrainingData, spec: FeatureSpec, *, speak: bool = True
) -> tuple[list[FeatureVideo], list[FeatureVideo]]:
    """The videos to train on, and those to evaluate on, of which there may be none; raises as `load_videos`."""
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
    """What the first training video's features are: as the file beside them says, else as overrides do.

    Raises:
        MissingError: they are not there, or nothing says what they are.
        RecipeError: overrides that features cannot have.
        FeatureError: the file cannot be read.
    """
    video = data.annotations.of(data.train)[0]
    file = find_features(data.features, video.name, video.subset)
    if file is None:
        raise MissingError(f"no features of {video.name} in {data.features}", MAKE_FEATURES)
    contract = file.contract()
    if contract is not None:
        return FeatureSpec.of(contract)
    said = {path: value for path, value in overrides.items() if path.startswith("features.")}
    if not {"features.window", "features.stride"} <= said.keys():
        raise MissingError(
            f"{file}: nothing beside it says its window and stride",
            "say them with --set features.window=16 --set features.stride=4, or name a --recipe that does",
        )
    unsaid = FeatureSpec(extractor=UNKNOWN, channels=file.outline().features.shape[1], window=1, stride=1)
    blank = Recipe(name=data.name, features=unsaid, model=ModelConfig(classes=1))
    return override(blank, said).features
