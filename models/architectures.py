"""Settings of the detector: what every architecture has, and one class per encoder, decoder and neck for the rest.

A part is chosen by its `name`, and brings its own settings, so that no setting is silently ignored. Imports no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NORM_GROUPS = 16  # groups of the group normalisation in every GMG and SGP block

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
OddKernel = Annotated[int, Field(ge=1, le=255)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
FULL = -1  # as a window of attention: the whole sequence


class Strict(BaseModel):
    """Base of every section: unknown keys are refused and values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def by_name(value: Any) -> Any:
    """A bare name stands for the part with its default settings."""
    return {"name": value} if isinstance(value, str) else value


class EncoderSettings(Strict):
    """What every encoder's settings answer for; subclasses add the encoder's own."""

    name: str

    def check(self, width: int, levels: int) -> None:
        """Raises ValueError for settings that do not go with the model's width or number of levels."""

    def reach(self, levels: int) -> int:
        """The widest window in level-0 cells: a sequence longer than `pad_length` is padded to a multiple of it."""
        return 1 << (levels - 1)


class WindowedSettings(EncoderSettings):
    """Blocks at full length (the stem), then one per further level, each with a window of cells of its level."""

    stem_blocks: Count = 2
    windows: Positive | tuple[Positive, ...] = 1  # one for all levels or one each, odd
    branch_scale: float | None = 1e-4  # start of the residual branches' per-channel scales; None: no scales

    def level_windows(self, levels: int) -> tuple[int, ...]:
        """Window per level."""
        return spread_windows(self.windows, levels)

    def check(self, width: int, levels: int) -> None:
        """One window or one per level, all odd; a width that the group norms divide."""
        if any(window % 2 == 0 for window in self.level_windows(levels)):
            raise ValueError("encoder.windows must be odd")
        if width % NORM_GROUPS:
            raise ValueError(f"width: {width} is not a multiple of {NORM_GROUPS}")

    def reach(self, levels: int) -> int:
        """The published rule: window times stride, the largest of all levels."""
        return max(window << level for level, window in enumerate(self.level_windows(levels)))


class FilterBranch(Strict):
    """GMG's global branch as published: a learnt filter on the sequence's spectrum."""

    name: Literal["fft"] = "fft"


class AttentionBranch(Strict):
    """Self-attention over all cells as GMG's global branch (paper, table 8)."""

    name: Literal["attention"] = "attention"
    heads: Positive = 4


AnyGlobalBranch = Annotated[FilterBranch | AttentionBranch, Field(discriminator="name"), BeforeValidator(by_name)]


class GmgSettings(WindowedSettings):
    """Gated Multi-Granularity blocks (CLTDR-GMG). `windows`: kernel of the local branch.

    branches: those there are (paper, table 6). gate: whether the next coarser branch there is gates a branch (table 7).
    """

    name: Literal["gmg"] = "gmg"
    mlp_width: Positive = 768
    conv_init_std: NonNegative = 0.0  # instant and local convolutions start as normal noise of this deviation
    branches: Annotated[tuple[Literal["instant", "local", "global"], ...], Field(min_length=1)] = (
        "instant",
        "local",
        "global",
    )
    gate: bool = True
    global_branch: AnyGlobalBranch = FilterBranch()

    def check(self, width: int, levels: int) -> None:
        """As for all windows; branches once each; a kind of global branch only where there is one."""
        super().check(width, levels)
        if len(set(self.branches)) != len(self.branches):
            raise ValueError("encoder.branches names a branch twice")
        if isinstance(self.global_branch, AttentionBranch):
            if "global" not in self.branches:
                raise ValueError("encoder.global_branch is chosen, and encoder.branches leaves global out")
            if width % self.global_branch.heads:
                raise ValueError(f"encoder.global_branch.heads: {self.global_branch.heads} do not divide width {width}")


class SgpSettings(WindowedSettings):
    """Scalable-Granularity Perception blocks (TriDet). `windows`: kernel w of the window branch."""

    name: Literal["sgp"] = "sgp"
    mlp_width: Positive = 768
    k: Annotated[float, Field(ge=1, le=64)] = 1.5  # the wide branch's kernel is about k (w + 1)
    downsample: Literal["max", "avg"] = "max"
    conv_init_std: NonNegative = 0.0  # all depth-wise convolutions start as normal noise of this deviation

    def wide_kernel(self, window: int) -> int:
        """Kernel of the wide branch beside a window: round(k (w + 1)), made odd."""
        return round((window + 1) * self.k) // 2 * 2 + 1


class TransformerSettings(EncoderSettings):
    """Blocks of windowed multi-head attention (ActionFormer). `windows`: cells attended to, odd; -1: all of them."""

    name: Literal["transformer"] = "transformer"
    stem_blocks: Count = 2
    heads: Positive = 4
    windows: int | tuple[int, ...] = 19  # one for all levels or one each
    relative_positions: bool = False  # a learnt bias per head and place in the window, where attention is windowed
    branch_scale: float | None = 1e-4

    def level_windows(self, levels: int) -> tuple[int, ...]:
        """Window per level, -1 for full attention."""
        return spread_windows(self.windows, levels)

    def check(self, width: int, levels: int) -> None:
        """Windows are odd and at least 3, or -1; heads divide the width."""
        if any(window != FULL and (window < 3 or window % 2 == 0) for window in self.level_windows(levels)):
            raise ValueError("encoder.windows must be odd and at least 3, or -1")
        if width % self.heads:
            raise ValueError(f"encoder.heads: {self.heads} do not divide width {width}")

    def reach(self, levels: int) -> int:
        """The published rule: a level's stride times its window, less its middle cell."""
        windows = (max(window - 1, 1) for window in self.level_windows(levels))
        return max(window << level for level, window in enumerate(windows))


