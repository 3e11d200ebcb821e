"""Training with the backbone, from videos to segments."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import tiny_dense
import torch
import yaml
from safetensors.torch import load_file

from tal_cli.extractors.errors import InputError, SettingsError, UsageError
from tal_cli.extractors.tuning.backbone import TunedBackbone, Tuning, tuned_backbone
from tal_cli.models.recipe.backbone import BackboneConfig
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.training.batches import Batch
from tal_cli.training.options import TrainingOptions
from tal_cli.training.prepare import prepare, videos_to_tune_on
from tal_cli.training.tuning.augmentation import augmented, may_mirror
from tal_cli.training.tuning.tuner import Tuner

SETTINGS = [
    "model.width=16",
    "model.head_width=16",
    "model.encoder.mlp_width=16",
    "training.crops=1",
    "training.warmup_epochs=1",
    "training.learning_rate=0.003",
    "backbone.window=64",
    "backbone.learning_rate=0.003",
    "backbone.crop_area=[0.7, 1.0]",
]
SPANS = {"a": (4, 8), "b": (6, 11), "e": (5, 9), "f": (3, 8)}
SECONDS = 16


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, annotations, and frozen features."""
    folder = tmp_path_factory.mktemp("material")
    (folder / "videos").mkdir()
    (folder / "features").mkdir()
    database = {}
    for number, (name, span) in enumerate(SPANS.items()):
        tiny_dense.write_video(folder / "videos" / f"{name}.mp4", tiny_dense.moving_frames(SECONDS, span, number))
        subset = "training" if number < 2 else "validation"
        annotation = {"label": "wave", "segment": list(map(float, span))}
        database[name] = {"subset": subset, "duration": float(SECONDS), "fps": 8.0, "annotations": [annotation]}
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAL_HOME", str(folder / "home"))
        tiny_dense.install(patch)
        tiny_dense.extract(folder / "videos", folder / "features")
    return folder


