"""A copy of a video that every browser plays: the same frames at the same times, with a key frame every few."""

from __future__ import annotations

import os
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

from tal_cli.extractors.video.messages import DecodeError
from tal_cli.media.encode import CLOCK, Turner, VideoWriter
from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

LINES = 720
GROUP = 12  # frames: a step back decodes no more
OPTIONS = {"crf": "20", "preset": "veryfast", "bf": "0", "g": str(GROUP), "sc_threshold": "0"}


def proxy(path: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The task `proxy`: `target`, the folder `scratch` for the unfinished file, `frames`, how many there must be, and
    `duration` in seconds.

    H.264 4:2:0 in MP4 without B-frames, upright, at most LINES high, with the sound as AAC.
    Result: `frames`. Raises DecodeError if the number of frames differs: labels would be off.
    """
    reader = Reader(path)
    turner = Turner(reader, "yuv420p", lines=LINES)
    unfinished = Path(request["scratch"], "proxy.mp4")
    base = reader.stream.time_base
    clock = Fraction(base) if base and base.numerator == 1 and base.denominator >= 1000 else CLOCK
    with closing(VideoWriter(unfinished, reader, turner, 0.0, OPTIONS, clock)) as writer:
        time = 0.0
        for time, frame in reader.frames():
            writer.add(time, turner(frame))
            progress(writer.frames, request["frames"])
        writer.finish(max(request["duration"], time))
    if writer.frames != request["frames"]:
        raise DecodeError(f"the copy has {writer.frames} frames, the video {request['frames']}: it is not used")
    os.makedirs(os.path.dirname(request["target"]), exist_ok=True)
    os.replace(unfinished, request["target"])
    return {"frames": writer.frames}