class MaxPoolSettings(EncoderSettings):
    """Max pooling alone (TemporalMaxer)."""

    name: Literal["max_pool"] = "max_pool"


class ConvSettings(EncoderSettings):
    """Residual blocks of two convolutions (the convolutional baseline in the code of ActionFormer and TriDet)."""

    name: Literal["conv"] = "conv"
    stem_blocks: Count = 2


class MambaSettings(EncoderSettings):
    """Bidirectional selective state spaces (ActionMamba)."""

    name: Literal["mamba"] = "mamba"
    stem_blocks: Count = 2
    state: Positive = 16  # size of the hidden state per channel
    kernel: Positive = 4  # of the causal convolution before the scan
    branch_scale: float | None = 1e-4
    padding_window: Positive = 19  # the published files carry ActionFormer's window, which here only rules padding

    def reach(self, levels: int) -> int:
        """The published rule, ActionFormer's: a level's stride times the window, less its middle cell."""
        return max(self.padding_window - 1, 1) << (levels - 1)


class DecoderSettings(Strict):
    """Base of every decoder's settings."""

    name: str

    def check(self) -> None:
        """Raises ValueError for settings that cannot be."""


class BinnedSettings(DecoderSettings):
    """Boundaries as relative bins: the expected bin under boundary and offset logits."""

    bins: Positive = 16
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
    """

    name: Literal["cltdr"] = "cltdr"
    class_levels: tuple[Neighbour, ...] = ("above",)
    regression_levels: tuple[Neighbour, ...] = ("below",)
    refine: Literal["both", "class", "boundaries", "neither"] = "both"
    fusion: Literal["attention", "addition", "concatenation"] = "attention"

    def check(self) -> None:
        """As for all bins; neighbours once each."""
        super().check()
        for key in ("class_levels", "regression_levels"):
            if len(set(getattr(self, key))) != len(getattr(self, key)):
                raise ValueError(f"decoder.{key} names a neighbour twice")


class TridentSettings(BinnedSettings):
    """Class head and Trident head (TriDet)."""

    name: Literal["trident"] = "trident"


class ActionformerSettings(DecoderSettings):
    """Class head and plain regression head (ActionFormer, TemporalMaxer, ActionMamba, TriDet without its own head)."""

    name: Literal["actionformer"] = "actionformer"


class NeckSettings(Strict):
    """What stands between encoder and decoder.

    norm: `layer` over channels, one per level; `shared`, the same one for all levels; `group`, 4 groups without scale
    and shift; `none`. TemporalMaxer's code has the last three.
    """

    name: str
    norm: Literal["layer", "shared", "group", "none"] = "layer"


class IdentityNeck(NeckSettings):
    """Only the norm."""

    name: Literal["identity"] = "identity"


class FpnNeck(NeckSettings):
    """Top-down pyramid: each level adds the level above it, then a depth-wise convolution; then the norm."""

    name: Literal["fpn"] = "fpn"


AnyEncoder = Annotated[
    GmgSettings | SgpSettings | TransformerSettings | MaxPoolSettings | ConvSettings | MambaSettings,
    Field(discriminator="name"),
    BeforeValidator(by_name),
]
AnyDecoder = Annotated[
    CltdrSettings | ActionformerSettings | TridentSettings, Field(discriminator="name"), BeforeValidator(by_name)
]
AnyNeck = Annotated[IdentityNeck | FpnNeck, Field(discriminator="name"), BeforeValidator(by_name)]


class ModelConfig(Strict):
    """Architecture and initialisation of a detector. Lengths and windows are in grid cells of the level they act on."""

    variant: Literal["released", "paper"] = "released"
    classes: Positive
    width: Positive = 512
    levels: Annotated[int, Field(ge=1, le=12)] = 6
    pad_length: Positive = 2304  # every sequence is padded to this; a longer one to a multiple of `length_multiple`
    resample: bool = False  # instead, every sequence is interpolated to `pad_length` cells (ActivityNet)
    embedding_layers: Positive = 2
    embedding_kernel: OddKernel = 3
    position_table: bool = False
    encoder: AnyEncoder = GmgSettings()
    neck: AnyNeck = IdentityNeck()
    decoder: AnyDecoder = CltdrSettings()
    head_width: Positive = 512
    head_layers: Positive = 3  # counting the output layer
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
        """What the length of a sequence longer than `pad_length` is rounded up to: the published rule, the encoder's
        widest window in level-0 cells, made a multiple of the coarsest stride."""
        top = 1 << (self.levels - 1)
        return -(-self.encoder.reach(self.levels) // top) * top


def spread_windows(windows: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """One window for all levels or one each -> one each. Raises ValueError when their number is another."""
    if isinstance(windows, int):
        return (windows,) * levels
    if len(windows) != levels:
        raise ValueError(f"encoder.windows: {len(windows)} values for {levels} levels")
    return tuple(windows)
