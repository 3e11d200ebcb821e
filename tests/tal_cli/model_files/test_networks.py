"""Networks of the catalog as models: pulled from a server, with weights as they are released, and run on a video."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from file_server import FileServer, serve
from safetensors.torch import load_file
from small_runs import Tal
from torch import Tensor

from tal_cli import VideoDetector
from tal_cli.extractors import catalog
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.extractors.files.packaged import TRANSNET
from tal_cli.extractors.files.weights import weights_path
from tal_cli.model_files.classifiers import CLASS_NAMES
from tal_cli.models.recipe.classifier import EvidenceConfig
from tal_cli.models.recipe.networks import NETWORKS, network_recipe
from tal_cli.models.store import weight_sources

Publish = Callable[[str, dict[str, Tensor]], None]


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Publish]:
    """A function that serves a network's weights file on this machine."""
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))
    for name in ("TAL_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve() as server:
        yield lambda name, state: served(server, monkeypatch, name, state)


def served(server: FileServer, monkeypatch: pytest.MonkeyPatch, name: str, state: dict[str, Tensor]) -> None:
    packed = io.BytesIO()
    torch.save(state, packed)
    server.content = packed.getvalue()
    entry = catalog.find(name)
    digest = hashlib.sha256(server.content).hexdigest()
    source = replace(entry.weights[0], url=f"{server.url}/whole/{entry.weights[0].file}", sha256=digest, size=None)
    monkeypatch.setitem(weight_sources.SOURCES, name, source)
    monkeypatch.setitem(catalog.BACKBONES.built_in, name, replace(entry, weights=(source,)))


def head(classes: int = 400, channels: int = 512) -> dict[str, Tensor]:
    """The last layer of a video ResNet: each class is its channel."""
    return {"fc.weight": torch.eye(classes, channels), "fc.bias": torch.zeros(classes)}


def test_a_pulled_network_finds_actions(run: Tal, publish: Publish) -> None:
    publish("r3d_18", head())
    assert "r3d_18" in run("models", "list").out
    missing = run("detect", "x.mp4", "--model", "r3d_18")
    assert missing.code == 4 and "`tal models pull r3d_18`" in missing.err
    done = run("models", "pull", "r3d_18")
    assert done.code == 0 and [Path(line).name for line in done.out.split()] == ["r3d_18", "r3d_18-b3b3357e.pth"]
    detector = VideoDetector.load("r3d_18")
    rows = np.zeros((60, 512), np.float32)
    rows[20:40, 255] = 30.0
    contract = detector.recipe.features.contract()
    sequence = FeatureSequence(features=rows, contract=contract, fps=15.0, frames=252, duration=16.8, feature_fps=15.0)
    (segment,) = detector.detect_features(sequence, name="clip").keep(min_score=0.7).segments
    assert segment.label == "pull ups"
    assert (segment.start, segment.end) == pytest.approx((5.7, 11.1), abs=1.5)
    shown = run("models", "info", "r3d_18").out
    assert "a classifier of windows, 400 classes" in shown and "Not measured" in shown


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (head(classes=399), "linear.weight is [399, 512], the recipe asks for [400, 512]"),
        (head(channels=640), "linear.weight is [400, 640], the recipe asks for [400, 512]"),
        ({"stem.0.weight": torch.zeros(1)}, "it has no classifier: fc.weight is missing"),
    ],
)
def test_another_classifier_is_told_in_one_line(
    run: Tal, publish: Publish, state: dict[str, Tensor], reason: str
) -> None:
    publish("r3d_18", state)
    done = run("models", "pull", "r3d_18")
    assert done.code == 2 and reason in done.err and "Traceback" not in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("error: ")]) == 1
    assert run("detect", "x.mp4", "--model", "r3d_18").code == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r3d_18", "videomaev2-s"])
def test_seeded_weights_run_on_a_video(
    run: Tal, publish: Publish, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clips: Path, name: str
) -> None:
    from tal_cli.extractors.plugins import load_object

    torch.manual_seed(0)
    entry = catalog.find(name)
    assert entry.classifier is not None
    recipe = network_recipe(name)
    with torch.device("meta"):
        (network,) = load_object(entry.blueprint).networks(entry.contract_with(recipe.features.framing()))
    state = {key: 0.02 * torch.randn(value.shape) for key, value in network.state_dict().items()}
    state |= {key: value.abs() + 1 for key, value in state.items() if key.endswith("running_var")}
    layer, classes = entry.classifier.layer, recipe.classifier.classes
    state[f"{layer}.weight"] = 1000 * torch.randn(classes, entry.contract.channels)
    state[f"{layer}.bias"] = torch.zeros(classes)
    publish(name, state)
    assert run("models", "pull", name).code == 0
    done = run("detect", clips / "first.mp4", "--model", name, "--min-score", "0", "--format", "json")
    assert done.code == 0, done.err
    (segments,) = json.loads(done.out)["results"].values()
    names = CLASS_NAMES[recipe.classifier.class_names]()
    assert segments and {segment["label"] for segment in segments} <= set(names)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_s_recipe_fits_its_catalog(name: str) -> None:
    recipe, entry = network_recipe(name), catalog.find(name)
    assert entry.contract_with(recipe.features.framing()) == recipe.features.contract()
    assert isinstance(recipe.classifier, EvidenceConfig) and recipe.features.sampling_rate
    seconds = recipe.classifier.smoothing * recipe.features.stride / recipe.features.sampling_rate
    assert recipe.classifier.smoothing == 1 or 2 < seconds < 4
    assert len(CLASS_NAMES[recipe.classifier.class_names]()) == recipe.classifier.classes


def test_transnet_s_classifiers_become_one_layer(run: Tal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    from tal_cli.extractors.backbones.transnet.network import with_joined_heads

    state = {f"cls_layer{number}.weight": torch.full((1, 1024), float(number)) for number in (1, 2)}
    state |= {f"cls_layer{number}.bias": torch.full((1,), float(number)) for number in (1, 2)}
    torch.save(state | {"fc1.bias": torch.zeros(3)}, tmp_path / "weights.pth")
    joined = with_joined_heads(tmp_path / "weights.pth")
    assert sorted(joined) == ["fc1.bias", "heads.bias", "heads.weight"]
    assert joined["heads.weight"][:, 0].tolist() == joined["heads.bias"].tolist() == [1, 2]
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))
    weights_path(TRANSNET).parent.mkdir(parents=True)
    save_file(joined, weights_path(TRANSNET))
    done = run("models", "pull", "transnetv2")
    assert done.code == 0
    saved = load_file(tmp_path / "home" / "models" / "transnetv2" / "model.safetensors")
    assert saved["linear.weight"].shape == (2, 1024)
    assert VideoDetector.load("transnetv2").labels == ("cut", "gradual")
