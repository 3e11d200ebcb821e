"""Procedural images for the scenes of the camera data set.

Natural images have edges at all scales (occluding shapes, the "dead leaves" model) and amplitudes that fall with
frequency (1/f noise); both are mixed here, with skies, walls, grids and lettering, in random palettes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

UInt8 = NDArray[np.uint8]


def background(rng: np.random.Generator, width: int, height: int) -> UInt8:
    """A scene's image, [height, width, 3]."""
    palette = _palette(rng)
    canvas = Image.fromarray(_clouds(rng, width, height, palette))
    _leaves(rng, canvas, palette, count=int(10 ** rng.uniform(1.8, 3.0)), largest=rng.uniform(0.3, 1.2))
    if rng.random() < 0.3:
        _grid(rng, canvas, palette)
    if rng.random() < 0.25:
        _horizon(rng, canvas, palette)
    if rng.random() < 0.2:
        _lettering(rng, canvas)
    if rng.random() < 0.5:
        canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 2.5)))
    image = np.asarray(canvas, np.float32)
    if rng.random() < 0.7:
        image = image + rng.uniform(4, 30) * _pink(rng, width, height, rng.uniform(0.6, 1.4))[..., None]
    contrast, brightness = rng.uniform(0.5, 1.2), rng.uniform(-35, 35)
    image = (image - 127) * contrast + 127 + brightness
    if rng.random() < 0.12:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    return np.clip(image, 0, 255).astype(np.uint8)


def drawing(rng: np.random.Generator, width: int, height: int) -> UInt8:
    """A few shapes on a plain ground, [height, width, 3]."""
    palette = _palette(rng)
    canvas = Image.new("RGB", (width, height), tuple(int(value) for value in palette[0]))
    _leaves(rng, canvas, palette, count=int(rng.integers(2, 12)), largest=0.5)
    return np.asarray(canvas)


def sprite(rng: np.random.Generator, size: int) -> UInt8:
    """A foreground object, [size, size, 4] (RGBA)."""
    palette = _palette(rng)
    image = Image.fromarray(_clouds(rng, size, size, palette))
    _leaves(rng, image, palette, count=int(rng.integers(3, 40)), largest=0.5)
    shape = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(shape)
    if rng.random() < 0.5:
        inset = size * rng.uniform(0.03, 0.3, 2)
        pen.ellipse((inset[0], inset[1], size - inset[0], size - inset[1]), fill=255)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 12))))
        radius = size * rng.uniform(0.25, 0.48, angles.size)
        points = size / 2 + np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]
        pen.polygon([tuple(point) for point in points.tolist()], fill=255)
    alpha = np.asarray(shape.filter(ImageFilter.GaussianBlur(size / rng.uniform(40, 120))))
    return np.dstack([np.asarray(image), alpha]).astype(np.uint8)


def limb(rng: np.random.Generator, size: int, ratio: float) -> UInt8:
    """A rounded oblong, upright, whose width is ``ratio`` of its length, of cloth or skin, [size, size, 4] (RGBA)."""
    palette = _palette(rng)
    image = Image.fromarray(_clouds(rng, size, size, palette))
    if rng.random() < 0.4:
        _leaves(rng, image, palette, count=int(rng.integers(1, 12)), largest=0.3)
    tall, wide = (0.9, 0.9 * ratio) if ratio <= 1 else (0.9 / ratio, 0.9)
    left, top = size * (1 - wide) / 2, size * (1 - tall) / 2
    shape = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(shape)
    pen.rounded_rectangle((left, top, size - left, size - top), size * min(tall, wide) * rng.uniform(0.3, 0.5), 255)
    alpha = np.asarray(shape.filter(ImageFilter.GaussianBlur(size / rng.uniform(40, 120))))
    return np.dstack([np.asarray(image), alpha]).astype(np.uint8)


def caption(rng: np.random.Generator, width: int, height: int) -> UInt8:
    """A still overlay of lettering near the bottom or in a corner, [height, width, 4] (RGBA)."""
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    text = "".join(chr(rng.integers(97, 123)) if rng.random() < 0.85 else " " for _ in range(rng.integers(4, 30)))
    size = max(8, int(height * rng.uniform(0.04, 0.09)))
    place = (width * rng.uniform(0.03, 0.5), height * (rng.uniform(0.8, 0.9) if rng.random() < 0.7 else 0.05))
    pen.text(place, text, fill=(255, 255, 255, 255), font_size=size, stroke_width=1, stroke_fill=(0, 0, 0, 255))
    return np.asarray(layer)


