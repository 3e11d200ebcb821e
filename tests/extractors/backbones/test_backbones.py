"""Backbones: the catalog, what each entry promises, and features end to end with seeded weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tal_cli.extractors.backbones import create_backbone, resolve
from tal_cli.extractors.backbones.blueprint import Blueprint
from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.backbones.preprocessing import Preparation
from tal_cli.extractors.backbones.windowed import WindowedBackbone, unfold_windows
from tal_cli.extractors.catalog import ENTRIES as CATALOG
from tal_cli.extractors.catalog import find
from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.errors import WeightsError, WeightsMissing
from tal_cli.extractors.extraction.extractor import extract_features
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.files.weights import file_sha256
from tal_cli.extractors.plugins import load_object

ENTRIES = {entry.name: entry for entry in CATALOG}
SMALL = {"resize": "bilinear 56x48", "crop": "center 48x48"}
RESNET = {**SMALL, "window": 8, "stride": 8}
FLOW = {**SMALL, "resize": "bilinear 8-bit 56x48", "flow": "dis bound 20", "stride": 16}  # TV-L1 takes its time
PORT = {"window": 16, "stride": 16}
# Settings under which a network that takes pictures and windows of any size is quick.
QUICK: dict[str, dict[str, object]] = {
    "tiny": {},
    "i3d-rgb": {**SMALL, "stride": 8},
    "i3d-flow": FLOW,
    "i3d-two-stream": FLOW,
    "i3d-vf-rgb": {**SMALL, **PORT},
    "i3d-vf-flow": {**FLOW, **PORT},
    "i3d-vf-two-stream": {**FLOW, **PORT},
    "tsp": RESNET,
    "tsp-thumos": {**RESNET, "stride": 4},
    "slowfast-epic": SMALL,
    "slowfast-r50-8x8": {**SMALL, "pooling": "mean over the head's windows"},
    "slowfast-r50-4x16": SMALL,
    "slowfast-r101-8x8": {**SMALL, "window": 8},
    "r3d_18": RESNET,
    "mc3_18": RESNET,
    "r2plus1d_18": RESNET,
    "s3d": {**SMALL, "resize": "bilinear 256x256", "crop": "center 224x224", "window": 14, "stride": 30},
    "swin3d_t": {**SMALL, "window": 8, "stride": 16},
    "mvit_v2_s": {"stride": 16},
    "timm:test_vit": {"pooling": "maximum over the window", "stride": 16},
}


def blueprint_of(entry: BackboneEntry) -> Blueprint:
    made: Blueprint = load_object(entry.blueprint)
    return made


def seeded(network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of a sensible size for every tensor of a network."""
    state = {}
    for index, (name, tensor) in enumerate(network.state_dict().items()):
        generator = torch.Generator().manual_seed(index)
        if not tensor.is_floating_point():
            state[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif name.endswith("running_var"):
            state[name] = torch.ones(tensor.shape)
        else:
            spread = (2 / max(1, tensor[0].numel())) ** 0.5 if tensor.dim() > 1 else 0.1
            state[name] = spread * torch.randn(tensor.shape, generator=generator) + (tensor.dim() == 1)
    return state


def make(name: str, **settings: object) -> Backbone:
    """A backbone with seeded weights."""
    entry = find(name)
    contract = entry.contract_with(settings)
    with torch.device("meta"):
        networks = blueprint_of(entry).networks(contract)
    return create_backbone(name, [seeded(network) for network in networks] or None, settings)


def pictures(count: int, width: int, height: int) -> torch.Tensor:
    """Seeded smooth frames, uint8 [count, height, width, 3]."""
    noise = torch.rand((count, 3, 6, 8), generator=torch.Generator().manual_seed(count))
    frames = nn.functional.interpolate(noise, (height, width), mode="bilinear") * 255
    return frames.permute(0, 2, 3, 1).to(torch.uint8).contiguous()


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.slow
def test_a_video_becomes_features_as_the_contract_says(name: str, plain: Path) -> None:
    backbone = make(name, **QUICK[name])
    sequence = extract_features(plain, backbone)
    contract = backbone.contract
    frames = 60 if contract.sampling_rate is None else round(60 / 25 * contract.sampling_rate)
    windows = WindowGrid(contract.window, contract.stride).count(frames - backbone.lookahead)
    assert sequence.features.shape == (windows, contract.channels)
    assert np.isfinite(sequence.features).all()
    assert sequence.features.std() > 0
    assert sequence.contract == contract
    changed = {key for key, value in QUICK[name].items() if getattr(find(name).contract, key) != value}
    assert {line.partition(":")[0] for line in contract.differences(find(name).contract)} == changed


@pytest.mark.parametrize("name", ["tiny", "i3d-rgb", "i3d-two-stream", "slowfast-r50-4x16", "tsp", "timm:test_vit"])
@pytest.mark.slow
def test_features_do_not_depend_on_the_batch_nor_on_the_pieces(name: str) -> None:
    backbone = make(name, **{**QUICK[name], **({} if name == "tiny" else {"stride": 4})})
    window, ahead = backbone.contract.window, backbone.lookahead
    frames = pictures(window + 4 + ahead, *backbone.frame_size(80, 64))
    times = torch.arange(window + 4) / 25.0
    with torch.inference_mode():
        prepared = backbone.prepare(frames)
        pieces = [backbone.prepare(frames[:7]), backbone.prepare(frames[7 - ahead :])]
        assert torch.allclose(torch.cat(pieces), prepared, atol=1e-5)
        together = backbone(prepared, times)
        for index in (0, 4):
            part = slice(index, index + window)
            alone = backbone(prepared[part], times[part])
            assert torch.allclose(together[index // 4], alone[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.slow
def test_every_entry_has_a_blueprint_that_fits_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ENTRIES[name]
    blueprint = blueprint_of(entry)
    with torch.device("meta"):
        networks = blueprint.networks(entry.contract)
    assert len(networks) == len(entry.weights)
    assert entry.contract.extractor == name
    assert entry.contract.weights_sha256 is None
    assert [source for source in entry.weights if source.url is None and not source.page] == []
    if entry.weights:
        Preparation.of(entry.contract)  # words that are not in the grammar raise
        assert entry.contract_with({"resize": entry.contract.resize, "crop": entry.contract.crop}) == entry.contract
        with pytest.raises(WeightsError, match=r"nowhere\.pth: no such weights file"):
            create_backbone(name, [Path("nowhere.pth")] * len(entry.weights))
        monkeypatch.setenv("TAL_HOME", str(tmp_path))
        with pytest.raises(WeightsMissing) as caught:
            create_backbone(name)
        assert "--weights" in caught.value.remedy


@pytest.mark.parametrize("size", [(320, 240), (1, 1), (1920, 1080)])
@pytest.mark.parametrize("name", ENTRIES)
def test_every_backbone_takes_pictures_of_usual_and_of_tiny_size(name: str, size: tuple[int, int]) -> None:
    if name == "tiny":
        assert min(create_backbone(name).frame_size(*size)) >= 1
        return
    preparation = Preparation.of(ENTRIES[name].contract)
    width, height = preparation.frame_size(*size)
    prepared = preparation(torch.zeros(1, height, width, 2 if ENTRIES[name].contract.flow else 3, dtype=torch.uint8))
    wanted = preparation.crop.size or preparation.resize.result(*size)
    assert prepared.shape[2:] == wanted[::-1]


def test_changed_settings_change_the_pixels() -> None:
    frames = pictures(3, 100, 80)
    published = Preparation.of(find("tsp").contract)(frames)
    for change in ({"crop": "center 112x112"}, {"resize": "bicubic 171x128"}, {"value_range": "-1..1"}):
        contract = find("tsp").contract_with(change)
        assert contract.differences(find("tsp").contract)
        changed = Preparation.of(contract)(frames)
        assert changed.shape == published.shape
        assert not torch.equal(changed, published)


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("tiny", {"window": 8}, "window cannot be set"),
        ("i3d-rgb", {"flow": "raft bound 20"}, "flow cannot be set"),
        ("i3d-rgb", {"window": 8}, "at least 9 frames"),
        ("i3d-vf-rgb", {"window": 9}, "at least 10 frames"),
        ("i3d-rgb", {"channels": 3}, "cannot be set"),
        ("i3d-rgb", {"resize": "bilinear 100x100"}, "does not fit"),
        ("i3d-rgb", {"layer": "Mixed_4f"}, "there are: Mixed_5c"),
        ("i3d-two-stream", {"crop": "none"}, "cropped to the same size"),
        ("slowfast-epic", {"window": 30}, "multiple of 4"),
        ("slowfast-epic", {"pooling": "median"}, "mean over the head's windows"),
        ("s3d", {"window": 8}, "at least 14 frames"),
        ("mvit_v2_s", {"window": 32}, "16 frames"),
        ("timm:vit_tiny_patch16_224", {"crop": "center 64x64"}, "224x224 pixels only"),
    ],
)
def test_what_a_network_cannot_do_is_rejected(name: str, settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make(name, **settings)


@pytest.mark.slow
def test_weights_are_named_in_the_contract(tmp_path: Path) -> None:
    with torch.device("meta"):
        (network,) = blueprint_of(find("r3d_18")).networks(find("r3d_18").contract)
    state = seeded(network) | {"fc.weight": torch.zeros(400, 512), "fc.bias": torch.zeros(400)}
    torch.save({"model": state}, tmp_path / "r3d.pth")
    digest = file_sha256(tmp_path / "r3d.pth")
    assert create_backbone("r3d_18", tmp_path / "r3d.pth").contract.weights_sha256 == digest
    assert resolve("r3d_18", [tmp_path / "r3d.pth"]).contract.weights_sha256 == digest
    two = resolve("i3d-two-stream", [tmp_path / "r3d.pth"] * 2).contract.weights_sha256
    assert two == f"{digest}+{digest}"


def test_too_many_files_are_rejected() -> None:
    with pytest.raises(ValueError, match="takes 1"):
        create_backbone("tsp", [{}, {}])
    with pytest.raises(ValueError, match="takes 0"):
        create_backbone("tiny", [{}])


def test_weights_of_something_else_are_rejected(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    (tmp_path / "rubbish.safetensors").write_bytes(b"rubbish")
    for name, complaint in (("other.pth", "not the weights of this backbone"), ("rubbish.safetensors", "no weights")):
        with pytest.raises(WeightsError, match=complaint):
            create_backbone("r3d_18", tmp_path / name)


@pytest.mark.parametrize("name", ["huge", "timm:", "timm:no_such_model"])
def test_unknown_names_say_what_there_is(name: str) -> None:
    with pytest.raises(ValueError, match=r"there are tiny, i3d|list_models"):
        create_backbone(name)


def test_listing_imports_no_torch() -> None:
    script = "import sys, tal_cli.extractors.backbones; print('torch' in sys.modules)"
    home = Path(__file__).resolve().parents[3]
    result = subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_windows_are_unfolded_without_a_copy() -> None:
    frames = torch.arange(28 * 3 * 4 * 5, dtype=torch.float32).view(28, 3, 4, 5)
    windows = unfold_windows(frames, 16, 4)
    assert windows.shape == (4, 3, 16, 4, 5)
    assert windows.data_ptr() == frames.data_ptr()
    for index in range(4):
        assert torch.equal(windows[index], frames[4 * index : 4 * index + 16].transpose(0, 1))


def test_a_windowed_backbone_crops_and_normalises(contract: Callable[..., FeatureContract]) -> None:
    class Mean(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            assert windows.shape[2:] == (16, 2, 4)
            return windows.mean((2, 3, 4))

    made = contract(resize="none", crop="center 4x2", value_range="0..1 mean 0 0.5 1 std 1 0.5 0.25")
    backbone = WindowedBackbone(made, Mean(), window_bytes=1)
    frames = torch.zeros(28, 6, 8, 3, dtype=torch.uint8)
    frames[:, 2:4, 2:6] = 255
    assert torch.allclose(
        backbone(backbone.prepare(frames), torch.zeros(28)), torch.tensor([1.0, 1.0, 0.0]).expand(4, 3)
    )


def test_a_file_with_other_names_in_the_same_order_fits_timm(tmp_path: Path) -> None:
    import timm

    from tal_cli.extractors.backbones.timm_frames import LITE0_MODEL, efficientnet_lite0

    state = timm.create_model(LITE0_MODEL, pretrained=False).state_dict()
    renamed = {f"_{number}": value for number, value in enumerate(state.values())}
    torch.save(renamed, tmp_path / "lite.pth")
    assert all(torch.equal(value, state[name]) for name, value in efficientnet_lite0(tmp_path / "lite.pth").items())
    torch.save(dict(list(renamed.items())[1:]), tmp_path / "lite.pth")
    with pytest.raises(ValueError, match="not those of timm"):
        efficientnet_lite0(tmp_path / "lite.pth")
