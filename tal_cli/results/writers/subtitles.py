"""`srt` and `vtt`: segments as subtitles in temporal order, for any player; one video per file.

Times are on the file's clock, which players use: if the sound starts before the first frame, that frame is not at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from tal_cli.datasets.annotations import POINT
from tal_cli.results.segments import Detections, Segment, titled
from tal_cli.results.writers import RunInfo
from tal_cli.safe_text import one_line

# SubRip has no escapes: characters of tags and time lines are replaced by look-alikes.
SRT_LOOKALIKES = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")"})
POINT_SECONDS = 1.0
VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def cues(detections: Detections) -> Iterator[tuple[int, int, Segment]]:
    """(start, end) in milliseconds on the file's clock and the segment, by start; none is shorter than 1 ms.

    Points are shown for POINT_SECONDS.
    """
    offset = detections.file_clock.offset
    for segment in detections.in_time():
        start = max(0, round((offset + segment.start) * 1000))
        end = segment.end + (POINT_SECONDS if segment.kind == POINT else 0.0)
        yield start, max(start + 1, round((offset + end) * 1000)), segment


def clock(milliseconds: int, separator: str) -> str:
    """`HH:MM:SS,mmm`, or with another separator before the milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{separator}{rest:03d}"


def caption(segment: Segment) -> str:
    """Text of a subtitle: label and score on one line."""
    return f"{titled(segment)} {segment.score:.2f}"


def write_srt(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """SubRip."""
    for found in detections:
        file.write(_blocks(found, ",", SRT_LOOKALIKES))


def write_vtt(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write WebVTT, for the `<track>` element of a web page."""
    model = one_line(run.model).replace("-->", "→")
    file.write(f"WEBVTT\n\nNOTE made by tal {run.version}, model {model}\n\n".encode())
    for found in detections:
        file.write(_blocks(found, ".", VTT_ESCAPES))


def _blocks(detections: Detections, separator: str, escapes: dict[int, str]) -> bytes:
    return "".join(
        f"{number}\n{clock(start, separator)} --> {clock(end, separator)}\n{caption(segment).translate(escapes)}\n\n"
        for number, (start, end, segment) in enumerate(cues(detections), start=1)
    ).encode()
