"""Dense passes give the rows that one pass over the whole video gives, wherever its chunks begin and end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.backbones.blueprint import DenseBlueprint
from tal_cli.extractors.backbones.i3d.folded import DenseI3d, folded
from tal_cli.extractors.backbones.i3d.network import InceptionI3d
from tal_cli.extractors.backbones.i3d.packaged import from_jax
from tal_cli.extractors.backbones.windowed import DenseBackbone
from tal_cli.extractors.catalog import find
from tal_cli.extractors.errors import SettingsError
from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks, with_context
from tal_cli.extractors.extraction.extractor import extract_features, window_times
from tal_cli.extractors.extraction.forward import ForwardPasses
from tal_cli.extractors.features.contract import FeatureContract

STEP = 8


class Neighbours(nn.Module):
    """[1, C, N, h, w] -> [1, C, N / 8]: means over 24 frames, 8 of them the row's own, with zeros beyond the ends."""

    def forward(self, frames: Tensor) -> Tensor:
        brightness = frames.mean((3, 4))
        return F.avg_pool1d(F.pad(brightness, (STEP, STEP)), 3 * STEP, stride=STEP)


class Sums(nn.Module):
    """[1, C, N, h, w] -> [1, C, N]: sums over a frame and `reach` on either side, with zeros beyond the ends."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, frames: Tensor) -> Tensor:
        width = 2 * self.reach + 1
        return F.avg_pool1d(F.pad(frames.mean((3, 4)), (self.reach, self.reach)), width, stride=1) * width


def contract_of(**changes: object) -> FeatureContract:
    entry = find("i3d-rgb-dense").contract
    return replace(entry, resize="none", channels=3, sampling_rate=None, **changes)  # type: ignore[arg-type]


def chunked(contract: FeatureContract, per_pass: int, overlap: int) -> FeatureContract:
    return replace(contract, chunk=overlap + per_pass * contract.stride, overlap=overlap)


def backbone(contract: FeatureContract, per_pass: int) -> DenseBackbone:
    return DenseBackbone(chunked(contract, per_pass, 32), Neighbours(), step=STEP, window_bytes=1 << 20)


@settings(max_examples=30, deadline=None)
@given(windows=st.integers(1, 40), per_pass=st.integers(1, 9))
def test_rows_are_those_of_one_pass_over_everything(windows: int, per_pass: int) -> None:
    contract = contract_of()
    frames = torch.rand(contract.window + (windows - 1) * STEP, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    times = torch.arange(len(frames), dtype=torch.float64)
    some = backbone(contract, per_pass)
    rows = []
    for first in range(0, windows, per_pass):
        count = min(per_pass, windows - first)
        chunk = slice(first * STEP, first * STEP + contract.window + (count - 1) * STEP)
        rows.append(some(frames[chunk], times[chunk]))
    whole = Neighbours()(frames.transpose(0, 1)[None])[0].T[some.margin : -some.margin]
    torch.testing.assert_close(torch.cat(rows), whole)


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 40), per_pass=st.integers(1, 9), context=st.integers(1, 5), pieces=st.integers(1, 5))
def test_with_context_every_frame_has_a_row(frames: int, per_pass: int, context: int, pieces: int) -> None:
    """One row per frame, of it and those around it, with the first and last repeated beyond the ends."""
    contract = contract_of(window=1, stride=1)
    values = torch.arange(frames, dtype=torch.float32).square()
    video = PreparedFrames(values[:, None, None, None].expand(-1, 3, 2, 2), np.arange(frames) / 10.0)
    some = DenseBackbone(chunked(contract, per_pass, 2 * context), Sums(context), step=1, window_bytes=1)
    passes = ForwardPasses(some, torch.device("cpu"))
    step = -(-frames // pieces)
    chunks = [video[first : first + step] for first in range(0, frames, step)]
    blocks = list(window_blocks(with_context(chunks, passes.context), passes.grid, passes.windows_per_block))
    rows = torch.cat([torch.from_numpy(passes.forward(block).wait()) for block in blocks])
    around = torch.arange(-context, context + 1)
    wanted = values[(torch.arange(frames)[:, None] + around).clamp(0, frames - 1)].sum(1)
    torch.testing.assert_close(rows[:, 0], wanted)
    times = [window_times(block.times, passes.grid, passes.grid.count(len(block.times)), 10.0) for block in blocks]
    np.testing.assert_allclose(np.concatenate(times), (np.arange(frames) + 0.5) * (0.1 if frames > 1 else 0.04))


@pytest.mark.parametrize("count", [1, 39, 40, 47, 48, 203])
def test_a_video_has_the_rows_of_its_windows_whatever_the_batch_size(
    tmp_path: Path, encode: Callable[..., Path], count: int
) -> None:
    pictures = np.random.default_rng(count).integers(0, 255, (count, 32, 32, 3), dtype=np.uint8)
    video = encode(tmp_path / "clip.mp4", pictures)
    contract = contract_of()
    found = [extract_features(video, backbone(contract, 3), batch_size=size) for size in (1, "auto")]
    assert found[0].features.shape == (max(0, count - contract.window) // STEP + 1, 3)
    np.testing.assert_array_equal(found[0].features, found[1].features)


def test_contracts_that_no_pass_can_give_are_refused() -> None:
    blueprint = DenseBlueprint(lambda contract: Neighbours(), STEP, 1)
    unfit = ({"stride": 4}, {"window": 48}, {"overlap": 24}, {"overlap": 16}, {"chunk": 100}, {"chunk": 32})
    for changes in unfit:
        with pytest.raises(ValueError, match=next(iter(changes))):
            blueprint.networks(contract_of(**changes))
    with pytest.raises(ValueError, match="has none"):
        blueprint.networks(contract_of(chunk=None, overlap=None))
    with pytest.raises(ValueError, match="there are none"):
        contract_of(chunk=None)
    with pytest.raises(SettingsError, match="chunk cannot be set"):
        find("i3d-rgb").contract_with({"chunk": 96})
    with pytest.raises(SettingsError, match="100 frames at once"):
        create_backbone("transnetv2", {}, {"chunk": 102})
    with pytest.raises(SettingsError):
        find("i3d-rgb-dense").contract_with({"flow": "tvl1"})
    with pytest.raises(SettingsError, match="frames of 48x27 pixels"):
        create_backbone("transnetv2", {}, {"resize": "area 96x54"})


def test_the_rows_of_i3d_are_means_over_its_positions() -> None:
    torch.manual_seed(0)
    network = InceptionI3d(3).eval()
    frames = torch.rand(1, 3, 16, 64, 64)
    with torch.inference_mode():
        rows = DenseI3d(folded(network))(frames)
        whole = frames
        for name, block in network.named_children():
            whole = block(network_pool(whole, name))
    assert rows.shape == (1, 1024, 2)
    torch.testing.assert_close(rows, whole.mean((3, 4)), rtol=1e-4, atol=1e-5)


def network_pool(features: Tensor, name: str) -> Tensor:
    from tal_cli.extractors.backbones.i3d.network import POOLS, pool

    return pool(features, *POOLS[name], fixed=False) if name in POOLS else features


def test_arrays_of_a_package_become_tensors_under_released_names(tmp_path: Path) -> None:
    import pickle

    unit = {"Conv_0": {"kernel": np.arange(6.0, dtype=np.float32).reshape(1, 1, 1, 2, 3)}}
    norm = {"BatchNorm_0": {"bias": np.ones((1, 1, 1, 1, 3), np.float32)}}
    content = {
        "params": {"Mixed_3b": {"Branch_1/Conv3d_0b_3x3": unit | norm}},
        "batch_stats": {"Mixed_3b": {"Branch_1/Conv3d_0b_3x3": {"BatchNorm_0": {"var": np.full(3, 2, np.float32)}}}},
    }
    file = tmp_path / "weights.ckpt"
    file.write_bytes(pickle.dumps(content))
    state = from_jax(file)
    assert state["Mixed_3b.b1b.conv3d.weight"].flatten(1).tolist() == [[0, 3], [1, 4], [2, 5]]  # [out, in]
    assert state["Mixed_3b.b1b.bn.weight"].tolist() == [1, 1, 1]
    assert state["Mixed_3b.b1b.bn.running_var"].tolist() == [2, 2, 2]
    content["params"]["Mixed_3b"]["Branch_1/Conv3d_0b_3x3"]["Other"] = {"kernel": np.ones(1, np.float32)}
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="not an array of I3D"):
        from_jax(file)
