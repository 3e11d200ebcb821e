"""Class head and Trident head (Shi et al. 2023, TriDet, section 3.3): boundaries as expectations over relative bins.

Start and end heads read the pyramid detached, as published: the boundary loss trains the encoder only by the offsets.
"""

from __future__ import annotations

from torch import Tensor, nn

from tal_cli.models.decoders.heads import ClassHead, OffsetHead, pack_masks, packing_gap
from tal_cli.models.layers.pyramid import PyramidLayout
from tal_cli.models.predictions import BinnedBoundaries, Predictions
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import TridentSettings


class TridentDecoder(nn.Module):
    """Pyramid of features to class logits, boundary logits per class, and offsets over bins."""

    def __init__(self, config: ModelConfig, settings: TridentSettings) -> None:
        super().__init__()
        self.config = config
        self.classes = ClassHead(config, config.head_kernel)
        self.starts, self.ends = (ClassHead(config, settings.boundary_kernel) for _ in range(2))
        self.offsets = OffsetHead(config, settings.bins)
        self.gap = packing_gap(config.head_kernel, settings.boundary_kernel)

    def forward(self, levels: list[Tensor], masks: list[Tensor | None], valid: list[Tensor]) -> Predictions:
        """levels as rows [B, T_l, D]; masks bool [B, T_l, 1], None if all are valid; valid: the masks, never None."""
        layout = PyramidLayout(tuple(level.shape[1] for level in levels), self.gap)
        packed = layout.pack(levels)
        packed_masks = pack_masks(layout, valid, packed.dtype, self.config, clean=masks[0] is None)
        logits = self.classes(packed, packed_masks)
        return Predictions(
            layout=layout,
            valid=packed_masks.inside,
            coarse=logits,
            refined=logits,
            boundaries=BinnedBoundaries(
                offsets=self.offsets(packed, packed_masks, layout),
                starts=self.starts(packed.detach(), packed_masks),
                ends=self.ends(packed.detach(), packed_masks),
            ),
        )
