"""An ethogram: what every subject does, over time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

from tal_cli.behaviour.sessions import Session
from tal_cli.datasets.annotations import POINT, GroundTruth, LabelDefinition
from tal_cli.extractors.errors import MissingError
from tal_cli.results.colours import colours

ROW, PANEL, WIDTH = 0.28, 0.9, 10.0  # inches: height of a row, of what a panel has around them, width of the picture
RESOLUTION = 160  # dots per inch


def ethogram(
    sessions: Sequence[Session], kind: Literal["svg", "png"], definitions: Sequence[LabelDefinition] = ()
) -> bytes:
    """A picture with a panel for each session, all on one scale of time, and a row for each label of each subject.
    Points are diamonds. definitions: whose order and colours labels have.

    Raises:
        MissingError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.colors import is_color_like
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError("pictures need matplotlib", "pip install 'tal-cli[plots]'") from error
    known = [item.name for item in definitions]
    shown = (item.label for session in sessions for item in session.bouts)
    palette = {name: colour.light for name, colour in colours(shown).items()}
    palette |= {item.name: item.color for item in definitions if is_color_like(item.color)}
    rows = [_rows(session, known) for session in sessions]
    longest = max((session.length for session in sessions), default=0.0)
    heights = [max(len(each), 1) for each in rows]
    with rc_context({"svg.hashsalt": "tal", "font.size": 9}):
        figure = Figure(figsize=(WIDTH, ROW * sum(heights) + PANEL * len(heights)), layout="constrained")
        panels = figure.subplots(len(sessions), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, session, named in zip(panels, sessions, rows, strict=True):
            for place, items in enumerate(named.values()):
                colour = palette[items[0].label]
                states = [(item.start, item.end - item.start) for item in items if item.kind != POINT]
                panel.broken_barh(states, (place - 0.35, 0.7), color=colour)
                points = [item.start for item in items if item.kind == POINT]
                panel.plot(points, [place] * len(points), "D", color=colour, markersize=4)
            panel.set_title(session.name, loc="left")
            panel.set_yticks(range(len(named)), [_title(*name) for name in named])
            panel.set_ylim(max(len(named), 1) - 0.5, -0.5)
            panel.set_xlim(0, longest or None)
            panel.spines[["top", "right"]].set_visible(False)
        if len(panels):
            panels[-1].set_xlabel("seconds")
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=RESOLUTION, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue()


def _rows(session: Session, known: Sequence[str]) -> dict[tuple[str, str | None], list[GroundTruth]]:
    """The bouts of each row: by subject, then by label, known ones in their order and others by name."""
    place = {name: number for number, name in enumerate(known)}
    rows: dict[tuple[str, str | None], list[GroundTruth]] = {}
    for item in sorted(
        session.bouts, key=lambda item: (item.subject or "", place.get(item.label, len(known)), item.label)
    ):
        rows.setdefault((item.label, item.subject), []).append(item)
    return rows


def _title(label: str, subject: str | None) -> str:
    return label if subject is None else f"{label} ({subject})"
