"""`table`: what a person reads on a terminal, one table per video in the order of time."""

from __future__ import annotations

import io
import math
import shutil

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import RunInfo
from tal_cli.safe_text import counted, one_line, seconds_as_clock

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan", "bright_magenta", "bright_green")
# Wide enough for any row where nobody's screen sets a limit.
FILE_WIDTH = 120
BAR_WIDTH = 20


class TableWriter:
    """A table per video; a label keeps its colour over the whole run."""

    def __init__(self, run: RunInfo) -> None:
        self._run = run
        self._styles: dict[str, str] = {}

    def start(self) -> bytes:
        return b""

    def add(self, detections: Detections) -> bytes:
        text = io.StringIO()
        width = shutil.get_terminal_size().columns if self._run.terminal else FILE_WIDTH
        console = Console(file=text, force_terminal=self._run.terminal, width=width)
        console.print(self.table(detections))
        return text.getvalue().encode()

    def finish(self) -> bytes:
        return b""

    def table(self, detections: Detections) -> Table:
        """The table of one video, to be printed by rich."""
        found = counted(len(detections.segments), "segment")
        caption = f"{found} in {seconds_as_clock(detections.duration)} · {one_line(self._run.model)}"
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
            table.add_row(
                Text(one_line(segment.label), style=self._style(segment.label)),
                seconds_as_clock(segment.start),
                seconds_as_clock(segment.end),
                f"{segment.end - segment.start:.2f}",
                Text(f"{segment.score:.2f}", style="bold" if segment.score >= 0.5 else "dim"),
                Text(bar(segment, detections.duration), style=self._style(segment.label)),
            )
        return table

    def _style(self, label: str) -> str:
        return self._styles.setdefault(label, COLOURS[len(self._styles) % len(COLOURS)])


def bar(segment: Segment, duration: float) -> str:
    """Where in its video a segment lies, in BAR_WIDTH characters.

    >>> bar(Segment("cut", 5.0, 10.0, 1.0), 20.0)
    '·····█████··········'
    """
    first = min(int(BAR_WIDTH * segment.start / duration), BAR_WIDTH - 1)
    last = min(max(math.ceil(BAR_WIDTH * segment.end / duration), first + 1), BAR_WIDTH)
    return "·" * first + "█" * (last - first) + "·" * (BAR_WIDTH - last)
