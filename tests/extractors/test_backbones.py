"""Backbones: the registry, the window helper, and what each entry promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from extractors.backbones import Backbone, WeightsError, WeightsMissing, create_backbone, list_backbones
from extractors.backbones.windowed import WindowedBackbone, file_sha256, unfold_windows
from extractors.contract import FeatureContract
from extractors.windows import WindowGrid


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Seeded weights for the entries that need some, as files."""
    from torchvision.models.video import r3d_18

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "r3d_18.pth"
    torch.save(r3d_18(weights=None).state_dict(), path)
    return {"r3d_18": path}


@pytest.fixture(scope="session", params=[entry.name for entry in list_backbones()])
def backbone(request: pytest.FixtureRequest, weights: dict[str, Path]) -> Backbone:
    return create_backbone(request.param, weights.get(request.param))


def clip(backbone: Backbone, windows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Seeded smooth frames under that many windows, at 25 per second."""
    count = WindowGrid(backbone.contract.window, backbone.contract.stride).frames(windows)
    width, height = backbone.frame_size(320, 240)
    noise = torch.rand((count, 3, 6, 8), generator=torch.Generator().manual_seed(count))
    frames = nn.functional.interpolate(noise, (height, width), mode="bilinear") * 255
    return frames.permute(0, 2, 3, 1).to(torch.uint8).contiguous(), torch.arange(count) / 25.0


def test_features_are_as_the_contract_says(backbone: Backbone) -> None:
    with torch.inference_mode():
        features = backbone(*clip(backbone, 2))
    assert features.shape == (2, backbone.contract.channels)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()


def test_features_do_not_depend_on_the_batch(backbone: Backbone) -> None:
    frames, times = clip(backbone, 2)
    window, stride = backbone.contract.window, backbone.contract.stride
    with torch.inference_mode():
        together = backbone(frames, times)
        for index in range(2):
            part = slice(index * stride, index * stride + window)
            alone = backbone(frames[part], times[part])
            assert torch.allclose(together[index], alone[0], rtol=1e-3, atol=1e-3)


def test_one_grey_picture_is_a_video_too(backbone: Backbone) -> None:
    frames, times = clip(backbone, 1)
    with torch.inference_mode():
        features = backbone(torch.full_like(frames, 128), times)
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("size", [(320, 240), (1, 1), (3, 4000), (4000, 3), (1920, 1080)])
def test_frame_sizes_are_positive_and_bounded(backbone: Backbone, size: tuple[int, int]) -> None:
    width, height = backbone.frame_size(*size)
    assert width >= 1
    assert height >= 1
    assert width * height < 300_000


def test_weights_are_named_in_the_contract(weights: dict[str, Path]) -> None:
    assert create_backbone("r3d_18", weights["r3d_18"]).contract.weights_sha256 == file_sha256(weights["r3d_18"])


def test_weights_are_never_made_up(tmp_path: Path) -> None:
    for missing in (None, tmp_path / "nothing.pth"):
        with pytest.raises(WeightsMissing) as caught:
            create_backbone("r3d_18", missing)
        assert "--weights" in caught.value.remedy


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    (tmp_path / "rubbish.safetensors").write_bytes(b"rubbish")
    for name in ("other.pth", "rubbish.safetensors"):
        with pytest.raises(WeightsError, match="does not hold the weights of r3d_18"):
            create_backbone("r3d_18", tmp_path / name)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="there are tiny, r3d_18"):
        create_backbone("huge")


def test_listing_imports_no_torch() -> None:
    script = "import sys, extractors.backbones as b; b.list_backbones(); print('torch' in sys.modules)"
    home = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_windows_are_unfolded_without_a_copy() -> None:
    frames = torch.arange(28 * 3 * 4 * 5, dtype=torch.float32).view(28, 3, 4, 5)
    windows = unfold_windows(frames, 16, 4)
    assert windows.shape == (4, 3, 16, 4, 5)
    assert windows.data_ptr() == frames.data_ptr()
    for index in range(4):
        assert torch.equal(windows[index], frames[4 * index : 4 * index + 16].transpose(0, 1))


def test_a_windowed_backbone_crops_and_normalises(contract: object) -> None:
    class Mean(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            assert windows.shape[2:] == (16, 2, 4)
            return windows.mean((2, 3, 4))

    made: FeatureContract = contract()  # type: ignore[operator]
    backbone = WindowedBackbone(
        made, Mean(), resize=(8, 6), crop=(4, 2), mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25), windows_per_pass=2
    )
    frames = torch.zeros(28, 6, 8, 3, dtype=torch.uint8)
    frames[:, 2:4, 2:6] = 255
    assert torch.allclose(backbone(frames, torch.zeros(28)), torch.tensor([1.0, 1.0, 0.0]).expand(4, 3))
