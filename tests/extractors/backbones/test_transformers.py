"""VideoMAE V2 and InternVideo2: recorded cases, published files of every kind, and what their contracts may ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.backbones import check_case
from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.backbones.vit.internvideo2 import (
    FRAMES,
    ONE_BILLION,
    SIX_BILLION,
    InternVideo2,
    InternVideo2Shape,
    released,
    stretch_positions,
)
from tal_cli.extractors.backbones.vit.layers import PatchEmbed, without_prefixes
from tal_cli.extractors.backbones.vit.videomae import S as SMALL
from tal_cli.extractors.backbones.vit.videomae import VideoMAE, VideoMAEShape, sine_table
from tal_cli.extractors.catalog import find
from tal_cli.extractors.errors import WeightsError
from tal_cli.extractors.extraction.precision import cast_weights, precision
from tal_cli.extractors.files.weights import file_sha256, load_state, read_state
from tal_cli.selftest.formula import clip, filled

SHAPE = VideoMAEShape(48, 2, 3, 96, patch=16)
INTERN = InternVideo2Shape(64, 3, 2, 128)


@pytest.mark.parametrize("case", ["videomaev2_tiny", "videomaev2_vit_g_depth2", "internvideo2_6b_keys"])
@pytest.mark.slow
def test_recorded_cases(shared: Path, case: str) -> None:
    report = check_case(shared / "goldens" / "backbones" / f"{case}.json")
    assert report.not_checked is None
    assert [comparison for comparison in report.comparisons if not comparison.ok] == []
    assert report.comparisons


@pytest.fixture(scope="module")
def small_state() -> dict[str, Tensor]:
    """Seeded weights of ViT-S."""
    with torch.device("meta"):
        (network,) = SMALL.networks(find("videomaev2-s").contract)
    return filled(network)


@pytest.mark.parametrize("kind", ["bare", "model", "module", "distributed", "half", "safetensors"])
def test_every_form_of_the_file_is_read(kind: str, small_state: dict[str, Tensor], tmp_path: Path) -> None:
    heads = {"head.weight": torch.zeros(710, 384), "head.bias": torch.zeros(710)}
    path, content = tmp_path / "weights.pth", dict(small_state | heads)
    if kind == "safetensors":
        from safetensors.torch import save_file

        path = tmp_path / "weights.safetensors"
        save_file({f"model.{key}": value for key, value in content.items()}, path)
    elif kind == "half":
        torch.save({"module": {key: value.half() for key, value in content.items()}}, path)
    elif kind == "distributed":
        torch.save({"model": {f"module.{key}": value for key, value in content.items()}, "epoch": 5}, path)
    else:
        torch.save(content if kind == "bare" else {kind: content}, path)
    backbone = create_backbone("videomaev2-s", path)
    assert backbone.contract.weights_sha256 == file_sha256(path)
    loaded = backbone.network.state_dict()  # type: ignore[attr-defined]
    assert loaded.keys() == small_state.keys()
    for key, value in small_state.items():
        assert torch.equal(loaded[key], value.half().float() if kind == "half" else value)


def test_a_file_of_another_size_is_rejected_by_name(small_state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"blocks\.0\.attn\.proj\.bias is \[384\], not \[768\]"):
        create_backbone("videomaev2-b", [small_state])
    fewer = {key: value for key, value in small_state.items() if not key.startswith("blocks.7.attn.q_bias")}
    with pytest.raises(WeightsError, match=r"blocks\.7\.attn\.q_bias is missing"):
        create_backbone("videomaev2-s", [fewer])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("videomaev2-s", {"window": 15}),
        ("videomaev2-s", {"resize": "bilinear 100x100"}),
        ("videomaev2-s", {"resize": "bilinear short 224"}),
        ("videomaev2-s", {"layer": "another"}),
        ("internvideo2-1b", {"window": 8}),
        ("internvideo2-1b", {"layer": "block -8, tanh GELU"}),
        ("internvideo2-1b", {"crop": "center 196x196"}),
    ],
)
def test_what_a_network_cannot_do_is_rejected(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="(?i)" + name[:5]):
        create_backbone(name, [{}], settings)


def test_a_row_per_window_also_of_other_sizes(small_state: dict[str, Tensor]) -> None:
    backbone = create_backbone("videomaev2-s", [small_state], {"window": 18, "resize": "bilinear 64x64"})
    with torch.inference_mode():
        rows = backbone(backbone.prepare(clip(22, 60, 80)), torch.arange(22) / 25)
    assert rows.shape == (2, 384)
    assert torch.isfinite(rows).all()


def test_patches_are_a_convolution() -> None:
    torch.manual_seed(0)
    embed = PatchEmbed(10, 7, 2)
    pictures = torch.rand(2, 3, 6, 21, 14)
    wanted = embed.proj(pictures).flatten(2).transpose(1, 2)
    assert torch.allclose(embed(pictures), wanted, atol=1e-5)
    shared = torch.rand(10, 3, 21, 14).unfold(0, 6, 4).permute(0, 1, 4, 2, 3)  # windows that share their frames
    assert torch.allclose(embed(shared), embed(shared.contiguous()), atol=1e-6)


def test_the_sine_table() -> None:
    table = sine_table(6, 8)
    assert table[0].tolist() == [0, 1] * 4
    assert table[5, 0] == pytest.approx(-0.95892429)
    assert table[3, 7] == pytest.approx(torch.cos(torch.tensor(3 / 10000 ** (6 / 8))).item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_networks_run_in_half_the_memory(dtype: torch.dtype) -> None:
    networks = (VideoMAE(SHAPE, size=32).eval(), InternVideo2(INTERN, size=28).eval())
    for network, size in zip(networks, (32, 28), strict=True):
        load_state(network, filled(network), "formula")
        windows = torch.rand(1, 3, 16, size, size)
        with torch.inference_mode():
            exact = network(windows)
            near = network.to(dtype)(windows)
        assert near.dtype == dtype
        assert float((near.float() - exact).norm() / exact.norm()) < 0.05


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_weights_held_in_half_the_memory_change_nothing(name: str) -> None:
    for network, size in ((VideoMAE(SHAPE, size=32).eval(), 32), (InternVideo2(INTERN, size=28).eval(), 28)):
        load_state(network, filled(network), "formula")
        windows = torch.rand(2, 3, 16, size, size)
        with torch.inference_mode():
            exact = network(windows)
            with precision(torch.device("cpu"), name):
                cast = network(windows)
            cast_weights(network, name)
            with precision(torch.device("cpu"), name):
                held = network(windows)
        assert cast.dtype == torch.float32  # what blocks add up to is kept in single precision
        assert torch.equal(held, cast)
        assert 1e-6 < float((cast - exact).norm() / exact.norm()) < 0.02


def seeded_intern(layer: int, pooling: str = "patches", gelu: str = "tanh") -> InternVideo2:
    network = InternVideo2(INTERN, layer=layer, pooling=pooling, gelu=gelu, size=28)  # type: ignore[arg-type]
    whole = filled(InternVideo2(INTERN, size=28))
    load_state(network, whole, "formula", ignored=("blocks.",))
    return network.eval()


def test_a_layer_is_that_block_and_nothing_behind_it_is_held() -> None:
    windows = torch.rand(1, 3, 16, 28, 28, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    whole = seeded_intern(-1)
    whole.blocks[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.inference_mode():
        whole(windows)
        patches, everything = seeded_intern(-2)(windows), seeded_intern(-2, "all tokens")(windows)
    assert torch.allclose(patches, seen[0][:, 1:].mean(1))
    assert torch.allclose(everything, seen[0].mean(1))
    assert len(seeded_intern(-2).blocks) == 2


def test_the_two_gelus_differ_a_little() -> None:
    windows = torch.rand(1, 3, 16, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tanh, exact = seeded_intern(-1)(windows), seeded_intern(-1, gelu="none")(windows)
    assert 1e-6 < float((tanh - exact).norm() / exact.norm()) < 1e-2


def test_positions_are_stretched_along_time_alone() -> None:
    patches, width = 4, 3
    places = torch.rand(patches, width)
    token = torch.rand(1, 1, width)
    steps = torch.arange(4.0)[:, None, None] + places  # [F, patches, width], rising evenly
    table = torch.cat([token, steps.flatten(0, 1)[None]], 1)
    longer = stretch_positions(table, 16, patches)
    assert torch.equal(longer[:, :1], token)
    rest = longer[0, 1:].unflatten(0, (16, patches)) - places
    assert torch.allclose(rest, rest[:, :1, :1].expand_as(rest), atol=1e-5)
    assert torch.allclose(rest[2:14, 0, 0], torch.linspace(0.125, 2.875, 12), atol=1e-5)
    assert torch.equal(stretch_positions(longer, 16, patches), longer)


def test_the_vision_part_of_a_larger_model_is_taken() -> None:
    state = {
        "vision_encoder.pos_embed": torch.rand(1, 1 + 4 * 256, 8),
        "vision_encoder.cls_token": torch.rand(1, 1, 8),
        "text_encoder.blocks.0.weight": torch.rand(3),
        "temp": torch.rand(1),
    }
    taken = released(state)
    assert set(taken) == {"pos_embed", "cls_token"}
    assert taken["pos_embed"].shape == (1, 1 + FRAMES * 256, 8)
    assert set(without_prefixes({"module.backbone.head.bias": torch.rand(1)})) == {"head.bias"}


def test_describing_six_billion_numbers_takes_none_of_their_memory() -> None:
    contract = find("internvideo2-6b").contract
    with torch.device("meta"):
        (network,) = SIX_BILLION.networks(contract)
    assert len(network.blocks) == 42  # type: ignore[arg-type]
    assert sum(tensor.numel() for tensor in network.parameters()) > 5e9
    assert all(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))


def private_memory() -> int:
    """Memory of this process that is not mapped from files, in bytes. Skips the test where Linux does not report it."""
    status = Path("/proc/self/status")
    if not status.is_file() or "RssAnon" not in status.read_text():
        pytest.skip("only Linux tells how much memory is a process's own")
    return int(status.read_text().split("RssAnon:")[1].split()[0]) * 1024


@pytest.mark.slow
def test_loading_a_billion_numbers_takes_none_of_their_memory(tmp_path: Path) -> None:
    contract = find("internvideo2-1b").contract
    with torch.device("meta"):
        (network,) = ONE_BILLION.networks(contract)
    header: dict[str, object] = {}
    end = 0
    for name, tensor in network.state_dict().items():
        begin, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(tmp_path / "weights.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)  # all zeros, and no room taken on the disk
    before = private_memory()
    backbone = create_backbone("internvideo2-1b", [read_state(tmp_path / "weights.safetensors")])
    assert private_memory() - before < 100e6
    assert sum(tensor.numel() for tensor in backbone.network.parameters()) > 0.8e9  # type: ignore[attr-defined]
