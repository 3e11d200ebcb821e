"""Settings of the decoders, one class each. Imports no torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tal_cli.models.recipe.strict import Count, Layers, NonNegative, OddKernel, Strict, Width


class DecoderSettings(Strict):
    """Base of every decoder's settings.

    network: the decoder as `MODULE:CLASS`, imported and made with (config, settings) when a detector is built. It maps
    levels as rows [B, T_l, D], masks (bool [B, T_l, 1], or None where all is valid) and validity (the masks, never
    None) to `Predictions`.
    """

    network: ClassVar[str]
    name: str

    def check(self) -> None:
        """Raises ValueError for invalid settings."""


class BinnedSettings(DecoderSettings):
    """Boundaries as relative bins: the expected bin under boundary and offset logits."""

    bins: Width = 16
    boundary_kernel: OddKernel = 3

    def check(self) -> None:
        """Kernels are odd."""
        if self.boundary_kernel % 2 == 0:
            raise ValueError("decoder.boundary_kernel must be odd")


Neighbour = Literal["above", "below"]


class CltdrSettings(BinnedSettings):
    """Cross-Layer Task Decoupling and Refinement (CLTDR-GMG).

    class_levels, regression_levels: which neighbours join a level for either task (paper, table 9). refine: which
    predictions the third head corrects (table 10). fusion: how a neighbour joins a level for either task (table 11).
    factor_start: initial value of the factor that corrects class scores; 0 as published, which makes every
    initial score one half; 1 starts without correction.
    """

    network = "tal_cli.models.decoders.cltdr:CltdrDecoder"
    name: Literal["cltdr"] = "cltdr"
    class_levels: tuple[Neighbour, ...] = ("above",)
    regression_levels: tuple[Neighbour, ...] = ("below",)
    refine: Literal["both", "class", "boundaries", "neither"] = "both"
    fusion: Literal["attention", "addition", "concatenation"] = "attention"
    factor_start: Annotated[float, Field(allow_inf_nan=False)] = 0.0

    def check(self) -> None:
        """As for all bins; neighbours once each."""
        super().check()
        for key in ("class_levels", "regression_levels"):
            if len(set(getattr(self, key))) != len(getattr(self, key)):
                raise ValueError(f"decoder.{key} contains a neighbour twice")


class TridentSettings(BinnedSettings):
    """Class head and Trident head (TriDet)."""

    network = "tal_cli.models.decoders.trident:TridentDecoder"
    name: Literal["trident"] = "trident"


class ActionformerSettings(DecoderSettings):
    """Class head and plain regression head (ActionFormer, TemporalMaxer, ActionMamba, TriDet without its own head)."""

    network = "tal_cli.models.decoders.actionformer:ActionformerDecoder"
    name: Literal["actionformer"] = "actionformer"


class DynamicSettings(DecoderSettings):
    """Class head and plain regression head that pick features of three levels dynamically (DyFADet).

    kernel: cells that features are picked from. threshold: where a gate opens most quickly; it is shut below 0, and a
    shut one learns nothing. gate_start: where gates start. At the published 0 every other one is shut, and a small
    training can shut the gate of a whole stage for good; at the threshold they are half open.
    """

    network = "tal_cli.models.decoders.dynamic:DynamicDecoder"
    name: Literal["dynamic"] = "dynamic"
    kernel: OddKernel = 3
    threshold: NonNegative = 1.5
    gate_start: NonNegative = 1.5

    def check(self) -> None:
        """The kernel is odd."""
        if self.kernel % 2 == 0:
            raise ValueError("decoder.kernel must be odd")


class QueriesSettings(DecoderSettings):
    """Learned queries, refined from layer to layer, each matched with at most one segment.

    points: places per head and level at which a query samples the pyramid. edge: cells from the start of a sequence,
    where its normalised time is 0, to the point of its first cell; half a cell is the middle of it.

    class_cost, segment_cost, iou_cost: what a query and a segment cost as a match; class_weight, segment_weight,
    iou_weight: of the loss's terms. Both replace the recipe's assignment and losses of points.
    """

    queries: Width = 40
    layers: Layers = 4
    heads: Width = 8
    points: Layers = 4
    ffn_width: Width = 1024
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    edge: NonNegative = 0.5
    class_cost: NonNegative = 6.0
    segment_cost: NonNegative = 5.0
    iou_cost: NonNegative = 2.0
    class_weight: NonNegative = 2.0
    segment_weight: NonNegative = 5.0
    iou_weight: NonNegative = 2.0


class QuerySettings(QueriesSettings):
    """Queries as TadTR has them.

    refine: whether a layer corrects the segments of the one before; without, all layers share their heads. actionness:
    whether scores count by the IoU that is predicted from the features in and around a segment. quality_weight: of the
    loss of that.
    """

    network = "tal_cli.models.decoders.query.decoder:QueryDecoder"
    name: Literal["query"] = "query"
    refine: bool = True
    actionness: bool = True
    quality_weight: NonNegative = 4.0


class RelationalSettings(QueriesSettings):
    """Queries that attend to those alike that lie elsewhere (ReAct). Scores count by predicted IoU and centre.

    relation_threshold: of overlap, above which, and of likeness, up to which two queries do not attend to each other.
    quality_weight, again_weight: of the loss of both predictions, and of the class loss of layers that are told the
    matched segments. class_warmup: first steps in which classes have no loss.
    contrast_epochs: first ones, in which the embedding alone learns to tell instances of its classes apart, each also
    from contrast_parts of itself; contrast_weight: of that loss.
    """

    network = "tal_cli.models.decoders.query.relational:RelationalDecoder"
    name: Literal["relational"] = "relational"
    class_cost: NonNegative = 1.0
    segment_cost: NonNegative = 2.0
    iou_cost: NonNegative = 5.0
    class_weight: NonNegative = 1.0
    quality_weight: NonNegative = 1.0
    again_weight: NonNegative = 1.0
    relation_threshold: NonNegative = 0.2
    class_warmup: Annotated[int, Field(ge=0, le=1 << 20)] = 0
    contrast_epochs: Annotated[int, Field(ge=0, le=1 << 20)] = 0
    contrast_weight: NonNegative = 0.1
    contrast_parts: Annotated[int, Field(ge=1, le=64)] = 1


class PointSettings(QueriesSettings):
    """Queries of points whose outer ones are a segment's ends, and whose features a query mixes (PointTAD). Classes
    exclude each other, and the last one of the network is no action.

    query_points: of a query; the last third of them samples alone. points: samples around each of them, per level.
    nothing_weight: of queries without a segment in the class loss; dense_weight: of the loss of cells' own classes,
    whose logits are made with dense_dropout.
    supervised: how many layers before the last one learn; None: all.
    """

    network = "tal_cli.models.decoders.query.points:PointDecoder"
    name: Literal["points"] = "points"
    query_points: Annotated[int, Field(ge=5, le=64)] = 21
    class_cost: NonNegative = 10.0
    iou_cost: NonNegative = 5.0
    class_weight: NonNegative = 1.0
    iou_weight: NonNegative = 5.0
    nothing_weight: NonNegative = 0.1
    dense_weight: NonNegative = 10.0
    dense_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    supervised: Count | None = None
