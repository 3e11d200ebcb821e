"""Splits custom data into videos to train on and videos to evaluate on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tal_cli.datasets.annotations import (
    ALL_SUBSETS,
    TEST_NAMES,
    TRAINING_NAMES,
    VALIDATION_NAMES,
    Annotations,
    VideoAnnotation,
    split_names,
)

HELD_OUT = "held-out"
FEWEST_TO_SPLIT = 10  # annotated videos; with fewer, all are used for training
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """Annotations, the subset to train on, the subset to evaluate on (or None), and an explanation of the choice."""

    annotations: Annotations
    train: str
    test: str | None
    note: str = ""


def split_own(annotations: Annotations, path: str | Path, *, holds_out: bool = True) -> Split:
    """The split given by subsets with conventional names; without such names, training is on all videos.

    Without a subset to evaluate on, a fifth of the videos is held out if there are at least ten, unless none is wanted.

    Raises:
        AnnotationError: no instance to train on.
    """
    usual = {*TRAINING_NAMES, *VALIDATION_NAMES, *TEST_NAMES}
    filled = {video.subset for video in annotations.videos.values() if video.segments}
    known = bool(filled & usual) or not filled
    train, test = split_names(annotations, path) if known else (ALL_SUBSETS, None)
    if test is not None:
        return Split(annotations, train, test)
    note = "" if known else f"no subset is named training or validation ({', '.join(sorted(filled))}): training on all"
    if not holds_out:
        return Split(annotations, train, None, note)
    kept = held_out([video for video in annotations.of(train) if video.segments])
    if not kept:
        return Split(annotations, train, None, note)
    videos = {
        name: replace(video, subset=HELD_OUT if name in kept else "training") if train == ALL_SUBSETS or name in kept
        else video
        for name, video in annotations.videos.items()
    }  # fmt: skip
    text = f"{len(kept)} videos are held out for evaluation; use --train-subset {train} to train on them as well"
    renamed = "training" if train == ALL_SUBSETS else train
    return Split(replace(annotations, videos=videos), renamed, HELD_OUT, f"{note}; {text}" if note else text)


def held_out(videos: Sequence[VideoAnnotation]) -> frozenset[str]:
    """Names of about a fifth of the videos, such that every label keeps a training instance; none if there are few.

    The choice depends on a hash of the names, so that the same data is always split in the same way.
    """
    if len(videos) < FEWEST_TO_SPLIT:
        return frozenset()
    left = Counter(label for video in videos for label in {item.label for item in video.segments})
    kept: set[str] = set()
    for video in sorted(videos, key=lambda video: hashlib.sha256(video.name.encode("utf-8", "surrogatepass")).digest()):
        labels = {item.label for item in video.segments}
        if len(kept) < round(HELD_OUT_SHARE * len(videos)) and all(left[label] > 1 for label in labels):
            kept.add(video.name)
            left.subtract(labels)
    return frozenset(kept)
