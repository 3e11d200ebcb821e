"""`edl`: a CMX 3600 edit decision list of the segments in temporal order; one video per file.

Each segment is one event: its time code in the video (which counts from the file's own time code where it has one, else
from 00:00:00:00 on the file's clock) and, back to back from 01:00:00:00 on, in the new timeline. Label and score stand
as a comment and as a locator, which programs show as a marker. CMX 3600 itself ends at 999 events; many programs read
longer lists. Rates that editors do not have go on a timeline of one that they do (`tal_cli.results.writers.timecode`).

OpenTimelineIO's adapter (otio-cmx3600-adapter 1.0) does not serve: it states no frame code mode, without which a reader
takes drop-frame time codes for others, writes labels in capitals, fails on a video without segments, and would make
`edl` need the extra `otio`. The tests read these lists back with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from tal_cli import console
from tal_cli.results.segments import Detections, titled
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.timecode import timecode_rate
from tal_cli.safe_text import one_line

# Edited programmes begin at one hour, by custom.
FIRST_HOUR = 1
MOST_EVENTS = 999


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write one list per video."""
    for found in detections:
        file.write(edit_list(found).encode(errors="backslashreplace"))


def edit_list(detections: Detections) -> str:
    """The edit decision list of one video."""
    rate = timecode_rate(detections.fps)
    lines = [
        f"TITLE: {one_line(detections.video)}",
        f"FCM: {'' if rate.drop else 'NON-'}DROP FRAME",
        "",
    ]
    record = rate.frames_in(FIRST_HOUR)
    origin = rate.origin(detections.file_clock)
    ordered = detections.in_time()
    if len(ordered) > MOST_EVENTS:
        console.warn(
            f"{one_line(detections.video)}: {len(ordered)} events in an edit list; "
            f"some programs read {MOST_EVENTS} (--top-k {MOST_EVENTS} keeps the best)"
        )
    for number, segment in enumerate(ordered, start=1):
        first, end = rate.frames_of(segment.start, segment.end)
        after = record + end - first
        codes = " ".join(rate.text(frame) for frame in (origin + first, origin + end, record, after))
        label = titled(segment)
        lines += [
            f"{number:03d}  AX       V     C        {codes}",
            f"* FROM CLIP NAME: {one_line(Path(detections.path).name)}",
            f"* COMMENT: {label} {segment.score:.2f}",
            f"* LOC: {rate.text(record)} CYAN    {label} {segment.score:.2f}",
            "",
        ]
        record = after
    return "\n".join(lines)
