"""Converts annotation files of any format to one: merges them, adds durations of the videos, holds out validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation
from tal_cli.datasets.formats import load_annotations
from tal_cli.datasets.formats.values import DEFAULT_SUBSET, last_end
from tal_cli.extractors.errors import AnnotationError, InputError
from tal_cli.results.readers import read_results

TRAINING, VALIDATION = "training", "validation"
Progress = Callable[[int, int], None]


def merge(files: Sequence[Path], label_key: str, fps: float | None) -> Annotations:
    """Read and merge files of annotations or results; labels keep their order if the files agree on it.

    A video may be in several files as long as each of its labels is in only one, as in data sets with a file per label.

    Raises:
        AnnotationError: a file cannot be parsed, has a segment that ends before it starts, or contains a label of a
            video that is also in another file.
    """
    videos: dict[str, VideoAnnotation] = {}
    labels: list[tuple[str, ...]] = []
    version = ""
    for file in files:
        try:
            found = load_annotations(file, label_key, fps)
        except InputError as error:
            found = _predicted(file, label_key, error)
        _check_order(file, found)
        for name, video in found.videos.items():
            videos[name] = _joined(file, videos[name], video) if name in videos else video
        labels.append(found.labels)
        version = version or found.version
    longest = max(labels, key=len, default=())
    if not all(set(names) <= set(longest) for names in labels):
        longest = tuple(sorted({name for names in labels for name in names}))
    return Annotations(version, videos, longest)


def _predicted(file: Path, label_key: str, otherwise: InputError) -> Annotations:
    """The segments of a results file as annotations; raises `otherwise` for any other file."""
    try:
        results = read_results(file, label_key)
        detections = results.detections()
    except InputError:
        raise otherwise from None
    videos = {}
    for found in detections:
        segments = tuple(GroundTruth(item.label, item.start, item.end) for item in found.segments)
        duration = found.duration or last_end(segments)
        videos[found.video] = VideoAnnotation(found.video, DEFAULT_SUBSET, duration, found.fps or None, segments)
    occurring = {item.label for video in videos.values() for item in video.segments}
    labels = (*(name for name in results.labels if name in occurring), *sorted(occurring - set(results.labels)))
    console.note(f"{file}: a results file; its segments become annotations, whatever their scores: check them")
    return Annotations("", videos, labels)


def _check_order(file: Path, annotations: Annotations) -> None:
    """Raise AnnotationError for a segment that ends before it starts."""
    for video in annotations.videos.values():
        for item in video.segments:
            if item.end < item.start:
                reason = (
                    f"video {video.name}: {item.label} ends at {item.end:g} s, before it starts at {item.start:g} s"
                )
                raise AnnotationError(file, reason)


def _joined(file: Path, first: VideoAnnotation, second: VideoAnnotation) -> VideoAnnotation:
    again = {item.label for item in first.segments} & {item.label for item in second.segments}
    if again or first.subset != second.subset:
        what = f"label {min(again)}" if again else f"subset {second.subset}"
        raise AnnotationError(file, f"video {first.name}, {what}: also in another file")
    segments = first.segments + second.segments
    return replace(first, segments=segments, duration=max(first.duration, second.duration))


def with_videos(annotations: Annotations, files: Sequence[Path], progress: Progress | None = None) -> Annotations:
    """The annotations with durations and frame rates of the video files, matched by stem.

    Raises:
        AnnotationError: a video has no file; the first one is named.
        InputError: two files have the name of one video.
        VideoError: a file is not a video.
    """
    from tal_cli.extractors.video.stream import probe

    by_stem: dict[str, Path] = {}
    known = {}
    for file in files:
        other = by_stem.setdefault(file.stem, file)
        if other != file and file.stem in annotations.videos:
            raise InputError(file, f"video {file.stem}: {other} has the same name", "move one of them elsewhere")
    for number, (name, video) in enumerate(annotations.videos.items(), start=1):
        if name not in by_stem:
            folder = files[0].parent if files else "the folder"
            raise AnnotationError(folder, f"video {name}: no video file")
        information = probe(by_stem[name])
        known[name] = replace(video, duration=information.duration or video.duration, fps=information.fps)
        if progress is not None:
            progress(number, len(annotations.videos))
    return replace(annotations, videos=known)


def with_validation(annotations: Annotations, share: float) -> Annotations:
    """The annotations with about this fraction of the training videos moved to the subset `validation`.

    The choice depends on a hash of each name, so that a video stays in its subset when others are added.
    """
    videos = {
        name: replace(video, subset=VALIDATION) if video.subset == TRAINING and _place(name) < share else video
        for name, video in annotations.videos.items()
    }
    return replace(annotations, videos=videos)


def _place(name: str) -> float:
    """A hash of the name in [0, 1)."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:6], "big") / 2**48
