"""Forward passes of one backbone on one device, with fewer windows when memory runs out; results are fetched late.

On CUDA only `PendingFeatures.wait` waits for the device: frames come from pinned memory on a stream of
their own, and features go back into pinned memory behind the forward pass that made them.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.extraction.blocks import PreparedFrames
from tal_cli.extractors.extraction.precision import precision
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.video.stream import FrameChunk

# Bytes of one forward pass's activations, and of a block of prepared frames; each worker on a CPU holds several blocks.
CPU_PASS, CPU_BLOCK = 384 << 20, 48 << 20
ACCELERATOR_PASS, ACCELERATOR_BLOCK = 4 * CPU_PASS, 1 << 30
# Half of a GPU's free memory is for the single running forward pass; blocks come from several videos, a few of each.
PASS_PART, BLOCK_PART = 2, 32
# More windows than this improve no device's utilisation.
MAX_WINDOWS = 64
# Messages of out-of-memory errors that are not torch.OutOfMemoryError.
OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "MPS backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


class PendingFeatures:
    """Features float32 [B, C] on their way from the device, and the times float64 [N] of the frames under them."""

    def __init__(self, rows: Tensor, frame_times: NDArray[np.float64]) -> None:
        self.frame_times = frame_times
        self._rows = rows
        self._arrived: torch.cuda.Event | None = None
        if rows.is_cuda:
            self._rows = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            self._rows.copy_(rows, non_blocking=True)
            self._arrived = torch.cuda.current_stream(rows.device).record_event()

    def wait(self) -> NDArray[np.float32]:
        """The features, once they have arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
        rows: NDArray[np.float32] = self._rows.cpu().numpy()
        return rows


class PieceSize:
    """Number of items computed at once, for all threads; halved permanently when memory runs out."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self._lock = Lock()

    def halve(self, tried: int) -> None:
        """Keeps later batches below a number of items that ran out of memory."""
        with self._lock:
            self.largest = min(self.largest, max(1, tried // 2))


class ForwardPasses:
    """A backbone on its device, for the threads of any number of videos.

    On an accelerator threads take turns, so that only one forward pass needs memory: the batch size, and with it all
    rounding, does not depend on how many videos are in progress. On a CPU `cpu_parallel` bounds the number of
    concurrent forward passes.

    Attributes:
        grid: the windows of the backbone, with the context on either side.
        context: frames of it on either side.
        windows: number of windows per forward pass.
    """

    def __init__(
        self, backbone: Backbone, device: torch.device, precision: str = "auto", batch_size: int | None = None
    ) -> None:
        """batch_size: maximal number of windows per forward pass; None: chosen by available memory."""
        self.backbone = backbone
        self.device = device
        self.precision = precision
        self.context: int = getattr(backbone, "context", 0)
        self.grid = WindowGrid.of(backbone.contract, self.context)
        pass_bytes, self._block_bytes = memory_budget(device)
        by_memory = max(1, min(MAX_WINDOWS, pass_bytes // max(1, backbone.window_bytes)))
        self._in_one_pass: int | None = getattr(backbone, "windows_per_pass", None)
        self.windows = PieceSize(self._in_one_pass or batch_size or by_memory)
        self._batch_is_fixed = bool(self._in_one_pass or batch_size)
        self._frames = PieceSize(sys.maxsize)
        self._turn: AbstractContextManager[object] = nullcontext() if device.type == "cpu" else Lock()
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def windows_per_block(self, first: PreparedFrames) -> int:
        """Number of windows per block, given the first prepared frames of a video."""
        if self._batch_is_fixed:
            return self.windows.largest
        frames = self._block_bytes // max(1, first.frames[0].numel() * first.frames.element_size())
        return max(1, min(self.windows.largest, (frames - self.grid.window) // self.grid.stride + 1))

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
        """Frames prepared for the backbone, except the last `lookahead` ones, which the next chunk repeats."""
        frames, lookahead = chunk.frames, self.backbone.lookahead
        if self._copies is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._copies)
            frames.record_stream(current)
        count = len(frames) - lookahead

        def prepare(start: int, stop: int) -> Tensor:
            return self.backbone.prepare(frames[start : stop + lookahead])

        with self._computing():
            return PreparedFrames(self._in_pieces(prepare, count, self._frames), chunk.times[:count])

    def forward(self, block: PreparedFrames) -> PendingFeatures:
        """The features of one block's windows. Raises ValueError for a backbone that breaks its contract."""
        windows, stride = self.grid.count(len(block.times)), self.grid.stride
        times = torch.from_numpy(block.times)

        def forward(start: int, stop: int) -> Tensor:
            frames = slice(start * stride, start * stride + self.grid.frames(stop - start))
            return self.backbone(block.frames[frames], times[frames]).float()

        with self._computing():
            rows = forward(0, windows) if self._in_one_pass else self._in_pieces(forward, windows, self.windows)
            contract = self.backbone.contract
            if rows.shape != (windows, contract.channels):
                raise ValueError(
                    f"{contract.extractor} gave features {tuple(rows.shape)}, not {(windows, contract.channels)}"
                )
            return PendingFeatures(rows, block.times)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """This thread's turn to compute, without gradients and at the precision of the forward passes."""
        with self._turn, torch.inference_mode(), precision(self.device, self.precision):
            yield

    def _in_pieces(self, compute: Callable[[int, int], Tensor], count: int, size: PieceSize) -> Tensor:
        """compute(start, stop) for 0 to `count`, in pieces that fit into memory, concatenated."""
        pieces: list[Tensor] = []
        start = 0
        while start < count:
            stop = min(count, start + size.largest)
            try:
                pieces.append(compute(start, stop))
                start = stop
                continue
            except RuntimeError as error:
                if stop - start == 1 or not is_out_of_memory(error):
                    raise
            # Outside the handler: the exception's traceback keeps the tensors alive that filled the memory.
            size.halve(stop - start)
            release_memory(self.device)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def memory_budget(device: torch.device) -> tuple[int, int]:
    """Bytes for the activations of one forward pass, and for a block of prepared frames."""
    if device.type == "cpu":
        return CPU_PASS, CPU_BLOCK
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free // PASS_PART, min(ACCELERATOR_BLOCK, free // BLOCK_PART)
    return ACCELERATOR_PASS, ACCELERATOR_BLOCK


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a smaller forward pass could succeed."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def release_memory(device: torch.device) -> None:
    """Releases unused memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
