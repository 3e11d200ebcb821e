"""Writing a video: H.264 in MP4, upright, with the sound of a part of another video."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import astuple
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.filter import Graph
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from tal_cli.extractors.video.decoders.pyav import INDEXED, open_container
from tal_cli.extractors.video.messages import DecodeError
from tal_cli.media.reader import Reader

# Fine enough for any frame rate, and common in MP4.
CLOCK = Fraction(1, 90_000)
ENCODERS = ("libx264", "h264", "mpeg4")
OPTIONS = {"crf": "18", "preset": "veryfast"}
# Codecs that can be copied to MP4; other sound is transcoded to AAC.
SOUND_IN_MP4 = {"aac", "mp3", "ac3", "eac3", "opus"}
AAC_RATES = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 11_025, 8_000)
# FFmpeg's numbers: BT.709, BT.470BG, SMPTE 170M.
MATRICES = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601}
HD_LINES = 720
TURNS = {90: ("transpose=cclock",), 180: ("hflip", "vflip"), 270: ("transpose=clock",)}


def even(pixels: int) -> int:
    """Round down to an even number, at least 2: chroma subsampling requires even sizes."""
    return max(2, pixels - pixels % 2)


def matrix_of(reader: Reader) -> Colorspace:
    """The YUV-RGB matrix of the file, else the one that players assume."""
    if reader.colour.matrix in MATRICES:
        return MATRICES[reader.colour.matrix]
    return Colorspace.ITU709 if min(reader.width, reader.height) >= HD_LINES else Colorspace.ITU601


class Turner:
    """Rotates frames upright and converts to one even size and one 8-bit format, yuv420p (limited range) or rgb24.

    lines: the greatest height; larger frames are scaled down.
    """

    def __init__(self, reader: Reader, format: str, lines: int | None = None) -> None:
        self._rotation = reader.rotation
        self._format = format
        self._matrix = matrix_of(reader)
        turned = self._rotation % 180 == 90
        width, height = (reader.height, reader.width) if turned else (reader.width, reader.height)
        scale = min(1.0, lines / height) if lines else 1.0
        self.width, self.height = even(round(width * scale)), even(round(height * scale))
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._rotation:
            frame = self._turn(frame)
        if self._format == "rgb24":
            return frame.reformat(self.width, self.height, format="rgb24", src_colorspace=self._matrix)
        return self._encodable(frame)

    def back(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        """Convert uint8 [height, width, 3] RGB to yuv420p with the video's matrix."""
        return self._encodable(av.VideoFrame.from_ndarray(image, format="rgb24"))

    def _encodable(self, frame: av.VideoFrame) -> av.VideoFrame:
        return frame.reformat(
            self.width,
            self.height,
            format="yuv420p",
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            dst_color_range=ColorRange.MPEG,
        )

    def _turn(self, frame: av.VideoFrame) -> av.VideoFrame:
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or self._shape != shape:
            self._graph, self._shape = Graph(), shape
            base = frame.time_base or CLOCK
            nodes = [self._graph.add_buffer(width=shape[0], height=shape[1], format=frame.format, time_base=base)]
            for turn in TURNS[self._rotation]:
                name, _, value = turn.partition("=")
                nodes.append(self._graph.add(name, value or None))
            nodes.append(self._graph.add("buffersink"))
            for one, other in pairwise(nodes):
                one.link_to(other)
            self._graph.configure()
        self._graph.push(frame)
        turned: Any = self._graph.pull()
        return turned


