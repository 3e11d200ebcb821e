"""BORIS projects, with the keys that version 10 wants; a video's observation has its name, or that of its session."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tal_cli import console
from tal_cli.behaviour.frames import SLACK
from tal_cli.datasets.annotations import POINT, STATE, Annotations, GroundTruth, LabelDefinition, VideoAnnotation
from tal_cli.datasets.formats.boris.timeline import NO_SUBJECT, Modifiers, joined, modifier_text

PLAYERS = 8
MODIFIER_TYPES = {"one": 0, "several": 1, "number": 2, "external": 3}
KINDS = {STATE: "State event", POINT: "Point event"}
NO_FRAME = "NA"
SEPARATORS, NOTHING = ",|", ("", "None")


@dataclass(frozen=True)
class Session:
    """An observation: its media of player 1 (none: live, or pictures), further cameras, and instances on one clock."""

    name: str
    media: tuple[VideoAnnotation, ...]
    cameras: tuple[VideoAnnotation, ...]
    bouts: tuple[GroundTruth, ...]
    interval: tuple[float, float] | None = None

    @property
    def players(self) -> tuple[tuple[VideoAnnotation, ...], ...]:
        """The media files of each player; none without media."""
        return tuple(files for files in (self.media, *((camera,) for camera in self.cameras)) if files)

    def at(self, time: float) -> tuple[VideoAnnotation, float] | None:
        """The media file that is shown at a time, and the time on its clock; the last file goes on. None without."""
        for video in self.media:
            if time < video.duration or video is self.media[-1]:
                return video, time
            time -= video.duration
        return None

    @property
    def has_times(self) -> bool:
        """Whether instances have times; pictures may have numbers only."""
        return not any(math.isnan(item.start) for item in self.bouts)


def sessions(annotations: Annotations) -> list[Session]:
    """The observations of annotations. Instances that BORIS cannot tell apart, as they overlap, are joined."""
    by_name: dict[str, list[VideoAnnotation]] = {}
    for video in annotations.videos.values():
        by_name.setdefault(video.observation or video.name, []).append(video)
    kinds = kinds_of(annotations)
    found = []
    for name, videos in by_name.items():
        cameras = tuple(video for video in videos if video.is_unseen and not video.segments)
        media = tuple(video for video in videos if video not in cameras) or cameras[:1]
        items = [_coded(item, kinds) for item in joined(media)]
        _warn_of_names(name, items)
        is_file = any(video.path or not video.observation for video in media)
        bouts = _without_overlap(name, items)
        others = tuple(c for c in cameras if c not in media)
        interval = next((video.interval for video in videos if video.interval), None)
        found.append(Session(name, media if is_file else (), others, bouts, interval))
    return found


def kinds_of(annotations: Annotations) -> dict[str, str]:
    """The kind of each label: as it is defined, else as its instances are; a label of both is a state."""
    kinds = {item.name: item.kind for item in annotations.definitions}
    occurring: dict[str, set[str]] = {}
    for video in annotations.videos.values():
        for item in video.segments:
            occurring.setdefault(item.label, set()).add(item.kind)
    for label, found in occurring.items():
        kinds.setdefault(label, POINT if found == {POINT} else STATE)
    return kinds


def _coded(item: GroundTruth, kinds: dict[str, str]) -> GroundTruth:
    """A point of a label that is a state, as a state of no length: BORIS knows one kind per label."""
    return replace(item, kind=kinds[item.label])


def _warn_of_names(observation: str, items: Iterable[GroundTruth]) -> None:
    """Say what BORIS would read otherwise."""
    values = dict.fromkeys(value for item in items for values in item.modifiers for value in values)
    if wrong := [value for value in values if value in NOTHING or set(value) & set(SEPARATORS)]:
        console.warn(
            f"{observation}: modifiers {', '.join(map(repr, wrong))}: BORIS separates values by , and sets by |, and "
            "reads None as nothing, so they are read otherwise"
        )
    if any(item.subject == NO_SUBJECT for item in items):
        console.warn(f"{observation}: a subject named {NO_SUBJECT} means no subject to BORIS")


def _without_overlap(name: str, items: Iterable[GroundTruth]) -> tuple[GroundTruth, ...]:
    open_: dict[tuple[str, str | None, Modifiers], int] = {}
    kept: list[GroundTruth] = []
    for item in items:
        key = (item.label, item.subject, item.modifiers)
        before = kept[open_[key]] if key in open_ else None
        if item.kind == STATE and before is not None and item.start < before.end:
            console.warn(
                f"{name}: {item.label} at {item.start:g} s overlaps the one at {before.start:g} s; BORIS "
                "cannot hold both, so they are joined"
            )
            kept[open_[key]] = replace(before, end=max(before.end, item.end))
        else:
            open_[key] = len(kept)
            kept.append(item)
    return tuple(kept)


def write_project(annotations: Annotations) -> bytes:
    """A project of the format 7.0, or 8.6 if there are pictures."""
    kinds = kinds_of(annotations)
    defined = {item.name: item for item in annotations.definitions}
    definitions = [defined.get(label, LabelDefinition(label, kind)) for label, kind in kinds.items()]
    found = sessions(annotations)
    subjects = dict.fromkeys(annotations.subjects)
    subjects |= dict.fromkeys(item.subject for each in found for item in each.bouts if item.subject)
    now = datetime.now().isoformat(timespec="seconds")
    document = {
        "time_format": "hh:mm:ss",
        "project_date": now,
        "project_name": "",
        "project_description": "",
        "project_format_version": "7.0" if all(each.media or each.has_times for each in found) else "8.6",
        "subjects_conf": {str(n): {"key": "", "name": name, "description": ""} for n, name in enumerate(subjects)},
        "behaviors_conf": {str(n): _behaviour(item) for n, item in enumerate(definitions)},
        "observations": {each.name: _observation(each, now) for each in found},
        "behavioral_categories": sorted({item.category for item in definitions if item.category}),
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def _behaviour(item: LabelDefinition) -> dict[str, Any]:
    sets = {
        str(n): {
            "name": each.name,
            "description": "",
            "type": MODIFIER_TYPES.get(each.kind, 0),
            "ask at stop": False,
            "values": list(each.values),
        }
        for n, each in enumerate(item.modifiers)
    }
    return {
        "type": KINDS[item.kind],
        "key": item.key,
        "code": item.name,
        "description": "",
        "category": item.category,
        "modifiers": sets,
        "excluded": ",".join(item.excludes),
        "coding map": "",
        "color": item.color,
    }


def _observation(session: Session, now: str) -> dict[str, Any]:
    more: dict[str, Any]
    common = {
        "date": now,
        "description": "",
        "time offset": 0.0,
        "observation time interval": list(session.interval or (0, 0)),
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
    }
    events = [event for bout in session.bouts for event in _events(session, bout)]
    events.sort(key=lambda event: (math.inf if math.isnan(event[0]) else event[0], event[1], event[2]))
    if not session.media and session.has_times:
        more = {"scan_sampling_time": 0, "start_from_current_time": False, "start_from_current_epoch_time": False}
        return {"file": {}, "type": "LIVE", **common, **more, "events": [event[:5] for event in events]}
    if not session.media:
        more = {
            "directories_list": [],
            "time_lapse_delay": 0,
            "use_exif_date": False,
            "substract_first_exif_date": True,
        }
        return {"file": {}, "type": "IMAGES", **common, **more, "events": [[*event, ""] for event in events]}
    players = session.players[:PLAYERS]
    files = {str(n + 1): [path_of(v) for v in players[n]] if n < len(players) else [] for n in range(PLAYERS)}
    videos = [video for player in players for video in player]
    info: dict[str, Any] = {
        "length": {path_of(video): video.duration for video in videos},
        "fps": {path_of(video): video.fps or 0.0 for video in videos},
        "hasVideo": {path_of(video): True for video in videos},
        "hasAudio": {path_of(video): False for video in videos},
        "offset": {str(n + 1): 0.0 for n in range(PLAYERS)},
    }
    more = {"media_creation_date_as_offset": False, "media_scan_sampling_duration": 0, "image_display_duration": 1}
    return {"file": files, "type": "MEDIA", **common, "media_info": info, **more, "events": events}


def path_of(video: VideoAnnotation) -> str:
    """The path of a media file, or its name where no path is known."""
    return video.path or video.name


def _events(session: Session, bout: GroundTruth) -> list[list[Any]]:
    text = modifier_text(bout.modifiers)
    frames = bout.frames or (_frame(session, bout.start), _frame(session, bout.end))
    rows = [
        [time, bout.subject or "", bout.label, text, comment, NO_FRAME if frame is None else frame]
        for time, comment, frame in (
            (bout.start, bout.comment, frames[0]),
            (bout.end, bout.comment_end, frames[1]),
        )
    ]
    return rows[:1] if bout.kind == POINT else rows


def _frame(session: Session, time: float) -> int | None:
    """Frame index within its own file; None where there is no frame, or none is known."""
    if math.isnan(time) or time < 0 or (shown := session.at(time)) is None:
        return None
    video, own = shown
    edges = video.edges() if video.edges is not None else ()
    if edges:
        return bisect_right(edges, own + SLACK) - 1
    return int(own * video.fps + SLACK) if video.fps else None
