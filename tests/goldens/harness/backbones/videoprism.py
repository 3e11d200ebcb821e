"""VideoPrism's video encoder: tokens, names of both kinds of files, and preprocessing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.backbones.case import Case
from tal_cli.extractors.backbones.preprocessing import Preparation, resize
from tal_cli.extractors.backbones.vit import videoprism
from tal_cli.extractors.backbones.vit.videoprism import PATCH, SPATIAL, VideoPrism, VideoPrismShape
from tal_cli.extractors.catalog import find
from tal_cli.extractors.features.preprocessing_spec import Resize
from tal_cli.extractors.files.weights import read_state

BASE = VideoPrismShape(768, 12, 4, 12, 3072, frames=16)
LARGE = VideoPrismShape(1024, 24, 4, 16, 4096, frames=8)


def check(case: Case) -> None:
    """Every recorded output: all tokens, means, samples, the state between both parts, other sizes and lengths; and the
    same weights out of a file in the original layout."""
    shape = shape_of(case.facts)
    prepare = Preparation.of(find("videoprism-b").contract.changed({"resize": "none", "crop": "none"}))
    state = case.state()
    network = case.load(lambda: VideoPrism(shape), videoprism.released, state)
    frames = prepare(case.clip())
    case.compare_input(frames[None])
    clip = frames.transpose(0, 1)[None]
    tokens = network(clip)
    flat = tokens.flatten(1, 2)
    spatial = network.spatial(clip)
    found = {"tokens": flat, "tokens_mean_by_time": tokens.mean(2), "spatial_state_before_norm": spatial.flatten(1, 2)}
    if "token_sample_indices" in case.facts:
        found["token_sample"] = flat[:, case.facts["token_sample_indices"]]
    if "other_size_input" in case.facts:
        more = prepare(case.made_clip(case.facts["other_size_input"]["clip_call"])).transpose(0, 1)[None]
        found["other_size_tokens"] = network(more).flatten(1, 2)
    for name in case.tensors:
        if name.startswith("out."):
            case.compare(name.removeprefix("out."), found[name.removeprefix("out.")])
    first = case.load(lambda: VideoPrism(shape, layer=SPATIAL), videoprism.released, state)
    case.compare_with("spatial layer", first(clip), network.layernorm1(spatial))
    if "key_map_from_original" in case.facts:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.npz"
            np.savez(path, **original(state, case.facts["key_map_from_original"], shape))
            restored = case.load(lambda: VideoPrism(shape), videoprism.released, read_state(path))
        for key, value in restored.state_dict().items():
            case.compare_with(f"from the original layout: {key}", value, state[key], limit=0.0)


def original(state: Mapping[str, Tensor], names: Mapping[str, str], shape: VideoPrismShape) -> dict[str, Any]:
    """The weights in the original layout, by the recorded map of names and the rules beside it."""
    arrays = {}
    for theirs, ours in names.items():
        depth = shape.spatial if ours.startswith("spatial_layers.N") else shape.temporal
        layers = (
            [state[ours.replace(".N.", f".{index}.")] for index in range(depth)] if ".N." in ours else [state[ours]]
        )
        made = [layout(tensor, theirs, shape) for tensor in layers]
        arrays[theirs] = np.stack(made) if ".N." in ours else made[0]
    return arrays


def layout(tensor: Tensor, name: str, shape: VideoPrismShape) -> Any:
    """One tensor of one layer in the original layout."""
    values, heads = tensor.numpy(), (shape.heads, shape.width // shape.heads)
    if name.endswith("patch_projection/linear/kernel"):
        return values[:, :, 0].transpose(2, 3, 1, 0).reshape(3 * PATCH * PATCH, -1)
    if name.endswith("emb_var"):
        return values[0]
    if name.endswith("post/w"):
        return values.reshape(-1, *heads)
    if name.endswith("/w"):
        return values.T.reshape(-1, *heads)
    if name.endswith("/b") and "post" not in name:
        return values.reshape(heads)
    return values.T if name.endswith("kernel") else values


def shape_of(facts: Mapping[str, Any]) -> VideoPrismShape:
    """The network that a recorded configuration describes."""
    config, places = facts["config"], facts["state_dict"]["spatial_embeddings.position_embeddings"][1]
    return VideoPrismShape(
        config["hidden"],
        config["spatial_layers"],
        config["temporal_layers"],
        config["heads"],
        config["mlp_hidden"],
        frames=config["table_frames"],
        places=places,
    )


def check_names(case: Case) -> None:
    """Names and shapes of base, of both kinds of files, and of one block of large."""
    case.compare_names("names of base", lambda: VideoPrism(BASE), case.facts["state_dict"])
    arrays = {name: torch.empty(shape, device="meta") for name, shape in case.facts["original_base"].items()}
    converted = {key: list(value.shape) for key, value in videoprism.released(arrays).items()}
    case.compare_names("names of base, original", lambda: VideoPrism(BASE), converted)
    one = VideoPrismShape(LARGE.width, 1, 1, LARGE.heads, LARGE.hidden, frames=LARGE.frames)
    case.compare_names(
        "names of large, one block", lambda: VideoPrism(one), case.facts["large_outside_layers_and_layer_0"]
    )
    for name, shape in (("base", BASE), ("large", LARGE)):
        with torch.device("meta"):
            count = sum(value.numel() for value in VideoPrism(shape).parameters())
        case.compare_with(
            f"parameters of {name}", torch.tensor(count), torch.tensor(case.facts["parameters"][name]), limit=0.0
        )


def check_preprocessing(case: Case) -> None:
    """8-bit images as transformers makes them."""
    frames = case.made_clip(case.facts["input"]["clip_call"]).permute(0, 3, 1, 2)
    size = case.facts["size"]
    images = resize(frames, Resize.parse(f"bicubic antialias 8-bit {size}x{size}")).permute(0, 2, 3, 1)
    case.compare_levels("transformers", images, case.tensors["u8.transformers"], 0)
