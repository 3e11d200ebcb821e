"""Settings of the encoders, one class each. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from tal_cli.models.recipe.strict import Count, Layers, NonNegative, Strict, Width, by_name

NORM_GROUPS = 16  # groups of the group normalisation in every GMG and SGP block
FULL = -1  # as a window of attention: the whole sequence
Rate = Annotated[float, Field(ge=0, lt=1)]  # of what is dropped while training
Window = Annotated[int, Field(ge=1, le=1 << 12)]
AttentionWindow = Annotated[int, Field(ge=FULL, le=1 << 16)]


class EncoderSettings(Strict):
    """Base of every encoder's settings; subclasses add the encoder's own.

    network: the encoder as `MODULE:CLASS`, imported and made with (config, settings, drop_path) when a detector is
    built. It maps rows [B, T, D], T a multiple of 2 ** (levels - 1), and masks (one bool [B, T_l, 1] or None per level)
    to rows [B, T_l, D] per level. pooled_masks: whether masks are max-pooled from level to level, else sampled.
    """

    network: ClassVar[str]
    pooled_masks: ClassVar[bool] = False
    name: str

    def check(self, width: int, levels: int) -> None:
        """Raises ValueError for settings that do not match the model's width or number of levels."""

    def reach(self, levels: int) -> int:
        """The widest window in level-0 cells: a sequence longer than `pad_length` is padded to a multiple of it."""
        return 1 << (levels - 1)


class WindowedSettings(EncoderSettings):
    """Blocks at full length (the stem), then one per further level, each with a window of cells of its level."""

    stem_blocks: Count = 2
    windows: Window | tuple[Window, ...] = 1  # one for all levels or one each, odd
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
    """GMG's global branch as published: a learned filter on the sequence's spectrum."""

    name: Literal["fft"] = "fft"


class AttentionBranch(Strict):
    """Self-attention over all cells as GMG's global branch (paper, table 8)."""

    name: Literal["attention"] = "attention"
    heads: Width = 4


AnyGlobalBranch = Annotated[FilterBranch | AttentionBranch, Field(discriminator="name"), BeforeValidator(by_name)]


class GmgSettings(WindowedSettings):
    """Gated Multi-Granularity blocks (CLTDR-GMG). `windows`: kernel of the local branch.

    branches: those in use (paper, table 6). gate: whether the next coarser branch in use gates a branch (table 7).
    """

    network = "tal_cli.models.encoders.gmg:GmgEncoder"
    name: Literal["gmg"] = "gmg"
    mlp_width: Width = 768
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
            raise ValueError("encoder.branches contains a branch twice")
        if isinstance(self.global_branch, AttentionBranch):
            if "global" not in self.branches:
                raise ValueError("encoder.global_branch is set, but encoder.branches does not contain global")
            if width % self.global_branch.heads:
                raise ValueError(
                    f"encoder.global_branch.heads: {self.global_branch.heads} does not divide the width {width}"
                )


class SgpSettings(WindowedSettings):
    """Scalable-Granularity Perception blocks (TriDet). `windows`: kernel w of the window branch."""

    network = "tal_cli.models.encoders.sgp:SgpEncoder"
    rectified: ClassVar[bool] = False  # whether the convolutions of window and wide branch are, before their gate
    name: Literal["sgp"] = "sgp"
    mlp_width: Width = 768
    k: Annotated[float, Field(ge=1, le=64)] = 1.5  # the wide branch's kernel is about k (w + 1)
    downsample: Literal["max", "avg"] = "max"
    conv_init_std: NonNegative = 0.0  # all depth-wise convolutions start as normal noise of this deviation

    def wide_kernel(self, window: int) -> int:
        """Kernel of the wide branch beside a window: round(k (w + 1)), made odd."""
        return round((window + 1) * self.k) // 2 * 2 + 1


class DynamicSgpSettings(SgpSettings):
    """Blocks of TriDet whose gated branches are rectified (DyFADet)."""

    pooled_masks = True
    rectified = True
    name: Literal["dynamic_sgp"] = "dynamic_sgp"  # type: ignore[assignment]


class TransformerSettings(EncoderSettings):
    """Blocks of windowed multi-head attention (ActionFormer). `windows`: cells attended to, odd; -1: all of them."""

    network = "tal_cli.models.encoders.transformer:TransformerEncoder"
    name: Literal["transformer"] = "transformer"
    stem_blocks: Count = 2
    heads: Width = 4
    windows: AttentionWindow | tuple[AttentionWindow, ...] = 19  # one for all levels or one each
    relative_positions: bool = False  # a learned bias per head and position in the window, if attention is windowed
    branch_scale: float | None = 1e-4

    def level_windows(self, levels: int) -> tuple[int, ...]:
        """Window per level, -1 for full attention."""
        return spread_windows(self.windows, levels)

    def check(self, width: int, levels: int) -> None:
        """Windows are odd and at least 3, or -1; heads divide the width."""
        if any(window != FULL and (window < 3 or window % 2 == 0) for window in self.level_windows(levels)):
            raise ValueError("encoder.windows must be odd and at least 3, or -1")
        if width % self.heads:
            raise ValueError(f"encoder.heads: {self.heads} does not divide the width {width}")

    def reach(self, levels: int) -> int:
        """The published rule: a level's stride times its window, less its middle cell."""
        return attention_reach(self.level_windows(levels))


