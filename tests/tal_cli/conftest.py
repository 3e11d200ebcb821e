"""A small model with random weights, small real videos, and ways to run `tal`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from browsers import launched
from small_runs import LABELS, TAL, Finished, Tal, render_clip


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty TAL_HOME with one small model called `small`, whose weights are random."""
    import torch

    from tal_cli.extractors.backbones import create_backbone
    from tal_cli.models.detector import TemporalDetector
    from tal_cli.models.recipe.architecture import ModelConfig
    from tal_cli.models.recipe.decoders import CltdrSettings
    from tal_cli.models.recipe.encoders import GmgSettings
    from tal_cli.models.recipe.features import FeatureSpec
    from tal_cli.models.recipe.inference import InferenceConfig
    from tal_cli.models.recipe.schema import Recipe
    from tal_cli.models.store.checkpoint import save_model

    contract = create_backbone("tiny").contract
    spec = FeatureSpec(**{name: getattr(contract, name) for name in FeatureSpec.model_fields})
    parts = {"encoder": GmgSettings(mlp_width=32), "decoder": CltdrSettings(bins=4)}
    config = ModelConfig(classes=3, width=32, levels=3, head_width=32, pad_length=64, **parts)
    inference = InferenceConfig(display_score=0.0, pre_nms_threshold=0.0, min_score=0.0, max_segments=20)
    recipe = Recipe(name="small", features=spec, model=config, inference=inference)
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("home")
    save_model(root / "models" / "small", TemporalDetector.from_recipe(recipe), recipe, LABELS)
    return root


@pytest.fixture(scope="session")
def environment(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a run: the small model is the default, and logs go to a folder of their own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TAL_") and key != "NO_COLOR"}
    state = str(tmp_path_factory.mktemp("state"))
    return kept | {"TAL_HOME": str(home), "TAL_MODEL": "small", "XDG_STATE_HOME": state, "TERM": "xterm-256color"}


@pytest.fixture
def tal(environment: dict[str, str], tmp_path: Path) -> Tal:
    """Run `tal` as a process of its own, in an empty folder."""

    def call(
        *arguments: object, stdin: bytes = b"", cwd: Path = tmp_path, env: Mapping[str, str] | None = None
    ) -> Finished:
        done = subprocess.run(
            [*TAL, *map(str, arguments)], input=stdin, cwd=cwd, env=environment | dict(env or {}), capture_output=True
        )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())

    return call


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Tal:
    """Run `tal` inside this process, which saves importing torch again."""
    from tal_cli import app

    for key in list(os.environ):
        if key not in environment:
            monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)

    def call(*arguments: object) -> Finished:
        code = app.run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Finished(code, out, err)

    return call


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to train on, with annotations.json, features/ and small.yaml, a recipe; not to be written to."""
    from small_training import write_small_data

    folder = tmp_path_factory.mktemp("small_data")
    write_small_data(folder)
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two short videos, a broken one and a text file."""
    folder = tmp_path_factory.mktemp("clips")
    render_clip(folder / "first.mp4")
    render_clip(folder / "second.mp4", frames=40)
    (folder / "broken.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that keeps any machine busy for a while: some 200,000 small frames."""
    return render_clip(tmp_path_factory.mktemp("long") / "long.mp4", frames=50, repeat=4000)


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A browser for the tests of one module: Chromium, or the one that a test names."""
    with launched(getattr(request, "param", "chromium")) as running:
        yield running
