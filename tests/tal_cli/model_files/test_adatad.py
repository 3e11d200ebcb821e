"""AdaTAD's checkpoints: network, adapters and detector in one file, imported, run from video, written back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tiny_dense
import torch
import torch.nn.functional as F
import yaml
from small_runs import Tal
from torch import Tensor

from tal_cli.extractors.backbones.vit.videomae import sine_table
from tal_cli.extractors.catalog import find
from tal_cli.extractors.files.weights import weights_path
from tal_cli.extractors.video.stream import read_frames
from tal_cli.model_files import adatad
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.chunks import detect
from tal_cli.models.recipe.loading import load_recipe, parse_recipe
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.conversion import to_ours, to_released
from tal_cli.models.store.checkpoint import WithoutInitialisation
from tal_cli.tuned import outline_of

P = "backbone.model.backbone."
WIDTH, DEPTH, HEADS, CHUNK, READ = 16, 3, 2, 16, 60
RECIPE: dict[str, Any] = {
    "name": "small-adatad",
    "features": {
        "extractor": tiny_dense.NAME,
        "channels": WIDTH,
        "window": 1,
        "stride": 1,
        "max_rate": 7.5,
        "alignment": "start",
        "layer": "last block",
        "pooling": "mean over places",
    },
    "backbone": {"tuning": "adapter", "window": 64, "overlap": 0},
    "model": {
        "classes": 3,
        "width": 16,
        "levels": 3,
        "pad_length": 64,
        "padding": "cleared",
        "norm_epsilon": 1e-6,
        "encoder_epsilon": 1e-5,
        "encoder": {"name": "transformer", "windows": -1, "heads": 2},
        "decoder": "actionformer",
        "head_width": 16,
    },
    "inference": {
        "chunk_overlap": 32,
        "chunk_length": 64,
        "pre_nms_threshold": 0.0,
        "min_score": 0,
        "min_duration": 0,
        "max_segments": 40,
    },
}


def recipe_of(tuning: str) -> Recipe:
    return parse_recipe(yaml.safe_dump({**RECIPE, "backbone": {**RECIPE["backbone"], "tuning": tuning}}), "recipe")


def made_up(recipe: Recipe) -> dict[str, Tensor]:
    """Every tensor of the layout, by chance but for the fixed table."""
    torch.manual_seed(0)
    with WithoutInitialisation():
        outline = adatad.released(outline_of(recipe)[0].state_dict(), recipe)
    tensors = {key: torch.randn(value.shape) * 0.2 for key, value in outline.items()}
    detector = to_released(TemporalDetector.from_recipe(recipe).state_dict(), recipe.model)
    tensors |= {key: torch.randn(value.shape) * 0.3 for key, value in detector.items()}
    tensors |= {f"{P}fc_norm.{part}": torch.randn(WIDTH) for part in ("weight", "bias")}
    return tensors | {f"{P}pos_embed": sine_table(8 * 14 * 14, WIDTH)[None]}


def write(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    wrapped = {f"module.{key}": value for key, value in tensors.items()}
    worse = {key: value + 1 for key, value in wrapped.items()}
    torch.save({"epoch": 59, "state_dict": worse, "state_dict_ema": wrapped, "optimizer": {"state": {}}}, path)
    return path


def video(path: Path) -> Path:
    """Noise of 32 x 32 pixels at 30 frames per second, of which 60 frames are read."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(4 * READ):
            image = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def frames_read(path: Path) -> Tensor:
    """float [60, 3, 32, 32], normalised."""
    with read_frames(path, frame_size=lambda width, height: (width, height)) as stream:
        images = np.concatenate([chunk.frames for chunk in stream])[::4]
    values = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    return (values - mean[:, None, None]) / std[:, None, None]


