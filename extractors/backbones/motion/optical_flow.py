"""Optical flow between neighbouring frames, for networks on motion instead of RGB.

A chunk of n + 1 frames gives n flow fields, each computed once however many windows share it. Shapes: frames uint8
[n + 1, H, W, 3] RGB; flow float32 [n, 2, H, W], pixels to the right and down by which a point moves from a frame to the
next.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tal_cli.extractors.catalog.flow import RAFT
from tal_cli.extractors.errors import PackageMissing, WeightsMissing
from tal_cli.extractors.features.preprocessing_spec import Flow
from tal_cli.extractors.files.weights import load_state, locate, read_state, remedy, weights_sha256

RAFT_UPDATES = 20
RAFT_CELL = 8  # RAFT works on sides that are multiples of this
PAIRS_AT_ONCE = 8


class FlowEstimator(Protocol):
    """uint8 [n + 1, H, W, 3] -> float32 [n, 2, H, W] on the frames' device."""

    def to(self, device: str | torch.device) -> object: ...

    def __call__(self, frames: Tensor) -> Tensor: ...


def create_flow(spec: Flow, weights: str | os.PathLike[str] | None = None) -> FlowEstimator:
    """The estimator of a contract's flow method, on the CPU. weights: another file for a method with trained weights.

    Raises PackageMissing where the method's package is not installed, WeightsMissing and WeightsError where its weights
    are missing or not the published ones.
    """
    if spec.method == "raft":
        return Raft(weights)
    return OpenCvFlow(OPENCV_METHODS[spec.method](opencv()))


def quantise(flow: Tensor, spec: Flow) -> Tensor:
    """Pixels -> integer levels from 0 to 255, as flow is stored in images; float32, same shape.

    TV-L1 and DIS: -bound to bound is spread over 0 to 255, as the programs that made the published flow images do.
    RAFT: 128 + 255 / (2 bound) of the pixels, which makes bound itself 256, as in the extractor that uses it. Both
    round half to even.
    """
    cut = flow.clamp(-spec.bound, spec.bound)
    if spec.method == "raft":
        return (128 + 255 / (2 * spec.bound) * cut).round()
    return ((cut + spec.bound) * 255 / (2 * spec.bound)).round()


def opencv() -> Any:
    """The module cv2. Raises PackageMissing."""
    try:
        import cv2
    except ImportError:
        raise PackageMissing("opencv-contrib-python-headless", "flow") from None
    return cv2


def tvl1(cv2: ModuleType) -> Callable[[], Any]:
    """Zach et al. 2007, with OpenCV's settings, which are those of the published flow images."""
    if not hasattr(cv2, "optflow"):  # an OpenCV without the contributed modules
        raise PackageMissing("opencv-contrib-python-headless", "flow")
    return cv2.optflow.DualTVL1OpticalFlow_create


def dis(cv2: Any) -> Callable[[], Any]:
    """Kroeger et al. 2016, preset medium."""
    return lambda: cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


OPENCV_METHODS: dict[str, Callable[[Any], Callable[[], Any]]] = {"tvl1": tvl1, "dis": dis}


