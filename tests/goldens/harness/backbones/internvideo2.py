"""InternVideo2."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial

from torch import Tensor

from harness.backbones.case import Case
from tal_cli.extractors.backbones.preprocessing import Preparation
from tal_cli.extractors.backbones.vit.internvideo2 import (
    UNUSED,
    Gelu,
    InternVideo2,
    InternVideo2Classifier,
    InternVideo2Shape,
    Pooling,
)
from tal_cli.extractors.catalog import find

GELUS: dict[str, Gelu] = {"gelu_exact": "none", "gelu_tanh": "tanh"}
ACTIVATIONS = "gelu_tanh"  # the recorded activations are those of that run
ONE_BILLION = InternVideo2Shape(1408, 40, 16, 6144)
SIX_BILLION = InternVideo2Shape(3200, 48, 25, 12800)


def check(case: Case) -> None:
    """Input, activations, the mean of every block's tokens, attention pooling and logits, with either GELU; and the
    networks that end at the first and at the last block, which is what features are made with."""
    config = case.facts["config"]
    width, depth = config["embed_dim"], config["depth"]
    frames, size = config["num_frames"], config["img_size"]
    shape = InternVideo2Shape(width, depth, config["num_heads"], round(width * config["mlp_ratio"]))
    contract = find("internvideo2-6b").contract.changed({"resize": "none", "crop": "none"})
    windows = Preparation.of(contract)(case.clip()).transpose(0, 1)[None]
    case.compare_input(windows)
    state = case.state()
    for recorded, gelu in GELUS.items():
        make = partial(
            InternVideo2Classifier,
            shape,
            pooled=config["clip_embed_dim"],
            classes=config["num_classes"],
            gelu=gelu,
            frames=frames,
            size=size,
        )
        check_whole(case, recorded, case.load(make, state=state), windows)
    ends: tuple[tuple[int, Pooling, str], ...] = (
        (0, "all tokens", "all_tokens"),
        (depth - 1, "patches", "patch_tokens"),
    )
    for block, pooling, name in ends:
        cut = partial(InternVideo2, shape, layer=block - depth, pooling=pooling, gelu="tanh", frames=frames, size=size)
        feature = case.load(cut, partial(needed, last=block), state)(windows)
        recorded = f"out.gelu_tanh.block_{block}_mean_{name}"
        case.compare(f"{cut.keywords['layer']} from the end, {pooling}", feature, recorded=recorded)


def check_whole(case: Case, recorded: str, network: InternVideo2Classifier, windows: Tensor) -> None:
    """One run of the whole network."""
    tokens: list[Tensor] = []
    for block in network.blocks:
        block.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    with case.watching(network) if recorded == ACTIVATIONS else nullcontext():
        pooled, logits = network.classify(windows)
    case.compare(f"{recorded}.attention_pool", pooled)
    case.compare(f"{recorded}.logits", logits)
    for index, output in enumerate(tokens):
        case.compare(f"{recorded}.block_{index}_mean_patch_tokens", output[:, 1:].mean(1))
        case.compare(f"{recorded}.block_{index}_mean_all_tokens", output.mean(1))


def needed(state: Mapping[str, Tensor], last: int) -> dict[str, Tensor]:
    """What the network up to a block has, of the whole one's tensors."""
    blocks = tuple(f"blocks.{index}." for index in range(last + 1))
    return {key: value for key, value in state.items() if key.startswith(blocks) or not key.startswith(UNUSED)}


def check_names(case: Case) -> None:
    """Names and shapes of the 6B network, all of them, and of the first block of the 1B network."""

    def whole(shape: InternVideo2Shape) -> InternVideo2Classifier:
        return InternVideo2Classifier(shape, pooled=768, classes=400, gelu="tanh", frames=16, size=224)

    case.compare_names("names of 6B", lambda: whole(SIX_BILLION), case.facts["state_dict"])
    first = InternVideo2Shape(ONE_BILLION.width, 1, ONE_BILLION.heads, ONE_BILLION.hidden)
    case.compare_names("names of 1B, one block", lambda: whole(first), case.facts["block_1b_for_comparison"])
