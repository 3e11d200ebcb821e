"""Figures of a diagnosis, in the style of Alwassel et al. (2018), and a scatter plot of scores against tIoU.

Drawn with matplotlib, without its global state.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tal_cli.evaluation.diagnosis.analysis import Diagnosis
from tal_cli.evaluation.diagnosis.characteristics import Bucketed
from tal_cli.evaluation.diagnosis.error_types import ERRORS, Kind
from tal_cli.evaluation.matching import Floats
from tal_cli.extractors.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KIND_COLOURS = ("#33a02c", "#b2df8a", "#1f78b4", "#fb9a99", "#e31a1c", "#a6cee3")
BUCKET_COLOURS = ("#386cb0", "#d6337c", "#bf5b17")
MOST_POINTS, FEW_POINTS = 20_000, 2_000
RESOLUTION = 160  # dots per inch of the PNG
BEHIND_NUMBERS = {"boxstyle": "square,pad=0.02", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
STYLE: dict[Any, Any] = {
    "font.family": "serif",
    "font.serif": ["DejaVu Serif"],
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 1.2,
    "ytick.direction": "in",
    "svg.fonttype": "path",
    "svg.hashsalt": "tal",
}


@dataclass(frozen=True)
class RenderedFigure:
    """One figure as bytes, with title and caption."""

    name: str
    title: str
    caption: str
    png: bytes
    svg: bytes


def draw(diagnosis: Diagnosis) -> list[RenderedFigure]:
    """All figures of a diagnosis; the same diagnosis gives the same bytes.

    Raises:
        MissingError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingError("figures need matplotlib", "pip install 'tal-cli[plots]'") from error
    with matplotlib.rc_context(STYLE):
        return [_rendered(name, title, caption, paint(diagnosis)) for name, (title, caption, paint) in FIGURES.items()]


def _rendered(name: str, title: str, caption: str, figure: Figure) -> RenderedFigure:
    files = {}
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": "tal"})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=RESOLUTION, metadata=metadata)
        files[kind] = buffer.getvalue()
    return RenderedFigure(name, title, caption, files["png"], files["svg"])


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _false_positives(diagnosis: Diagnosis) -> Figure:
    figure = _figure(10.5, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    found = diagnosis.false_positives
    groups = np.arange(len(found.sizes))
    shares = 100 * found.profile
    bottoms = np.cumsum(shares, axis=1) - shares
    bars = [
        left.bar(groups, shares[:, kind], 0.94, bottom=bottoms[:, kind], color=KIND_COLOURS[kind], label=_name(kind))
        for kind in Kind
    ]
    left.set_xticks(groups, [f"{number + 1}G" for number in groups])
    left.set_ylim(0, 100)
    left.set_yticks(range(0, 101, 20))
    left.set_xlabel("Top predictions")
    left.set_ylabel("Error breakdown (%)")
    left.set_title("False positive profile")
    _grid(left)
    if not found.kept:
        left.text(4.5, 50, "no predictions", ha="center", color="grey")
    gains = 100 * found.gain
    _bars(right, np.arange(len(ERRORS), dtype=float), gains, [KIND_COLOURS[kind] for kind in ERRORS])
    right.set_xticks([])
    right.set_ylim(min(0.0, float(gains.min()) * 1.2), max(float(gains.max()) * 1.18, 1.0))
    right.set_xlabel("Error type")
    right.set_ylabel("Average-mAP$_N$ improvement (%)")
    right.set_title("Removing error impact")
    _grid(right)
    figure.legend(handles=bars, loc="outside upper center", ncols=6, frameon=False, fontsize=9.5, handlelength=1.2)
    return figure


def _sensitivity(diagnosis: Diagnosis) -> Figure:
    figure = _figure(11.5, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1.15))
    base = 100 * float(diagnosis.sensitivity.precision.mean())
    values = [100 * row for row in diagnosis.sensitivity.by_bucket]
    last = _buckets(left, diagnosis.characteristics, values)
    left.axhline(base, color="black", linestyle="--", linewidth=1.2)
    left.text(last + 0.65, base, f"{base:.1f}", va="center", fontsize=10)
    left.set_ylabel("Average-mAP$_N$ (%)")
    _spread(right, diagnosis.characteristics, values, base)
    return figure


def _spread(axes: Axes, characteristics: Sequence[Bucketed], values: Sequence[Floats], base: float) -> None:
    """Lowest and highest bucket of each characteristic, relative to all instances."""
    for place, row in enumerate(values):
        if base <= 0 or np.isnan(row).all():
            continue
        low, high = float(np.nanmin(row)) / base, float(np.nanmax(row)) / base
        axes.plot((place, place), (low, high), color=BUCKET_COLOURS[place], linewidth=7, solid_capstyle="butt")
        for bound in {low, high}:
            axes.plot((place - 0.22, place + 0.22), (bound, bound), color=BUCKET_COLOURS[place], linewidth=3)
            axes.text(place + 0.28, bound, f"{bound:.2f}", va="center", fontsize=9.5, bbox=BEHIND_NUMBERS)
    axes.axhline(1.0, color="black", linestyle="--", linewidth=1.2, zorder=0)
    axes.set_xlim(-0.6, len(values) - 0.1)
    axes.margins(y=0.15)
    axes.set_xticks(range(len(values)), [item.characteristic.title for item in characteristics], fontsize=9)
    axes.set_ylabel("Relative to all instances")
    _grid(axes)


