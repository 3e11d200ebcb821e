"""`otio`: an OpenTimelineIO timeline per video: the whole video as one clip, and a marker over it for each segment.

Markers may overlap, have a length and carry label and score, so nothing is lost. Times are rational: frames at the rate
of `tal_cli.results.writers.timecode`, not rounded to whole ones, from the file's own time code on where it has one,
else on the file's clock. One video is written as a timeline, several as a collection of timelines. Needs the extra
`otio`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange

from tal_cli.results.colours import colour_index
from tal_cli.results.media_links import file_uri
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.json import kind_json
from tal_cli.results.writers.timecode import timecode_rate
from tal_cli.safe_text import one_line, printable

COLOURS = ("CYAN", "ORANGE", "GREEN", "PINK", "BLUE", "YELLOW", "PURPLE", "RED", "MAGENTA")
INDENT = 8 * " "  # of a collection's children, as written by OpenTimelineIO


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write one timeline, or a collection of timelines, one at a time."""
    timelines = (_dump(timeline(found, run)) for found in detections)
    first, second = next(timelines, None), next(timelines, None)
    if first is not None and second is None:
        file.write(f"{first}\n".encode())
        return
    collection = _dump(otio.schema.SerializableCollection(name="tal"))
    if first is None or second is None:
        file.write(f"{collection}\n".encode())
        return
    before, children, after = collection.partition('"children": []')
    file.write(f"{before}{children[:-1]}".encode())
    for number, text in enumerate(chain((first, second), timelines)):
        comma = "," if number else ""
        file.write(f"{comma}\n{text}".replace("\n", f"\n{INDENT}").encode())
    file.write(f"\n    ]{after}\n".encode())


def timeline(detections: Detections, run: RunInfo) -> Any:
    """The `otio.schema.Timeline` of one video."""
    standard = timecode_rate(detections.fps)
    rate, origin = float(standard.rate), standard.origin(detections.file_clock)
    whole = TimeRange(RationalTime(origin, rate), RationalTime(detections.duration * rate, rate))
    media = otio.schema.ExternalReference(target_url=file_uri(detections.path), available_range=whole)
    name = printable(Path(detections.path).name)
    clip = otio.schema.Clip(name=name, media_reference=media, source_range=whole)
    for segment in detections.in_time():
        marker = otio.schema.Marker(
            name=one_line(segment.label),
            marked_range=TimeRange(
                RationalTime(origin + segment.start * rate, rate),
                RationalTime((segment.end - segment.start) * rate, rate),
            ),
            color=COLOURS[colour_index(segment.label) % len(COLOURS)],
            metadata={"tal": {"label": printable(segment.label), "score": segment.score, **kind_json(segment)}},
        )
        clip.markers.append(marker)
    facts = {"version": run.version, "model": run.model, "weights_sha256": run.weights_sha256, "fps": detections.fps}
    made = otio.schema.Timeline(name=printable(detections.video), metadata={"tal": facts})
    made.tracks.append(otio.schema.Track(name="video", kind=otio.schema.TrackKind.Video, children=[clip]))
    return made


def _dump(value: Any) -> str:
    text: str = otio.adapters.write_to_string(value, "otio_json")
    return text
