"""Small images of moments in a video, as JPEG."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from PIL import Image

from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

MOMENT = 1e-6  # seconds; what is shown from the end of a part on is none of it


def look(path: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The task `look`: `times` (ascending seconds), `width` and `quality` of the images, `poster_width`.

    Result: `thumbnails`, a JPEG data URI or None for each time; `poster`, the middle one in `poster_width`; and of
    the video `width`, `height` (upright), `offset` (see Reader.player_offset), and FFmpeg's names of `container` and
    `codec`, the latter also as people write it, `codec_name`; and `steps`, None where its frames have no index, else
    as `frame_steps` has them, `base` and `runs` of equal steps, [how many, step].
    """
    reader = Reader(path)
    times: list[float] = request["times"]
    poster_at = len(times) // 2
    images: list[str | None] = [None] * len(times)
    poster = None
    for index, frame in moments(reader, times, progress):
        # Scaled by FFmpeg before any other step sees the image.
        wide = request["poster_width"] if index == poster_at else request["width"]
        image = upright(frame, reader.rotation, wide)
        if index == poster_at:
            poster = data_uri(image, request["quality"])
            image.thumbnail((request["width"], 10 * request["width"]))
        images[index] = data_uri(image, request["quality"])
    turned = reader.rotation % 180 == 90
    width, height = (reader.height, reader.width) if turned else (reader.width, reader.height)
    codec = reader.stream.codec_context.codec
    names = {"container": reader.container.format.name, "codec": codec.canonical_name, "codec_name": codec.long_name}
    facts = {"width": width, "height": height, "offset": reader.player_offset, "steps": _steps(reader)}
    return {"thumbnails": images, "poster": poster, **facts, **names}


def _steps(reader: Reader) -> dict[str, Any] | None:
    from tal_cli.media.frame_times import frame_steps  # loads numpy, which `pictures` does without

    if not reader.can_jump:
        return None
    found = frame_steps(reader, lambda done, total: None)
    runs = [[len(list(alike)), step] for step, alike in groupby(found.steps.tolist())]
    return {"base": [found.base.numerator, found.base.denominator], "runs": runs}


def pictures(path: str, request: dict[str, Any], progress: Progress) -> list[str]:
    """The task `pictures`: seconds from `start` to `end` in `count` equal parts; `width` and `quality` of the images.

    Result: a JPEG data URI for each part, of a frame shown in it: its last key frame, else the one in its middle.
    """
    reader = Reader(path, threads=1)  # more would take memory, and save little time for so few frames
    start, length = request["start"], (request["end"] - request["start"]) / request["count"]
    times = []
    for part in range(request["count"]):
        key = reader.key_before(start + (part + 1) * length - MOMENT) if reader.can_jump else -math.inf
        times.append(key if key >= start + part * length else start + (part + 0.5) * length)
    found = (upright(frame, reader.rotation, request["width"]) for _, frame in moments(reader, times, progress))
    return [data_uri(image, request["quality"]) for image in found]


def moments(reader: Reader, times: list[float], progress: Progress) -> Iterator[tuple[int, Any]]:
    """(index, frame shown at that time) for ascending times; the last frame for times after it."""
    keys = [reader.key_before(time) for time in times] if reader.can_jump else [-math.inf] * len(times)
    frames = reader.frames()
    now, shown, following = -math.inf, reader.first, None if reader.can_jump else next(frames)
    for index, time in enumerate(times):
        if keys[index] > now:
            reader.jump(time)
            frames = reader.frames()
            jumped = next(frames, None)
            if jumped is not None:
                now, shown = jumped
                following = next(frames, None)
        while following is not None and following[0] <= time:
            now, shown = following
            following = next(frames, None)
            progress(index, len(times))
        yield index, shown


def upright(frame: Any, rotation: int, width: int) -> Image.Image:
    """An image turned upright and at most `width` pixels wide."""
    turned = rotation % 180 == 90
    across = frame.height if turned else frame.width
    factor = min(1.0, width / across)
    size = (max(1, round(frame.width * factor)), max(1, round(frame.height * factor)))
    image = frame.reformat(*size, format="rgb24", interpolation="AREA").to_image()
    return image.rotate(rotation, expand=True) if rotation else image


def data_uri(image: Image.Image, quality: int) -> str:
    """An image as a JPEG data URI."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
