"""The loudness of a video's sound over time, for drawing."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from tal_cli.extractors.video.decoders.pyav import open_container
from tal_cli.extractors.video.messages import DecodeError
from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

RATE = 8000  # samples per second, enough to draw


def waveform(path: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The task `waveform`: `columns`, per second.

    Result: `lowest` and `highest` sample of each column from frame 0 on, base64 of int8. Raises DecodeError without
    sound.
    """
    start = Reader(path).start
    container = open_container(path)
    stream = container.streams.best("audio")
    if stream is None:
        raise DecodeError("it has no sound")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    per_column = RATE // request["columns"]
    lows, highs = [], []
    left = np.zeros(0, np.int16)
    is_first = True
    frames: Iterator[Any] = container.decode(stream)
    for frame in frames:
        for piece in resampler.resample(frame):
            samples = piece.to_ndarray().reshape(-1)
            if is_first:
                late = round(((piece.time or 0.0) - start) * RATE)
                samples = np.concatenate([np.zeros(max(0, late), np.int16), samples[max(0, -late) :]])
                is_first = False
            left = np.concatenate([left, samples])
        whole = len(left) // per_column
        if whole:
            columns = left[: whole * per_column].reshape(whole, per_column)
            lows.append((columns.min(1) >> 8).astype(np.int8))
            highs.append((columns.max(1) >> 8).astype(np.int8))
            left = left[whole * per_column :]
        progress(frame.time or 0.0, None)
    return {"lowest": _packed(lows), "highest": _packed(highs)}


def _packed(parts: list[Any]) -> str:
    return base64.b64encode(np.concatenate(parts).tobytes() if parts else b"").decode()