def _palette(rng: np.random.Generator) -> UInt8:
    """Six mostly muted colours [6, 3], with the brightness distribution of natural scenes."""
    brightness = rng.uniform(10, 100) + np.linspace(0, rng.uniform(60, 150), 6)
    tint, variety = rng.normal(0, 12, 3), rng.uniform(5, 40)
    colours = brightness[:, None] + tint + rng.normal(0, variety, (6, 3))
    return np.clip(rng.permutation(colours), 0, 255).astype(np.uint8)


def _pink(rng: np.random.Generator, width: int, height: int, slope: float) -> NDArray[np.float32]:
    """Noise of amplitude 1/f^slope, zero mean, unit deviation, [height, width]."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width)
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / np.maximum(frequency, 1) ** slope
    field = np.fft.irfft2(spectrum, (height, width))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def _clouds(rng: np.random.Generator, width: int, height: int, palette: UInt8) -> UInt8:
    # At half size: the finest detail comes from the shapes and the grain on top.
    w, h = width // 2 + 1, height // 2 + 1
    first, second, third = (palette[i].astype(np.float32) for i in rng.permutation(6)[:3])
    slope = rng.uniform(1.0, 2.2)
    a = np.clip(_pink(rng, w, h, slope) * 0.35 + 0.5, 0, 1)[..., None]
    b = np.clip(_pink(rng, w, h, slope) * 0.35 + 0.3, 0, 1)[..., None]
    image = (first * (1 - a) + second * a) * (1 - b) + third * b
    return np.asarray(Image.fromarray(image.astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR))


def _leaves(rng: np.random.Generator, canvas: Image.Image, palette: UInt8, count: int, largest: float) -> None:
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    # Radii follow the power law that makes dead-leaves images scale-invariant.
    smallest, biggest = 0.02 * height, largest * height / 2
    radii = (smallest**-2 - rng.random(count) * (smallest**-2 - biggest**-2)) ** -0.5
    for radius in np.sort(radii)[::-1] if rng.random() < 0.5 else radii:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        shade = np.clip(palette[rng.integers(6)] + rng.normal(0, 25, 3), 0, 255).astype(int)
        colour = (int(shade[0]), int(shade[1]), int(shade[2]))
        stretch = rng.uniform(0.4, 1.6)
        box = (x - radius * stretch, y - radius, x + radius * stretch, y + radius)
        kind = rng.integers(4)
        if kind == 0:
            pen.ellipse(box, fill=colour)
        elif kind == 1:
            pen.rectangle(box, fill=colour)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            points = [(x + radius * stretch * np.cos(a), y + radius * np.sin(a)) for a in angles]
            pen.polygon(points, fill=colour)


def _grid(rng: np.random.Generator, canvas: Image.Image, palette: UInt8) -> None:
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    left, top = rng.uniform(0, width * 0.6), rng.uniform(0, height * 0.6)
    right, bottom = left + width * rng.uniform(0.2, 0.6), top + height * rng.uniform(0.2, 0.6)
    step_x, step_y = width * rng.uniform(0.015, 0.06), height * rng.uniform(0.02, 0.08)
    red, green, blue = (int(v) for v in palette[rng.integers(6)])
    fill = rng.uniform(0.3, 0.8)
    for x in np.arange(left, right, step_x).tolist():
        for y in np.arange(top, bottom, step_y).tolist():
            pen.rectangle((x, y, x + step_x * fill, y + step_y * fill), fill=(red, green, blue))


def _horizon(rng: np.random.Generator, canvas: Image.Image, palette: UInt8) -> None:
    width, height = canvas.size
    line = int(height * rng.uniform(0.2, 0.5))
    sky = palette[rng.integers(6)].astype(np.float32) * 0.4 + 150
    ramp = np.linspace(1.0, rng.uniform(0.7, 1.0), line, dtype=np.float32)[:, None, None]
    image = np.broadcast_to(np.clip(sky * ramp, 0, 255), (line, width, 3)).astype(np.uint8)
    canvas.paste(Image.fromarray(image), (0, 0))


def _lettering(rng: np.random.Generator, canvas: Image.Image) -> None:
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    for _ in range(rng.integers(1, 12)):
        text = "".join(chr(rng.integers(65, 91)) for _ in range(rng.integers(2, 14)))
        shade = int(rng.choice([0, 255]))
        place = (rng.uniform(0, width), rng.uniform(0, height))
        pen.text(place, text, fill=(shade, shade, shade), font_size=height * rng.uniform(0.02, 0.15))
