"""Settings of the detector: those of every architecture, and one class per encoder, decoder and neck for the rest.

A part is chosen by its `name` and has its own settings, so that no setting is silently ignored. Imports no torch.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from tal_cli.extractors.plugins import Registry
from tal_cli.models.recipe.decoders import (
    ActionformerSettings,
    CltdrSettings,
    DecoderSettings,
    DynamicSettings,
    PointSettings,
    QueriesSettings,
    QuerySettings,
    RelationalSettings,
    TridentSettings,
)
from tal_cli.models.recipe.encoders import (
    CascadeSettings,
    CausalSettings,
    ConvSettings,
    DeformableSettings,
    DynamicSgpSettings,
    EncoderSettings,
    GmgSettings,
    MambaSettings,
    MaxPoolSettings,
    SgpSettings,
    TransformerSettings,
    WaveletSettings,
)
from tal_cli.models.recipe.strict import Layers, Length, OddKernel, Strict, Width, by_name, chosen_from, named


class NeckSettings(Strict):
    """Settings of the neck, between encoder and decoder.

    norm: `layer` over channels, one per level; `shared`, the same one for all levels; `group`, 4 groups without scale
    and shift; `none`. TemporalMaxer's code has the last three.
    """

    name: str
    norm: Literal["layer", "shared", "group", "none"] = "layer"


class IdentityNeck(NeckSettings):
    """The norm only."""

    name: Literal["identity"] = "identity"


class FpnNeck(NeckSettings):
    """Top-down pyramid: each level adds the level above it, then a depth-wise convolution; then the norm."""

    name: Literal["fpn"] = "fpn"


EMBEDDING_GROUPS = 32  # of the group norm of a linear embedding


class FusionNeck(NeckSettings):
    """Each level adds its gated product with the level below it (TransGMC, TFFormer); then the norm."""

    name: Literal["fusion"] = "fusion"


ENCODERS = Registry(
    "tal.encoders",
    EncoderSettings,
    named(
        GmgSettings,
        SgpSettings,
        DynamicSgpSettings,
        TransformerSettings,
        MaxPoolSettings,
        ConvSettings,
        DeformableSettings,
        CascadeSettings,
        WaveletSettings,
        MambaSettings,
        CausalSettings,
    ),
)
DECODERS = Registry(
    "tal.decoders",
    DecoderSettings,
    named(
        CltdrSettings,
        ActionformerSettings,
        TridentSettings,
        DynamicSettings,
        QuerySettings,
        RelationalSettings,
        PointSettings,
    ),
)
AnyEncoder = Annotated[
    SerializeAsAny[
        GmgSettings
        | SgpSettings
        | DynamicSgpSettings
        | TransformerSettings
        | MaxPoolSettings
        | ConvSettings
        | DeformableSettings
        | CascadeSettings
        | WaveletSettings
        | MambaSettings
        | CausalSettings
    ],
    Field(discriminator="name"),
    chosen_from(ENCODERS),
]
AnyDecoder = Annotated[
    SerializeAsAny[
        CltdrSettings
        | ActionformerSettings
        | TridentSettings
        | DynamicSettings
        | QuerySettings
        | RelationalSettings
        | PointSettings
    ],
    Field(discriminator="name"),
    chosen_from(DECODERS),
]
AnyNeck = Annotated[IdentityNeck | FpnNeck | FusionNeck, Field(discriminator="name"), BeforeValidator(by_name)]


class ModelConfig(Strict):
    """Architecture and initialisation of a detector. Lengths and windows are in grid cells of the level they act on.

    padding: whether cells that pad a sequence are masked (after convolutions; `cleared`: after norms as well, by
    embedding and heads), or are part of it as zeros. embedding: convolutions with norm and ReLU, or one linear map per
    cell, with a group norm (32 groups) or without. norm_epsilon: of norms over channels and of group norms;
    encoder_epsilon: of those in the encoder, None: the same.
    """

    variant: Literal["released", "paper"] = "released"
    classes: Width
    width: Width = 512
    levels: Annotated[int, Field(ge=1, le=12)] = 6
    pad_length: Length = 2304  # every sequence is padded to this; a longer one to a multiple of `length_multiple`
    padding: Literal["masked", "cleared", "zeros"] = "masked"
    norm_epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-5
    encoder_epsilon: Annotated[float, Field(gt=0, le=1)] | None = None
    resample: bool = False  # instead, every sequence is interpolated to `pad_length` cells (ActivityNet)
    embedding: Literal["convolutions", "linear", "linear-group"] = "convolutions"
    streams: tuple[tuple[Width, Width], ...] = ()  # channels and width of each of joined features; linear: added
    embedding_layers: Layers = 2
    embedding_kernel: OddKernel = 3
    position_table: bool = False
    encoder: AnyEncoder = GmgSettings()
    neck: AnyNeck = IdentityNeck()
    decoder: AnyDecoder = CltdrSettings()
    head_width: Width = 512
    head_layers: Layers = 3  # counting the output layer
    head_kernel: OddKernel = 3
    class_prior: Annotated[float, Field(gt=0, lt=1)] = 0.01
    regression_ranges: tuple[tuple[float, float], ...] = ()  # grid units per level; empty: (0, 4), (4, 8), (8, 16), ...

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        top = 1 << (self.levels - 1)
        if self.regression_ranges and len(self.regression_ranges) != self.levels:
            raise ValueError(f"regression_ranges: {len(self.regression_ranges)} ranges for {self.levels} levels")
        if any(low > high for low, high in self.regression_ranges):
            raise ValueError("regression_ranges: a range ends before it starts")
        if self.embedding_kernel % 2 == 0 or self.head_kernel % 2 == 0:
            raise ValueError("embedding_kernel and head_kernel must be odd")
        if self.pad_length % top:
            raise ValueError(f"pad_length: {self.pad_length} is not a multiple of {top}, as {self.levels} levels need")
        if self.embedding == "linear-group" and self.width % EMBEDDING_GROUPS:
            raise ValueError(
                f"width: {self.width} is not a multiple of {EMBEDDING_GROUPS}, as the embedding's norm needs"
            )
        if self.embedding != "convolutions" and self.position_table:
            raise ValueError("position_table: only an embedding of convolutions has one")
        widths = [width for _, width in self.streams]
        if self.embedding == "convolutions" and widths and sum(widths) != self.width:
            raise ValueError(f"streams: their widths do not add up to the width {self.width}")
        if self.embedding != "convolutions" and any(width != self.width for width in widths):
            raise ValueError(f"streams: a linear embedding adds them, so that each has the width {self.width}")
        self.encoder.check(self.width, self.levels)
        self.decoder.check()
        if isinstance(self.decoder, QueriesSettings) and self.width % self.decoder.heads:
            raise ValueError(f"decoder.heads: {self.decoder.heads} does not divide the width {self.width}")
        return self

    @property
    def level_ranges(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest boundary distance (level-0 grid units) that each level regresses."""
        if self.regression_ranges:
            return self.regression_ranges
        edges = [0.0, *(4.0 * 2**level for level in range(self.levels - 1)), 10000.0]
        return tuple(itertools.pairwise(edges))

    @property
    def length_multiple(self) -> int:
        """Multiple to which a sequence is padded if longer than `pad_length`: the published rule, the encoder's
        widest window in level-0 cells, made a multiple of the coarsest stride."""
        top = 1 << (self.levels - 1)
        return -(-self.encoder.reach(self.levels) // top) * top
