"""Checks of annotations, features and videos, for `tal datasets check` and before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tal_cli.datasets.annotations import POINT, Annotations, VideoAnnotation
from tal_cli.datasets.formats.values import last_end
from tal_cli.extractors.errors import FeatureError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.features.lookup import PREFIX, FeatureFile, find_features
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.inputs import find_videos
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.safe_text import printable

SLACK_SECONDS = 0.5  # tolerated difference between durations of containers, streams and annotations
SLACK_SHARE = 0.01
NAMED_AT_MOST = 5
QUICK_BYTES = 1 << 30  # feature values read unless the check is thorough

# Kinds of problems that end a training.
EMPTY_SUBSET = "subset without instances"
UNKNOWN_LABEL = "unknown label"
LABEL_NOT_IN_TRAINING = "label missing from the training subset"
NO_FEATURES = "no features"
UNUSABLE_FEATURES = "features that cannot be used"
OTHER_CHANNELS = "wrong number of channels"
OTHER_FEATURES = "wrong feature contract"
NO_FRAME_RATE = "unknown frame rate"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Problem:
    """One problem with its place: problems of a kind are counted together, details are shown for the first few."""

    kind: str
    video: str
    detail: str = ""


@dataclass(frozen=True)
class Expected:
    """Expected properties of a data set.

    Attributes:
        subsets: subsets to train on and to evaluate on, with their numbers of videos; 0: any number.
        labels: number of labels; None: any number.
        label_names: all labels; empty if unknown.
        features: the recipe's feature settings; None: those of the first file.
    """

    subsets: tuple[tuple[str, int], ...]
    labels: int | None = None
    label_names: tuple[str, ...] = ()
    features: FeatureSpec | None = None


def check_annotations(annotations: Annotations, expected: Expected) -> Iterator[Problem]:
    """Find empty and incomplete subsets, unknown and missing labels, empty segments and those outside their video."""
    for subset, count in expected.subsets:
        videos = annotations.of(subset)
        if not any(video.segments for video in videos):
            yield Problem(EMPTY_SUBSET, subset)
        elif len(videos) < count:
            yield Problem("fewer videos than in the data set", subset, f"{len(videos)} of {count}")
    yield from _check_labels(annotations, expected)
    for video in annotations.videos.values():
        for item in video.segments:
            where = f"{item.label} {item.start:g}-{item.end:g}"
            if item.end <= item.start and (item.kind != POINT or item.end < item.start):
                yield Problem("empty segment", video.name, where)
            elif item.start < 0 or item.end > video.duration + slack(video.duration):
                yield Problem("segment outside the video", video.name, f"{where} of {video.duration:g} s")
        ranges = {*(video.reviewed or ()), *(part for _, parts in video.reviewed_labels for part in parts or ())}
        for start, end in sorted(ranges):
            if start < 0 or end > video.duration + slack(video.duration):
                yield Problem(
                    "reviewed range outside the video", video.name, f"{start:g}-{end:g} of {video.duration:g} s"
                )


def _check_labels(annotations: Annotations, expected: Expected) -> Iterator[Problem]:
    found = {
        name: {item.label for video in annotations.of(name) for item in video.segments} for name, _ in expected.subsets
    }
    everywhere = sorted(set().union(*found.values()))
    known = set(expected.label_names or everywhere) - set(annotations.unlisted)
    unknown = [label for label in everywhere if label not in known]
    for label in unknown:
        where = next(name for name, labels in found.items() if label in labels)
        yield Problem(UNKNOWN_LABEL, where, label)
    if expected.labels is not None and not unknown and not expected.label_names and len(everywhere) > expected.labels:
        yield Problem("more labels than in the data set", "all", f"{len(everywhere)}, expected {expected.labels}")
    taught = found[expected.subsets[0][0]] if expected.subsets else set()
    for name, _ in expected.subsets[1:]:
        for label in sorted(found[name] - taught - set(unknown)):
            if taught:
                yield Problem(LABEL_NOT_IN_TRAINING, name, label)
    for label in expected.label_names:
        if taught and label not in taught:
            yield Problem("label without a training instance", label)


def check_videos(videos: Sequence[VideoAnnotation], folder: Path) -> Iterator[Problem]:
    """Find videos that have no file in a folder."""
    there = {path.stem for path in find_videos(folder)}
    for video in videos:
        if video.name not in there and PREFIX + video.name not in there:
            yield Problem("no video file", video.name)


Pair = tuple[VideoAnnotation, FeatureFile]


@dataclass
class FeatureCheck:
    """Checks the feature files of videos, each once.

    Attributes:
        source: a folder, or a file that holds all.
        spec: what features must be; None: what the first file is.
        problems: missing and unreadable files, other channels or another making than wanted, lengths that fit no
            duration, as far as they have been found.
    """

    source: Path
    spec: FeatureSpec | None
    problems: list[Problem] = field(default_factory=list)

    def find(self, videos: Sequence[VideoAnnotation]) -> list[Pair]:
        """Pairs of a video and its feature file; videos without a file are recorded as problems."""
        found = [(video, find_features(self.source, video.name, video.subset)) for video in videos]
        self.problems += [Problem(NO_FEATURES, video.name) for video, file in found if file is None]
        return [(video, file) for video, file in found if file is not None]

    def read(
        self, pairs: Sequence[Pair], load: Callable[[FeatureFile], FeatureSequence], progress: Progress | None = None
    ) -> Iterator[tuple[Pair, FeatureSequence, list[Problem]]]:
        """The readable sequences, read by `load`, each with a clock if it is known, and its problems."""
        first: FeatureSequence | None = None
        for number, (video, file) in enumerate(pairs):
            if progress is not None:
                progress(number + 1, len(pairs))
            try:
                sequence = load(file)
            except FeatureError as error:
                self.problems.append(Problem(UNUSABLE_FEATURES, video.name, error.reason))
                continue
            first = first or sequence
            found = list(self._compare(video, sequence, first))
            sequence = self._with_clock(sequence, video)
            if sequence.contract is not None:
                found += _compare_clock(video, sequence, sequence.contract)
            elif self.spec is not None:
                found.append(Problem(NO_FRAME_RATE, video.name, "neither in the annotations nor in the recipe"))
            self.problems += found
            yield (video, file), sequence, found

    def look_through(
        self, videos: Sequence[VideoAnnotation], *, thorough: bool = False, progress: Progress | None = None
    ) -> int:
        """Finds the problems of all videos; gives how many files' values were read.

        Values, which may be hundreds of gigabytes, are read only as far as that takes seconds, unless `thorough`.
        """
        read, room = 0, QUICK_BYTES

        def load(file: FeatureFile) -> FeatureSequence:
            nonlocal read, room
            if not thorough and room <= 0:
                return file.outline()
            read += 1
            sequence = file.load()
            room -= sequence.features.nbytes
            return sequence

        for _ in self.read(self.find(videos), load, progress):
            pass
        return read

    def _compare(self, video: VideoAnnotation, sequence: FeatureSequence, first: FeatureSequence) -> Iterator[Problem]:
        channels = sequence.features.shape[1]
        wanted = self.spec.channels if self.spec else first.features.shape[1]
        if channels != wanted:
            whose = "the recipe" if self.spec else "the first file"
            windows = len(sequence.features)
            hint = f"; its shape is [{windows}, {channels}], transposed?" if windows == wanted else ""
            yield Problem(OTHER_CHANNELS, video.name, f"{channels}, {whose} has {wanted}{hint}")
        elif sequence.contract is not None:
            differences = []
            if self.spec is not None:
                differences = self.spec.differences(sequence.contract)
            elif first.contract is not None:
                differences = first.contract.differences(sequence.contract)
            if differences:
                yield Problem(OTHER_FEATURES, video.name, "; ".join(differences))

    def _with_clock(self, sequence: FeatureSequence, video: VideoAnnotation) -> FeatureSequence:
        """Features without contract are assumed to follow `spec`, on the annotation's clock, if both are known."""
        fps = video.fps or (None if self.spec is None else self.spec.sampling_rate)
        if sequence.contract is not None or self.spec is None or fps is None:
            return sequence
        return sequence.following(self.spec.contract(), fps, video.duration if video.duration > 0 else None)


