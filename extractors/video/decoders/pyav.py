"""PyAV as the decoder. Runs in the decoding child and imports no library but PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tal_cli.extractors.cpu import usable_cores
from tal_cli.extractors.video.clock import nominal_rate
from tal_cli.extractors.video.messages import DecodeError, Opened

# Self-contained formats. Those that can refer to other files or addresses (hls, concat, dash, image2, sdp, ...)
# are excluded, and `file` is the only protocol, so that a hostile file cannot make FFmpeg open anything else.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,vc1,flv,asf,ogg,mxf,nut,dv,"
    "rm,wtv,mjpeg,gif,yuv4mpegpipe"
)
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
# Titles that are not UTF-8 are no reason to reject a video. PyAV accepts them by default from version 19.
METADATA: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
# Area averaging, with colour at full width: without it swscale shares one chroma value between two columns of the
# small image, which costs 1 to 4 grey levels of mean error and saves 30 us per frame.
SCALING = 0x20 | 0x2000 | 0x40000  # SWS_AREA, SWS_FULL_CHR_H_INT, SWS_ACCURATE_RND
# 16k x 8k; a frame that declares more is a decompression bomb.
MAX_PIXELS = 1 << 27
# Up to this size half of the cores decode faster than any backbone computes, with less synchronisation.
SMALL_PICTURE = 640 * 480
# Each decoding thread holds frames of its own; this bounds their total (pixels).
PIXELS_IN_THREADS = 1 << 28
FAILURES_IN_A_ROW = 1000
# Formats whose clock may restart in the middle.
JOINABLE = ("mpegts", "mpeg", "flv")
# Formats with presentation times and an index; in others seeking is unreliable.
INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
# FFmpeg's tag of an encrypted Matroska stream.
KEY_NAMED = "enc_key_id"
# Streams whose lengths differ by less than this fraction count as equally long.
EQUALLY_LONG = 0.95


class PyavSource:
    """One video file: opened by the constructor, then frame after frame.

    Raises DecodeError if there is nothing to decode. `lost` counts the frames that could not be decoded.
    """

    def __init__(self, path: str) -> None:
        self._container = open_container(path)
        self._stream = main_video_stream(self._container)
        context = self._stream.codec_context
        if context is None:
            raise DecodeError("its codec is not known, or it is encrypted")
        pixels = context.width * context.height
        if pixels > MAX_PIXELS:
            raise DecodeError(f"its frames have {context.width}x{context.height} pixels, more than the limit")
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.thread_type = "AUTO"
        context.thread_count = decoding_threads(pixels)
        self._reformatter = VideoReformatter()
        self._packets = 0
        self._errors = 0
        self._failures = 0  # in a row
        self._decoded = 0
        self.last_shown: float | None = None
        # avi stores no display times: FFmpeg's estimates are out of order with B-frames,
        # while the frames come in order, one per packet.
        self.stores_times = self._container.format.name != "avi"
        self._frames = self._decode()
        self._first: VideoFrame | None = next(self._frames, None)
        if self._first is None:
            raise DecodeError("no frame of it can be decoded")

    @property
    def stream_index(self) -> int:
        """Index of this stream in the file."""
        return self._stream.index

    @property
    def format(self) -> str:
        """FFmpeg's name of the container."""
        return str(self._container.format.name)

    @property
    def first_stamp(self) -> float | None:
        """The first frame's time stamp, seconds. To be called before the frames are read."""
        assert self._first is not None
        return self._stamp(self._first)

    @property
    def time_base(self) -> float:
        """Seconds per unit of the stream's time stamps; 0 if not known."""
        return float(self._stream.time_base or 0)

    @property
    def first_stream_is_best(self) -> bool:
        """Whether FFmpeg's default choice is the same stream."""
        best = self._container.streams.best("video")
        return best is not None and best.index == self._stream.index

    @property
    def lost(self) -> int:
        """Frames that are known to be missing. Without an error none are: fewer frames than packets is then normal."""
        if not self._errors:
            return 0
        return max(self._errors, self._packets - self._decoded, self._stream.frames - self._decoded)

    def opened(self) -> Opened:
        """Size, rate and orientation, from the first frame and the container."""
        assert self._first is not None
        stream, first = self._stream, self._first
        fps = plausible_rate(stream.average_rate, stream.guessed_rate, stream.base_rate)
        videos = video_streams(self._container)
        return Opened(
            width=first.width,
            height=first.height,
            fps=fps,
            nominal_fps=nominal_rate(fps, plausible_rate(stream.guessed_rate, stream.base_rate, fps)),
            frames=stream.frames or None,
            duration=stream_seconds(stream) or container_seconds(self._container),
            end=stream_end(self._container, stream),
            origin=(self._container.start_time or 0) / av.time_base,
            timecode=stream.metadata.get("timecode") or self._container.metadata.get("timecode"),
            joinable=self._container.format.name in JOINABLE,
            streams=len(videos),
            stream=videos.index(stream),
            rotation=round(first.rotation / 90) * 90 % 360,
        )

    def skip_to(self, seconds: float) -> float | None:
        """Continues at the last key frame at or before a time, in seconds since the first frame.

        Returns the first frame's time stamp; None if the format has no index, so that nothing was skipped.
        """
        first, base = self.first_stamp, self._stream.time_base
        if self.format not in INDEXED or first is None or base is None:
            return None
        try:
            self._container.seek(int((seconds + first) / base), stream=self._stream)
        except FFmpegError:
            return None
        self._first, self._frames = None, self._decode()
        return first

    def frames(self) -> Iterator[tuple[float | None, VideoFrame]]:
        """Time stamp in seconds (None: the file has none) and image, in display order."""
        frame, self._first = self._first or next(self._frames, None), None
        while frame is not None:
            self.last_shown = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else None
            yield self._stamp(frame), frame
            frame = next(self._frames, None)

    def scale(self, frame: VideoFrame, width: int, height: int) -> tuple[memoryview, int]:
        """The frame as RGB of that size: its bytes and the bytes per row (rows may be padded)."""
        small = self._reformatter.reformat(frame, width, height, "gbrp", interpolation=SCALING, threads=1)
        # With planar output swscale writes the same values in half the time.
        green, blue, red = small.planes
        pixels = bytearray(3 * green.buffer_size)
        pixels[0::3], pixels[1::3], pixels[2::3] = memoryview(red), memoryview(green), memoryview(blue)
        return memoryview(pixels), 3 * green.line_size

    def _stamp(self, frame: VideoFrame) -> float | None:
        stamp = frame.pts if self.stores_times or frame.dts is None else frame.dts
        return None if stamp is None or frame.time_base is None else float(stamp * frame.time_base)

    def _decode(self) -> Iterator[VideoFrame]:
        """Every frame that decodes. An error skips its packet, FAILURES_IN_A_ROW of them skip the rest."""
        packets = self._container.demux(self._stream)
        while self._failures < FAILURES_IN_A_ROW:
            try:
                packet = next(packets, None)
            except FFmpegError:
                self._fail()
                packets = self._container.demux(self._stream)
                continue
            if packet is None:
                return
            reject_encrypted(packet)
            for frame in self._decode_packet(packet):
                self._decoded += 1
                yield frame

    def _decode_packet(self, packet: av.Packet) -> list[VideoFrame]:
        """The frames that a packet completes; the last, empty one flushes the decoder."""
        self._packets += packet.size > 0
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except (FFmpegError, ValueError):
            if packet.size:
                self._fail()
            return []
        self._failures = 0
        return frames

    def _fail(self) -> None:
        self._failures += 1
        self._errors += 1


