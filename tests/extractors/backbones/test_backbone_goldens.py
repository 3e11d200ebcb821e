"""Agreement with the published backbones, names of every published file, and the folded network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness import CASES, check_case
from harness.backbones import covers
from tal_cli.extractors.backbones import slowfast
from tal_cli.extractors.backbones.i3d import network as i3d
from tal_cli.extractors.backbones.i3d.folded import folded, quick_pool
from tal_cli.extractors.backbones.i3d.network import InceptionI3d, Triple, pads, pool
from tal_cli.selftest.formula import clip, fill, filled

BACKBONES = CASES / "backbones"
QUICK = ("raft_flow_map", "internvideo2_tiny", "tsp_r2plus1d34", "i3d_rgb", "transnetv2")
SMALL = ("vjepa2_tiny", "vjepa2_1_tiny", "vjepa2_preprocess", "videoprism_tiny", "videoprism_preprocess")
ADAPTERS = ("adatad_adapter_tiny", "adatad_side_tiny")
DENSE = ("vjepa2_1_vit_b", "vjepa2_1_vit_b_keys", "vjepa2_vit_l_depth2", "vjepa2_vit_l_keys", "videoprism_base_width")
RECIPES = {"adatad_recipe"}  # of a detector
OWN = {"transnetv2"}  # recorded for this repository


def agrees(path: Path) -> None:
    report = check_case(path)
    assert report.not_checked is None
    assert [comparison for comparison in report.comparisons if not comparison.ok] == []
    assert report.comparisons


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.slow
def test_case_agrees(name: str) -> None:
    agrees(BACKBONES / f"{name}.json")


@pytest.mark.parametrize("name", SMALL + ADAPTERS)
def test_small_case_agrees(name: str) -> None:
    agrees(BACKBONES / f"{name}.json")


@pytest.mark.parametrize("name", [*DENSE, "videoprism_keys", "adatad_keys"])
@pytest.mark.slow
def test_case_of_a_whole_dense_network_agrees(shared: Path, name: str) -> None:
    agrees(shared / "goldens" / "backbones" / "dense" / f"{name}.json")


def test_every_recorded_case_is_one_that_is_checked(shared: Path) -> None:
    folder = shared / "goldens" / "backbones"
    paths = sorted(
        [*folder.glob("*.json"), *(path for path in folder.glob("dense/*.json") if path.stem not in RECIPES)]
    )
    assert {path.stem for path in BACKBONES.glob("*.json")} - OWN < {path.stem for path in paths}
    assert [path.stem for path in paths if not covers(path)] == []


@pytest.mark.slow
def test_another_weight_input_or_output_is_noticed(tmp_path: Path) -> None:
    for path in BACKBONES.glob("internvideo2_tiny.*"):
        shutil.copyfile(path, tmp_path / path.name)
    path = tmp_path / "internvideo2_tiny.json"
    facts = json.loads(path.read_text())
    changes: list[tuple[str, object, str]] = [
        ("fill_seed", 1, "block"),
        ("input", {**facts["input"], "uint8_frames": {**facts["input"]["uint8_frames"], "sha256": "0"}}, "frames"),
        ("input", {**facts["input"], "sum": facts["input"]["sum"] + 10}, "input"),
    ]
    for key, value, off in changes:
        path.write_text(json.dumps({**facts, key: value}))
        assert any(off in comparison.tensor for comparison in check_case(path).comparisons if not comparison.ok)


def test_what_is_no_case_is_not_checked(tmp_path: Path) -> None:
    for text in ("{", "[]", "{}"):
        (tmp_path / "case.json").write_text(text)
        assert not covers(tmp_path / "case.json")
        assert check_case(tmp_path / "case.json").not_checked is not None


@pytest.mark.parametrize(
    ("case", "key", "translate"),
    [
        ("i3d_vf_flow", "key_map_to_pytorch_i3d", i3d.translate),
        ("slowfast_r50_8x8_pytorchvideo", "key_map_to_pyslowfast", slowfast.translate),
        ("slowfast_r50_4x16", "caffe2_blob_to_key", slowfast.translate),
    ],
)
def test_names_of_other_files_of_the_same_network(shared: Path, case: str, key: str, translate: object) -> None:
    facts = json.loads((shared / "goldens" / "backbones" / f"{case}.json").read_text())
    assert facts[key]
    for theirs, ours in facts[key].items():
        assert translate(theirs) == ours  # type: ignore[operator]
        assert translate(ours) == ours  # type: ignore[operator]


def test_the_formula() -> None:
    weight = fill("features.stem.0.weight", (45, 3, 1, 7, 7))
    assert weight.dtype == torch.float32
    assert float(weight.abs().max()) <= (6 / 147) ** 0.5
    assert not fill("a.num_batches_tracked", ()).is_floating_point()
    assert torch.equal(fill("x.weight", (600_000,))[:9], fill("x.weight", (9,)))  # in pieces or at once
    assert not torch.equal(fill("x.bias", (4,), seed=1), fill("x.bias", (4,)))
    assert clip(2, 3, 4, 2, seed=1).shape == (2, 3, 4, 2)
    assert filled(nn.BatchNorm1d(3))["running_var"].min() >= 1


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("size", [(17, 60, 75), (10, 33, 100)])
def test_folding_changes_nothing(size: Triple, fixed: bool) -> None:
    network = InceptionI3d(3, eps=1e-3, fixed=fixed)
    network.load_state_dict(filled(network))
    network.eval().requires_grad_(False)
    windows = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        plain, quick = network(windows), folded(network)(windows)
    assert float((plain - quick).norm() / plain.norm()) < 1e-6


def test_folding_is_for_evaluation_only() -> None:
    with pytest.raises(AssertionError):
        folded(InceptionI3d(3))


SIZES = st.tuples(st.integers(1, 3), *[st.integers(2, 9)] * 4)
KERNELS = st.tuples(*[st.integers(1, 3)] * 3)


@given(SIZES, KERNELS, st.tuples(*[st.integers(1, 2)] * 3), st.booleans())
@settings(max_examples=80)
def test_a_pool_axis_by_axis_is_the_pool(size: tuple[int, ...], kernel: Triple, stride: Triple, fixed: bool) -> None:
    kernel = tuple(map(max, kernel, stride))  # type: ignore[assignment]
    features = torch.rand(size, generator=torch.Generator().manual_seed(sum(size)))
    around = pads(features.shape, kernel, stride, fixed)
    if any(length + sum(pair) < window for length, pair, window in zip(size[2:], around, kernel, strict=True)):
        return
    assert torch.equal(quick_pool(features, kernel, stride, fixed), pool(features, kernel, stride, fixed))
