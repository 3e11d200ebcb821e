"""Checkpoints of the published code bases: read safely, matched to a recipe, converted there and back bit by bit."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tal_cli.extractors.errors import CheckpointError
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.conversion import differences, to_ours, to_released
from tal_cli.models.released.matching import find_recipe
from tal_cli.models.released.options import translate_options
from tal_cli.models.released.reading import read_state

RECORDED = (
    "actionformer_epic",
    "actionformer_thumos",
    "actionformer_thumos_pe",
    "actionmamba_thumos",
    "cltdr_anet",
    "cltdr_epic",
    "cltdr_thumos",
    "tridet_conv",
    "tridet_plain_fpn",
    "tridet_thumos",
    "temporalmaxer_thumos",
)
PARTS: dict[str, dict[str, Any]] = {
    "cltdr": {"encoder": {"name": "gmg", "mlp_width": 48}, "decoder": "cltdr"},
    "tridet": {"encoder": {"name": "sgp", "mlp_width": 48}, "decoder": "trident"},
    "tridet-plain": {"encoder": "conv", "decoder": "actionformer", "neck": "fpn"},
    "actionformer": {
        "encoder": {"name": "transformer", "windows": 3, "relative_positions": True},
        "decoder": "actionformer",
    },
    "actionmamba": {"encoder": "mamba", "decoder": "actionformer"},
    "transgmc": {
        "encoder": {"name": "cascade", "windows": 3, "stem_blocks": 1},
        "decoder": "actionformer",
        "neck": "fusion",
        "streams": [[3, 12], [5, 20]],
    },
    "tfformer": {"encoder": {"name": "wavelet", "stem_blocks": 1}, "decoder": "actionformer", "neck": "fusion"},
    "tadtr": {
        "encoder": {"name": "deformable", "layers": 1, "ffn_width": 16},
        "decoder": {"name": "query", "queries": 5, "layers": 2, "ffn_width": 16},
        "embedding": "linear-group",
        "neck": {"name": "identity", "norm": "none"},
    },
    "tadtr-plain": {
        "encoder": {"name": "deformable", "layers": 1, "ffn_width": 16},
        "decoder": {"name": "query", "queries": 5, "layers": 2, "ffn_width": 16, "refine": False, "actionness": False},
        "embedding": "linear-group",
        "neck": {"name": "identity", "norm": "none"},
    },
    "react": {
        "encoder": {"name": "deformable", "layers": 1, "ffn_width": 16, "positions": False, "last_norm": False},
        "decoder": {"name": "relational", "queries": 5, "layers": 2, "ffn_width": 16},
        "embedding": "linear",
        "neck": {"name": "identity", "norm": "none"},
    },
    "pointtad": {
        "encoder": "max_pool",
        "decoder": {"name": "points", "queries": 5, "layers": 2, "ffn_width": 16, "query_points": 6},
        "embedding": "linear",
        "streams": [[3, 32], [5, 32]],
        "levels": 1,
        "neck": {"name": "identity", "norm": "none"},
    },
    "causaltad": {"encoder": {"name": "causal", "stem_blocks": 1}, "decoder": "actionformer", "padding": "cleared"},
    "dyfadet": {"encoder": {"name": "dynamic_sgp", "stem_blocks": 1}, "decoder": "dynamic", "padding": "cleared"},
    "temporalmaxer": {"encoder": "max_pool", "decoder": "actionformer", "neck": {"name": "identity", "norm": "shared"}},
}


def small_recipe(name: str, parts: dict[str, Any], **settings: Any) -> Recipe:
    model = {"classes": 3, "width": 32, "levels": 3, "pad_length": 16, "head_width": 32, **parts, **settings}
    features = {"extractor": "some", "channels": 8, "window": 16, "stride": 4}
    return Recipe.model_validate({"name": name, "features": features, "model": model, "dataset": "thumos"})


def released_tensors(recipe: Recipe) -> dict[str, Tensor]:
    """Released names and layout with random values."""
    torch.manual_seed(0)
    state = {key: torch.randn_like(value) for key, value in TemporalDetector.from_recipe(recipe).state_dict().items()}
    return to_released(state, recipe.model)


def write_checkpoint(path: Path, tensors: dict[str, Tensor]) -> Path:
    """As the published training scripts write it: averaged weights beside worse ones, optimiser, settings, numbers."""
    averaged = {f"module.{key}": value for key, value in tensors.items()}
    content = {
        "epoch": 57,
        "state_dict": {key: value + 1 for key, value in averaged.items()},
        "state_dict_ema": averaged,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]},
        "scheduler": {"base_lrs": [1e-4], "_last_lr": [np.float64(1e-5)]},
        "config": {"model": {"embd_dim": 512, "windows": [1, 1]}, "best": np.float32(0.7)},
        "arguments": argparse.Namespace(config="thumos.yaml", epochs=np.int64(40)),
    }
    torch.save(content, path)
    return path


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_weights_come_in_and_go_out_unchanged(case: str, shared: Path, tmp_path: Path) -> None:
    tensors = load_file(shared / "goldens" / f"{case}.safetensors")
    state = {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}
    options = json.loads((shared / "goldens" / f"{case}.json").read_text())["config"]["model"]
    model, training, inference = translate_options(options, cltdr=case.startswith("cltdr"))
    features = {"extractor": "some", "channels": options["input_dim"], "window": 16, "stride": 4}
    recipe = Recipe.model_validate(
        {"name": case, "features": features, "model": model, "training": training, "inference": inference}
    )
    read = read_state(write_checkpoint(tmp_path / "model_best.pth.tar", state))
    assert read.kind == "state_dict_ema" and read.epoch == 57
    ours = to_ours(read.tensors, recipe, case)
    detector = TemporalDetector.from_recipe(recipe)
    detector.load_state_dict(ours, strict=True)
    back = to_released(detector.state_dict(), model)
    assert back.keys() == state.keys()
    for key, value in state.items():
        unread = key.startswith("refineHead.scale.")
        assert unread or torch.equal(back[key], value), key
        assert back[key].shape == value.shape and back[key].dtype == value.dtype


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_a_round_trip_changes_no_bit(parts: dict[str, Any], tmp_path: Path) -> None:
    recipe = small_recipe("small", parts)
    tensors = released_tensors(recipe)
    path = write_checkpoint(tmp_path / "epoch_057.pth.tar", tensors)
    ours = to_ours(read_state(path).tensors, recipe, "file")
    TemporalDetector.from_recipe(recipe).load_state_dict(ours, strict=True)
    back = to_released(ours, recipe.model)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[key], value) for key, value in tensors.items())
    save_file(tensors, tmp_path / "same.safetensors")
    assert read_state(tmp_path / "same.safetensors").tensors.keys() == tensors.keys()


def test_what_does_not_fit_is_listed() -> None:
    recipe = small_recipe("small", PARTS["tridet"])
    tensors = released_tensors(recipe)
    del tensors["cls_head.cls_head.conv.bias"]
    tensors["backbone.extra"] = torch.zeros(1)
    tensors["backbone.stem.0.psi.weight"] = torch.zeros(32, 1, 5)
    assert differences(tensors, recipe) == [
        "cls_head.cls_head.conv.bias is missing",
        "backbone.extra is unknown",
        "backbone.stem.0.psi.weight is [32, 1, 5], the recipe asks for [32, 1, 1]",
    ]
    with pytest.raises(CheckpointError, match=r"a.tar: .*bias is missing; backbone.extra is unknown; .*\[32, 1, 5\]"):
        to_ours(tensors, recipe, "a.tar")


def test_parameters_that_nothing_reads_may_be_missing() -> None:
    recipe = small_recipe("small", PARTS["cltdr"])
    tensors = {key: value for key, value in released_tensors(recipe).items() if "refineHead.scale" not in key}
    assert differences(tensors, recipe) == []


def test_a_network_beside_the_detector_is_left_out() -> None:
    recipe = small_recipe("small", PARTS["pointtad"])
    tensors = released_tensors(recipe)
    ours = to_ours(tensors | {"backbone._model.Mixed_5c.b0.conv3d.weight": torch.ones(2, 2)}, recipe, "file")
    TemporalDetector.from_recipe(recipe).load_state_dict(ours, strict=True)
    with pytest.raises(CheckpointError, match=r"backbones\.weight is unknown"):
        to_ours(tensors | {"backbones.weight": torch.ones(2)}, recipe, "file")


def test_a_norm_that_all_levels_share_must_be_the_same() -> None:
    recipe = small_recipe("small", PARTS["temporalmaxer"])
    tensors = released_tensors(recipe)
    assert sum(key.startswith("neck.") for key in tensors) == 2 * 3
    tensors["neck.fpn_norms.1.bias"] = tensors["neck.fpn_norms.1.bias"] + 1
    with pytest.raises(CheckpointError, match="levels differ that share one norm"):
        to_ours(tensors, recipe, "file")


def test_a_combination_that_was_not_released_has_no_released_form() -> None:
    recipe = small_recipe("own", {"encoder": {"name": "gmg", "mlp_width": 48}, "decoder": "trident"})
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"variant": "paper"})})
    with pytest.raises(CheckpointError, match="no released code has encoder gmg with decoder trident"):
        to_released(TemporalDetector.from_recipe(recipe).state_dict(), recipe.model)


def test_the_recipe_is_found_by_shapes_and_name() -> None:
    recipes = [
        small_recipe("thumos-i3d", PARTS["cltdr"]),
        small_recipe("tridet-thumos-i3d", PARTS["tridet"]),
        small_recipe("tridet-multithumos-i3d", PARTS["tridet"]).model_copy(update={"dataset": "multithumos"}),
        small_recipe("thumos-more", PARTS["cltdr"], classes=4),
    ]
    tridet = released_tensors(recipes[1])
    assert find_recipe(released_tensors(recipes[0]), "anything", recipes, "file").name == "thumos-i3d"
    for name, expected in (
        ("tridet-multithumos-i3d", "tridet-multithumos-i3d"),
        ("multithumos", "tridet-multithumos-i3d"),
        ("thumos", "tridet-thumos-i3d"),
        ("tridet-thumos", "tridet-thumos-i3d"),
    ):
        assert find_recipe(tridet, name, recipes, "file").name == expected
    with pytest.raises(CheckpointError, match="several recipes: tridet-thumos-i3d, tridet-multithumos-i3d"):
        find_recipe(tridet, "mine", recipes, "file")
    with pytest.raises(CheckpointError, match=r"fit no recipe; closest is thumos-more, but .*\(and \d+ more\)"):
        find_recipe(released_tensors(small_recipe("x", PARTS["cltdr"], classes=5)), "x", recipes[3:], "file")


class Malicious:
    """Would write a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.target),)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    harmless = {"module.a": torch.zeros(1)}
    for number, content in enumerate(({"state_dict": harmless, "extra": Malicious(mark)}, Malicious(mark))):
        torch.save(content, tmp_path / f"{number}.tar")
        with pytest.raises(CheckpointError, match="no checkpoint can be read from it"):
            read_state(tmp_path / f"{number}.tar")
    (tmp_path / "raw.tar").write_bytes(pickle.dumps(Malicious(mark)))
    with pytest.raises(CheckpointError, match="no checkpoint can be read from it"):
        read_state(tmp_path / "raw.tar")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "contains neither state_dict_ema nor state_dict"),
        ({"state_dict": {}}, "contains neither state_dict_ema nor state_dict"),
        ({"state_dict": {"a": 1}}, "state_dict: a is not a tensor"),
        ({"epoch": 3}, "contains neither state_dict_ema nor state_dict, and epoch is not a tensor"),
    ],
)
def test_a_file_without_weights_is_named(content: object, reason: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth.tar")
    with pytest.raises(CheckpointError, match=reason):
        read_state(tmp_path / "a.pth.tar")


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_state(tmp_path / "absent.pth.tar")
    for name in ("text.pth.tar", "text.safetensors"):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(CheckpointError, match=name):
            read_state(tmp_path / name)


def test_plain_weights_are_taken_where_there_are_no_averaged_ones(tmp_path: Path) -> None:
    torch.save({"state_dict": {"module.module.a": torch.ones(1)}}, tmp_path / "a.pth.tar")
    torch.save({"b": torch.ones(1)}, tmp_path / "b.pth")
    assert list(read_state(tmp_path / "a.pth.tar").tensors) == ["a"]
    assert read_state(tmp_path / "b.pth").kind == "tensors"
