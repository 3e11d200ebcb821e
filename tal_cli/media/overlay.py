"""Draws predicted segments on a video: labels with scores while they last, and a timeline at the bottom."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tal_cli.media.encode import Turner, VideoWriter
from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc")
SMALLEST_FONT = 9
# Fractions of the image height.
FONT, TIMELINE, CHIPS = 1 / 24, 1 / 4, 0.6
GROUND = (16, 17, 20, 200)

Segment = tuple[str, float, float, float]  # label, start, end (seconds), score


def draw(path: str, request: dict[str, Any], progress: Progress) -> str:
    """The task `draw`: `segments` as (label, start, end, score), `colours` label -> `#rrggbb`, `duration` in seconds,
    `target` and the folder `scratch` for the unfinished file.

    Result: the path written: H.264 in MP4, upright, with the times and the sound of the video.
    """
    reader = Reader(path)
    turner = Turner(reader, "rgb24")
    segments: list[Segment] = [tuple(item) for item in request["segments"]]
    painter = Painter(turner.width, turner.height, segments, request["colours"], request["duration"])
    unfinished = Path(request["scratch"], "video.mp4")
    with closing(VideoWriter(unfinished, reader, turner, 0.0)) as writer:
        time = 0.0
        for time, frame in reader.frames():
            image: NDArray[np.uint8] = np.asarray(turner(frame).to_ndarray(), np.uint8)
            painter.paint(image, time)
            writer.add(time, turner.back(image))
            progress(time, request["duration"])
        writer.finish(max(request["duration"], time))
    target: str = request["target"]
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.replace(unfinished, target)
    return target


class Painter:
    """Draws on images of one size; unchanged parts are cached between frames."""

    def __init__(
        self, width: int, height: int, segments: list[Segment], colours: dict[str, str], duration: float
    ) -> None:
        self._width, self._height = width, height
        self._segments = sorted(segments, key=lambda segment: -segment[3])
        self._colours = colours
        self._duration = max(duration, 1e-6)
        self._font = _font(max(SMALLEST_FONT, round(height * FONT)))
        self._timeline = self._draw_timeline()
        self._shown: tuple[int, ...] = ()
        self._chips: NDArray[np.uint8] | None = None

    def paint(self, image: NDArray[np.uint8], time: float) -> None:
        """Draw on uint8 [height, width, 3], in place."""
        now = tuple(index for index, (_, start, end, _) in enumerate(self._segments) if start <= time < end)
        if now != self._shown:
            self._shown, self._chips = now, self._draw_chips(now) if now else None
        if self._chips is not None:
            _blend(image[: len(self._chips), : self._chips.shape[1]], self._chips)
        top = self._height - len(self._timeline)
        _blend(image[top:], self._timeline)
        thick = max(1, self._height // 240)
        left = min(round(self._width * min(1.0, time / self._duration)), self._width - thick)
        image[top:, left : left + thick] = 255

    def _draw_chips(self, now: tuple[int, ...]) -> NDArray[np.uint8]:
        """The current labels, one below the other, best first; as many as fit."""
        line = sum(self._font.getmetrics()) if isinstance(self._font, ImageFont.FreeTypeFont) else 12
        pad = max(2, line // 4)
        pitch = line + 2 * pad
        rows = max(1, int(self._height * CHIPS) // pitch)
        room = self._width - 4 * pad - line
        texts = [(self._caption(self._segments[index], room), index) for index in now[:rows]]
        wide = max(int(self._font.getlength(text)) for text, _ in texts) + 4 * pad + line
        size = (min(self._width, wide), min(self._height, pitch * len(texts) + pad))
        image = Image.new("RGBA", size)
        pen = ImageDraw.Draw(image)
        for row, (text, index) in enumerate(texts):
            top = pad + row * pitch
            right = pad + line + 2 * pad + int(self._font.getlength(text))
            pen.rounded_rectangle((pad, top, right, top + pitch - pad), pad, fill=GROUND)
            mark = (2 * pad, top + pad, 2 * pad + line - pad, top + line)
            pen.rectangle(mark, fill=self._colours[self._segments[index][0]])
            pen.text((2 * pad + line, top + pad // 2), text, font=self._font, fill="white")
        return np.asarray(image)

    def _caption(self, segment: Segment, room: float) -> str:
        """Label and score, with the label truncated to `room` pixels."""
        label, _, _, score = segment
        text = f"{label}  {score:.2f}"
        while label and self._font.getlength(text) > room:
            label = label[:-1]
            text = f"{label}…  {score:.2f}"
        return text

    def _draw_timeline(self) -> NDArray[np.uint8]:
        """All segments in rows by label; opacity shows the score."""
        rows = sorted({label for label, *_ in self._segments})
        room = max(1, int(self._height * TIMELINE))
        pitch = max(1, min(self._height // 40, room // max(1, len(rows))))
        tall = min(self._height, max(2, min(room, pitch * len(rows)) + 2))
        image = Image.new("RGBA", (self._width, tall), GROUND)
        for label, start, end, score in reversed(self._segments):
            row = rows.index(label)
            top = 1 + (row * pitch if len(rows) <= room else row * room // len(rows))
            left = self._width * start / self._duration
            right = max(left + 1, self._width * end / self._duration)
            bar = Image.new("RGBA", (max(1, round(right - left)), max(1, pitch - (pitch > 2))), self._colours[label])
            bar.putalpha(round(255 * (0.3 + 0.7 * score)))
            image.alpha_composite(bar, (min(round(left), self._width - 1), min(top, tall - 1)))
        return np.asarray(image)


def _blend(image: NDArray[np.uint8], drawing: NDArray[np.uint8]) -> None:
    """Alpha-blend uint8 [h, w, 4] over uint8 [h, w, 3], in place."""
    opacity = drawing[..., 3:].astype(np.uint16)
    mixed = image * (255 - opacity) + drawing[..., :3] * opacity
    image[:] = (mixed + 127) // 255


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """An installed font with many scripts, else Pillow's default font."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
