"""Cross-Layer Task Decoupling and Refinement decoder (paper, "Decoder with CLTDR", equations 5 to 12).

The released code and the text differ; `variant` chooses.

released  classification reads P_l gated with the level above, regression P_l gated with the level below, refinement the
          sum of all three; a missing neighbour is dropped. Boundary logits come from P_l itself, detached. Refinement
          has one class factor and one offset pair per class, offsets in level-0 grid cells; refined logit = product of
          the class logit and the factor.
paper     the text ("applied exclusively to intermediate feature layers") is read as: the lowest and the highest level
          pass P_l unchanged to all heads, and the shared modules act on the levels between, which have both neighbours.
          The refining convolution of equations 5 and 7 has kernel 3 (section C), equation 9 samples down depth-wise.
          Boundary logits come from the regression features, not detached, as the module that "employs the Trident
          head". Refinement has one offset pair for all classes (R in R^T), in cells of the level, as the coarse times
          that it is added to are; refined score = sqrt(sigmoid(class) * sigmoid(factor)).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.decoders.cross_level import PAPER_KERNEL, CrossLevel
from tal_cli.models.decoders.deferred import DeferredShift, deferrable
from tal_cli.models.decoders.heads import ClassHead, HeadTrunk, OffsetHead, PackedMasks, pack_masks, packing_gap
from tal_cli.models.layers.common import RowOutput
from tal_cli.models.layers.pyramid import PyramidLayout
from tal_cli.models.predictions import BinnedBoundaries, BoundaryShift, Predictions, Shift
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import CltdrSettings

REFINE_KERNEL = 7  # of the released boundary refinement


class RefineHead(nn.Module):
    """Trunk with up to three outputs: class factor and the corrections of both boundaries (paper, table 10)."""

    def __init__(self, config: ModelConfig, settings: CltdrSettings) -> None:
        super().__init__()
        scores, boundaries = (settings.refine in ("both", part) for part in ("class", "boundaries"))
        self.trunk = HeadTrunk(config, config.head_kernel)
        self.paper = config.variant == "paper"
        kernel, targets = (PAPER_KERNEL, 1) if self.paper else (REFINE_KERNEL, config.classes)
        width = config.head_width
        self.start, self.end = (RowOutput(width, targets, kernel) if boundaries else None for _ in range(2))
        self.factor = None
        if scores:
            self.factor = RowOutput(width, config.classes, config.head_kernel)
            assert self.factor.bias is not None
            nn.init.constant_(self.factor.bias, settings.factor_start)

    def forward(self, x: Tensor, masks: PackedMasks) -> tuple[Tensor | None, Shift | None]:
        """Packed rows [B, S, D] -> class factor [B, S, C] and boundary corrections, None if not refined."""
        x = self.trunk(x, masks)
        factor = None if self.factor is None else self.factor(x) * masks.valid
        if self.start is None or self.end is None:
            return factor, None
        if deferrable(x, self.start.out_channels):
            return factor, DeferredShift(x, masks.valid, self.start, self.end, in_level_cells=self.paper)
        start, end = (output(x) * masks.valid for output in (self.start, self.end))
        return factor, BoundaryShift(start, end, in_level_cells=self.paper)


class CltdrDecoder(nn.Module):
    """Pyramid of features to predictions per point."""

    def __init__(self, config: ModelConfig, settings: CltdrSettings) -> None:
        super().__init__()
        self.config = config
        self.paper = config.variant == "paper"
        self.cross = CrossLevel(config, settings)
        self.classes = ClassHead(config, config.head_kernel)
        self.starts, self.ends = (ClassHead(config, settings.boundary_kernel) for _ in range(2))
        self.offsets = OffsetHead(config, settings.bins)
        self.refine = None if settings.refine == "neither" else RefineHead(config, settings)
        self.gap = packing_gap(config.head_kernel, settings.boundary_kernel, REFINE_KERNEL)

    def forward(self, levels: list[Tensor], masks: list[Tensor | None], valid: list[Tensor]) -> Predictions:
        """levels as rows [B, T_l, D]; masks bool [B, T_l, 1], None if all are valid; valid: the masks, never None."""
        layout = PyramidLayout(tuple(level.shape[1] for level in levels), self.gap)
        packed_masks = pack_masks(
            layout, valid, levels[0].dtype, self.config, clean=self.paper or all(m is None for m in masks)
        )
        packed = layout.pack(levels)
        if self.paper:
            packed = packed * packed_masks.valid
        classes, regression, fusion = self.cross(packed, layout, masks)
        if self.paper:
            classes, regression, fusion = (x * packed_masks.valid for x in (classes, regression, fusion))
        boundary = regression if self.paper else packed.detach()
        coarse = self.classes(classes, packed_masks)
        factor, shift = (None, None) if self.refine is None else self.refine(fusion, packed_masks)
        return Predictions(
            layout=layout,
            valid=packed_masks.inside,
            coarse=coarse,
            refined=coarse if factor is None else refine_logits(coarse, factor, paper=self.paper),
            boundaries=BinnedBoundaries(
                offsets=self.offsets(regression, packed_masks, layout),
                starts=self.starts(boundary, packed_masks),
                ends=self.ends(boundary, packed_masks),
            ),
            factor=factor,
            shift=shift,
        )


def refine_logits(coarse: Tensor, factor: Tensor, *, paper: bool) -> Tensor:
    """Logits of the refined class score: coarse * factor as released, or those of equation 10's square root."""
    if not paper:
        return coarse * factor
    log_score = 0.5 * (F.logsigmoid(coarse.float()) + F.logsigmoid(factor.float()))
    log_score = log_score.clamp(max=-1e-7)  # a score of exactly 1 has no logit
    return log_score - torch.log(-torch.expm1(log_score))
