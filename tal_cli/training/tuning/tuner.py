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
from numpy.typing import NDArray
from torch import Tensor, nn

from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.extractors.backbones.preprocessing import channels_first, crop, scale
from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks, with_context
from tal_cli.extractors.extraction.forward import ForwardPasses
from tal_cli.extractors.extraction.precision import precision
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.tuning.adapters import Kept
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import save_backbone
from tal_cli.training.batches import Batch
from tal_cli.training.tuning.augmentation import augmented, may_mirror
from tal_cli.training.tuning.frames import FrameStore
from tal_cli.training.tuning.kept import KeptPasses
from tal_cli.tuned import backbone_of

PIECE = 256  # frames prepared at a time


class Tuner:
    """A recipe's backbone, what is trained of it, and the moving average of that.

    Attributes:
        parameters: what is trained.
        average: its moving average, in the same order.
    """

    def __init__(
        self,
        recipe: Recipe,
        labels: Sequence[str],
        videos: Sequence[FeatureVideo],
        frames: FrameStore,
        device: torch.device,
    ) -> None:
        """videos: those to train on. Raises errors as `backbone_of`."""
        self.config = recipe.backbone
        self.seed = recipe.training.seed
        self.videos = {video.annotation.name: video for video in videos}
        self.frames = frames
        self.kept = KeptPasses(frames.folder.parent / "kept")
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
        self.around = contract.window - contract.stride  # frames on both sides of a row's own
        self.rows_at_once = max(1, (self.config.window - self.around) // self.stride)  # of a step's window
        self.pass_rows = contract.rows or 1  # of a pass in detection
        self.grid = WindowGrid(contract.window + 2 * self.backbone.context, self.stride)

    def group(self, learning_rate: float) -> dict[str, Any]:
        """The optimizer's group of parameters; learning_rate: that of the detector."""
        factor = self.config.learning_rate / learning_rate
        return {"params": self.parameters, "weight_decay": self.config.weight_decay, "rate_factor": factor}

    def rows(self, batch: Batch, seed: Sequence[int]) -> Tensor:
        """A batch's features [B, T, C], those of a window of each video computed from its frames, with gradients.

        Window, augmentation and dropped branches are determined by seed, video and crop. Of a recipe that keeps what
        the frozen part gives, all rows are computed.
        """
        self.backbone.train()
        rows = batch.rows.clone()
        for index, (name, start) in enumerate(zip(batch.videos, batch.starts, strict=True)):
            rng = np.random.default_rng([*seed, zlib.crc32(name.encode()), start])
            torch.manual_seed(int(rng.integers(1 << 62)))  # of branches dropped
            length = int(batch.mask[index].sum())
            video = self.videos[name]
            if video.resampling is None:
                rows[index, :length] = self._with_gradients(name, start, batch.rows[index, :length], rng)
            else:
                every = video.stored().to(batch.rows)
                taught = video.resampling.features(self._with_gradients(name, 0, every, rng))
                rows[index, :length] = taught[start : start + length]
        return rows

    def _with_gradients(self, name: str, start: int, stored: Tensor, rng: np.random.Generator) -> Tensor:
        """The rows of a video from `start` on, given those of its feature file [n, C], some of them with gradients."""
        if self.config.variants is not None:
            return self._of_kept(name, range(start, start + len(stored)), rng)
        count = min(len(stored), self.rows_at_once)
        first = int(rng.integers(len(stored) - count, endpoint=True))
        made = self.backbone.rows_of(self._augmented(name, start + first, count, self.around, rng))
        return torch.cat([stored[:first], made, stored[first + count :]])

    def _of_kept(self, name: str, wanted: range, rng: np.random.Generator) -> Tensor:
        """Those rows of a video, in the passes of detection; some of them have gradients."""
        assert self.config.variants is not None
        size = self.pass_rows
        passes = range(wanted.start // size, -(-wanted.stop // size))
        variant = int(rng.integers(self.config.variants))
        learning = rng.permutation(passes)[: max(1, round(self.config.learning_passes * len(passes)))]
        made = []
        for number in passes:
            with torch.set_grad_enabled(number in learning):
                made.append(self._pass(name, number, variant))
        first = wanted.start - passes.start * size
        return torch.cat(made)[first : first + len(wanted)]

    def _pass(self, name: str, number: int, variant: int | None) -> Tensor:
        """The rows of a pass of a video, of what is kept of it; variant: of its augmented forms, None: as it is."""
        begin = number * self.pass_rows
        count = min(self.pass_rows, self._count(name) - begin)
        around = self.grid.window - self.stride
        forms = (self.config.crop_area, self.config.crop_aspect, self.config.flip and self.mirror, self.config.colour)
        plain = variant is None or forms == (None, self.config.crop_aspect, False, 0.0)

        def make() -> Kept:
            rng = np.random.default_rng([self.seed, zlib.crc32(name.encode()), number, variant or 0])
            training = self.backbone.training
            self.backbone.eval()
            frames = self._augmented(name, begin, count, around, None if plain else rng)
            made = self.backbone.begin(frames)
            self.backbone.train(training)
            return made

        network = (self.config.tuning == "side", self.backbone.tuned.depth, self.config.chunk)
        form = None if plain else (self.seed, variant, forms)
        key = (self.frames.keys[name], self.backbone.contract, network, number, form)
        frames = (count - 1) * self.stride + self.grid.window
        return self.backbone.finish(self.kept.get(key, make, self.device), frames)

    def _augmented(self, name: str, row: int, count: int, around: int, rng: np.random.Generator | None) -> Tensor:
        """Prepared frames [N, 3, h, w] of `count` rows and `around` more, half of them before; None: not augmented."""
        begin = row * self.stride - (around - self.around) // 2
        frames = channels_first(self.frames.read(name, begin, begin + count * self.stride + around).to(self.device))
        preparation = self.backbone.preparation
        if rng is None:
            return scale(crop(frames, preparation.crop), preparation.values)
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

    def with_own_features(self, video: FeatureVideo, named: str) -> FeatureVideo:
        """The video with features as detection with this backbone computes them."""
        if self.config.variants is not None:
            return replace(
                video, sequence=replace(video.sequence, features=self._all_kept(video.annotation.name, named))
            )
        passes = ForwardPasses(self.backbone, self.device, named)
        blocks = window_blocks(
            with_context(self._prepared(video.annotation.name), passes.context), passes.grid, passes.windows_per_block
        )
        rows = np.concatenate([passes.forward(block).wait() for block in blocks])
        return replace(video, sequence=replace(video.sequence, features=rows))

    def _count(self, name: str) -> int:
        """Rows of a video."""
        return self.grid.count(len(self.frames.all(name)) + 2 * self.backbone.context)

    def _all_kept(self, name: str, named: str) -> NDArray[np.float32]:
        with torch.inference_mode(), precision(self.device, named):
            passes = range(-(-self._count(name) // self.pass_rows))
            made = torch.cat([self._pass(name, number, None) for number in passes])
        rows: NDArray[np.float32] = made.cpu().numpy()
        return rows

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