def rows_of(tensors: Mapping[str, Tensor], images: Tensor, side: bool) -> Tensor:
    """AdaTAD's rows, written from its description: chunks of 16 frames, the last filled with the last frame."""
    state = {key.removeprefix(P): value.double() for key, value in tensors.items() if key.startswith(P)}
    filled = torch.cat([images, images[-1:].expand(-len(images) % CHUNK, -1, -1, -1)])
    chunks = filled.unflatten(0, (-1, CHUNK)).transpose(1, 2)
    patches = F.conv3d(
        chunks, state["patch_embed.projection.weight"], state["patch_embed.projection.bias"], (2, 16, 16)
    )
    table = state["pos_embed"].view(8, 14, 14, WIDTH).permute(0, 3, 1, 2)
    table = F.interpolate(table, (2, 2), mode="bicubic", align_corners=False).permute(0, 2, 3, 1).reshape(-1, WIDTH)
    x = patches.flatten(2).transpose(1, 2) + table

    def linear(name: str, value: Tensor) -> Tensor:
        return F.linear(value, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def adapter(name: str, value: Tensor) -> Tensor:
        narrow = F.gelu(linear(f"{name}.down_proj", value))
        times = narrow.reshape(-1, 4, narrow.shape[-1]).permute(1, 2, 0)  # places, channels, all times of the window
        weight, bias = state[f"{name}.dwconv.weight"], state[f"{name}.dwconv.bias"]
        times = F.conv1d(times, weight, bias, padding=1, groups=len(bias))
        times = F.conv1d(times, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"])
        narrow = narrow + times.permute(2, 0, 1).reshape(narrow.shape)
        return state[f"{name}.gamma"] * linear(f"{name}.up_proj", narrow)

    kept = []
    for number in range(DEPTH):
        block = f"blocks.{number}"
        bias = torch.cat([state[f"{block}.attn.q_bias"], torch.zeros(WIDTH), state[f"{block}.attn.v_bias"]])
        qkv = F.linear(norm(f"{block}.norm1", x), state[f"{block}.attn.qkv.weight"], bias)
        q, k, v = qkv.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(2, 3) / (WIDTH // HEADS) ** 0.5).softmax(-1)
        x = x + linear(f"{block}.attn.proj", (scores @ v).transpose(1, 2).flatten(2))
        hidden = F.gelu(linear(f"{block}.mlp.layers.0.0", norm(f"{block}.norm2", x)))
        x = x + linear(f"{block}.mlp.layers.1", hidden)
        if not side:
            x = x + adapter(f"{block}.adapter", x)
        kept.append(x)
    if side:  # of half of the blocks, which is the last one
        x = x + adapter("ladders.adapters.0", kept[-1])
    steps = x.unflatten(1, (8, -1)).mean(2).flatten(0, 1)
    rows = F.interpolate(steps.T[None], 2 * len(steps), mode="linear", align_corners=False)[0].T
    return rows[: len(images)].float()


@pytest.fixture
def extractor(run: Tal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extractor's name, without its weights."""
    tiny_dense.install(monkeypatch)
    weights_path(find(tiny_dense.NAME).weights[0]).unlink(missing_ok=True)


@pytest.mark.usefixtures("extractor")
@pytest.mark.parametrize("tuning", ["adapter", "side"])
def test_a_checkpoint_detects_from_video_as_computed_directly(run: Tal, tmp_path: Path, tuning: str) -> None:
    recipe, tensors = recipe_of(tuning), made_up(recipe_of(tuning))
    checkpoint = write(tmp_path / "epoch_59.pth", tensors)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    options = ("--recipe", tmp_path / "recipe.yaml", "--labels", tmp_path / "labels.txt", "--overwrite")
    added = run("models", "add", "ada", "--checkpoint", checkpoint, *options)
    assert added.code == 0, added.err
    found = run("detect", video(tmp_path / "v.mp4"), "-m", "ada", "--min-score", "0", "-f", "json")
    assert found.code == 0, found.err
    detector = TemporalDetector.from_recipe(recipe)
    detector.load_state_dict(to_ours(tensors, recipe, "file"))
    rows = rows_of(tensors, frames_read(tmp_path / "v.mp4"), tuning == "side")
    expected = detect(detector.eval(), rows, recipe)
    duration = 4 * READ / 30
    times = [np.clip(edge * 4 / 30, 0, duration) for edge in (expected.starts, expected.ends)]
    wanted = sorted(
        (round(float(start), 3), round(float(end), 3), round(float(score), 4))
        for start, end, score in zip(*times, expected.scores, strict=True)
        if end - start > 1e-3
    )
    given = sorted(
        (round(each["segment"][0], 3), round(each["segment"][1], 3), round(each["score"], 4))
        for each in json.loads(found.out)["results"]["v"]
        if each["segment"][1] - each["segment"][0] > 1e-3
    )
    assert len(given) > 5
    assert np.asarray(given) == pytest.approx(np.asarray(wanted), abs=2e-3)
    back = run("models", "export-released", "ada", "-o", tmp_path / "back.pth")
    assert back.code == 0, back.err
    state = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict_ema"]
    assert state.keys() == {f"module.{key}" for key in tensors}
    assert all(torch.equal(state[f"module.{key}"], value) for key, value in tensors.items())


@pytest.mark.usefixtures("extractor")
def test_missing_and_foreign_names_are_said(run: Tal, tmp_path: Path) -> None:
    recipe = recipe_of("adapter")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    tensors = made_up(recipe)
    gamma, table = f"{P}blocks.1.adapter.gamma", f"{P}pos_embed"
    for changed, said in (
        ({key: value for key, value in tensors.items() if key != gamma}, f"{gamma} is missing"),
        (tensors | {f"{P}blocks.3.norm1.weight": torch.ones(16)}, f"{P}blocks.3.norm1.weight is unknown"),
        (tensors | {gamma: torch.ones(2)}, f"{gamma} is [2], the recipe asks for [1]"),
        (tensors | {table: tensors[table] + 1}, f"{table} is not the fixed table of VideoMAE"),
        ({key: value for key, value in tensors.items() if not key.startswith(P)}, "is missing"),
    ):
        checkpoint = write(tmp_path / "odd.pth", changed)
        options = ("--recipe", tmp_path / "recipe.yaml", "--labels", tmp_path / "labels.txt")
        done = run("models", "add", "odd", "--checkpoint", checkpoint, *options)
        assert done.code != 0 and said in done.err


@pytest.mark.parametrize("name", [f"adatad-thumos-{size}" for size in ("s", "b", "l", "h", "g", "g-160", "g-side")])
def test_names_and_shapes_of_all_sizes(name: str, shared: Path) -> None:
    keys = json.loads((shared / "goldens" / "backbones" / "dense" / "adatad_keys.json").read_text())
    recipe = load_recipe(name)
    with WithoutInitialisation():
        found = adatad.released(outline_of(recipe)[0].state_dict(), recipe)
    shapes = {f"module.{key}": list(value.shape) for key, value in found.items()}
    size = name.split("-")[2]
    facts = keys["sizes"]["g" if size == "g" else size.upper()]
    first = facts["adapter_blocks"][0] if recipe.backbone.blocks else 0
    side = recipe.backbone.tuning == "side"
    block = f"module.{P}blocks."
    wanted = {
        f"{block}{number}.{part}": shape
        for number in range(facts["depth"])
        for part, shape in facts["block_with_adapter"].items()
        if not part.startswith("adapter.") or (number >= first and not side)
    }
    ladder = {key for key in shapes if ".ladders.adapters." in key}
    patch = {f"module.{P}patch_embed.projection.{part}" for part in ("weight", "bias")}
    assert shapes.keys() == wanted.keys() | ladder | patch
    assert all(shapes[key] == shape for key, shape in wanted.items())
    assert len(ladder) == (9 * (facts["depth"] - first) if side else 0)
    if size == "s":
        spare = {f"module.{P}pos_embed", f"module.{P}fc_norm.weight", f"module.{P}fc_norm.bias"}
        assert shapes == {key: shape for key, shape in keys["S_state_dict"].items() if key not in spare}
