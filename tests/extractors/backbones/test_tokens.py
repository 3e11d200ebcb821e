"""Networks whose every pass gives a row per time step: how many passes a video takes, and what a row is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.backbones.blueprint import build
from tal_cli.extractors.backbones.interface import Backbone, Resolved
from tal_cli.extractors.backbones.vit import videomae, videoprism, vjepa
from tal_cli.extractors.backbones.vit.tokens import TokenRows
from tal_cli.extractors.backbones.vit.videomae import DenseVideoMAE, VideoMAEShape, resized_table, sine_table
from tal_cli.extractors.backbones.vit.videoprism import VideoPrismShape
from tal_cli.extractors.backbones.vit.vjepa import VJepa2, VJepa21, VJepaShape, turn
from tal_cli.extractors.backbones.windowed import DenseBackbone, WindowedBackbone
from tal_cli.extractors.catalog import find
from tal_cli.extractors.errors import SettingsError
from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks, with_context
from tal_cli.extractors.extraction.forward import ForwardPasses
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.selftest.formula import clip, filled

TINY = VideoMAEShape(16, 2, 2, 32)
SMALL_VJEPA = VJepaShape(24, 12, 2, 48)
PRISM = VideoPrismShape(16, 1, 1, 2, 32, frames=4, places=4)


class Places(nn.Module):
    """Tokens [1, N / 2, 4, 3] of frames [1, 3, N, h, w]: the first and second frame's means, minimum and maximum."""

    calls = 0

    def forward(self, frames: Tensor) -> Tensor:
        self.calls += 1
        pairs = frames.unflatten(2, (-1, 2)).flatten(4)  # [1, 3, N / 2, 2, pixels]
        means = pairs.mean(-1)
        every = [means[..., 0], means[..., 1], pairs.amin((-1, -2)), pairs.amax((-1, -2))]
        return torch.stack(every, -1).permute(0, 2, 3, 1)


def contract_of(**changes: object) -> FeatureContract:
    base = replace(find("vjepa2-l").contract, resize="none", crop="none", value_range="0..255", channels=3)
    return replace(base, sampling_rate=None, **changes)  # type: ignore[arg-type]


def rows_of(network: nn.Module, contract: FeatureContract) -> DenseBackbone:
    assert contract.chunk is not None
    rows = TokenRows(network, chunk=contract.chunk, step=2, pooling=contract.pooling)
    return DenseBackbone(contract, rows, step=2, window_bytes=1 << 20)


def features(frames: np.ndarray, backbone: Backbone) -> np.ndarray:
    """The rows of a video of these frames, as they are extracted."""
    passes = ForwardPasses(backbone, torch.device("cpu"))
    prepared = PreparedFrames(backbone.prepare(torch.from_numpy(frames)), np.arange(len(frames)) / 25)
    blocks = window_blocks(with_context([prepared], passes.context), passes.grid, passes.windows_per_block)
    return np.concatenate([passes.forward(block).wait() for block in blocks])


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (410, 32, 32, 3), dtype=np.uint8)


