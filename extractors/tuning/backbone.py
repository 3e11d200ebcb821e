"""A dense backbone with what is trained of it: the same interface as any other, over longer passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones import resolve
from tal_cli.extractors.backbones.blueprint import DenseBlueprint, check_chunks, load_networks
from tal_cli.extractors.backbones.interface import Resolved
from tal_cli.extractors.backbones.passage import Stepwise
from tal_cli.extractors.backbones.vit.tokens import TokenRows
from tal_cli.extractors.backbones.windowed import DenseBackbone
from tal_cli.extractors.catalog import find
from tal_cli.extractors.errors import SettingsError, WeightsError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.plugins import load_object
from tal_cli.extractors.tuning.adapters import AdapterNetwork, FullNetwork, Kept, SideNetwork, TunedNetwork


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What is trained of a backbone.

    blocks: the last so many; None: adapters after all, a side network on half (of one width), one in full. reduction:
    channels of a block to those inside its adapter. window: frames of a pass. overlap: share of it with the next one.
    checkpointed: compute activations again for the gradient. drop_path: see `TunedNetwork`; not of a side network.
    """

    kind: Literal["side", "adapter", "full"]
    blocks: int | None
    reduction: int
    window: int
    overlap: float
    checkpointed: bool
    drop_path: float = 0.0


class TunedBackbone(DenseBackbone):
    """A backbone over passes of many chunks; `tuned` is its network. Times and size of rows are the extractor's."""

    def __init__(self, contract: FeatureContract, tuned: TunedNetwork, rows: TokenRows, *, step: int) -> None:
        super().__init__(contract, rows, step=step, window_bytes=0)
        self.tuned = tuned
        self.token_rows = rows
        self.inner_margin = (contract.window - contract.stride) // (2 * contract.stride)

    def rows_of(self, prepared: Tensor) -> Tensor:
        """All rows of some frames, [N, C, h, w], N = window + (rows - 1) * stride -> [rows, channels]."""
        return self.rows(prepared, self.inner_margin)

    def begin(self, prepared: Tensor) -> Kept:
        """The frozen part of the pass over [N, C, h, w]."""
        return self.tuned.begin(self.token_rows.chunks(prepared.transpose(0, 1)[None]))

    def finish(self, kept: Kept, frames: int) -> Tensor:
        """The rest of the pass over N frames: the rows that `forward` gives."""
        return self.trimmed(self.token_rows.pooled(self.tuned.finish(kept)), frames, self.margin)

    def load(self, state: Mapping[str, Tensor], digest: str, origin: str) -> TunedBackbone:
        """This backbone with trained weights, whose digest becomes part of the contract. Raises WeightsError."""
        own = self.tuned.tuned()
        wrong = [name for name, value in own.items() if name not in state or state[name].shape != value.shape]
        if wrong or state.keys() - own.keys():
            odd = sorted([*wrong, *(state.keys() - own.keys())])
            raise WeightsError(f"{origin}: not what was trained of this backbone: {', '.join(odd[:3])}")
        self.tuned.load_state_dict(dict(state), strict=False)
        digests = (self.contract.weights_sha256, digest)
        self.contract = replace(self.contract, weights_sha256="+".join(filter(None, digests)))
        return self


def outline(name: str, settings: Mapping[str, object], tuning: Tuning) -> tuple[TunedNetwork, FeatureContract]:
    """A backbone to train, without values, and the contract of its rows; raises as `tuned_backbone`."""
    resolved, blueprint = dense(name, settings, {})
    try:
        with torch.device("meta"):
            (network,) = blueprint.networks(resolved.contract)
            return tune(network, tuning), longer(resolved.contract, tuning)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error


def tuned_backbone(
    name: str, settings: Mapping[str, object], tuning: Tuning, weights: Mapping[str, Tensor] | None = None
) -> TunedBackbone:
    """A backbone to train, freshly begun, on the CPU, in evaluation mode.

    weights: of its network; None: the published ones.

    Raises:
        UnknownExtractor, SettingsError, WeightsMissing, WeightsError: as `create_backbone`; also SettingsError for a
            backbone whose passes give no rows, and for blocks that it does not have.
    """
    resolved, blueprint = dense(name, settings, weights)
    try:
        (network,) = load_networks(resolved, blueprint)
        contract = longer(resolved.contract, tuning)
        check_chunks(contract, blueprint.step)
        tuned = tune(network, tuning)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error
    base = resolved.contract
    whole = bool(getattr(network, "any_length", False))
    rows = TokenRows(
        tuned,
        chunk=blueprint.step if whole else base.chunk or 0,
        step=blueprint.step,
        pooling=base.pooling,
        whole=whole,
    )
    backbone = TunedBackbone(contract, tuned, rows, step=blueprint.step)
    backbone.eval()
    return backbone


def dense(
    name: str, settings: Mapping[str, object], weights: Mapping[str, Tensor] | None
) -> tuple[Resolved, DenseBlueprint]:
    """An extractor that computes chunks. Raises as `tuned_backbone`."""
    blueprint = load_object(find(name).blueprint)
    if not isinstance(blueprint, DenseBlueprint):
        raise SettingsError(
            f"{name}: only backbones that compute chunks can be trained",
            "extract features with one of them, such as videomae-s-dense, vjepa2.1-b or i3d-rgb-dense",
        )
    return resolve(name, weights, settings), blueprint


def longer(contract: FeatureContract, tuning: Tuning) -> FeatureContract:
    """A backbone's contract with passes of the tuning's window."""
    stride, chunk = contract.stride, contract.chunk or 1
    around = contract.window - stride
    window = max(tuning.window // stride * stride, chunk // stride * stride, stride + around)
    shared = max(round(tuning.overlap * window / (2 * stride)) * 2 * stride, around)
    return replace(contract, chunk=window, overlap=min(shared, (window - stride) // (2 * stride) * 2 * stride))


def tune(network: nn.Module, tuning: Tuning) -> TunedNetwork:
    """A network with what is trained of it. Raises ValueError for blocks that it does not have, or none at all."""
    if not hasattr(network, "passage"):
        raise ValueError("this backbone cannot be trained: its network does not compute in steps")
    steps: Stepwise = network  # type: ignore[assignment]
    total = len(steps.widths)
    if (tuning.blocks or 0) > total:
        raise ValueError(f"blocks={tuning.blocks}: the network has {total}")
    if tuning.kind == "full":
        chosen = last(total, tuning.blocks or 1)
        return FullNetwork(network, chosen, checkpointed=tuning.checkpointed, drop_path=tuning.drop_path)
    if tuning.kind == "adapter":
        chosen = last(total, tuning.blocks or total)
        return AdapterNetwork(
            network,
            chosen,
            reduction=tuning.reduction,
            checkpointed=tuning.checkpointed,
            drop_path=tuning.drop_path,
        )
    alike = [index for index in last(total, total // 2) if steps.widths[index] == steps.widths[-1]]
    chosen = last(total, tuning.blocks) if tuning.blocks else alike
    return SideNetwork(network, chosen, reduction=tuning.reduction, checkpointed=tuning.checkpointed)


def last(total: int, count: int) -> list[int]:
    """The numbers of the last `count` of `total` blocks."""
    return list(range(total - count, total))