class OpenCvFlow:
    """A method of OpenCV on grey images, on the CPU whatever the frames' device."""

    def __init__(self, create: Callable[[], Any]) -> None:
        self._create = create
        self._mine = threading.local()  # an algorithm object holds buffers, so threads cannot share one

    def to(self, device: str | torch.device) -> OpenCvFlow:
        return self

    def __call__(self, frames: Tensor) -> Tensor:
        cv2 = opencv()
        grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in frames.cpu().numpy()]
        flow = np.empty((len(grey) - 1, *grey[0].shape, 2), np.float32)
        for index in range(len(flow)):
            flow[index] = self._algorithm().calc(grey[index], grey[index + 1], self._start(grey[index]))
        return torch.from_numpy(flow).permute(0, 3, 1, 2).to(frames.device)

    def _algorithm(self) -> Any:
        if not hasattr(self._mine, "algorithm"):
            self._mine.algorithm = self._create()
        return self._mine.algorithm

    @staticmethod
    def _start(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros((*grey.shape, 2), np.float32)


class Raft:
    """RAFT (Teed & Deng 2020), torchvision's network.

    Sides that are not multiples of 8 are padded by repeating the edge, half on each side, and the flow keeps the
    padding, as in the I3D extractor that uses it. Raises WeightsMissing, WeightsError.
    """

    def __init__(self, weights: str | os.PathLike[str] | None = None) -> None:
        from torchvision.models.optical_flow import raft_large

        with torch.device("meta"):
            network = raft_large(weights=None)
        path = locate(RAFT) if weights is None else Path(weights)
        if path is None or not path.is_file():
            raise WeightsMissing("raft", remedy("raft", (RAFT,)))
        if weights is None:  # a contract names the method only, so under that name there is one file
            weights_sha256(path, RAFT)
        load_state(network, read_state(path), path)
        self._network: nn.Module = network.eval().requires_grad_(False)

    def to(self, device: str | torch.device) -> Raft:
        self._network.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        # Flow is the network's input, so it does not depend on the precision of the features.
        with torch.autocast(frames.device.type, enabled=False):
            return self._flow(frames)

    def _flow(self, frames: Tensor) -> Tensor:
        images = frames.permute(0, 3, 1, 2).float() * (2 / 255) - 1
        height, width = images.shape[2:]
        down, right = -height % RAFT_CELL, -width % RAFT_CELL
        padding = (right // 2, right - right // 2, down // 2, down - down // 2)
        padded = F.pad(images, padding, mode="replicate")
        count = len(frames) - 1
        return torch.cat(
            [
                self._pairs(padded[first : min(first + PAIRS_AT_ONCE, count) + 1])
                for first in range(0, count, PAIRS_AT_ONCE)
            ]
        )

    def _pairs(self, images: Tensor) -> Tensor:
        """[n + 1, 3, H, W] -> [n, 2, H, W]. Each frame is encoded once, and only the last update is upsampled."""
        from torchvision.models.optical_flow.raft import CorrBlock

        network: Any = self._network
        features = network.feature_encoder(images)
        context = network.context_encoder(images[:-1])
        size = network.update_block.hidden_state_size
        hidden, context = torch.tanh(context[:, :size]), F.relu(context[:, size:])
        correlation = CorrBlock(num_levels=network.corr_block.num_levels, radius=network.corr_block.radius)
        correlation.build_pyramid(features[:-1], features[1:])
        start = pixel_grid(hidden)
        end = start
        for _ in range(RAFT_UPDATES):
            near = correlation.index_pyramid(centroids_coords=end)
            hidden, step = network.update_block(hidden, context, near, end - start)
            end = end + step
        return enlarge(end - start, network.mask_predictor(hidden))


def pixel_grid(like: Tensor) -> Tensor:
    """Each pixel's own (x, y), [n, 2, H, W], for `like` [n, C, H, W]."""
    count, _, height, width = like.shape
    x = torch.arange(width, device=like.device, dtype=like.dtype).expand(height, width)
    y = torch.arange(height, device=like.device, dtype=like.dtype)[:, None].expand(height, width)
    return torch.stack([x, y]).expand(count, 2, height, width)


def enlarge(flow: Tensor, mask: Tensor) -> Tensor:
    """Flow [n, 2, h, w] at an eighth of the size -> [n, 2, 8 h, 8 w]: each fine pixel is a mean of the nine coarse ones
    around it, with weights from `mask` [n, 9 * 64, h, w] (convex upsampling, section 3.3 of the paper)."""
    count, _, height, width = flow.shape
    weights = mask.view(count, 1, 9, RAFT_CELL, RAFT_CELL, height, width).softmax(2)
    around = F.unfold(RAFT_CELL * flow, 3, padding=1).view(count, 2, 9, 1, 1, height, width)
    fine = (weights * around).sum(2)  # [n, 2, 8, 8, h, w]
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(count, 2, RAFT_CELL * height, RAFT_CELL * width)
