"""`table`: output for a terminal, one table per video in temporal order."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Iterable
from typing import BinaryIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import RunInfo
from tal_cli.safe_text import counted, one_line, seconds_as_clock

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan", "bright_magenta", "bright_green")
# Wide enough for any row; used if the output is not a terminal.
FILE_WIDTH = 120
BAR_WIDTH = 20


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write a table per video; a label keeps its colour over the whole run."""
    styles: dict[str, str] = {}
    for found in detections:
        text = io.StringIO()
        width = shutil.get_terminal_size().columns if run.terminal else FILE_WIDTH
        Console(file=text, force_terminal=run.terminal, width=width).print(table_of(found, run.model, styles))
        file.write(text.getvalue().encode())


def table_of(detections: Detections, model: str, styles: dict[str, str]) -> Table:
    """The rich table of one video; new labels get the next colour in `styles`."""
    found = counted(len(detections.segments), "segment")
    caption = f"{found} in {seconds_as_clock(detections.duration)} · {one_line(model)}"
    table = Table(
        title=Text(one_line(detections.video), style="bold"),
        title_justify="left",
        caption=Text(caption),
        caption_justify="left",
    )
    table.add_column("label", no_wrap=True)
    for name in ("start", "end", "seconds", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("when", no_wrap=True)
    for segment in sorted(detections.segments, key=lambda s: (s.start, s.end)):
        style = styles.setdefault(segment.label, COLOURS[len(styles) % len(COLOURS)])
        table.add_row(
            Text(one_line(segment.label), style=style),
            seconds_as_clock(segment.start),
            seconds_as_clock(segment.end),
            f"{segment.end - segment.start:.2f}",
            Text(f"{segment.score:.2f}", style="bold" if segment.score >= 0.5 else "dim"),
            Text(bar(segment, detections.duration), style=style),
        )
    return table


def bar(segment: Segment, duration: float) -> str:
    """Position of a segment in its video, as a bar of BAR_WIDTH characters.

    >>> bar(Segment("cut", 5.0, 10.0, 1.0), 20.0)
    '·····█████··········'
    """
    first = min(int(BAR_WIDTH * segment.start / duration), BAR_WIDTH - 1)
    last = min(max(math.ceil(BAR_WIDTH * segment.end / duration), first + 1), BAR_WIDTH)
    return "·" * first + "█" * (last - first) + "·" * (BAR_WIDTH - last)