@pytest.fixture
def data(tmp_path: Path, material: Path, run: Callable, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with links to the material, and the extractor."""
    tiny_dense.install(monkeypatch)
    for name in ("videos", "features", "annotations.json"):
        (tmp_path / name).symlink_to(material / name)
    return tmp_path


def train(run: Callable, data: Path, out: str, *more: object) -> object:
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    options = ("--dataset", data / "annotations.json", "--output", data / out, "--epochs", "2", *sets)
    return run("train", *options, "--device", "cpu", "--threads", "1", *more)


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["adapter", "side", "full"])
def test_a_run_holds_what_was_trained_and_detects_from_video(run: Callable, data: Path, tuning: str) -> None:
    done = train(run, data, "out", "--end-to-end", "--set", f"backbone.tuning={tuning}")
    assert done.code == 0, done.err
    assert "/videos/e.mp4" in done.err and "/features/e.npy" not in done.err  # in the commands to run next
    state = load_file(data / "out" / "backbone.safetensors")
    prefix = "network.blocks.2." if tuning == "full" else "adapters."
    assert state and all(name.startswith(prefix) for name in state)
    blocks = {"adapter": 3, "side": 1}
    if tuning != "full":
        assert len({name.split(".")[1] for name in state}) == blocks[tuning]
        assert all(state[name].abs().max() > 0 for name in state if name.endswith("up_proj.weight"))
    recipe = yaml.safe_load((data / "out" / "recipe.yaml").read_text())
    base, own = recipe["features"]["weights_sha256"].split("+")
    assert len(base) == len(own) == 64
    assert recipe["features"]["chunk"] == 64 and recipe["backbone"]["chunk"] == 16
    files = [data / "videos" / f"{name}.mp4" for name in "ef"]
    found = run("detect", *files, "--model", data / "out", "--min-score", "0", "-f", "json", "-o", data / "found.json")
    assert found.code == 0, found.err
    judged = run(
        "eval", data / "found.json", "--annotations", data / "annotations.json", "--subset", "validation", "-f", "json"
    )
    lines = [json.loads(line) for line in (data / "out" / "metrics.jsonl").read_text().splitlines()]
    recorded = [line["evaluation"]["average"] for line in lines if "evaluation" in line][-1]
    assert judged.code == 0, judged.err
    assert json.loads(judged.out)["average"] == pytest.approx(recorded, abs=1e-9)


def tuner_of(
    data: Path,
    out: str,
    sets: Mapping[str, object] = MappingProxyType({}),
    videos: Path | None = None,
    **backbone: object,
) -> Tuner:
    """What trains the backbone on the material, with a stirred adapter."""
    settings = dict(part.split("=", 1) for part in SETTINGS if not part.startswith("backbone"))
    overrides = parse_overrides([f"{key}={value}" for key, value in settings.items()])
    sets = {**sets, **{f"backbone.{key}": value for key, value in backbone.items()}}
    options = TrainingOptions(
        dataset=str(data / "annotations.json"),
        output=data / out,
        end_to_end=True,
        videos=videos,
        device="cpu",
        overrides={**overrides, "backbone.window": 64, **sets},
    )
    prepared = prepare(options)
    assert prepared.frames is not None
    tuner = Tuner(prepared.recipe, prepared.labels, prepared.videos, prepared.frames, prepared.device)
    torch.manual_seed(0)
    for value in tuner.parameters:
        torch.nn.init.normal_(value, std=0.3)
    return tuner


PLAIN = {"crop_area": None, "flip": False, "colour": 0.0, "drop_path": 0.0}


@pytest.mark.parametrize("tuning", ["adapter", "side", "full"])
def test_rows_of_what_was_kept_are_those_computed_from_frames(
    data: Path, tuning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In detection; and in training, all rows of a crop, with the same gradients as from frames."""
    whole = tuner_of(data, "whole", tuning=tuning, **PLAIN)
    kept = tuner_of(data, "kept", tuning=tuning, variants=1, **PLAIN)
    video = whole.videos["a"]
    whole.backbone.eval()
    wanted = whole.with_own_features(video, "fp32").sequence.features
    for _ in range(2):  # the second time from disk alone
        kept.backbone.eval()
        np.testing.assert_allclose(
            kept.with_own_features(video, "fp32").sequence.features, wanted, rtol=2e-3, atol=2e-3
        )
        monkeypatch.setattr(kept.backbone, "begin", None)
    start, length = 10, 36  # of passes of 24 rows
    mask = torch.arange(64)[None] < length
    batch = Batch(("a",), (start,), torch.zeros(1, 64, 16), mask, [], [])
    rows = kept.rows(batch, (0, 0))
    np.testing.assert_allclose(rows[0, :length].detach(), wanted[start : start + length], rtol=2e-3, atol=2e-3)
    assert rows[0, length:].eq(0).all()
    rows.sum().backward()
    backbone = whole.backbone.train()
    frames = whole._augmented("a", 0, 64, 16, None)
    rows = torch.cat([backbone(frames[first : first + 64], torch.zeros(64)) for first in (0, 48)])
    rows[start : start + length].sum().backward()
    for ours, theirs in zip(kept.parameters, whole.parameters, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=5e-3, atol=5e-3 * float(theirs.grad.abs().max()))


def test_resampled_rows_are_those_of_the_whole_video_resampled(data: Path) -> None:
    """Whether the rows of a step are computed from frames, here all of them, or from what is kept."""
    resample = {"model.resample": True, "model.pad_length": 40, "training.max_length": 40}
    mask = torch.arange(40)[None] < 20
    batch = Batch(("a",), (15,), torch.zeros(1, 40, 16), mask, [], [])
    for variants in (None, 1):
        tuner = tuner_of(data, f"out{variants}", resample, window=128, variants=variants, **PLAIN)
        video = tuner.videos["a"]
        assert video.length == 40 and video.resampling is not None
        native = tuner.with_own_features(video, "fp32").sequence.features
        assert len(native) == 64
        wanted = video.resampling.features(torch.from_numpy(native))[15:35]
        rows = tuner.rows(batch, (0, 0))[0]
        torch.testing.assert_close(rows[:20].detach(), wanted, rtol=1e-4, atol=1e-4)
        rows.sum().backward()
        assert all(value.grad is not None for value in tuner.parameters)


def test_augmented_forms_are_kept_and_some_passes_learn(data: Path) -> None:
    """Two forms of two passes of a video, and one of the passes learns."""
    tuner = tuner_of(data, "kept", variants=2, learning_passes=0.4, drop_path=0.0)
    mask = torch.ones(1, 48, dtype=torch.bool)
    batch = Batch(("a",), (0,), torch.zeros(1, 48, 16), mask, [], [])
    forms = set()
    for step in range(8):
        rows = tuner.rows(batch, (0, step))[0]
        learning = []
        for part in (rows[:24], rows[24:]):
            (gradient,) = torch.autograd.grad(part.sum(), tuner.parameters[0], retain_graph=True)
            learning.append(bool(gradient.ne(0).any()))
        assert sorted(learning) == [False, True]
        forms.add(tuple(rows[:, 0].tolist()))
    assert len(forms) == 2
    assert len(list((data / "kept" / "state" / "kept").iterdir())) == 4


def test_what_is_kept_is_of_these_videos_and_settings_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another network, version or video makes its own; a damaged file is made again; a full disk is said."""
    tuner = tuner_of(data, "out", variants=1, **PLAIN)
    folder = data / "out" / "state" / "kept"
    rows = tuner._pass("a", 0, None)
    (file,) = folder.iterdir()
    for content in (file.read_bytes()[:-9], b"", b"nothing of the kind"):
        file.write_bytes(content)
        torch.testing.assert_close(tuner._pass("a", 0, None), rows)
    assert len(list(folder.iterdir())) == 1
    tuner.config = tuner.config.model_copy(update={"chunk": 32})  # within which attention stays, in passes as long
    tuner._pass("a", 0, None)
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr("tal_cli.training.tuning.kept.__version__", "other")
    tuner._pass("a", 0, None)
    assert len(list(folder.iterdir())) == 3
    frames = replace(tuner.frames, paths={"a": data / "videos" / "b.mp4"})
    np.testing.assert_array_equal(frames.all("a"), tuner.frames.all("b"))
    tuner.frames = frames
    tuner._pass("a", 0, None)
    assert len(list(folder.iterdir())) == 4

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        tuner._pass("a", 1, None)
    assert len(list(folder.iterdir())) == 4
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        tuner_of(data, "other")
    assert list((data / "other" / "state" / "frames").iterdir()) == []


@pytest.mark.slow
def test_videos_that_are_not_those_of_the_features_are_said(data: Path) -> None:
    (data / "videos").unlink()
    (data / "videos").mkdir()
    for name, seconds in {"a": SECONDS, "b": SECONDS, "e": 9, "f": SECONDS}.items():
        tiny_dense.write_video(data / "videos" / f"{name}.mp4", tiny_dense.moving_frames(seconds, (1, 2), 0))
    with pytest.raises(InputError, match=r"videos/e.mp4: its 72 frames make 36 rows of features, and .* has 64"):
        tuner_of(data, "third", videos=data / "videos")


@pytest.mark.slow
@pytest.mark.parametrize("keeping", [(), ("--set", "backbone.variants=2")])
def test_a_resumed_run_is_the_uninterrupted_one(run: Callable, data: Path, keeping: tuple[str, ...]) -> None:
    assert train(run, data, "whole", "--end-to-end", *keeping).code == 0
    import tal_cli.training.trainer as trainer

    save, count = trainer.Trainer.save, 0

    def once(self: trainer.Trainer) -> None:
        nonlocal count
        save(self)
        count += 1
        if count == 2:
            raise KeyboardInterrupt

    trainer.Trainer.save = once  # type: ignore[method-assign]
    try:
        assert train(run, data, "parts", "--end-to-end", *keeping).code != 0
    finally:
        trainer.Trainer.save = save  # type: ignore[method-assign]
    assert train(run, data, "parts", "--end-to-end", "--resume", *keeping).code == 0
    for file in ("model.safetensors", "backbone.safetensors"):
        assert (data / "whole" / file).read_bytes() == (data / "parts" / file).read_bytes()


TWO_PROCESSES = """
import sys, pytest, tiny_dense
from tal_cli.app import run
tiny_dense.install(pytest.MonkeyPatch())
sys.exit(run(sys.argv[1:]))
"""


def curve(metrics: Path) -> tuple[list[tuple[float, float]], float]:
    """Loss and norm of the gradient at every step, and the last average mAP."""
    *steps, last = (json.loads(line) for line in metrics.read_text().splitlines())
    return [(step["total"], step["gradient_norm"]) for step in steps], last["evaluation"]["average"]


@pytest.mark.slow
def test_passes_and_processes_add_up_to_the_batch(run: Callable, data: Path) -> None:
    """With the same random windows, colours and dropped branches."""
    more = ("--end-to-end", "--set", "backbone.drop_path=0.4", "--videos", data / "videos")
    assert train(run, data, "whole", *more).code == 0
    assert train(run, data, "parts", *more, "--set", "training.accumulate=2").code == 0
    (data / "start.py").write_text(TWO_PROCESSES)
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", data / "start.py")
    support = {**os.environ, "PYTHONPATH": str(Path(tiny_dense.__file__).parent)}

    def together(*words: object) -> None:
        subprocess.run(list(map(str, (*launch, *words))), check=True, env=support)

    train(together, data, "two", *more)
    (whole, best), *others = (curve(data / out / "metrics.jsonl") for out in ("whole", "parts", "two"))
    assert len(whole) == 3
    for losses, average in others:
        np.testing.assert_allclose(losses, whole, rtol=1e-4)
        assert average == pytest.approx(best, abs=0.02)
    assert json.loads((data / "two" / "run.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_what_cannot_be_trained_is_said_before(run: Callable, data: Path) -> None:
    (data / "empty").mkdir()
    missing = train(run, data, "out", "--end-to-end", "--videos", data / "empty")
    assert missing.code == 4 and "no video file of a, b, e, f in" in missing.err
    idle = train(run, data, "out", "--videos", data / "videos")
    assert idle.code == 2 and "add --end-to-end" in idle.err
    unknown = train(run, data, "out", "--end-to-end", "--set", "backbone.blok=1")
    assert unknown.code == 2 and "backbone.blok" in unknown.err
    both = train(run, data, "out", "--end-to-end", "--set", "backbone.tuning=frozen")
    assert both.code == 2 and "--set backbone.tuning=frozen does not" in both.err
    other = train(run, data, "out", "--end-to-end", "--set", "backbone.blocks=9")
    assert other.code == 2 and "the network has 3" in other.err
    assert not (data / "out").exists()


@pytest.mark.slow
def test_features_of_a_trained_backbone_serve_its_own_model_alone(run: Callable, data: Path) -> None:
    assert train(run, data, "out", "--end-to-end", "--epochs", "1").code == 0
    done = run("extract-features", data / "videos" / "a.mp4", "--model", data / "out", "-o", data / "more")
    assert done.code == 2 and "its backbone was trained with it" in done.err
    frozen = run("detect", data / "features" / "e.npy", "--model", data / "out")
    assert frozen.code == 2 and "weights_sha256" in frozen.err and "give the video" in frozen.err
    (data / "out" / "backbone.safetensors").write_bytes(b"nothing")
    broken = run("detect", data / "videos" / "e.mp4", "--model", data / "out")
    assert broken.code == 2 and "backbone.safetensors" in broken.err


def test_features_of_no_backbone_are_said() -> None:
    recipe = override(load_recipe("adatad-thumos-s"), {"features.extractor": "skeletons"})
    options = TrainingOptions(dataset="annotations.json", end_to_end=True)
    with pytest.raises(UsageError, match="of 'skeletons', which is no backbone that can be trained"):
        videos_to_tune_on(recipe, [], options)


TUNING = Tuning(kind="adapter", blocks=None, reduction=4, window=64, overlap=0.25, checkpointed=True)


def test_which_backbones_can_be_trained(data: Path) -> None:
    backbone = tuned_backbone(tiny_dense.NAME, {}, TUNING)
    assert isinstance(backbone, TunedBackbone)
    assert (backbone.contract.chunk, backbone.contract.overlap, backbone.contract.rows) == (64, 16, 24)
    frames = torch.rand(40, 3, 32, 32)
    frozen = tiny_dense.create_backbone(tiny_dense.NAME)
    with torch.inference_mode():
        own = backbone.rows_of(frames)
        pieces = [frozen(frames[first : first + 16], torch.zeros(1)) for first in (0, 16, 32)]
    torch.testing.assert_close(own, torch.cat(pieces))
    with pytest.raises(SettingsError, match="only backbones that compute chunks"):
        tuned_backbone("tiny", {}, TUNING)


def test_augmentation_is_the_same_for_all_frames() -> None:
    image = torch.randint(0, 255, (1, 3, 40, 60), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    frames = image.expand(5, -1, -1, -1)
    config = BackboneConfig()
    seen = []
    for seed in range(6):
        made = augmented(frames, (32, 32), config, np.random.default_rng(seed), mirror=True)
        assert made.shape == (5, 3, 32, 32) and made.min() >= 0 and made.max() <= 255
        assert torch.equal(made[0], made[4])
        seen.append(made[0])
    assert not any(torch.equal(seen[0], other) for other in seen[1:])
    plain = BackboneConfig(crop_area=None, flip=False, colour=0.0)
    middle = augmented(frames, (32, 32), plain, np.random.default_rng(0), mirror=True)
    assert torch.equal(middle, frames[..., 4:36, 14:46].float())


def test_nothing_is_mirrored_where_labels_tell_left_from_right() -> None:
    assert may_mirror(["wave", "upright", "copyleft", "brightness"])
    for label in ("turn left", "pan-right", "turnLeft", "left_hand", "Right"):
        assert not may_mirror(["wave", label])
    frames = torch.arange(16, dtype=torch.uint8).expand(1, 3, 16, 16)
    config = BackboneConfig(crop_area=None, colour=0.0)
    flipped = [augmented(frames, (16, 16), config, np.random.default_rng(seed), mirror=True) for seed in range(9)]
    straight = [augmented(frames, (16, 16), config, np.random.default_rng(seed), mirror=False) for seed in range(9)]
    assert any(not torch.equal(one[0, 0, 0], frames[0, 0, 0].float()) for one in flipped)
    assert all(torch.equal(one[0, 0, 0], frames[0, 0, 0].float()) for one in straight)
