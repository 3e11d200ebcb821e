"""Forward passes of one backbone on one device: in halves where memory does not suffice, results fetched late.

On CUDA nothing here waits for the device but `Arriving.wait`: frames come from pinned memory on a stream of their own,
and features go back into pinned memory behind the forward pass that made them.
"""

from __future__ import annotations

import gc

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.extraction.blocks import PreparedFrames
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.video.stream import FrameChunk

# Memory of the activations of one pass, and of a block of prepared frames; several blocks are held per lane on a CPU.
CPU_PASS, CPU_BLOCK = 384 << 20, 48 << 20
ACCELERATOR_BLOCK = 1 << 30
# More windows than this fill no device better.
MOST_WINDOWS = 64
# Words of errors that are no torch.OutOfMemoryError and mean the same.
FULL = ("DefaultCPUAllocator", "MPS backend out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


class Passes:
    """A backbone on its device. `most` is the number of windows per pass, which shrinks where memory does not suffice.

    batch_size: windows per pass, None: as many as memory suggests. shares: how many callers share the device's memory.
    """

    def __init__(self, backbone: Backbone, device: torch.device, batch_size: int | None, shares: int = 1) -> None:
        self.backbone = backbone
        self.device = device
        self.grid = WindowGrid(backbone.contract.window, backbone.contract.stride)
        self.most = batch_size or max(
            1, min(MOST_WINDOWS, pass_memory(device, shares) // max(1, backbone.window_bytes))
        )
        self._fixed = batch_size is not None
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def windows_per_block(self, first: PreparedFrames) -> int:
        """How many windows to take together, given the first prepared frames."""
        if self._fixed:
            return self.most
        room = CPU_BLOCK if self.device.type == "cpu" else ACCELERATOR_BLOCK
        frames = room // max(1, first.frames[0].numel() * first.frames.element_size())
        return max(1, min(self.most, (frames - self.grid.window) // self.grid.stride + 1))

    def load(self, chunk: FrameChunk) -> PreparedFrames:
        """Decoded frames as uint8 [n, H, W, 3] on the device, or on their way there."""
        frames = torch.from_numpy(chunk.frames)
        if self._copies is not None:
            with torch.cuda.stream(self._copies):
                frames = frames.pin_memory().to(self.device, non_blocking=True)
        elif self.device.type != "cpu":
            frames = frames.to(self.device)
        return PreparedFrames(frames, chunk.times)

    def prepare(self, chunk: PreparedFrames) -> PreparedFrames:
        """Frames as the backbone wants them, but for the last `lookahead` ones, which the next chunk repeats."""
        frames, lookahead = chunk.frames, self.backbone.lookahead
        if self._copies is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._copies)
            frames.record_stream(current)
        count = len(frames) - lookahead
        done: list[Tensor] = []
        start, most = 0, count
        while start < count:
            stop = min(count, start + most)
            try:
                done.append(self.backbone.prepare(frames[start : stop + lookahead]))
                start = stop
                continue
            except RuntimeError as error:
                if stop - start == 1 or not is_out_of_memory(error):
                    raise
            most = max(1, (stop - start) // 2)
            forget(self.device)
        return PreparedFrames(done[0] if len(done) == 1 else torch.cat(done), chunk.times[:count])

    def forward(self, block: PreparedFrames) -> Arriving:
        """Features of one block's windows. Raises ValueError for a backbone that breaks its contract."""
        windows = self.grid.count(len(block.times))
        times = torch.from_numpy(block.times)
        done: list[Tensor] = []
        start = 0
        while start < windows:
            stop = min(windows, start + self.most)
            frames = slice(start * self.grid.stride, start * self.grid.stride + self.grid.frames(stop - start))
            try:
                done.append(self.backbone(block.frames[frames], times[frames]).float())
                start = stop
                continue
            except RuntimeError as error:
                if stop - start == 1 or not is_out_of_memory(error):
                    raise
            # Out of the handler, which kept alive what filled the memory.
            self.most = max(1, (stop - start) // 2)
            forget(self.device)
        rows = done[0] if len(done) == 1 else torch.cat(done)
        contract = self.backbone.contract
        if rows.shape != (windows, contract.channels):
            raise ValueError(
                f"{contract.extractor} gave features {tuple(rows.shape)}, not {(windows, contract.channels)}"
            )
        return Arriving(rows)


class Arriving:
    """float32 rows [B, C] on their way from the device."""

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows
        self._arrived: torch.cuda.Event | None = None
        if rows.is_cuda:
            self._rows = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            self._rows.copy_(rows, non_blocking=True)
            self._arrived = torch.cuda.current_stream(rows.device).record_event()

    def wait(self) -> NDArray[np.float32]:
        """The rows, when they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        rows: NDArray[np.float32] = self._rows.cpu().numpy()
        return rows


def pass_memory(device: torch.device, shares: int) -> int:
    """Bytes that the activations of one pass may take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2 // shares
    return CPU_PASS if device.type == "cpu" else 4 * CPU_PASS


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a smaller pass could succeed."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in FULL)


def forget(device: torch.device) -> None:
    """Give back memory that nothing uses."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
