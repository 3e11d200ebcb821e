"""Class head and plain regression head on one pyramid (Zhang et al. 2022, ActionFormer, section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from tal_cli.models.decoders.heads import ClassHead, OffsetHead, pack_masks, packing_gap
from tal_cli.models.layers.pyramid import PyramidLayout
from tal_cli.models.predictions import PlainBoundaries, Predictions
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import ActionformerSettings


class ActionformerDecoder(nn.Module):
    """Pyramid of features to class logits and one pair of distances per point."""

    def __init__(self, config: ModelConfig, settings: ActionformerSettings) -> None:
        super().__init__()
        self.config = config
        self.classes = ClassHead(config, config.head_kernel)
        self.offsets = OffsetHead(config, bins=0)
        self.gap = packing_gap(config.head_kernel)

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
            boundaries=PlainBoundaries(self.offsets(packed, packed_masks, layout)),
        )
