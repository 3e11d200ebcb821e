"""Writers of annotations in other programs' formats: functions of annotations that return a file's bytes.

What a format has no place for is told in one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.plugins import load_object
from tal_cli.results.output_paths import file_for
from tal_cli.safe_text import counted

Write = Callable[[Annotations], bytes]


@dataclass(frozen=True)
class Target:
    """A format to write.

    Attributes:
        suffix: of its files, with the dot.
        function: "module:function" of its writer; empty for tal's own.
        holds: what it has a place for, besides label, start and end: attributes of an instance and of a video.
        single: whether a file holds one video.
        events: whether it has rows of events alone, so that videos without instances are not in it.
    """

    suffix: str
    function: str
    holds: tuple[str, ...]
    single: bool = False
    events: bool = False


BORIS = ("kind", "subject", "modifiers", "comment", "comment_end", "part", "frames")
TARGETS = {
    "activitynet": Target(".json", "", ()),
    "boris": Target(".boris", "tal_cli.datasets.writers.boris:write_project", (*BORIS, "interval")),
    "boris-aggregated": Target(".csv", "tal_cli.datasets.writers.boris_tables:write_aggregated", BORIS, events=True),
    "boris-tabular": Target(".csv", "tal_cli.datasets.writers.boris_tables:write_tabular", BORIS, events=True),
    "frames": Target(".csv", "tal_cli.datasets.writers.tables:write_frames", ("reviewed", "frames")),
    "elan": Target(".eaf", "tal_cli.datasets.writers.tables:write_elan", ("kind", "score"), single=True),
    "textgrid": Target(
        ".TextGrid", "tal_cli.datasets.writers.textgrid:write_textgrid", ("kind", "subject"), single=True
    ),
    "textgrid-labels": Target(
        ".TextGrid", "tal_cli.datasets.writers.textgrid:write_textgrid_by_label", ("kind", "subject"), single=True
    ),
    "fiftyone": Target(
        ".json",
        "tal_cli.datasets.writers.tables:write_fiftyone",
        ("kind", "subject", "modifiers", "comment", "score", "frames"),
    ),
    "feral": Target(".json", "tal_cli.datasets.writers.tables:write_feral", ("frames",)),
    "vtrace": Target(
        ".csv",
        "tal_cli.datasets.writers.tables:write_vtrace",
        ("kind", "subject", "score", "source", "status", "suggestions", "frames"),
        single=True,
    ),
    "csv": Target(
        ".csv", "tal_cli.datasets.writers.tables:write_csv", ("kind", "subject", "comment", "score", "frames")
    ),
}
BY_SUFFIX = {".json": "activitynet", ".boris": "boris", ".eaf": "elan", ".textgrid": "textgrid", ".csv": "csv"}
WORDS = {
    "subject": "subjects", "modifiers": "modifiers", "comment": "comments", "score": "scores", "id": "identifiers",
    "by": "authors", "at": "times of writing", "kind": "points as such", "status": "statuses", "source": "sources",
    "reviewed": "what was reviewed", "suggestions": "suggestions", "comment_end": "comments at the end",
    "interval": "intervals of observation",
}  # fmt: skip


def target_of(out: Path, name: str | None) -> str:
    """The name of the format of a file, by `name` or else by its suffix.

    Raises:
        UsageError: an unknown format or suffix.
    """
    if name is not None:
        if name not in TARGETS:
            raise UsageError(f"--to {name}: no such format", f"use one of {', '.join(TARGETS)}")
        return name
    if out.suffix.lower() not in BY_SUFFIX:
        known = ", ".join(BY_SUFFIX)
        raise UsageError(
            f"{out}: no format has the suffix {out.suffix!r}", f"use one of {known}, or name one with --to"
        )
    return BY_SUFFIX[out.suffix.lower()]


def write_annotations(annotations: Annotations, out: Path, name: str) -> int:
    """Write annotations to a file; formats with one video a file are written to a folder if there are several.

    Returns:
        The number of instances that were written.

    Raises:
        UsageError: the format cannot hold them, as it needs times, a frame rate or a folder; or two videos have names
            that make one file.
    """
    target = TARGETS[name]
    annotations = annotations.rounded()
    count = sum(len(video.segments) for video in annotations.videos.values())
    if not target.function:
        save_annotations(annotations, out)
        return count
    write: Write = load_object(target.function)
    lost = left_out(annotations, target)
    without = untimed(annotations, target)
    if without and without == count:
        raise UsageError(f"{out}: none of the instances has times, which {name} needs", "give --fps X, or --videos DIR")
    if lost:
        console.note(f"{out}: {name} has no place for {', '.join(lost)}")
    if not target.single or (len(annotations.videos) == 1 and out.suffix):
        write_atomically(out, write(annotations))
        return count - without
    if out.suffix:
        raise UsageError(
            f"{out}: a file of the format {name} holds one video, and there are {len(annotations.videos)}",
            "name a folder",
        )
    files: dict[Path, VideoAnnotation] = {}
    for video in annotations.videos.values():
        other = files.setdefault(file_for(out, video.name, target.suffix), video)
        if other is not video:
            raise UsageError(
                f"{out}: videos {other.name} and {video.name} would have one file there", "convert them one at a time"
            )
    for file, video in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, write(replace(annotations, videos={video.name: video})))
    return count - without


def untimed(annotations: Annotations, target: Target) -> int:
    """Number of instances that a format cannot hold, as they have no times; those of BORIS have numbers of images."""
    videos = annotations.videos.values()
    return (
        0 if {*BORIS} <= {*target.holds} else sum(math.isnan(item.start) for video in videos for item in video.segments)
    )


def left_out(annotations: Annotations, target: Target) -> list[str]:
    """What a format has no place for, of all that the annotations say, in words."""
    usual = GroundTruth("", 0.0, 0.0)
    videos = annotations.videos.values()
    said = {
        name: any(getattr(item, name) != getattr(usual, name) for video in videos for item in video.segments)
        for name in WORDS
        if hasattr(usual, name)
    }
    said["reviewed"] = any(video.reviewed is not None or video.reviewed_labels for video in videos)
    said["interval"] = any(video.interval for video in videos)
    said["suggestions"] = any(video.suggestions for video in videos)
    without = untimed(annotations, target)
    lost = [f"{counted(without, 'instance')} without times"] if without else []
    empty = sum(not video.segments and not video.is_unseen for video in videos)
    if target.events and empty:
        lost.append(f"{counted(empty, 'video')} without instances")
    return [*lost, *(words for name, words in WORDS.items() if said[name] and name not in target.holds)]
