"""V-JEPA 2 and V-JEPA 2.1: encoders, names of the published files, and preprocessing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.backbones.case import Case
from tal_cli.extractors.backbones.preprocessing import Preparation, crop, resize
from tal_cli.extractors.backbones.vit import vjepa
from tal_cli.extractors.backbones.vit.layers import without_prefixes
from tal_cli.extractors.backbones.vit.vjepa import UNUSED, VJepa2, VJepa21, VJepaShape
from tal_cli.extractors.catalog import find
from tal_cli.extractors.features.preprocessing_spec import Crop, Resize
from tal_cli.extractors.files.weights import read_state

TIGHT = 4e-6  # sees LayerNorm eps 1e-5 instead of 1e-6


def check(case: Case) -> None:
    """Every recorded output: all tokens, means, samples, four levels, other sizes and the path of one frame."""
    shape, second = shape_of(case.facts), "module.backbone.video_mod_embed" in case.facts["state_dict"]
    contract = find("vjepa2.1-b").contract.changed({"resize": "none", "crop": "none"})
    prepare = Preparation.of(contract)
    state = packed(case)

    def network(levels: bool = False) -> VJepa2:
        def make() -> VJepa2:
            return VJepa21(shape, levels=levels) if second else VJepa2(shape)

        return case.load(make, vjepa.released, state, UNUSED)

    clip = prepare(case.clip()).transpose(0, 1)[None]
    case.compare_input(clip)
    tokens = network()(clip)
    flat = tokens.flatten(1, 2)
    found = {"tokens": flat, "tokens_mean_by_time": tokens.mean(2)}
    if "token_sample_indices" in case.facts:
        found["token_sample"] = flat[:, case.facts["token_sample_indices"]]
    if second:
        levels = network(levels=True)(clip)
        found |= {"hierarchical_mean": levels.mean((1, 2)), "hierarchical_mean_by_time": levels.mean(2)}
        case.compare_with("last level", levels[..., -shape.width :], tokens)
    if "nonsquare_input" in case.facts:
        found["nonsquare_tokens"] = network()(other(case, "nonsquare_input", prepare)).flatten(1, 2)
    if "image_input" in case.facts:
        found["image_tokens"] = network()(other(case, "image_input", prepare)).flatten(1, 2)
    for name in case.tensors:
        if name.startswith("out."):
            case.compare(name.removeprefix("out."), found[name.removeprefix("out.")], limit=TIGHT)
    if "key_map_to_transformers" in case.facts:
        renamed = transformers_state(state, case.facts["key_map_to_transformers"], shape.depth)
        converted = vjepa.released(renamed)
        for key, value in without_prefixes(state).items():
            case.compare_with(f"from transformers: {key}", converted[key], value, limit=0.0)


def other(case: Case, key: str, prepare: Preparation) -> Tensor:
    """A further input, [1, 3, T, H, W]."""
    call = case.facts[key]["clip_call"]
    return prepare(case.made_clip(call)).transpose(0, 1)[None]


def packed(case: Case) -> dict[str, Tensor]:
    """The weights, through a file as the authors write it: under a key, beside others."""
    container = case.facts["container"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        torch.save({container["dictionary_key"]: case.state(), "predictor": {"x": torch.zeros(1)}, "epoch": 1}, path)
        return {key: value.clone() for key, value in read_state(path).items()}


def transformers_state(state: Mapping[str, Tensor], names: Mapping[str, Any], depth: int) -> dict[str, Tensor]:
    """The weights under transformers' names, by the recorded map of the first block."""
    renamed: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        for index in range(depth if "blocks.0." in ours else 1):
            tensor = state[ours.replace("blocks.0.", f"blocks.{index}.")]
            targets = theirs if isinstance(theirs, list) else [theirs]
            for target, part in zip(targets, tensor.chunk(len(targets)), strict=True):
                renamed[target.replace("layer.0.", f"layer.{index}.")] = part
    return renamed


def shape_of(facts: Mapping[str, Any]) -> VJepaShape:
    """The network that a recorded configuration describes."""
    config = facts["config"]
    width = config["embed_dim"]
    return VJepaShape(width, config["depth"], config["num_heads"], round(width * config["mlp_ratio"]))


def check_names_21(case: Case) -> None:
    """Names and shapes of B, and of one block of the others."""
    check_published(case, lambda shape: VJepa21(shape), case.facts["state_dict"], vjepa.B, "B")
    for name, shape in (("vit_l", vjepa.L), ("vit_g", vjepa.G), ("vit_G", vjepa.GIGANTIC)):
        recorded = next(value for key, value in case.facts.items() if key.startswith(f"{name}_outside_blocks"))
        one = VJepaShape(shape.width, 1, shape.heads, shape.hidden)
        check_published(case, lambda shape: VJepa21(shape), recorded, one, name)
    for name, shape in (("vit_b", vjepa.B), ("vit_l", vjepa.L), ("vit_g", vjepa.G), ("vit_G", vjepa.GIGANTIC)):
        count_parameters(case, VJepa21, shape, name)


def check_names_2(case: Case) -> None:
    """Names and shapes of L, of both kinds of files."""
    check_published(case, lambda shape: VJepa2(shape), case.facts["state_dict"], vjepa.L, "L")
    theirs = {
        key: torch.empty(shape, device="meta") for key, shape in case.facts["transformers_encoder_state_dict"].items()
    }
    recorded = {key: list(value.shape) for key, value in vjepa.released(theirs).items()}
    case.compare_names("names of L, transformers", lambda: VJepa2(vjepa.L), recorded)
    for name, shape in (("vit_l", vjepa.L), ("vit_h", vjepa.H), ("vit_g", vjepa.G)):
        count_parameters(case, VJepa2, shape, name)


def check_published(case: Case, make: Any, recorded: Mapping[str, list[int]], shape: VJepaShape, name: str) -> None:
    """Compare names with those of a published file, prefixes aside."""
    names = {key.removeprefix("module.backbone."): size for key, size in recorded.items()}
    case.compare_names(f"names of {name}", lambda: make(shape), names)


def count_parameters(case: Case, make: Any, shape: VJepaShape, name: str) -> None:
    """Compare the number of parameters."""
    with torch.device("meta"):
        count = sum(value.numel() for value in make(shape).parameters())
    case.compare_with(
        f"parameters of {name}", torch.tensor(count), torch.tensor(case.facts["parameters"][name]), limit=0.0
    )


def check_preprocessing(case: Case) -> None:
    """8-bit images of transformers, exactly; those of the hub's two paths, which round otherwise, to a level."""
    frames = case.made_clip(case.facts["input"]["clip_call"]).permute(0, 3, 1, 2)
    short, size = case.facts["short_side"], case.facts["crop_size"]
    routes = {
        "tensor_frames": (f"bilinear antialias 8-bit short {short}", "round-even", 1),
        "transformers": (f"bilinear antialias 8-bit short {short}", "", 0),
        "numpy_frames": (f"bilinear 8-bit short {short}", "round-even", 1),
    }
    for name, (filter_, rounding, levels) in routes.items():
        spec = Crop.parse(f"center {size}x{size} {rounding}".strip())
        images = crop(resize(frames, Resize.parse(filter_)), spec).permute(0, 2, 3, 1)
        case.compare_levels(name, images, case.tensors[f"u8.{name}"], levels)