def _false_negatives(diagnosis: Diagnosis) -> Figure:
    figure = _figure(9.5, 3.6)
    axes = figure.subplots()
    last = _buckets(axes, diagnosis.characteristics, [100 * row for row in diagnosis.false_negatives.by_bucket])
    rate = 100 * diagnosis.false_negatives.rate
    axes.axhline(rate, color="black", linestyle="--", linewidth=1.2)
    axes.text(last + 0.65, rate, f"{rate:.1f}", va="center", fontsize=10)
    axes.set_ylabel("False negatives (%)")
    return figure


def _scatter(diagnosis: Diagnosis) -> Figure:
    figure = _figure(5.6, 5.2)
    axes = figure.subplots()
    found = diagnosis.scatter
    step = max(-(-len(found.scores) // MOST_POINTS), 1)
    scores, overlaps, true = found.scores[::step], found.overlaps[::step], found.true[::step]
    size, alpha = (5, 0.4) if len(scores) > FEW_POINTS else (22, 0.75)
    top, bottom = float(found.scores.max(initial=1.0)), float(found.scores.min(initial=0.0))
    # Above the diagonal the score is lower than the tIoU, below it higher.
    axes.plot((0, 1), (bottom, top), color="grey", linestyle="--", linewidth=1, zorder=0)
    for chosen, colour, name in ((~true, "#9aa5b1", "false positive"), (true, "#33a02c", "true positive")):
        axes.scatter(overlaps[chosen], scores[chosen], s=size, color=colour, alpha=alpha, linewidths=0, rasterized=True,
                     label=name)  # fmt: skip
    if len(found.scores):
        best = int(found.scores.argmax())
        axes.plot(found.overlaps[best], found.scores[best], "*", color="#e31a1c", markersize=13, label="best score",
                  markeredgecolor="white", linestyle="none")  # fmt: skip
    axes.axvline(diagnosis.tiou[0], color="black", linestyle=":", linewidth=1)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(bottom - 0.02 * (top - bottom), top + 0.02 * (top - bottom))
    if found.video is not None:
        axes.set_title(found.video, fontsize=11, parse_math=False)
    axes.set_xlabel("tIoU with the nearest instance of the label")
    axes.set_ylabel("Score")
    legend = axes.legend(loc="upper left", frameon=False, fontsize=9.5)
    for handle in legend.legend_handles[:2]:
        if handle is not None:
            handle.set(sizes=[28], alpha=1, rasterized=False)
    _grid(axes)
    return figure


def _buckets(axes: Axes, characteristics: Sequence[Bucketed], values: Sequence[Floats]) -> float:
    """Bars of percentages per characteristic and bucket; returns the position of the last."""
    place = 0.0
    ticks: list[float] = []
    names: list[str] = []
    for item, row, colour in zip(characteristics, values, BUCKET_COLOURS, strict=True):
        places = np.arange(len(row), dtype=np.float64) + place
        _bars(axes, places, row, [colour] * len(row))
        axes.annotate(item.characteristic.title, (float(places.mean()), 1.03), xycoords=("data", "axes fraction"),
                      ha="center", fontsize=12)  # fmt: skip
        if place:
            axes.axvline(place - 1, color="grey", linestyle=":", linewidth=1.2)
        ticks.extend(places.tolist())
        names.extend(item.characteristic.buckets)
        place = float(places[-1]) + 2
    axes.set_xticks(ticks, names)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.9, ticks[-1] + 0.6)
    highest = max((float(np.nanmax(row)) for row in values if not np.isnan(row).all()), default=0.0)
    axes.set_ylim(0, 106 if highest > 50 else max(1.25 * highest, 10))
    _grid(axes)
    return float(ticks[-1])


def _bars(axes: Axes, places: Floats, values: Floats, colours: Sequence[str]) -> None:
    """Bars with their values above them; none for missing values."""
    for place, value, colour in zip(places.tolist(), values.tolist(), colours, strict=True):
        if np.isnan(value):
            axes.text(place, 1, "–", ha="center", va="bottom", color="grey")
            continue
        axes.bar(place, value, 0.86, color=colour)
        axes.annotate(f"{value:.1f}", (place, max(value, 0)), (0, 3), textcoords="offset points", ha="center",
                      fontsize=9.5, bbox=BEHIND_NUMBERS)  # fmt: skip


def _grid(axes: Axes) -> None:
    axes.yaxis.grid(True, linestyle=":", color="grey", linewidth=0.8, alpha=0.7)


def _name(kind: Kind) -> str:
    return kind.name.replace("_", " ").capitalize()


Paint = Callable[[Diagnosis], Any]
FIGURES: dict[str, tuple[str, str, Paint]] = {
    "false_positives": (
        "False positives",
        "Left: the best predictions of each label by error type, in steps of G, its number of instances. "
        "Right: gain in average mAP_N without the errors of one type.",
        _false_positives,
    ),
    "sensitivity": (
        "Sensitivity",
        "Left: average mAP_N over the instances of a single bucket; dashed: over all. "
        "Right: the worst and the best bucket relative to all.",
        _sensitivity,
    ),
    "false_negatives": (
        "False negatives",
        "Fraction of a bucket's instances that are missed at a normalised precision above 0.05; dashed: of all.",
        _false_negatives,
    ),
    "score_overlap": (
        "Scores and tIoU",
        "Score of each prediction against its highest tIoU with an instance of its label. The closer to the "
        "diagonal, the better the score predicts the tIoU; dotted: the threshold.",
        _scatter,
    ),
}
