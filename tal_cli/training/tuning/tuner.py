"""The backbone in training: rows of a window of each video with gradients, the others from the feature files."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.extractors.backbones.preprocessing import channels_first, crop, scale
from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks, with_context
from tal_cli.extractors.extraction.forward import ForwardPasses
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import save_backbone
from tal_cli.training.batches import Batch
from tal_cli.training.tuning.augmentation import augmented, may_mirror
from tal_cli.training.tuning.frames import FrameStore
from tal_cli.tuned import backbone_of

PIECE = 256  # frames prepared at a time


class Tuner:
    """A recipe's backbone, what is trained of it, and the moving average of that.

    Attributes:
        parameters: what is trained.
        average: its moving average, in the same order.
    """

    def __init__(self, recipe: Recipe, labels: Sequence[str], frames: FrameStore, device: torch.device) -> None:
        """Raises errors as `backbone_of`."""
        self.config = recipe.backbone
        self.frames = frames
        self.device = device
        self.backbone = backbone_of(recipe)
        self.backbone.to(device)
        self.mirror = may_mirror(labels)
        tuned = self.backbone.tuned.tuned()
        self.names = list(tuned)
        self.parameters: list[nn.Parameter] = list(tuned.values())
        self.average = [value.detach().clone() for value in self.parameters]
        contract = self.backbone.contract
        self.stride = contract.stride
        self.around = contract.window - contract.stride
        self.rows_at_once = max(1, (self.config.window - self.around) // self.stride)

    def group(self, learning_rate: float) -> dict[str, Any]:
        """The optimizer's group of parameters; learning_rate: that of the detector."""
        factor = self.config.learning_rate / learning_rate
        return {"params": self.parameters, "weight_decay": self.config.weight_decay, "rate_factor": factor}

    def rows(self, batch: Batch, seed: Sequence[int]) -> Tensor:
        """A batch's features [B, T, C], those of a window of each video computed from its frames, with gradients.

        Window and augmentation are determined by seed, video and crop.
        """
        self.backbone.train()
        rows = []
        for index, (name, start) in enumerate(zip(batch.videos, batch.starts, strict=True)):
            rng = np.random.default_rng([*seed, zlib.crc32(name.encode()), start])
            length = int(batch.mask[index].sum())
            count = min(length, self.rows_at_once)
            first = int(rng.integers(length - count, endpoint=True))
            made = self.backbone.rows_of(self._augmented(name, start + first, count, rng))
            stored = batch.rows[index]
            rows.append(torch.cat([stored[:first], made, stored[first + count :]]))
        return torch.stack(rows)

    def _augmented(self, name: str, row: int, count: int, rng: np.random.Generator) -> Tensor:
        """Prepared frames [N, 3, h, w] of `count` rows."""
        begin = row * self.stride
        frames = channels_first(
            self.frames.read(name, begin, begin + count * self.stride + self.around).to(self.device)
        )
        preparation = self.backbone.preparation
        _, _, width, height = preparation.crop.box(frames.shape[3], frames.shape[2])
        return scale(augmented(frames, (height, width), self.config, rng, mirror=self.mirror), preparation.values)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The backbone with the averaged weights, in evaluation mode."""
        current = [value.detach().clone() for value in self.parameters]
        self._set(self.average)
        self.backbone.eval()
        try:
            yield
        finally:
            self._set(current)

    def _set(self, values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)

    def retold(self, video: FeatureVideo, precision: str) -> FeatureVideo:
        """The video with features as detection with this backbone computes them."""
        passes = ForwardPasses(self.backbone, self.device, precision)
        blocks = window_blocks(
            with_context(self._prepared(video.annotation.name), passes.context), passes.grid, passes.windows_per_block
        )
        rows = np.concatenate([passes.forward(block).wait() for block in blocks])
        return replace(video, sequence=replace(video.sequence, features=rows))

    def _prepared(self, name: str) -> Iterator[PreparedFrames]:
        frames, preparation = self.frames.all(name), self.backbone.preparation
        for first in range(0, len(frames), PIECE):
            piece = torch.from_numpy(np.array(frames[first : first + PIECE])).to(self.device)
            images = scale(crop(channels_first(piece), preparation.crop), preparation.values)
            yield PreparedFrames(images, np.arange(first, first + len(piece), dtype=np.float64))

    def save(self, out: Path, recipe: Recipe) -> Recipe:
        """Write the averaged weights into a run folder; returns the recipe with this backbone's features."""
        digest = save_backbone(out, dict(zip(self.names, self.average, strict=True)))
        contract = self.backbone.contract
        spec = FeatureSpec.of(replace(contract, weights_sha256=f"{contract.weights_sha256}+{digest}"))
        return recipe.model_copy(update={"features": spec})

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Weights and their average, to resume from."""
        named: dict[str, Sequence[Tensor]] = {"weights": self.parameters, "average": self.average}
        return {
            what: {name: value.detach() for name, value in zip(self.names, values, strict=True)}
            for what, values in named.items()
        }

    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from `state`."""
        self._set([state["weights"][name] for name in self.names])
        self.average = [state["average"][name].to(self.device).clone() for name in self.names]
