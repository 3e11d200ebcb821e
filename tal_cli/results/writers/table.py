"""`table`: output for a terminal, one table per video in temporal order."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tal_cli.datasets.annotations import POINT
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import RunInfo
from tal_cli.safe_text import counted, one_line, seconds_as_clock

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan", "bright_magenta", "bright_green")
BAR_WIDTH = 20
LABEL_WIDTH = 12  # the least width to which longer labels are folded
COLUMNS = ("start", "end", "seconds", "score", "when")
OPTIONAL = ("seconds", "when")  # left out where the terminal is too narrow, the last one first
MOST_COLUMNS = 10_000  # wide enough for any row; used if the output is not a terminal


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write a table per video; a label keeps its colour over the whole run."""
    styles: dict[str, str] = {}
    made_by = " · ".join(filter(None, (run.model, run.threshold)))
    for index, found in enumerate(detections):
        text = io.StringIO()
        width = shutil.get_terminal_size().columns if run.terminal else MOST_COLUMNS
        console = Console(file=text, force_terminal=run.terminal, width=width)
        if found.segments:
            _print(console, found, made_by, styles)
        else:
            said = f"\n{caption_of(found, made_by)}"
            console.print(Text.assemble((one_line(found.video), "bold"), said), soft_wrap=True)
        file.write(b"\n" * (index > 0) + text.getvalue().encode())


def _print(console: Console, found: Detections, made_by: str, styles: dict[str, str]) -> None:
    """Print a table with as many columns as the console's width has room for."""
    width, table = console.width, table_of(found, made_by, styles, OPTIONAL)
    wanted = _widths(console, table).maximum
    for kept in (OPTIONAL[:1], ()):
        if wanted > width:
            table = table_of(found, made_by, styles, kept)
            wanted = _widths(console, table).minimum  # with labels folded
    console.width = max(width, wanted)  # the terminal breaks longer lines: a time cut short would be another time
    console.print(table)


def caption_of(detections: Detections, model: str) -> str:
    """How many segments there are, in how much time, by which model."""
    found = counted(len(detections.segments), "segment")
    return f"{found} in {seconds_as_clock(detections.duration)} · {one_line(model)}"


def table_of(detections: Detections, model: str, styles: dict[str, str], optional: Sequence[str]) -> Table:
    """The rich table of one video with these of the OPTIONAL columns; new labels get the next colour in `styles`."""
    table = Table(
        title=Text(one_line(detections.video), style="bold"),
        title_justify="left",
        caption=Text(caption_of(detections, model)),
        caption_justify="left",
    )
    longest = max((len(one_line(segment.label)) for segment in detections.segments), default=0)
    table.add_column("label", overflow="fold", min_width=min(longest, LABEL_WIDTH))
    names = [name for name in COLUMNS if name not in OPTIONAL or name in optional]
    for name in names:
        table.add_column(name, justify="left" if name == "when" else "right", no_wrap=True)
    for segment in detections.in_time():
        style = styles.setdefault(segment.label, COLOURS[len(styles) % len(COLOURS)])
        is_point = segment.kind == POINT
        cells = {
            "start": Text(seconds_as_clock(segment.start)),
            "end": Text(POINT if is_point else seconds_as_clock(segment.end)),
            "seconds": Text("" if is_point else f"{segment.end - segment.start:.2f}"),
            "score": Text(f"{segment.score:.2f}", style="bold" if segment.score >= 0.5 else "dim"),
            "when": Text(bar(segment, detections.duration), style=style),
        }
        table.add_row(Text(one_line(segment.label), style=style), *(cells[name] for name in names))
    return table


def _widths(console: Console, table: Table) -> Measurement:
    """The least and the greatest width of a table, however wide the console is."""
    return console.measure(table, options=console.options.update(width=MOST_COLUMNS))


def bar(segment: Segment, duration: float) -> str:
    """Position of a segment in its video, as a bar of BAR_WIDTH characters.

    >>> bar(Segment("cut", 5.0, 10.0, 1.0), 20.0)
    '·····█████··········'
    """
    first = min(int(BAR_WIDTH * segment.start / duration), BAR_WIDTH - 1)
    last = min(max(math.ceil(BAR_WIDTH * segment.end / duration), first + 1), BAR_WIDTH)
    return "·" * first + "█" * (last - first) + "·" * (BAR_WIDTH - last)
