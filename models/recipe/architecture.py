"""Settings of the detector: those of every architecture, and one class per encoder, decoder and neck for the rest.

A part is chosen by its `name` and has its own settings, so that no setting is silently ignored. Imports no torch.
"""

from __future__ import annotations

import itertools
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from tal_cli.extractors.plugins import Registry
from tal_cli.models.recipe.encoders import (
    ConvSettings,
    EncoderSettings,
    GmgSettings,
    MambaSettings,
    MaxPoolSettings,
    SgpSettings,
    TransformerSettings,
)
from tal_cli.models.recipe.strict import Layers, Length, OddKernel, Strict, Width, by_name, chosen_from, named


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


ENCODERS = Registry(
    "tal.encoders",
    EncoderSettings,
    named(GmgSettings, SgpSettings, TransformerSettings, MaxPoolSettings, ConvSettings, MambaSettings),
)
DECODERS = Registry("tal.decoders", DecoderSettings, named(CltdrSettings, ActionformerSettings, TridentSettings))
AnyEncoder = Annotated[
    SerializeAsAny[GmgSettings | SgpSettings | TransformerSettings | MaxPoolSettings | ConvSettings | MambaSettings],
    Field(discriminator="name"),
    chosen_from(ENCODERS),
]
AnyDecoder = Annotated[
    SerializeAsAny[CltdrSettings | ActionformerSettings | TridentSettings],
    Field(discriminator="name"),
    chosen_from(DECODERS),
]
AnyNeck = Annotated[IdentityNeck | FpnNeck, Field(discriminator="name"), BeforeValidator(by_name)]


class ModelConfig(Strict):
    """Architecture and initialisation of a detector. Lengths and windows are in grid cells of the level they act on."""

    variant: Literal["released", "paper"] = "released"
    classes: Width
    width: Width = 512
    levels: Annotated[int, Field(ge=1, le=12)] = 6
    pad_length: Length = 2304  # every sequence is padded to this; a longer one to a multiple of `length_multiple`
    resample: bool = False  # instead, every sequence is interpolated to `pad_length` cells (ActivityNet)
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
        self.encoder.check(self.width, self.levels)
        self.decoder.check()
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
