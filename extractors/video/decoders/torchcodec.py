"""torchcodec as the decoder. Runs in the decoding child, which imports torch for it.

torchcodec uses the FFmpeg of the machine, which would follow playlists: it is given plain files only (`plain.py`), that
PyAV opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from av.video.frame import VideoFrame
from torchcodec.decoders import VideoDecoder

from tal_cli.extractors.video.decoders.plain import OtherSource, check_plain
from tal_cli.extractors.video.decoders.pyav import PyavSource, decoding_threads
from tal_cli.extractors.video.messages import DecodeError


class TorchcodecSource(OtherSource):
    """One video file as torchcodec reads it. Raises DecodeError."""

    def __init__(self, path: str) -> None:
        self._gate = PyavSource(path)
        check_plain(path, self._gate.format, "torchcodec")
        known = self._gate.opened()
        self._decoded = 0
        try:
            self._reader = VideoDecoder(
                path,
                stream_index=self._gate.stream_index,
                dimension_order="NHWC",
                num_ffmpeg_threads=decoding_threads(known.width * known.height),
            )
            height, width = self._reader.get_frame_at(0).data.shape[:2]
        except (RuntimeError, ValueError, IndexError) as error:
            raise DecodeError(f"torchcodec cannot open it ({first_line(error)})") from None
        # torchcodec turns frames upright itself.
        self._opened = replace(known, width=width, height=height, rotation=0)

    def frames(self) -> Iterator[tuple[float | None, VideoFrame]]:
        """Time stamp in seconds and image, in display order; a frame that does not decode is skipped."""
        for index in range(len(self._reader)):
            try:
                frame = self._reader.get_frame_at(index)
            except RuntimeError:
                continue
            self._decoded += 1
            yield frame.pts_seconds, VideoFrame.from_ndarray(frame.data.contiguous().numpy(), format="rgb24")


def first_line(error: Exception) -> str:
    """torchcodec's error message without the C++ stack."""
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:160]