def test_an_eighth_of_the_passes_of_windows_at_the_same_row_rate(pictures: np.ndarray) -> None:
    """Rows for every 4 frames: windows of 16 every 4, and chunks of 16 of every second frame."""
    network = Places()
    dense = features(pictures[::2], rows_of(network, contract_of()))

    class Windows(nn.Module):
        passes = 0

        def forward(self, windows: Tensor) -> Tensor:
            self.passes += len(windows)
            return windows.mean((2, 3, 4))

    sliding = Windows()
    contract = contract_of(window=16, stride=4, chunk=None, overlap=None)
    windows = features(pictures, WindowedBackbone(contract, sliding, window_bytes=1 << 20))
    assert len(windows) == sliding.passes == (410 - 16) // 4 + 1
    assert len(dense) == 102  # the windows' rows lack one and a half at either end
    assert network.calls == 13 == -(-len(dense) // 8)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 18, 33])
@pytest.mark.parametrize("overlap", [0, 8])
def test_a_row_is_of_its_own_frames_wherever_chunks_begin(pictures: np.ndarray, count: int, overlap: int) -> None:
    found = features(pictures[:count], rows_of(Places(), contract_of(overlap=overlap)))
    whole = rows_of(Places(), contract_of(chunk=2 * max(1, count // 2)))
    assert found.shape == (max(1, count // 2), 3)
    np.testing.assert_allclose(found, features(pictures[:count], whole))


def test_rows_over_several_time_steps_and_maxima(pictures: np.ndarray) -> None:
    single = features(pictures[:32], rows_of(Places(), contract_of()))
    double = features(pictures[:32], rows_of(Places(), contract_of(window=4, stride=4)))
    np.testing.assert_allclose(double, single.reshape(8, 2, 3).mean(1), rtol=1e-6)
    largest = features(pictures[:32], rows_of(Places(), contract_of(pooling="maximum over places")))
    assert (largest >= single).all() and (largest > 200).all()


@pytest.mark.parametrize("count", [15, 16, 32])
def test_rows_between_time_steps_are_interpolated_within_a_pass(pictures: np.ndarray, count: int) -> None:
    steps = features(pictures[: count + count % 2], rows_of(Places(), contract_of()))
    rows = features(pictures[:count], rows_of(Places(), contract_of(window=1, stride=1)))
    assert rows.shape == (count, 3)
    for first in range(0, count, 16):
        own = steps[first // 2 : first // 2 + 8]
        places = (np.arange(min(16, count - first)) + 0.5) / 2 - 0.5
        wanted = np.stack([np.interp(places, np.arange(len(own)), column) for column in own.T], 1)
        if count % 2:  # its last step has one frame more
            wanted = wanted[:-2]
        np.testing.assert_allclose(rows[first : first + len(wanted)], wanted, rtol=1e-5)


def test_rows_over_several_time_steps_may_be_interpolated(pictures: np.ndarray) -> None:
    single = features(pictures[:32], rows_of(Places(), contract_of()))
    interpolated = contract_of(window=8, stride=8, pooling="mean over places, interpolated")
    every = features(pictures[:32], rows_of(Places(), interpolated))
    middle = single.reshape(4, 4, 3)[:, 1:3].mean(1)
    np.testing.assert_allclose(every, middle, rtol=1e-6)
    mean = features(pictures[:32], rows_of(Places(), contract_of(window=8, stride=8)))
    assert not np.allclose(every, mean)


def dense_names() -> list[str]:
    from tal_cli.extractors.catalog import ENTRIES

    return [entry.name for entry in ENTRIES if ".vit." in entry.blueprint and entry.contract.chunk]


@pytest.mark.parametrize("name", dense_names())
def test_every_dense_extractor_s_network_can_be_built(name: str) -> None:
    """On the meta device, as wide as its contract says."""
    from tal_cli.extractors.plugins import load_object

    entry = find(name)
    contract = entry.contract
    assert contract.chunk and contract.rows == contract.chunk // contract.stride
    assert entry.weights[0].licence and entry.weights[0].url
    with torch.device("meta"):
        (network,) = load_object(entry.blueprint).networks(contract)
    norm = "layernorm2" if "prism" in name else "blocks.0.norm1"
    assert len(network.state_dict()[f"{norm}.weight"]) == contract.channels
    with pytest.raises(SettingsError):
        entry.contract_with({"layer": "first"})


@pytest.mark.parametrize(
    ("blueprint", "name", "settings", "channels"),
    [
        (vjepa.blueprint(SMALL_VJEPA, second=False), "vjepa2-l", {}, 24),
        (vjepa.blueprint(SMALL_VJEPA, second=True), "vjepa2.1-b", {}, 24),
        (vjepa.blueprint(SMALL_VJEPA, second=True), "vjepa2.1-b", {"layer": "four blocks, layer norms"}, 96),
        (videoprism.blueprint(PRISM), "videoprism-b", {}, 16),
        (videoprism.blueprint(PRISM), "videoprism-b", {"layer": "spatial part, layer norm"}, 16),
        (videomae.dense_blueprint(TINY), "videomaev2-s-dense", {}, 16),
        (videomae.dense_blueprint(TINY), "videomaev2-s-dense", {"layer": "last block"}, 16),
    ],
)
def test_small_networks_of_every_kind_run_on_a_video(
    pictures: np.ndarray,
    blueprint: object,
    name: str,
    settings: dict[str, str],
    channels: int,
) -> None:
    entry = find(name)
    side = 36 if "prism" in name else 32
    sized = {"resize": f"bilinear {side}x{side}", "crop": "none", "sampling_rate": "none"}
    changed = entry.contract_with({**settings, **sized})
    contract = replace(changed, channels=changed.channels * channels // entry.contract_with(settings).channels)
    with torch.device("meta"):
        (network,) = blueprint.networks(contract)  # type: ignore[attr-defined]
    backbone = build(Resolved(entry=entry, contract=contract, weights=(filled(network),)), blueprint)  # type: ignore[arg-type]
    found = features(pictures[:42], backbone)
    assert found.shape == (42 // contract.stride, channels)
    assert found.std(0).min() > 0 and found.std(1).min() > 0


def test_the_channels_of_four_levels() -> None:
    entry = find("vjepa2.1-b")
    assert entry.contract_with({"layer": "four blocks, layer norms"}).channels == 4 * 768
    assert entry.contract_with({}).channels == 768
    with pytest.raises(SettingsError, match="a row per 2 frames"):
        create_backbone("vjepa2.1-b", {}, {"stride": 3, "window": 3})
    with pytest.raises(SettingsError, match="multiple of the stride, 2"):
        create_backbone("vjepa2.1-b", {}, {"stride": 1, "window": 1, "chunk": 17})
    with pytest.raises(SettingsError, match="multiple of the stride"):
        create_backbone("vjepa2.1-b", {}, {"chunk": 17})
    with pytest.raises(SettingsError, match="multiple of 16"):
        create_backbone("vjepa2-l", {}, {"crop": "center 250x250"})
    with pytest.raises(SettingsError, match="16 frames at once"):
        create_backbone("videomaev2-s-dense", {}, {"chunk": 32})


def test_positions_do_not_depend_on_the_size_of_the_image_in_2_1_and_do_in_2() -> None:
    """The last column's angle: that of position 15 in 2.1, of its own number in 2."""
    for paired, wanted in ((True, 15.0), (False, 7.0)):
        turned = turn((1, 2, 8), 64, paired=paired, device=torch.device("cpu"))
        first = 40  # the first channel of the columns' slice, whose frequency is 1
        assert turned.cos[7, first] == pytest.approx(np.cos(wanted), abs=1e-6)
        assert turned.cos[:, 60:].eq(1).all() and turned.sin[:, 60:].eq(0).all()
    assert not torch.equal(
        turn((3, 3, 3), 64, paired=False, device=torch.device("cpu")).sin[:, 0],
        turn((3, 3, 3), 64, paired=False, device=torch.device("cpu")).sin[:, 1],
    )


def test_one_frame_takes_a_path_of_its_own_in_2_1() -> None:
    network = VJepa21(SMALL_VJEPA).eval()
    network.load_state_dict(filled(network))
    frames = clip(1, 32, 48).permute(3, 0, 1, 2)[None].float() / 255
    with torch.inference_mode():
        assert network(frames).shape == (1, 1, 6, 24)
        assert network(frames.expand(-1, -1, 4, -1, -1)).shape == (1, 2, 6, 24)


def test_dense_videomae_has_the_trained_table_resized() -> None:
    network = DenseVideoMAE(TINY, size=(224, 224), normed=True)
    assert torch.equal(network.positions, sine_table(8 * 14 * 14, 16))
    small = DenseVideoMAE(TINY, size=(160, 160), normed=False)
    wanted = resized_table(sine_table(8 * 14 * 14, 16).unflatten(0, (8, 14, 14)), 10, 10)
    assert torch.equal(small.positions, wanted.flatten(0, 2))
    assert not torch.equal(small.positions, sine_table(800, 16))


def test_rows_of_dense_videomae_are_normed_means_of_its_time_steps() -> None:
    normed, plain = (DenseVideoMAE(TINY, size=(32, 32), normed=normed).eval() for normed in (True, False))
    state = filled(normed)
    normed.load_state_dict(state)
    plain.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc_norm")})
    frames = clip(16, 32, 32).permute(3, 0, 1, 2)[None].float() / 255
    with torch.inference_mode():
        assert torch.equal(normed(frames), normed.fc_norm(plain(frames)))


def test_names_of_mmaction_s_files() -> None:
    network = DenseVideoMAE(TINY, size=(32, 32), normed=True)
    state = filled(network)
    theirs = {
        f"backbone.{key}".replace("patch_embed.proj", "patch_embed.projection")
        .replace("mlp.fc1", "mlp.layers.0.0")
        .replace("mlp.fc2", "mlp.layers.1"): value
        for key, value in state.items()
    }
    assert videomae.released(theirs).keys() == state.keys()
    assert videomae.released(state).keys() == state.keys()


def test_gradients_reach_the_input_of_vjepa() -> None:
    """Rotation tables are cached, and must serve training after inference."""
    network = VJepa2(SMALL_VJEPA)
    frames = torch.zeros(1, 3, 2, 48, 48)
    with torch.inference_mode():
        network(frames)
    network(frames.requires_grad_()).sum().backward()
    assert frames.grad is not None
