"""A copy of a video that every browser plays: the same frames at the same times, with a key frame every few."""

from __future__ import annotations

import os
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from tal_cli.extractors.video.messages import DecodeError
from tal_cli.media.encode import CLOCK, Turner, VideoWriter
from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

LINES = 720
GROUP = 12  # frames: a step back decodes no more
OPTIONS = {"crf": "20", "preset": "veryfast", "bf": "0", "g": str(GROUP), "sc_threshold": "0"}


SOUND = {"aac"}  # is copied; what else MP4 can hold, not every browser plays
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
PREVIEW = "preview.mp4"


class Preview:
    """A file of the packets that are encoded already, playable while it grows."""

    def __init__(self, target: Path) -> None:
        self._output = av.open(str(target), "w", format="mp4", options=FRAGMENTS)
        self._stream: Any = None

    def add(self, packet: av.Packet) -> None:
        """Write a copy of an encoded packet of the picture."""
        if self._stream is None:  # only now the encoder has its headers
            self._stream = self._output.add_stream_from_template(packet.stream)
        copy = av.Packet(bytes(packet))
        copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
        copy.time_base, copy.stream, copy.is_keyframe = packet.time_base, self._stream, packet.is_keyframe
        self._output.mux(copy)

    def close(self) -> None:
        """Close the file."""
        self._output.close()


def proxy(path: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The task `proxy`: `target`, the folder `scratch` for the unfinished file, `frames`, how many there must be, and
    `duration` in seconds.

    H.264 4:2:0 in MP4 without B-frames, upright, at most LINES high, with the sound as AAC. Meanwhile PREVIEW in the
    scratch folder holds the frames that are done, without sound, as fragments: it can be played while it grows.
    Result: `frames`. Raises DecodeError if the number of frames differs: labels would be off.
    """
    reader = Reader(path)
    turner = Turner(reader, "yuv420p", lines=LINES)
    unfinished = Path(request["scratch"], "proxy.mp4")
    base = reader.stream.time_base
    clock = Fraction(base) if base and base.numerator == 1 and base.denominator >= 1000 else CLOCK
    with (
        closing(Preview(Path(request["scratch"], PREVIEW))) as preview,
        closing(VideoWriter(unfinished, reader, turner, 0.0, OPTIONS, clock, SOUND, preview.add)) as writer,
    ):
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
