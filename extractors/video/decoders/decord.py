"""decord as the decoder, for parity with features published with it. Runs in the decoding child.

decord bundles an old FFmpeg that would follow playlists: it is given plain files only (`plain.py`), that PyAV opened.
It deadlocks and grows without bound on some files; the child's memory limit and the parent's timeout end that.
Its times are 32-bit floats from the first frame: accurate to a millisecond for four hours, and exact after rounding to
the stream's time base as long as that is coarser than the floats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import decord
import numpy as np
from av.video.frame import VideoFrame

from tal_cli.extractors.video.decoders.plain import OtherSource, check_plain
from tal_cli.extractors.video.decoders.pyav import PyavSource, decoding_threads
from tal_cli.extractors.video.messages import DecodeError

# Seconds; decord returns numbers far outside if a file has no time stamps.
POSSIBLE_TIMES = (-1e6, 1e7)


class DecordSource(OtherSource):
    """One video file as decord reads it. Raises DecodeError."""

    def __init__(self, path: str) -> None:
        self._gate = PyavSource(path)
        if self._gate.format == "mpegts":
            raise DecodeError("decord repeats and skips frames of transport streams")
        check_plain(path, self._gate.format, "decord")
        if not self._gate.first_stream_is_best:
            raise DecodeError("decord would read another of its video streams")
        self._start = self._gate.first_stamp or 0.0
        known = self._gate.opened()
        turned = known.rotation % 180 == 90
        width, height = (known.height, known.width) if turned else (known.width, known.height)
        # decord turns frames upright itself.
        self._opened = replace(known, width=width, height=height, rotation=0)
        self._decoded = 0
        try:
            self._reader = decord.VideoReader(path, num_threads=decoding_threads(width * height))
        except decord.DECORDError as error:
            raise DecodeError(f"decord cannot open it ({last_line(error)})") from None

    def frames(self) -> Iterator[tuple[float | None, VideoFrame]]:
        """Time stamp in seconds and image, in display order, up to the first error: decord cannot continue there."""
        for index in range(len(self._reader)):
            try:
                pixels = self._reader.next().asnumpy()
            except (decord.DECORDError, StopIteration) as error:
                if not self._decoded:
                    raise DecodeError(f"decord decodes no frame of it ({last_line(error)})") from None
                return
            if pixels.shape[2] != 3:
                raise DecodeError(f"decord gives frames of {pixels.shape[2]} channels")
            self._decoded += 1
            stamp = float(self._reader.get_frame_timestamp(index)[0])
            possible = self._gate.stores_times and POSSIBLE_TIMES[0] < stamp < POSSIBLE_TIMES[1]
            yield (
                (self._exact(stamp) if possible else None),
                VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"),
            )

    def _exact(self, stamp: float) -> float:
        unit = self._gate.time_base
        if unit > 2 * float(np.spacing(np.float32(stamp))):
            stamp = round(stamp / unit) * unit
        return self._start + stamp


def last_line(error: Exception) -> str:
    """decord's error message without the C++ stack."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()] or [type(error).__name__]
    return lines[0].split("Check failed:")[-1].strip()[-160:]
