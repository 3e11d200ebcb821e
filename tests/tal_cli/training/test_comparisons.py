"""The scripts that compare trainings: settings can be trained, finished runs are skipped, tables are correct."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import load_recipe, override
from tal_cli.training.auto_recipe import DataShape, derive_recipe

CHANNELS = 8


@pytest.fixture
def scripts(repository: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType, ModuleType]:
    """training_runs, compare_published and compare_family."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    import compare_family
    import compare_published
    import training_runs

    return training_runs, compare_published, compare_family


def family_options(**values: object) -> argparse.Namespace:
    usual = {"variant": "paper", "width": 32, "epochs": 0, "warmup_epochs": 1, "batch_size": 2, "ema_decay": 0.9}
    return argparse.Namespace(**{**usual, "set": [], **values})


def test_every_setting_can_be_built(scripts: tuple[ModuleType, ModuleType, ModuleType]) -> None:
    _, published, family = scripts
    pairs = len(family.ENCODERS) * len(family.DECODERS)
    settings = published.settings(list(published.MODELS), 10, 5, {})
    settings += family.settings(list(family.ENCODERS), family.DECODERS, family_options())
    assert len(settings) == len({setting.name for setting in settings}) == len(published.MODELS) + pairs
    for setting in settings:
        recipe = override(load_recipe(setting.recipe), setting.overrides)
        assert TemporalDetector.from_recipe(recipe).config.width in (32, 128)


def test_published_sizes_are_reached(scripts: tuple[ModuleType, ModuleType, ModuleType]) -> None:
    """Parameters of the published models at this size, in millions."""
    _, published, _ = scripts
    sizes = {"tridet": 0.88, "temporalmaxer": 0.28, "actionformer": 1.69, "cltdr-gmg": 1.27}
    for setting in published.settings(list(sizes), 10, 5, {}):
        detector = TemporalDetector.from_recipe(override(load_recipe(setting.recipe), setting.overrides))
        assert sum(each.numel() for each in detector.parameters()) / 1e6 == pytest.approx(sizes[setting.name], abs=0.01)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    contract = override(load_recipe("camera"), {"features.channels": CHANNELS}).features.contract()
    videos = {}
    for number in range(4):
        frames = 40 * 4 + 12
        sequence = FeatureSequence(
            features=rng.standard_normal((40, CHANNELS)).astype(np.float32),
            contract=contract, fps=30.0, frames=frames, duration=frames / 30,
        )  # fmt: skip
        save_features(sequence, tmp_path / "features" / f"v{number}.npy")
        truth = (GroundTruth("a", 1.0, 3.0),)
        videos[f"v{number}"] = VideoAnnotation(
            f"v{number}", "training" if number < 3 else "validation", frames / 30, 30.0, truth
        )
    save_annotations(Annotations("made up", videos, ("a",)), tmp_path / "annotations.json")
    return tmp_path


@pytest.mark.slow
def test_a_finished_run_is_not_done_again(
    scripts: tuple[ModuleType, ModuleType, ModuleType], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, _, family = scripts
    options = family_options(set=[f"features.channels={CHANNELS}"])
    settings = family.settings(["gmg", "sgp"], ["trident"], options)
    place, out = runs.Data(data / "annotations.json"), data / "out"
    first = list(runs.outcomes(settings, [0, 1], place, out))
    assert [(run.setting, run.seed) for run in first] == [
        ("gmg+trident", 0), ("sgp+trident", 0), ("gmg+trident", 1), ("sgp+trident", 1),
    ]  # fmt: skip
    assert all(run.steps == 1 and run.training_seconds > 0 and 0 <= run.average <= 1 for run in first)
    (out / "sgp+trident" / "seed-1" / "result.json").unlink()
    capsys.readouterr()
    again = list(runs.outcomes(settings, [0, 1], place, out))
    assert capsys.readouterr().err.count("note: run ") == 1
    assert again[:3] == first[:3] and again[3].average == first[3].average
    changed = [replace(setting, overrides={**setting.overrides, "training.crops": 2}) for setting in settings[:1]]
    assert [run.steps for run in runs.outcomes(changed, [0], place, out)] == [3], "another setting is another run"


def test_tables_hold_means_and_deviations(scripts: tuple[ModuleType, ModuleType, ModuleType], data: Path) -> None:
    runs, published, family = scripts
    tiou = dict.fromkeys(published.TIOU, 0.5)
    outcomes = [
        runs.Outcome(name, seed, {}, average, tiou, 880_000, 1500, 178.0, 10.0)
        for name in ("tridet", "sgp+trident", "gmg+cltdr")
        for seed, average in enumerate((0.58, 0.62) if name != "gmg+cltdr" else (0.61, 0.60))
    ]
    text = published.report(outcomes, ["tridet"])
    assert "| TriDet: ours, 2 seeds | 0.88 M | 50.0 ± 0.0 |" in text and "| 60.0 ± 2.8 | 178 | 10 | 2.00 |" in text
    assert "| published code |  | 61.8 | 61.0 | 59.9 | 58.0 | 55.7 | 59.3 | 356 | 21 | 1 |" in text
    text = family.report(outcomes[2:], ["gmg", "sgp"], ["trident", "cltdr"])
    assert "| gmg |  | 60.5 ± 0.7 (178 s) |" in text and "| sgp | 60.0 ± 2.8 (178 s) |  |" in text
    assert "| CLTDR-GMG over TriDet | 60.5 ± 0.7 | 60.0 ± 2.8 | +0.5 | 1 of 2 |" in text


def test_every_seed_holds_out_another_part(scripts: tuple[ModuleType, ModuleType, ModuleType], tmp_path: Path) -> None:
    runs = scripts[0]
    labels = {"a": "x", "b": "x", "c": "only here", "d": "x", "e": "x"}
    videos = {
        name: VideoAnnotation(name, "training", 9.0, 30.0, (GroundTruth(label, 1.0, 3.0),))
        for name, label in labels.items()
    }
    save_annotations(Annotations("", videos, ("only here", "x")), tmp_path / "all.json")
    whole, data = runs.Data(tmp_path / "all.json"), runs.Data(tmp_path / "all.json", None, 2)
    assert whole.for_seed(1, tmp_path) == tmp_path / "all.json"
    held = [
        [video.name for video in load_annotations(data.for_seed(seed, tmp_path / str(seed))).of("validation")]
        for seed in range(3)
    ]
    assert held == [["a", "d"], ["b", "e"], ["a", "d"]], "the only video of a label is needed to learn from"


def test_published_models_fit_a_derived_recipe(scripts: tuple[ModuleType, ModuleType, ModuleType]) -> None:
    runs, _, family = scripts
    recipe = derive_recipe("mine", load_recipe("camera").features, DataShape((5.0, 30.0), (300, 500)), 2)
    for changes in family.PUBLISHED.values():
        TemporalDetector.from_recipe(override(recipe, {**changes, "model.width": 32, "model.head_width": 32}))
    outcomes = [
        runs.Outcome("TriDet", seed, {}, average, {"0.3": 0.5}, 880_000, 1500, 178.0, 10.0)
        for seed, average in enumerate((0.58, 0.62))
    ]
    assert "| TriDet | 60.0 ± 2.8 | 50.0 ± 0.0 | 0.88 M | 178 s |" in family.report_published(outcomes)
