"""One video in, its feature sequence out: the child decodes while frames are prepared and the backbone computes."""

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
from tal_cli.extractors.errors import VideoError
from tal_cli.extractors.extraction.blocks import PreparedFrames, iterate_windows, with_lookahead
from tal_cli.extractors.extraction.cpu_parallel import in_lanes, lanes_for
from tal_cli.extractors.extraction.forward import Arriving, Passes, is_out_of_memory
from tal_cli.extractors.extraction.growing_array import GrowingArray
from tal_cli.extractors.extraction.precision import arithmetic
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.extractors.files.prefetch import ahead
from tal_cli.extractors.video.clock import decimation
from tal_cli.extractors.video.messages import VideoSummary
from tal_cli.extractors.video.stream import TIMEOUT, FrameChunk, VideoInfo, read_frames

# Chunks on their way to an accelerator, and blocks of which the features are on their way back.
CHUNKS_AHEAD = 8
BLOCKS_BEHIND = 2

Progress = Callable[[int, "int | None"], None]
BatchSize = int | Literal["auto"]


class FrameSource(Protocol):
    """The frames of one video, in order, each once. `summary` is there after the last."""

    info: VideoInfo

    @property
    def summary(self) -> VideoSummary: ...

    def __iter__(self) -> Iterator[FrameChunk]: ...


class Extractor:
    """A backbone on a device, ready for any number of videos, also several at a time in threads of their own.

    batch_size: windows per forward pass at most. precision: see `precision.py`. compiled: let torch compile
    the network. shares: how many videos share the device's memory. Raises ValueError where there is no network.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        device: str | torch.device = "cpu",
        batch_size: BatchSize = "auto",
        precision: str = "auto",
        compiled: bool = False,
        shares: int = 1,
    ) -> None:
        self.backbone = backbone
        self.device = torch.device(device)
        self.precision = precision
        backbone.to(self.device)
        if compiled:
            networks = list(backbone.children()) if isinstance(backbone, nn.Module) else []
            if not networks:
                raise ValueError(f"{backbone.contract.extractor} is no network that could be compiled")
            for network in networks:
                network.compile()
        self.passes = Passes(backbone, self.device, None if batch_size == "auto" else batch_size, shares)

    def extract(
        self,
        path: str | os.PathLike[str],
        *,
        decoder: str = "auto",
        progress: Progress | None = None,
        timeout: float = TIMEOUT,
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
            )
        except ValueError as error:  # pictures that the backbone cannot use
            raise VideoError(path, str(error)) from None
        with stream:
            return self.extract_frames(stream, path, progress)

    def extract_frames(
        self, source: FrameSource, path: str | os.PathLike[str], progress: Progress | None = None
    ) -> FeatureSequence:
        """The features of a video whose frames come from wherever they are decoded. Raises VideoError."""
        contract = self.backbone.contract
        grid = self.passes.grid
        features: GrowingArray[np.float32] = GrowingArray()
        times: GrowingArray[np.float64] = GrowingArray()
        expected = expected_frames(source.info, contract)
        try:
            with closing(self._computed(source)) as computed:
                for block, arriving in computed:
                    rows = arriving.wait()
                    if not np.isfinite(rows).all():
                        raise VideoError(path, f"its features are not finite in {self.precision} arithmetic")
                    features.append(rows)
                    times.append(window_times(block, grid, len(rows), source.info.fps))
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
            lost_frames=summary.lost,
            window_times=None if summary.constant_rate else times.finish(),
        )

    def _computed(self, source: Iterable[FrameChunk]) -> Generator[tuple[PreparedFrames, Arriving], None, None]:
        """Every block of windows with its features, in order."""
        chunks = with_lookahead(source, self.backbone.lookahead)
        if self.device.type == "cpu":
            return self._in_lanes(chunks)
        return self._in_flight(chunks)

    def _in_lanes(self, chunks: Iterable[FrameChunk]) -> Generator[tuple[PreparedFrames, Arriving], None, None]:
        passes, lanes = self.passes, lanes_for(self.device)
        with arithmetic(self.device, self.precision):
            prepared = in_lanes(lambda chunk: passes.prepare(passes.load(chunk)), chunks, lanes)
            blocks = iterate_windows((frames for _, frames in prepared), passes.grid, passes.windows_per_block)
            yield from in_lanes(passes.forward, blocks, lanes)

    def _in_flight(self, chunks: Iterable[FrameChunk]) -> Generator[tuple[PreparedFrames, Arriving], None, None]:
        passes = self.passes
        behind: deque[tuple[PreparedFrames, Arriving]] = deque()
        loaded = closing(ahead(map(passes.load, chunks), CHUNKS_AHEAD))
        with torch.inference_mode(), arithmetic(self.device, self.precision), loaded as arriving:
            prepared = map(passes.prepare, arriving)
            for block in iterate_windows(prepared, passes.grid, passes.windows_per_block):
                behind.append((block, passes.forward(block)))
                if len(behind) > BLOCKS_BEHIND:
                    yield behind.popleft()
            yield from behind


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
) -> FeatureSequence:
    """The features of one video. Memory does not grow with its length, but for the features themselves.

    batch_size: windows per forward pass at most; fewer where the device's memory does not suffice. progress: called
    with frames done and frames expected (None: not known).
    Raises VideoError, DecoderUnavailable (`tal_cli.extractors.video.stream`); KeyboardInterrupt leaves nothing running.
    """
    extractor = Extractor(backbone, device=device, batch_size=batch_size, precision=precision)
    return extractor.extract(path, decoder=decoder, progress=progress, timeout=timeout)


def window_times(block: PreparedFrames, grid: WindowGrid, windows: int, fps: float) -> NDArray[np.float64]:
    """float64 [B]: the presentation time of each window's centre, between frames where it lies between."""
    at = grid.positions(np.arange(windows, dtype=np.float64))
    step = block.times[-1] - block.times[-2] if len(block.times) > 1 else 1.0 / fps
    times = np.append(block.times, block.times[-1] + step)
    return np.interp(at, np.arange(len(times)), times)


def expected_frames(info: VideoInfo, contract: FeatureContract) -> int | None:
    """Frames that the decoder will deliver, going by the container's claims."""
    if contract.sampling_rate is not None:
        return None if info.duration is None else round(info.duration * contract.sampling_rate)
    frames = info.frames
    if frames is None and info.duration is not None:
        frames = round(info.duration * info.fps)
    return None if frames is None else frames // decimation(info.fps, contract.max_rate)
