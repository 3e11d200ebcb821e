"""One video in, its feature sequence out: the child decodes while the backbone computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from extractors.backbones import Backbone
from extractors.contract import FeatureContract
from extractors.decoding.clock import decimation
from extractors.growing import GrowingArray
from extractors.lanes import in_lanes, lanes_for
from extractors.sequence import FeatureSequence
from extractors.video import TIMEOUT, FrameChunk, VideoError, VideoInfo, read_frames
from extractors.windows import WindowGrid, iterate_windows

# What one block of frames may take, in bytes, and how many windows are worth a forward pass.
AUTO_BLOCK = 16 << 20
AUTO_WINDOWS = 64

Progress = Callable[[int, "int | None"], None]


def extract_features(
    path: str | os.PathLike[str],
    backbone: Backbone,
    *,
    device: str | torch.device = "cpu",
    batch_size: int | Literal["auto"] = "auto",
    decoder: str = "auto",
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
) -> FeatureSequence:
    """The features of one video. Memory does not grow with its length, but for the features themselves.

    batch_size: windows per forward pass. progress: called with frames done and frames expected (None: not known).
    Raises VideoError, DecoderUnavailable (`extractors.video`); KeyboardInterrupt leaves nothing running.
    """
    contract = backbone.contract
    grid = WindowGrid(contract.window, contract.stride)
    backbone.to(device)
    features: GrowingArray[np.float32] = GrowingArray()
    times: GrowingArray[np.float64] = GrowingArray()
    with read_frames(
        path,
        frame_size=backbone.frame_size,
        sampling_rate=contract.sampling_rate,
        max_rate=contract.max_rate,
        decoder=decoder,
        timeout=timeout,
    ) as stream:
        expected = expected_frames(stream.info, contract)
        batch = block_windows(stream.size, grid) if batch_size == "auto" else batch_size
        blocks = iterate_windows(stream, grid, batch)
        for block, rows in in_lanes(lambda block: forward(backbone, block, device), blocks, lanes_for(device)):
            features.append(rows)
            times.append(window_times(block, grid, len(rows), stream.info.fps))
            if progress is not None:
                progress(len(features) * grid.stride, expected)
        summary = stream.summary
    if not len(features):
        raise VideoError(path, "no frame of it can be decoded")
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


def forward(backbone: Backbone, block: FrameChunk, device: str | torch.device) -> NDArray[np.float32]:
    """float32 [B, channels] for one block. Raises ValueError for a backbone that breaks its contract."""
    frames = torch.from_numpy(block.frames).to(device, non_blocking=True)
    prepared = backbone.prepare(frames)
    rows: NDArray[np.float32] = backbone(prepared, torch.from_numpy(block.times)).float().cpu().numpy()
    contract = backbone.contract
    windows = (len(block.times) - contract.window) // contract.stride + 1
    if rows.shape != (windows, contract.channels):
        raise ValueError(f"{contract.extractor} gave features {rows.shape}, not {(windows, contract.channels)}")
    return rows


def window_times(block: FrameChunk, grid: WindowGrid, windows: int, fps: float) -> NDArray[np.float64]:
    """float64 [B]: the presentation time of each window's centre, between frames where it lies between."""
    at = grid.positions(np.arange(windows, dtype=np.float64))
    step = block.times[-1] - block.times[-2] if len(block.times) > 1 else 1.0 / fps
    times = np.append(block.times, block.times[-1] + step)
    return np.interp(at, np.arange(len(times)), times)


def block_windows(size: tuple[int, int], grid: WindowGrid) -> int:
    """Windows per forward pass for frames of that size."""
    frames = AUTO_BLOCK // (3 * size[0] * size[1])
    return max(1, min(AUTO_WINDOWS, (frames - grid.window) // grid.stride + 1))


def expected_frames(info: VideoInfo, contract: FeatureContract) -> int | None:
    """Frames that the decoder will deliver, going by the container's claims."""
    if contract.sampling_rate is not None:
        return None if info.duration is None else round(info.duration * contract.sampling_rate)
    frames = info.frames
    if frames is None and info.duration is not None:
        frames = round(info.duration * info.fps)
    return None if frames is None else frames // decimation(info.fps, contract.max_rate)
