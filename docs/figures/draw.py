"""Draws the figures of docs/explanation/method.md: `python docs/figures/draw.py` writes the SVG files beside it."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

INK, SOFT, PAPER = "#1f2937", "#6b7280", "#ffffff"
BLUE, ORANGE, GREEN, GREY = "#dbeafe", "#ffedd5", "#dcfce7", "#f3f4f6"


class Figure:
    """A drawing in pixels from the upper left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height = width, height
        self.parts = [f"<title>{escape(title)}</title>", f'<rect width="100%" height="100%" rx="12" fill="{PAPER}"/>']

    def box(
        self, x: float, y: float, width: float, height: float, text: str, fill: str = GREY, small: str = ""
    ) -> None:
        """A rounded box with one line of text, and a smaller one below it."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{INK}"/>'
        )
        middle = y + height / 2 + (5 if not small else -2)
        self.text(x + width / 2, middle, text)
        if small:
            self.text(x + width / 2, middle + 15, small, size=11, colour=SOFT)

    def text(self, x: float, y: float, text: str, *, size: int = 13, colour: str = INK, anchor: str = "middle") -> None:
        """One line of text on its baseline."""
        self.parts.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through points with a head at its end."""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{INK}" marker-end="url(#head)"/>')

    def save(self, name: str) -> None:
        """Write NAME.svg beside this script."""
        head = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>'
        )
        body = "\n".join([head, *self.parts])
        Path(__file__).with_name(f"{name}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'font-family="system-ui, sans-serif" role="img">\n{body}\n</svg>\n',
            encoding="utf-8",
        )


def pipeline() -> None:
    """Video to segments."""
    figure = Figure(860, 120, "From a video file to segments")
    steps = [
        ("video", "frames, times", GREY),
        ("windows", "16 frames, step 4", GREY),
        ("backbone", "one vector a window", BLUE),
        ("encoder", "feature pyramid", GREEN),
        ("decoder", "scores, boundaries", ORANGE),
        ("Soft-NMS", "segments", GREY),
    ]
    for index, (name, small, fill) in enumerate(steps):
        x = 12 + index * 141
        figure.box(x, 32, 128, 56, name, fill, small)
        if index:
            figure.arrow((x - 13, 60), (x - 1, 60))
    figure.save("pipeline")


def pyramid() -> None:
    """Which level answers for which durations, and what the decoder reads."""
    figure = Figure(860, 330, "The feature pyramid and what the decoder reads at one level")
    rows = [("level 2", 4, 150), ("level 1", 8, 205), ("level 0", 16, 260)]
    for name, cells, y in rows:
        figure.text(14, y + 20, name, anchor="start")
        for cell in range(cells):
            width = 400 / cells
            fill = GREEN if name == "level 1" else GREY
            figure.parts.append(
                f'<rect x="{80 + cell * width + 1}" y="{y}" width="{width - 2}" height="30" rx="4" '
                f'fill="{fill}" stroke="{INK}"/>'
            )
    figure.text(280, 318, "time", colour=SOFT)
    figure.text(280, 130, "higher levels: half the cells, twice the stride, longer actions", colour=SOFT)
    figure.arrow((490, 165), (590, 96))
    figure.arrow((490, 220), (590, 106))
    figure.arrow((490, 214), (590, 172))
    figure.arrow((490, 275), (590, 182))
    figure.arrow((490, 170), (590, 246))
    figure.arrow((490, 226), (590, 256))
    figure.arrow((490, 280), (590, 266))
    figure.box(592, 76, 250, 50, "classification", BLUE, "this level and the one above: meaning")
    figure.box(592, 152, 250, 50, "regression", ORANGE, "this level and the one below: detail")
    figure.box(592, 231, 250, 50, "refinement", GREY, "all three: corrects both")
    figure.text(430, 34, "Cross-layer task decoupling: three heads, three mixtures of neighbouring levels", size=15)
    figure.save("pyramid")


def gmg() -> None:
    """The Gated Multi-Granularity block."""
    figure = Figure(860, 300, "The Gated Multi-Granularity block")
    figure.box(12, 120, 110, 50, "input x", GREY, "normalised")
    figure.box(190, 40, 170, 50, "global g", GREEN, "FFT, learnt filter, inverse FFT")
    figure.box(190, 120, 170, 50, "local", BLUE, "depth-wise convolution")
    figure.box(190, 200, 170, 50, "instant", ORANGE, "each cell by itself")
    for y in (65, 145, 225):
        figure.arrow((122, 145), (155, 145), (155, y), (188, y))
    figure.box(440, 120, 150, 50, "× gate", BLUE, "driven by global")
    figure.box(440, 200, 150, 50, "× gate", ORANGE, "driven by local")
    figure.arrow((360, 145), (438, 145))
    figure.arrow((360, 225), (438, 225))
    figure.arrow((360, 65), (515, 65), (515, 118))
    figure.arrow((515, 170), (515, 198))
    figure.box(660, 120, 90, 50, "sum", GREY, "and x")
    figure.arrow((360, 55), (705, 55), (705, 118))
    figure.arrow((590, 145), (658, 145))
    figure.arrow((590, 225), (705, 225), (705, 172))
    figure.arrow((750, 145), (845, 145))
    figure.text(800, 136, "norm, MLP", size=11, colour=SOFT)
    figure.text(430, 285, "One block sees a moment, its neighbourhood and the whole video at once", colour=SOFT)
    figure.save("gmg")


if __name__ == "__main__":
    pipeline()
    pyramid()
    gmg()