def video_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams other than cover images."""
    cover = av.stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & cover]


def main_video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The stream that players show: among streams that are not still images, the one flagged as default; if several or
    none are flagged, the longest, of equally long ones the first. Raises DecodeError."""
    streams = video_streams(container)
    if not streams:
        raise DecodeError("it has no video stream")
    moving = [stream for stream in streams if not is_still(stream)] or streams
    flagged = [stream for stream in moving if stream.disposition & av.stream.Disposition.default] or moving
    whole = container_seconds(container) or 0.0
    lengths = [stream_seconds(stream) or whole for stream in flagged]
    return next(
        stream for stream, length in zip(flagged, lengths, strict=True) if length >= EQUALLY_LONG * max(lengths)
    )


def reject_encrypted(packet: av.Packet) -> None:
    """Raises DecodeError for a packet of encrypted video, which would be decoded to noise or to nothing."""
    if packet.has_sidedata("encryption_info") or KEY_NAMED in packet.stream.metadata:
        raise DecodeError("it is encrypted (DRM): only a copy without encryption can be read")


def is_still(stream: av.VideoStream) -> bool:
    """Whether a stream is one image, according to the container."""
    seconds = stream_seconds(stream)
    rate = plausible_rate(stream.average_rate, stream.guessed_rate, stream.base_rate)
    return stream.frames == 1 or (not stream.frames and seconds is not None and seconds * rate < 1.5)


def stream_seconds(stream: av.VideoStream) -> float | None:
    """A stream's length according to the container; Matroska's is a tag of the stream."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return None
    total = 3600 * hours + 60 * minutes + seconds
    return total if 0 < total < float("inf") else None


def container_seconds(container: av.container.InputContainer) -> float | None:
    """The file's length according to the container."""
    return None if container.duration is None else container.duration / av.time_base


def stream_end(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """The container's time at which a stream ends, as declared; the file's end if none is declared for the stream."""
    if stream.duration is not None and stream.start_time is not None and stream.time_base is not None:
        return float((stream.start_time + stream.duration) * stream.time_base)
    if container.duration is None or container.start_time is None:
        return None
    return (container.start_time + container.duration) / av.time_base


def open_container(path: str) -> av.container.InputContainer:
    """Open a local file and nothing else. Raises DecodeError."""
    try:
        return av.open("file:" + path, options=OPTIONS, **METADATA)
    except av.error.ArgumentError:
        raise DecodeError("its format is not a supported video format") from None
    except av.error.InvalidDataError:
        raise DecodeError("it is not a video file, or its index is lost") from None
    except (FFmpegError, ValueError, OSError) as error:
        raise DecodeError(f"it cannot be opened ({getattr(error, 'strerror', None) or error})") from None


def decoding_threads(pixels: int) -> int:
    """Number of decoding threads for frames of that many pixels."""
    cores = usable_cores()
    if pixels <= SMALL_PICTURE:
        cores //= 2
    return max(1, min(cores, 16, PIXELS_IN_THREADS // max(1, pixels)))


def plausible_rate(*rates: object) -> float:
    """The first plausible frame rate declared by the container."""
    for rate in rates:
        if rate and 0.01 <= float(rate) <= 1000:  # type: ignore[arg-type]
            return float(rate)  # type: ignore[arg-type]
    return 25.0
