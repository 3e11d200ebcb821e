"""`otio`: an OpenTimelineIO timeline per video: the whole video as one clip, and a marker over it for each segment.

Markers may overlap, have a length and carry label and score, so nothing is lost. Times are rational: frames at the
rate of `tal_cli.results.writers.timecode`, not rounded to whole ones. One video is written as a timeline, several as a
collection of timelines. Needs the extra `otio`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange

from tal_cli.results.colours import colour_index
from tal_cli.results.media_links import file_uri
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.timecode import timecode_rate
from tal_cli.safe_text import one_line, printable

COLOURS = ("CYAN", "ORANGE", "GREEN", "PINK", "BLUE", "YELLOW", "PURPLE", "RED", "MAGENTA")


class OtioWriter:
    """Everything is written at the end, when it is known whether there is one video or many."""

    def __init__(self, run: RunInfo) -> None:
        self._run = run
        self._timelines: list[Any] = []

    def start(self) -> bytes:
        return b""

    def add(self, detections: Detections) -> bytes:
        self._timelines.append(timeline(detections, self._run))
        return b""

    def finish(self) -> bytes:
        if len(self._timelines) == 1:
            return _dump(self._timelines[0])
        return _dump(otio.schema.SerializableCollection(name="tal", children=self._timelines))


def timeline(detections: Detections, run: RunInfo) -> Any:
    """The `otio.schema.Timeline` of one video."""
    rate = float(timecode_rate(detections.fps).rate)
    whole = TimeRange(RationalTime(0, rate), RationalTime(detections.duration * rate, rate))
    media = otio.schema.ExternalReference(target_url=file_uri(detections.path), available_range=whole)
    name = printable(Path(detections.path).name)
    clip = otio.schema.Clip(name=name, media_reference=media, source_range=whole)
    for segment in sorted(detections.segments, key=lambda s: (s.start, s.end, s.label)):
        marker = otio.schema.Marker(
            name=one_line(segment.label),
            marked_range=TimeRange(
                RationalTime(segment.start * rate, rate), RationalTime((segment.end - segment.start) * rate, rate)
            ),
            color=COLOURS[colour_index(segment.label) % len(COLOURS)],
            metadata={"tal": {"label": printable(segment.label), "score": segment.score}},
        )
        clip.markers.append(marker)
    facts = {"version": run.version, "model": run.model, "weights_sha256": run.weights_sha256, "fps": detections.fps}
    made = otio.schema.Timeline(name=printable(detections.video), metadata={"tal": facts})
    made.tracks.append(otio.schema.Track(name="video", kind=otio.schema.TrackKind.Video, children=[clip]))
    return made


def _dump(value: Any) -> bytes:
    text: str = otio.adapters.write_to_string(value, "otio_json")
    return text.encode() + b"\n"