class MaxPoolSettings(EncoderSettings):
    """Max pooling alone (TemporalMaxer)."""

    network = "tal_cli.models.encoders.max_pool:MaxPoolEncoder"
    name: Literal["max_pool"] = "max_pool"


class ConvSettings(EncoderSettings):
    """Residual blocks of two convolutions (the convolutional baseline in the code of ActionFormer and TriDet)."""

    network = "tal_cli.models.encoders.conv:ConvEncoder"
    name: Literal["conv"] = "conv"
    stem_blocks: Count = 2


class MambaSettings(EncoderSettings):
    """Bidirectional selective state spaces (ActionMamba)."""

    network = "tal_cli.models.encoders.mamba:MambaEncoder"
    name: Literal["mamba"] = "mamba"
    stem_blocks: Count = 2
    state: Layers = 16  # size of the hidden state per channel
    kernel: Layers = 4  # of the causal convolution before the scan
    branch_scale: float | None = 1e-4
    padding_window: Window = 19  # the published files carry ActionFormer's window, which here only rules padding

    def reach(self, levels: int) -> int:
        """The published rule, ActionFormer's: a level's stride times the window, less its middle cell."""
        return max(self.padding_window - 1, 1) << (levels - 1)


class CausalSettings(EncoderSettings):
    """State spaces and attention that look one way, over both directions of time (CausalTAD).

    expansion: channels of each, per channel of the model. heads: of the attention.
    """

    network = "tal_cli.models.encoders.causal:CausalEncoder"
    pooled_masks = True
    name: Literal["causal"] = "causal"
    stem_blocks: Count = 2
    state: Layers = 16
    kernel: Layers = 4
    expansion: Layers = 2
    heads: Width = 4
    branch_scale: float | None = 1e-4

    def check(self, width: int, levels: int) -> None:
        """Heads divide the expanded width."""
        if width * self.expansion % self.heads:
            raise ValueError(f"encoder.heads: {self.heads} does not divide {width * self.expansion} channels")


class CascadeSettings(TransformerSettings):
    """Blocks of channel, global and local attention in series (TransGMC). `windows`, `heads`: of the local one."""

    network = "tal_cli.models.encoders.cascade:CascadeEncoder"
    name: Literal["cascade"] = "cascade"  # type: ignore[assignment]
    dropout: Rate = 0.0


class WaveletSettings(EncoderSettings):
    """Attention in a time and a wavelet branch, which attend to each other on every level (TFFormer)."""

    network = "tal_cli.models.encoders.wavelet:WaveletEncoder"
    name: Literal["wavelet"] = "wavelet"
    stem_blocks: Count = 2
    branch_scale: float | None = 1e-4
    dropout: Rate = 0.0
    cross_dropout: Rate = 0.0  # of the blocks in which the branches meet
    cross_drop_path: Rate = 0.0
    # The published files carry ActionFormer's windows, which here only rule padding.
    padding_windows: AttentionWindow | tuple[AttentionWindow, ...] = FULL

    def check(self, width: int, levels: int) -> None:
        """One window or one per level; the heads, which the released code fixes, divide the width."""
        if width % 4:
            raise ValueError(f"width: {width} is not a multiple of 4, the number of heads where the branches meet")
        spread_windows(self.padding_windows, levels)

    def reach(self, levels: int) -> int:
        """The published rule, ActionFormer's: a level's stride times its window, less its middle cell."""
        return attention_reach(spread_windows(self.padding_windows, levels))


class DeformableSettings(EncoderSettings):
    """Layers of deformable attention over all levels, which are max-pooled from the first (TadTR).

    points: places per head and level at which a cell samples the pyramid. positions: whether a cell's position and
    level are added to what it looks with. aligned: whether the ends of time are the middles of the first and the last
    cell, as in ReAct, and not their outer edges. last_norm: whether a layer's feed-forward is followed by a norm.
    """

    network = "tal_cli.models.encoders.deformable:DeformableEncoder"
    name: Literal["deformable"] = "deformable"
    layers: Count = 4
    heads: Width = 8
    points: Layers = 4
    ffn_width: Width = 1024
    dropout: Rate = 0.0
    positions: bool = True
    aligned: bool = False
    last_norm: bool = True

    def check(self, width: int, levels: int) -> None:
        """Heads divide the width."""
        if width % self.heads:
            raise ValueError(f"encoder.heads: {self.heads} does not divide the width {width}")


def attention_reach(windows: Sequence[int]) -> int:
    """The widest of the windows of attention on all levels, less their middle cells, in level-0 cells."""
    return max(max(window - 1, 1) << level for level, window in enumerate(windows))


def spread_windows(windows: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """One window for all levels or one each -> one each. Raises ValueError when their number is another."""
    if isinstance(windows, int):
        return (windows,) * levels
    if len(windows) != levels:
        raise ValueError(f"encoder.windows: {len(windows)} values for {levels} levels")
    return tuple(windows)
