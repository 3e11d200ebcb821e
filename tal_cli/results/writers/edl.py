"""`edl`: a CMX 3600 edit decision list that strings the segments together in the order of time; one video per file.

Each segment is one event: its time code in the video (which is taken to begin at 00:00:00:00) and, back to back from
01:00:00:00 on, in the new timeline. Label and score stand as a comment and as a locator, which programs show as a
marker. CMX 3600 itself ends at 999 events; many programs read longer lists. Rates that editors do not have go on a
timeline of one that they do (`tal_cli.results.writers.timecode`).
"""

from __future__ import annotations

from pathlib import Path

from tal_cli import console
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.timecode import timecode_rate
from tal_cli.safe_text import one_line

# Edited programmes begin at one hour, by custom.
FIRST_HOUR = 1
MOST_EVENTS = 999


class EdlWriter:
    """One list; it is made when its video is added."""

    def __init__(self, run: RunInfo) -> None:
        self._run = run

    def start(self) -> bytes:
        return b""

    def add(self, detections: Detections) -> bytes:
        rate = timecode_rate(detections.fps)
        lines = [
            f"TITLE: {one_line(detections.video)}",
            f"FCM: {'' if rate.drop else 'NON-'}DROP FRAME",
            "",
        ]
        record = rate.frames_in(FIRST_HOUR)
        ordered = sorted(detections.segments, key=lambda s: (s.start, s.end, s.label))
        if len(ordered) > MOST_EVENTS:
            console.warn(
                f"{one_line(detections.video)}: {len(ordered)} events in an edit list; "
                f"some programs read {MOST_EVENTS} (--top-k {MOST_EVENTS} keeps the best)"
            )
        for number, segment in enumerate(ordered, start=1):
            first, end = rate.frames_of(segment.start, segment.end)
            after = record + end - first
            codes = " ".join(rate.text(frame) for frame in (first, end, record, after))
            label = one_line(segment.label)
            lines += [
                f"{number:03d}  AX       V     C        {codes}",
                f"* FROM CLIP NAME: {one_line(Path(detections.path).name)}",
                f"* COMMENT: {label} {segment.score:.2f}",
                f"* LOC: {rate.text(record)} CYAN    {label} {segment.score:.2f}",
                "",
            ]
            record = after
        return "\n".join(lines).encode(errors="backslashreplace")

    def finish(self) -> bytes:
        return b""
