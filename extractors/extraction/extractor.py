"""One video in, its feature sequence out: a child process decodes while frames are prepared and the backbone computes.

    read_frames     decoded frames, in chunks               video/stream.py
    with_lookahead  chunks joined to the frames after them  blocks.py
    prepare         input frames of the backbone            forward.py
    window_blocks   blocks of overlapping windows           blocks.py
    forward         the features of a block's windows       forward.py
    GrowingArray    the features of the video               growing_array.py

A CPU computes several blocks in parallel (cpu_parallel.py), an accelerator has several in flight.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.errors import SettingsError, VideoError
from tal_cli.extractors.extraction.blocks import window_blocks, with_context, with_lookahead
from tal_cli.extractors.extraction.cpu_parallel import cpu_workers, parallel_map, worker_pool
from tal_cli.extractors.extraction.forward import ForwardPasses, PendingFeatures, is_out_of_memory
from tal_cli.extractors.extraction.growing_array import GrowingArray
from tal_cli.extractors.extraction.precision import check_precision
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.extractors.files.prefetch import prefetch
from tal_cli.extractors.video.clock import FileClock, decimation
from tal_cli.extractors.video.info import VideoInfo
from tal_cli.extractors.video.messages import VideoSummary
from tal_cli.extractors.video.stream import TIMEOUT, FrameChunk, read_frames

# Chunks on their way to an accelerator, and blocks whose features are on their way back.
CHUNKS_AHEAD = 8
# Fraction of the usual frame rate below which motion no longer resembles the network's training data.
LOWEST_SHARE = 0.4
BLOCKS_BEHIND = 2

Progress = Callable[[int, "int | None"], None]
BatchSize = int | Literal["auto"]


def extract_features(
    path: str | os.PathLike[str],
    backbone: Backbone,
    *,
    device: str | torch.device = "cpu",
    batch_size: BatchSize = "auto",
    precision: str = "auto",
    decoder: str = "auto",
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
    time_limit: float | None = None,
) -> FeatureSequence:
    """The features of one video. For several videos, make one `Extractor`.

    Args:
        path: a local video file.
        backbone: moved to the device.
        device: where to compute.
        batch_size: maximal number of windows per forward pass; fewer if the device's memory is too small.
        precision: `auto` (fp32), `fp32`, `bf16` or `fp16`.
        decoder: `auto`, `pyav`, `decord` or `torchcodec`.
        progress: called with frames done and frames expected (None: not known).
        timeout: seconds without a frame after which decoding counts as failed.
        time_limit: seconds of waiting for frames in total after which it does; None: by the video's duration.

    Raises:
        VideoError: the file cannot be decoded, or one window of it does not fit into memory.
        DecoderUnavailable: the decoder is not installed.
        UsageError: an unknown precision.
    """
    extractor = Extractor(backbone, device=device, batch_size=batch_size, precision=precision)
    return extractor.extract(path, decoder=decoder, progress=progress, timeout=timeout, time_limit=time_limit)


class FrameSource(Protocol):
    """The frames of one video, in order, each once. `summary` is available after the last."""

    info: VideoInfo

    @property
    def summary(self) -> VideoSummary: ...

    def __iter__(self) -> Iterator[FrameChunk]: ...


class Extractor:
    """A backbone on a device, for any number of videos: one after another, or several at a time in threads.

    Features do not depend on how many videos are in progress. A batch size reduced for lack of memory in one video
    stays reduced for the next. Memory does not grow with a video's length, except for the features themselves.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        device: str | torch.device = "cpu",
        batch_size: BatchSize = "auto",
        precision: str = "auto",
        compiled: bool = False,
    ) -> None:
        """Arguments and errors as of `extract_features`; compiled: compile the network with torch.

        Raises:
            SettingsError: there is no network to compile.
        """
        check_precision(precision)
        self.backbone = backbone
        self.device = torch.device(device)
        backbone.to(self.device)
        if compiled:
            compile_networks(backbone)
        self.forward_passes = ForwardPasses(
            backbone, self.device, precision, None if batch_size == "auto" else batch_size
        )
        self._workers = cpu_workers() if self.device.type == "cpu" else 0
        if self._workers:
            worker_pool(self._workers)

    def extract(
        self,
        path: str | os.PathLike[str],
        *,
        decoder: str = "auto",
        progress: Progress | None = None,
        timeout: float = TIMEOUT,
        time_limit: float | None = None,
    ) -> FeatureSequence:
        """The features of one video; arguments and errors as of `extract_features`."""
        contract = self.backbone.contract
        try:
            stream = read_frames(
                path,
                frame_size=self.backbone.frame_size,
                sampling_rate=contract.sampling_rate,
                max_rate=contract.max_rate,
                decoder=decoder,
                timeout=timeout,
                time_limit=time_limit,
            )
        except ValueError as error:  # frame sizes that the backbone does not support
            raise VideoError(path, str(error)) from None
        with stream:
            return self.extract_frames(stream, path, progress)

    def extract_frames(
        self, source: FrameSource, path: str | os.PathLike[str], progress: Progress | None = None
    ) -> FeatureSequence:
        """The features of a video from frames decoded by the caller.

        Raises:
            VideoError: no frame could be decoded, or one window does not fit into memory.
        """
        contract, grid = self.backbone.contract, self.forward_passes.grid
        features: GrowingArray[np.float32] = GrowingArray()
        times: GrowingArray[np.float64] = GrowingArray()
        expected = expected_frames(source.info, contract)
        try:
            with closing(self._compute(source)) as computed:
                for pending in computed:
                    rows = pending.wait()
                    if not np.isfinite(rows).all():
                        raise VideoError(
                            path, f"its features are not finite at precision {self.forward_passes.precision}"
                        )
                    features.append(rows)
                    times.append(window_times(pending.frame_times, grid, len(rows), source.info.fps))
                    if progress is not None:
                        progress(len(features) * grid.stride, expected)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise VideoError(path, f"{self.device} has too little memory for one window of it") from None
            raise
        if not len(features):
            raise VideoError(path, "no frame of it can be decoded")
        summary = source.summary
        return FeatureSequence(
            features=features.finish(),
            contract=contract,
            fps=summary.fps,
            feature_fps=summary.delivered_fps,
            frames=summary.frames,
            duration=summary.duration,
            start=summary.start,
            file_clock=FileClock(round(summary.start - source.info.origin, 9), source.info.timecode),
            window_times=None if summary.constant_rate else times.finish(),
            warnings=tuple(reading_warnings(source.info, summary, contract)),
        )

    def _compute(self, source: Iterable[FrameChunk]) -> Generator[PendingFeatures, None, None]:
        """The features of every window, block by block, in order."""
        chunks = with_lookahead(source, self.backbone.lookahead)
        return self._compute_in_workers(chunks) if self._workers else self._compute_in_flight(chunks)

    def _compute_in_workers(self, chunks: Iterable[FrameChunk]) -> Generator[PendingFeatures, None, None]:
        """On a CPU: several chunks are prepared at once, and several blocks computed."""
        passes = self.forward_passes
        with closing(parallel_map(lambda chunk: passes.prepare(passes.load(chunk)), chunks, self._workers)) as prepared:
            framed = with_context(prepared, passes.context)
            blocks = window_blocks(framed, passes.grid, passes.windows_per_block)
            yield from parallel_map(passes.forward, blocks, self._workers)

    def _compute_in_flight(self, chunks: Iterable[FrameChunk]) -> Generator[PendingFeatures, None, None]:
        """On an accelerator: frames are copied there ahead of the forward pass, features fetched behind it."""
        passes = self.forward_passes
        behind: deque[PendingFeatures] = deque()
        with closing(prefetch(map(passes.load, chunks), CHUNKS_AHEAD)) as loaded:
            framed = with_context(map(passes.prepare, loaded), passes.context)
            for block in window_blocks(framed, passes.grid, passes.windows_per_block):
                behind.append(passes.forward(block))
                if len(behind) > BLOCKS_BEHIND:
                    yield behind.popleft()
            yield from behind


