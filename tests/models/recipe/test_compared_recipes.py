"""Recipes of the systems that the paper compares with: their released options, and the layout of their checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import WaveletSettings
from tal_cli.models.recipe.loading import load_recipe
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.conversion import differences, to_released
from tal_cli.models.released.opentad_options import translate_opentad
from tal_cli.models.released.options import translate_options
from tal_cli.models.released.query_options import translate_pointtad, translate_react, translate_tadtr


def released(shared: Path, system: str, entry: str) -> dict[str, Any]:
    path = shared / "goldens" / "compared" / f"{system}_released_keys.json"
    found: dict[str, Any] = json.loads(path.read_text())["configs"][entry]
    return found


def check_layout(recipe: Recipe, keys: dict[str, list[int]]) -> None:
    with torch.device("meta"):
        state = to_released(TemporalDetector.from_recipe(recipe).state_dict(), recipe.model)
    assert {key: list(value.shape) for key, value in state.items()} == keys


TRANSGMC = {
    "transgmc-thumos-i3d": "thumos_i3d.yaml",
    "transgmc-epic-verb": "epic_slowfast_verb.yaml",
    "transgmc-epic-noun": "epic_slowfast_noun.yaml",
    "transgmc-activitynet-i3d": "anet_i3d.yaml",
    "transgmc-ego4d": "ego4d_slowfast_omnivore_egovlp.yaml",
}


@pytest.mark.parametrize("name", TRANSGMC)
def test_transgmc(name: str, shared: Path) -> None:
    entry = released(shared, "transgmc", TRANSGMC[name])
    recipe, options = load_recipe(name), entry["config"]
    model, training, inference = translate_options(options["model"], encoder="cascade")
    assert check_ranges(recipe.model) == check_ranges(model)
    assert recipe.inference == inference.model_copy(update={"chunk_overlap": recipe.inference.chunk_overlap})
    loop, data = options["opt"], options["dataset"]
    assert recipe.training == training.model_copy(
        update={
            "epochs": loop["epochs"],
            "warmup_epochs": loop["warmup_epochs"],
            "learning_rate": loop["learning_rate"],
            "batch_size": options["loader"]["batch_size"],
            "truncate_threshold": data["trunc_thresh"],
            "class_agnostic": options["dataset_name"] == "anet",
        }
    )
    assert (recipe.features.window, recipe.features.stride) == (data["num_frames"], data["feat_stride"])
    assert recipe.features.sampling_rate == data["default_fps"]
    check_layout(recipe, entry["keys"])


def check_ranges(model: ModelConfig) -> dict[str, Any]:
    """All settings, with the ranges spelled out; interpolation of features is an option of the data set."""
    return model.model_dump(exclude={"regression_ranges", "resample"}) | {"ranges": model.level_ranges}


@pytest.mark.parametrize(("name", "case"), [("tfformer-thumos-i3d", "thumos"), ("tfformer-epic-verb", "epic")])
def test_tfformer(name: str, case: str, shared: Path) -> None:
    """All options that the recorded detectors, which are smaller and drop nothing, have as they are published."""
    options = json.loads((shared / "goldens" / "compared" / f"tfformer_{case}.json").read_text())["config"]["model"]
    model, training, inference = translate_options(options, encoder="wavelet")
    recipe = load_recipe(name)
    size = {"chunk_length", "chunk_overlap"}
    assert recipe.inference.model_dump(exclude=size) == inference.model_dump(exclude=size)
    assert recipe.inference.chunk_length == options["max_buffer_len_factor"] * recipe.model.pad_length
    loop = {"epochs", "warmup_epochs", "learning_rate", "drop_path", "max_length", "batch_size", "truncate_threshold"}
    assert recipe.training.model_dump(exclude=loop) == training.model_dump(exclude=loop)
    cut = {"classes", "width", "levels", "pad_length", "head_width", "regression_ranges", "encoder"}
    assert recipe.model.model_dump(exclude=cut) == model.model_dump(exclude=cut)
    ours, theirs = recipe.model.encoder, model.encoder
    assert isinstance(ours, WaveletSettings) and isinstance(theirs, WaveletSettings)
    assert ours.padding_windows == theirs.padding_windows
    assert recipe.model.level_ranges[:2] == model.level_ranges[:2]


def test_tadtr(shared: Path) -> None:
    entry = released(shared, "tadtr", "thumos14_i3d2s_tadtr.yml")
    recipe = load_recipe("tadtr-thumos-i3d")
    assert (recipe.model, recipe.training, recipe.inference) == translate_tadtr(entry["config"], 20)
    check_layout(recipe, entry["keys"])


def test_react(shared: Path) -> None:
    entry = released(shared, "react", "thumos_tsn_feature.py")
    recipe = load_recipe("react-thumos-tsn")
    assert (recipe.model, recipe.training, recipe.inference) == translate_react(entry["config"])
    check_layout(recipe, entry["keys"])


@pytest.mark.parametrize("dataset", ["multithumos", "charades"])
def test_pointtad(dataset: str, shared: Path) -> None:
    entry = released(shared, "pointtad", dataset)
    recipe = load_recipe(f"pointtad-{dataset}-i3d")
    assert (recipe.model, recipe.training, recipe.inference) == translate_pointtad(entry["config"], (1024, 832))
    own = {key: shape for key, shape in entry["keys"].items() if not key.startswith("backbone.")}
    check_layout(recipe, own)
    everything = {key: torch.empty(shape, device="meta") for key, shape in entry["keys"].items()}
    assert differences(everything, recipe) == []


# Width, levels, padded length, rate, epochs with those of warm-up, batch, smoothing, initial norm, weight of the
# regression, sigma, segments kept, voting threshold: OpenTAD's configurations.
OPENTAD: dict[str, tuple[float, ...]] = {
    "causaltad-thumos-i3d": (512, 6, 2304, 1e-4, 50, 5, 2, 0, 250, 1, 0.5, 2000, 0.7),
    "causaltad-activitynet-tsp": (256, 6, 192, 1e-3, 15, 5, 16, 0.1, 200, 2, 0.75, 100, 0.9),
    "causaltad-hacs-slowfast": (256, 6, 960, 1e-3, 15, 5, 16, 0.1, 400, 1, 0.75, 100, 0.7),
    "causaltad-epic-verb": (512, 6, 2304, 1e-4, 35, 5, 2, 0, 250, 0.5, 0.4, 3000, 0.75),
    "causaltad-epic-noun": (512, 6, 2304, 1e-4, 35, 5, 2, 0.1, 250, 0.5, 0.4, 3000, 0.75),
    "causaltad-ego4d": (512, 10, 2560, 1e-4, 25, 5, 2, 0, 100, 0.2, 2.0, 2000, 0.95),
    "dyfadet-thumos-videomae": (512, 6, 2304, 1e-4, 60, 20, 2, 0, 100, 1, 0.5, 2000, 0.7),
    "dyfadet-activitynet-tsp": (256, 6, 768, 5e-4, 16, 10, 8, 0.1, 400, 1, 0.7, 200, 0.95),
    "dyfadet-hacs-slowfast": (1024, 6, 960, 5e-4, 14, 7, 8, 0.1, 400, 1, 0.75, 250, 0.95),
    "dyfadet-fineaction-videomae": (256, 7, 2304, 5e-4, 16, 10, 8, 0.1, 400, 1, 0.7, 200, 0.95),
}


@pytest.mark.parametrize("name", OPENTAD)
def test_opentad(name: str, shared: Path) -> None:
    """Numbers as published; all else as the options of a recorded detector of that code say."""
    recipe = load_recipe(name)
    model, training, inference = recipe.model, recipe.training, recipe.inference
    loop = (training.learning_rate, training.epochs + training.warmup_epochs, training.warmup_epochs)
    loss = (training.label_smoothing, training.initial_loss_norm, training.regression_weight)
    shape, kept = (model.width, model.levels, model.pad_length), (inference.sigma, inference.max_segments)
    assert (*shape, *loop, training.batch_size, *loss, *kept, inference.voting_threshold) == OPENTAD[name]
    case = "causaltad_thumos" if name.startswith("causaltad") else "dyfadet_thumos"
    path = shared / "goldens" / "compared" / f"{case}.json"
    recorded, _, cut = translate_opentad(json.loads(path.read_text())["config"])
    for key in (
        "variant",
        "padding",
        "norm_epsilon",
        "embedding",
        "embedding_layers",
        "neck",
        "head_layers",
        "head_kernel",
    ):
        assert getattr(model, key) == getattr(recorded, key), key
    assert (model.encoder.name, model.decoder.name) == (recorded.encoder.name, recorded.decoder.name)
    assert (inference.top_k_of, inference.min_duration) == (cut.top_k_of, cut.min_duration)
    assert (model.classes == 1) == training.class_agnostic == (inference.pre_nms_threshold == 0)


# Frames of a window, pixels, frames per row; blocks with adapters (None: all), their rate; classes, width, levels,
# cells; epochs with those of warm-up, batch, initial norm; sigma, segments kept: OpenTAD's configurations of AdaTAD.
ADATAD: dict[str, tuple[float | None, ...]] = {
    "thumos-s": (768, 160, 1, None, 2e-4, 20, 512, 6, 768, 100, 2, 100, 0.7, 2000),
    "thumos-b": (768, 160, 1, None, 1e-4, 20, 512, 6, 768, 100, 2, 100, 0.7, 2000),
    "thumos-l": (768, 160, 1, None, 1e-4, 20, 512, 6, 768, 100, 2, 100, 0.7, 2000),
    "thumos-h": (768, 160, 1, None, 1e-4, 20, 512, 6, 768, 100, 2, 100, 0.7, 2000),
    "thumos-g": (1536, 224, 2, 20, 2e-4, 20, 512, 6, 768, 100, 2, 100, 0.7, 2000),
    "thumos-g-160": (768, 160, 1, None, 1e-4, 20, 512, 6, 768, 100, 2, 100, 0.7, 2000),
    "thumos-g-side": (1536, 224, 2, 20, 2e-4, 20, 512, 6, 768, 100, 2, 100, 0.7, 2000),
    "multithumos-s": (768, 160, 1, None, 4e-4, 65, 512, 6, 768, 100, 2, 100, 0.5, 8000),
    "multithumos-b": (768, 160, 1, None, 4e-4, 65, 512, 6, 768, 100, 2, 100, 0.5, 8000),
    "multithumos-l": (768, 160, 1, None, 4e-4, 65, 512, 6, 768, 100, 2, 100, 0.5, 8000),
    "multithumos-h": (768, 160, 1, None, 1e-4, 65, 512, 6, 768, 100, 2, 100, 0.5, 8000),
    "multithumos-g": (1536, 224, 2, 20, 1e-4, 65, 512, 6, 768, 100, 2, 100, 0.5, 8000),
    "charades-s": (512, 160, 1, None, 4e-4, 157, 512, 8, 512, 20, 16, 100, 0.3, 1000),
    "charades-b": (512, 160, 1, None, 4e-4, 157, 512, 8, 512, 20, 16, 100, 0.3, 1000),
    "charades-l": (512, 160, 1, None, 2e-4, 157, 512, 8, 512, 20, 16, 100, 0.3, 1000),
    "charades-h": (512, 160, 1, None, 1e-4, 157, 512, 8, 512, 20, 16, 100, 0.3, 1000),
    "charades-g": (512, 160, 1, None, 8e-5, 157, 512, 8, 512, 20, 16, 100, 0.3, 1000),
    "activitynet-l": (768, 224, 4, None, 8e-5, 200, 512, 6, 192, 20, 16, 200, 0.75, 100),
    "epic-noun": (6144, 160, 8, None, 8e-5, 293, 512, 6, 768, 250, 2, 250, 0.4, 2000),
    "epic-verb": (6144, 160, 8, None, 8e-5, 97, 512, 6, 768, 250, 2, 250, 0.4, 2000),
}


@pytest.mark.parametrize("name", ADATAD)
def test_adatad(name: str, shared: Path) -> None:
    """Numbers as published; all else as OpenTAD's ActionFormer has it."""
    recipe = load_recipe(f"adatad-{name}")
    features, backbone, model = recipe.features, recipe.backbone, recipe.model
    training, inference = recipe.training, recipe.inference
    side = int(str(features.resize).rpartition(" ")[2])
    network = (backbone.window, side, features.stride, backbone.blocks, backbone.learning_rate)
    shape = (model.classes, model.width, model.levels, model.pad_length)
    loop = (training.epochs + training.warmup_epochs, training.batch_size, training.initial_loss_norm)
    assert (*network, *shape, *loop, inference.sigma, inference.max_segments) == ADATAD[name]
    assert (model.padding, model.norm_epsilon, model.encoder_epsilon) == ("cleared", 1e-6, 1e-5)
    assert (model.encoder.name, model.decoder.name) == ("transformer", "actionformer")
    assert (training.max_length, inference.chunk_length) == (model.pad_length, model.pad_length)
    assert features.crop == f"center {side}x{side}" and features.alignment == "start"
    assert recipe.published and recipe.source.endswith(".py") and recipe.licence