def summarise(problems: Sequence[Problem]) -> list[str]:
    """One line per kind: their number, and the first few."""
    return [
        f"{kind}: {len(places)}: {', '.join(_named(place) for place in places[:NAMED_AT_MOST])}"
        + (f" and {len(places) - NAMED_AT_MOST} more" if len(places) > NAMED_AT_MOST else "")
        for kind, places in by_kind(problems).items()
    ]


def by_kind(problems: Sequence[Problem]) -> dict[str, list[Problem]]:
    """Problems by kind, in the order in which they were found."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    return kinds


def _named(problem: Problem) -> str:
    return printable(f"{problem.video} ({problem.detail})" if problem.detail else problem.video)


def _compare_clock(video: VideoAnnotation, sequence: FeatureSequence, contract: FeatureContract) -> Iterator[Problem]:
    longer = sequence.duration - video.duration
    # Unknown duration: the video may be longer. Where the number of frames is known, so is the duration.
    reviewed = video.reviewed if video.frames is None else None
    is_guess = video.duration in (last_end(video.segments), last_end(video.segments, reviewed))
    if abs(longer) > slack(video.duration) and not (is_guess and longer > 0):
        detail = f"{sequence.duration:g} s in the features, {video.duration:g} s in the annotations"
        yield Problem("wrong duration", video.name, detail)
    elif video.fps is not None and abs(sequence.fps / video.fps - 1) > SLACK_SHARE:
        yield Problem("wrong frame rate", video.name, f"{sequence.fps:g} and {video.fps:g} frames/s")
    else:
        rate = sequence.feature_fps or sequence.fps
        wanted = WindowGrid.of(contract).count(max(round(sequence.duration * rate), 1))
        if abs(len(sequence.features) - wanted) > 2 + SLACK_SHARE * wanted:
            detail = f"{len(sequence.features)} windows, its duration implies {wanted}"
            yield Problem("wrong length", video.name, detail)


def slack(duration: float) -> float:
    """Seconds by which durations of one video may differ that containers, streams and people tell."""
    return SLACK_SECONDS + SLACK_SHARE * duration