class Sound:
    """Audio packets of a video from a start time, for another file; none if the video has no sound.

    start: seconds on the container's clock; becomes time 0. copied: codecs that are copied to MP4.
    """

    def __init__(
        self,
        path: str,
        start: float,
        output: av.container.OutputContainer,
        suffix: str = ".mp4",
        copied: Collection[str] = SOUND_IN_MP4,
    ) -> None:
        self._start = start
        self._packets: Iterator[av.Packet] = iter(())
        self._waiting: av.Packet | None = None
        self._encoder: Any = None
        self._samples: int | None = None  # encoded so far
        try:
            self._container = open_container(path)
        except DecodeError:
            return
        stream = self._container.streams.best("audio")
        if stream is None or stream.codec_context is None:
            return
        self._source: Any = stream
        try:
            # MP4 rejects codec tags and time bases of other containers such as AVI.
            related = self._container.format.name in INDEXED
            if suffix != ".mp4" or (related and self._source.codec_context.name.removesuffix("float") in copied):
                self._stream: Any = output.add_stream_from_template(self._source)
            else:
                self._encode(output)
        except (FFmpegError, ValueError):
            return
        self._packets = self._from_start()

    def until(self, time: float) -> Iterator[av.Packet]:
        """Packets up to a time (seconds after the start) that were not returned before."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            if packet.pts is not None and float(packet.pts * (packet.time_base or CLOCK)) >= time:
                self._waiting = packet
                return
            yield packet

    def _encode(self, output: av.container.OutputContainer) -> None:
        context = self._source.codec_context
        rate = context.rate if context.rate in AAC_RATES else 48_000
        layout = "mono" if context.channels == 1 else "stereo"
        self._stream = output.add_stream("aac", rate=rate, layout=layout)
        self._encoder = self._stream.codec_context
        self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate, frame_size=1024)

    def _from_start(self) -> Iterator[av.Packet]:
        base = self._source.time_base
        last: int | None = None
        self._container.seek(max(0, int((self._start - 0.5) / base)), stream=self._source)
        for packet in self._demux():
            if packet.pts is None or float(packet.pts * base) < self._start:
                continue
            if self._encoder is not None:
                yield from self._transcode(packet)
                continue
            packet.pts -= round(self._start / base)
            if last is not None and packet.pts <= last:
                continue  # damaged: presentation times must increase
            last = packet.dts = packet.pts
            packet.stream = self._stream
            yield packet
        if self._encoder is not None:
            yield from self._transcode(None)

    def _demux(self) -> Iterator[av.Packet]:
        try:
            yield from (packet for packet in self._container.demux(self._source) if packet.size)
        except (FFmpegError, ValueError):
            return  # damaged sound ends here; the video continues

    def _transcode(self, packet: av.Packet | None) -> Iterator[av.Packet]:
        try:
            frames: list[Any] = list(packet.decode()) if packet is not None else [None]
        except (FFmpegError, ValueError):
            return
        for frame in frames:
            if frame is not None and self._samples is None:
                self._samples = round((float(frame.pts * frame.time_base) - self._start) * self._encoder.rate)
            if frame is not None:
                frame.pts = None
            for piece in self._resampler.resample(frame):
                # Count samples: timestamps of a damaged or coarsely stamped source do not align with samples.
                piece.pts, piece.time_base = self._samples, Fraction(1, self._encoder.rate)
                self._samples = (self._samples or 0) + piece.samples
                yield from self._encoder_packets(piece)
        if packet is None:
            yield from self._encoder_packets(None)

    def _encoder_packets(self, frame: Any) -> Iterator[av.Packet]:
        for packet in self._stream.encode(frame):
            if packet.pts is not None:
                yield packet


class VideoWriter:
    """Writes one video, as a context manager: frames are added by `add`, in temporal order.

    Args:
        target: the file to write.
        reader: source of frame rate, colours and sound.
        turner: converter of the frames; `add` takes its results.
        start: time in the source, in seconds, that becomes time 0 of picture and sound.
        options: x264's.
        clock: unit of the written times, in seconds.
        sound: codecs of sound that are copied; other sound becomes AAC.
        each: called with every encoded packet of the picture before it is written.
    """

    def __init__(
        self,
        target: Path,
        reader: Reader,
        turner: Turner,
        start: float,
        options: Mapping[str, str] = OPTIONS,
        clock: Fraction = CLOCK,
        sound: Collection[str] = SOUND_IN_MP4,
        each: Callable[[av.Packet], None] | None = None,
    ) -> None:
        self._each = each
        self._start = start
        self._clock = clock
        self._output = av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(reader.rate).limit_denominator(60_000)
        stream: Any = self._output.add_stream(_encoder(), rate=rate)
        stream.width, stream.height, stream.pix_fmt = turner.width, turner.height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = clock
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = astuple(reader.colour)
        context.color_range = ColorRange.MPEG
        shape = reader.stream.sample_aspect_ratio
        if shape:
            context.sample_aspect_ratio = 1 / shape if reader.rotation % 180 else shape
        if stream.codec_context.name == "libx264":
            stream.options = dict(options)
        self._stream = stream
        self._sound = Sound(reader.path, reader.start + start, self._output, copied=sound)
        self.frames = 0

    def add(self, time: float, frame: av.VideoFrame) -> None:
        """Add one frame, yuv420p or rgb24, shown from `time` (seconds in the source)."""
        now = max(0.0, time - self._start)
        frame.pts, frame.time_base = round(now / self._clock), self._clock
        frame.pict_type = 0  # the encoder decides where key frames are
        self._mux(self._stream.encode(frame))
        for packet in self._sound.until(now):
            self._output.mux(packet)
        self.frames += 1

    def finish(self, end: float) -> None:
        """Flush remaining frames, and sound up to `end` (seconds in the source)."""
        self._mux(self._stream.encode(None))
        for packet in self._sound.until(end - self._start):
            self._output.mux(packet)

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            if self._each is not None:
                self._each(packet)
            self._output.mux(packet)

    def close(self) -> None:
        """Close the file."""
        self._output.close()


def _encoder() -> str:
    """The best video encoder of this FFmpeg."""
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
        except (FFmpegError, ValueError):
            continue
        return name
    raise DecodeError("this FFmpeg has no video encoder")