def compile_networks(backbone: Backbone) -> None:
    """Compiles a backbone's networks with torch. Raises SettingsError if it has none."""
    networks = list(backbone.children()) if isinstance(backbone, nn.Module) else []
    if not networks:
        raise SettingsError(f"{backbone.contract.extractor} has no network to compile")
    for network in networks:
        network.compile()


def window_times(frame_times: NDArray[np.float64], grid: WindowGrid, windows: int, fps: float) -> NDArray[np.float64]:
    """float64 [B]: the presentation time of each window's centre, interpolated between frames."""
    step = frame_times[-1] - frame_times[-2] if len(frame_times) > 1 else 1.0 / fps
    times = np.append(frame_times, frame_times[-1] + step)
    return np.interp(grid.positions(np.arange(windows, dtype=np.float64)), np.arange(len(times)), times)


def reading_warnings(info: VideoInfo, summary: VideoSummary, contract: FeatureContract) -> Iterator[str]:
    """Warnings about how a video was read, one line each."""
    if summary.lost:
        yield f"{summary.lost} {'frame' if summary.lost == 1 else 'frames'} could not be decoded"
    if info.streams > 1:
        yield f"it has {info.streams} video streams; number {info.stream + 1} is read"
    if summary.jumps:
        yield f"joined recordings: its clock starts again {summary.jumps} times; the parts are read as one"
    lowest = lowest_rate(contract)
    if lowest is not None and summary.fps < lowest:
        yield (
            f"{summary.fps:.3g} frames/s is too low for {contract.extractor}, which needs {lowest:.3g} or more: "
            "expect wrong or missing segments"
        )


def lowest_rate(contract: FeatureContract) -> float | None:
    """The frame rate below which videos differ too much from an extractor's training data; None: not known."""
    usual = contract.sampling_rate or contract.max_rate
    return None if usual is None else LOWEST_SHARE * usual


def expected_frames(info: VideoInfo, contract: FeatureContract) -> int | None:
    """Expected number of frames from the decoder, according to the container; None: not known."""
    if contract.sampling_rate is not None:
        return None if info.duration is None else round(info.duration * contract.sampling_rate)
    frames = info.frames
    if frames is None and info.duration is not None:
        frames = round(info.duration * info.fps)
    return None if frames is None else frames // decimation(info.fps, contract.max_rate)
