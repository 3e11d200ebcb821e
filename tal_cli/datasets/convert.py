"""Converts annotation files of any format to one: merges them, adds durations of the videos, holds out validation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tal_cli import console
from tal_cli.behaviour.frames import SLACK, edges_at_hand
from tal_cli.datasets.annotations import Annotations, GroundTruth, LabelDefinition, VideoAnnotation
from tal_cli.datasets.formats import read_annotations
from tal_cli.datasets.formats.values import (
    DEFAULT_SUBSET,
    Facts,
    How,
    facts_in,
    is_video,
    last_end,
    stem,
    without_suffix,
)
from tal_cli.datasets.video_facts import VideoFacts
from tal_cli.extractors.errors import AnnotationError, InputError
from tal_cli.results.readers import read_results

TRAINING, VALIDATION = "training", "validation"
Progress = Callable[[int, int], None]


def merge(files: Sequence[Path], how: How, out: Path | None = None) -> Annotations:
    """Read and merge files of annotations or results; labels keep their order if the files agree on it.

    Paths of videos that lie where a file says are then relative to the folder of `out`.

    A video may be in several files as long as each label of a subject is in only one, as in data sets with a file per
    label, or per subject. Observations of one video that have names of their own stay apart.

    Raises:
        AnnotationError: a file cannot be parsed, has a segment that ends before it starts, or contains a label of a
            video that is also in another file.
    """
    videos: dict[str, VideoAnnotation] = {}
    labels: list[tuple[str, ...]] = []
    definitions: dict[str, LabelDefinition] = {}
    subjects: dict[str, None] = {}
    version = ""
    for file in files:
        try:
            found = read_annotations(file, how)
        except InputError as error:
            found = _predicted(file, how.label_key, error)
        _check_order(file, found)
        for name, video in found.videos.items():
            video = replace(video, fps=video.fps or how.fps)
            place = file.parent / video.path
            if video.path and video.edges is None and place.is_file():
                video = replace(video, edges=partial(edges_at_hand, place))
            if out is not None:
                video = replace(video, path=_moved(video.path, file.parent, out.parent))
            if name in videos and videos[name].observation != video.observation:
                name = f"{name} ({video.observation or file.name})"
                video = replace(video, name=name)
            if name in videos and video.path not in ("", videos[name].path) and _clash(videos[name], video):
                name = without_suffix(video.path)  # another file of that name
                video = replace(video, name=name)
            videos[name] = _joined(file, videos[name], video) if name in videos else video
        labels.append(found.labels)
        definitions |= {item.name: item for item in found.definitions if item.name not in definitions}
        subjects |= dict.fromkeys(found.subjects)
        version = version or found.version
    longest = max(labels, key=len, default=())
    if not all(set(names) <= set(longest) for names in labels):
        longest = tuple(sorted({name for names in labels for name in names}))
    return Annotations(version, videos, longest, definitions=tuple(definitions.values()), subjects=tuple(subjects))


def _moved(path: str, before: Path, after: Path) -> str:
    """A path relative to one folder, relative to another; unchanged if there is no such file."""
    if not path or os.path.isabs(path) or not (before / path).is_file():
        return path
    return Path(os.path.relpath(before / path, after)).as_posix()


def _predicted(file: Path, label_key: str, otherwise: InputError) -> Annotations:
    """The segments of a results file as annotations; raises `otherwise` for any other file."""
    try:
        results = read_results(file, label_key)
        detections = results.detections()
    except InputError:
        raise otherwise from None
    videos = {}
    for found in detections:
        segments = tuple(
            GroundTruth(item.label, item.start, item.end, item.kind, item.subject, source="model", score=item.score)
            for item in found.segments
        )
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


def _clash(first: VideoAnnotation, second: VideoAnnotation) -> set[tuple[str, str | None]]:
    """Labels and subjects that are in both."""
    once, again = ({(item.label, item.subject) for item in video.segments} for video in (first, second))
    return once & again


def _joined(file: Path, first: VideoAnnotation, second: VideoAnnotation) -> VideoAnnotation:
    if (both := _clash(first, second)) or first.subset != second.subset:
        what = f"label {min(label for label, _ in both)}" if both else f"subset {second.subset}"
        raise AnnotationError(file, f"video {first.name}, {what}: also in another file")
    by_label = first.reviewed_labels + second.reviewed_labels
    if first.reviewed != second.reviewed:
        by_label += tuple((label, second.reviewed) for label in sorted({item.label for item in second.segments}))
    return replace(
        first,
        segments=first.segments + second.segments,
        suggestions=first.suggestions + second.suggestions,
        reviewed_labels=tuple(dict(by_label).items()),
        duration=max(first.duration, second.duration),
        fps=first.fps or second.fps,
        frames=first.frames or second.frames,
        path=first.path or second.path,
    )


def with_videos(
    annotations: Annotations, facts: Mapping[str, Facts], folder: Path, progress: Progress | None = None
) -> Annotations:
    """The annotations with durations and frame rates of the video files in a folder, matched by stem.

    Raises:
        AnnotationError: a video has no file; the first one is named. And as `VideoFacts`.
    """
    known = {}
    for number, (name, video) in enumerate(annotations.videos.items(), start=1):
        told = facts_in(facts, video.path or name) or facts.get(name)
        if told is None and video.observation and not video.path:  # BORIS's live observations, and pictures
            told = Facts(video.fps, video.frames, video.duration)
        if told is None:
            raise AnnotationError(folder, f"video {name}: no video file")
        known[name] = replace(
            video,
            duration=told.duration or video.duration,
            fps=told.fps or video.fps,
            edges=told.edges,
            frames=video.frames or (told.frames if video.reviewed is not None or video.path else None),
        )
        if progress is not None:
            progress(number, len(annotations.videos))
    return replace(annotations, videos=known)


def with_lengths(annotations: Annotations, facts: Mapping[str, Facts]) -> tuple[Annotations, list[str]]:
    """The annotations with the durations of videos that are at hand, among `facts` or where their paths say, for those
    that end with their last instance, as the annotations do not tell how long they are; and the names of the others.

    Raises:
        InputError, VideoError: as `VideoFacts`.
    """
    videos, untold = dict(annotations.videos), []
    for name, video in annotations.videos.items():
        # Where an instance goes on in the next video, this one's length is known.
        goes_on = any(item.part is not None and item.part[0] < item.part[1] for item in video.segments)
        if not video.segments or goes_on or video.duration > last_end(video.segments) + SLACK:
            continue
        told = facts_in(facts, video.path or name) or facts.get(name)
        if told is None and is_video(video.path) and Path(video.path).is_file():
            told = VideoFacts([Path(video.path)])[stem(video.path)]
        if told is None:
            untold.append(name)
        else:
            videos[name] = replace(video, duration=told.duration or video.duration, fps=video.fps or told.fps)
    return replace(annotations, videos=videos), untold


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
