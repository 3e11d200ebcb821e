"""What is wrong with annotations and features, found before a day of training is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from extractors.contract import FeatureContract
from extractors.store import FeatureError, FeatureSequence, load_features
from extractors.windows import WindowGrid
from tal_cli.datasets.annotations import Annotations, VideoAnnotation
from tal_cli.datasets.features import find_features

SLACK_SECONDS = 0.5  # durations of containers, streams and annotations differ by this much without harm
SLACK_SHARE = 0.01
NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where: kinds are counted together, details are named for the first few."""

    kind: str
    video: str
    detail: str = ""


def check_annotations(annotations: Annotations, subsets: Sequence[str], labels: int | None) -> Iterator[Problem]:
    """Empty subsets, an unexpected number of labels, segments without length or outside their video."""
    for subset in subsets:
        if not any(video.segments for video in annotations.of(subset)):
            yield Problem("subset without instances", subset)
    if labels is not None and len(annotations.labels) != labels:
        yield Problem(f"not the {labels} labels that were expected", "all", f"{len(annotations.labels)} occur")
    for video in annotations.videos.values():
        for item in video.segments:
            where = f"{item.label} {item.start:g}-{item.end:g}"
            if item.end <= item.start:
                yield Problem("segment without length", video.name, where)
            elif item.start < 0 or item.end > video.duration + _slack(video.duration):
                yield Problem("segment outside the video", video.name, f"{where} of {video.duration:g} s")


def check_features(
    videos: Sequence[VideoAnnotation], folder: Path, progress: Callable[[int, int], None] | None = None
) -> Iterator[Problem]:
    """Missing and unreadable files, contracts that differ from the first one's, lengths that do not fit durations."""
    first: FeatureSequence | None = None
    for number, video in enumerate(videos):
        path = find_features(folder, video.name)
        if progress is not None:
            progress(number + 1, len(videos))
        if path is None:
            yield Problem("no features", video.name)
            continue
        try:
            sequence = load_features(path)
        except FeatureError as error:
            yield Problem("features that cannot be used", video.name, error.reason)
            continue
        first = first or sequence
        yield from _compare(video, sequence, first)


def summarise(problems: Sequence[Problem]) -> list[str]:
    """One line per kind: how many, and the first few."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(
            f"{problem.video} ({problem.detail})" if problem.detail else problem.video
        )
    return [
        f"{kind}: {len(places)}: {', '.join(places[:NAMED_AT_MOST])}"
        + (f" and {len(places) - NAMED_AT_MOST} more" if len(places) > NAMED_AT_MOST else "")
        for kind, places in kinds.items()
    ]


def _compare(video: VideoAnnotation, sequence: FeatureSequence, first: FeatureSequence) -> Iterator[Problem]:
    channels, expected = sequence.features.shape[1], first.features.shape[1]
    if channels != expected:
        yield Problem("another number of channels", video.name, f"{channels}, the first file has {expected}")
    elif sequence.contract is not None and first.contract is not None:
        differences = first.contract.differences(sequence.contract)
        if differences:
            yield Problem("features made differently", video.name, "; ".join(differences))
    if sequence.contract is None:
        return
    if abs(sequence.duration - video.duration) > _slack(video.duration):
        detail = f"{sequence.duration:g} s in the features, {video.duration:g} s in the annotations"
        yield Problem("another duration", video.name, detail)
    elif video.fps is not None and abs(sequence.fps / video.fps - 1) > SLACK_SHARE:
        yield Problem("another frame rate", video.name, f"{sequence.fps:g} and {video.fps:g} frames/s")
    else:
        yield from _compare_length(video, sequence, sequence.contract)


def _compare_length(video: VideoAnnotation, sequence: FeatureSequence, contract: FeatureContract) -> Iterator[Problem]:
    rate = sequence.feature_fps or sequence.fps
    windows = WindowGrid(contract.window, contract.stride).count(round(sequence.duration * rate))
    if abs(windows - len(sequence.features)) > 2 + SLACK_SHARE * windows:
        yield Problem("another length", video.name, f"{len(sequence.features)} windows, its duration makes {windows}")


def _slack(duration: float) -> float:
    return SLACK_SECONDS + SLACK_SHARE * duration
