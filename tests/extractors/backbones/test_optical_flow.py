"""Optical flow: its sign and order, its levels, and that a frame's flow does not depend on the other frames."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tal_cli.extractors.backbones.motion.optical_flow import Raft, create_flow, quantise
from tal_cli.extractors.errors import PackageMissing, WeightsError, WeightsMissing
from tal_cli.extractors.features.preprocessing_spec import Flow

TVL1, DIS, RAFT = (Flow.parse(f"{method} bound 20") for method in ("tvl1", "dis", "raft"))


def travelling(frames: int, right: int, down: int, width: int = 96, height: int = 80) -> Tensor:
    """uint8 [frames, height, width, 3]: a smooth image that moves by so many pixels per frame."""
    noise = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    picture = F.interpolate(noise, (height, width), mode="bilinear")[0].mul(255).byte().permute(1, 2, 0)
    return torch.stack([picture.roll((index * down, index * right), (0, 1)) for index in range(frames)])


@pytest.fixture(scope="module")
def raft_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded weights of torchvision's network."""
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "raft.pth"
    torch.save(raft_large(weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize("spec", [TVL1, DIS], ids=lambda spec: spec.method)
def test_flow_points_to_where_things_go(spec: Flow) -> None:
    flow = create_flow(spec)(travelling(3, right=2, down=-1))
    assert flow.shape == (2, 2, 80, 96)
    assert flow.dtype == torch.float32
    middle = flow[:, :, 20:60, 20:70].mean((2, 3))
    assert torch.allclose(middle, torch.tensor([2.0, -1.0]).expand(2, 2), atol=0.05)


@pytest.mark.parametrize("spec", [TVL1, DIS], ids=lambda spec: spec.method)
@pytest.mark.slow
def test_each_pair_has_the_same_flow_in_any_company_and_any_thread(spec: Flow) -> None:
    frames = travelling(5, right=1, down=2)
    estimator = create_flow(spec)
    together = estimator(frames)
    with ThreadPoolExecutor(3) as pool:
        alone = list(pool.map(lambda index: estimator(frames[index : index + 2]), range(4)))
    assert torch.equal(torch.cat(alone), together)


@pytest.mark.slow
def test_raft_is_torchvision_s_with_less_work(raft_weights: Path) -> None:
    from torchvision.models.optical_flow import raft_large

    frames = travelling(2, right=3, down=1, width=132, height=128)
    network = raft_large(weights=None).eval()
    network.load_state_dict(torch.load(raft_weights, weights_only=True))
    padded = F.pad(frames.permute(0, 3, 1, 2).float() / 127.5 - 1, (2, 2, 0, 0), mode="replicate")
    with torch.inference_mode():
        wanted = network(padded[:-1], padded[1:], num_flow_updates=20)[-1]
    flow = Raft(raft_weights)(frames)
    assert flow.shape == (1, 2, 128, 136)  # padded to multiples of 8, and left so
    assert float((flow - wanted).norm() / wanted.norm()) < 1e-5


def test_raft_s_weights_are_never_made_up_nor_others(
    raft_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path))
    with pytest.raises(WeightsMissing) as caught:
        create_flow(RAFT)
    assert "tal extractors pull raft" in caught.value.remedy
    place = tmp_path / "extractors" / "raft_large_C_T_SKHT_V1-0b8c9e55.pth"
    place.parent.mkdir()
    place.write_bytes(raft_weights.read_bytes())
    with pytest.raises(WeightsError, match="0b8c9e55"):
        create_flow(RAFT)


def test_levels_are_those_of_the_published_flow_pictures() -> None:
    pixels = torch.tensor([-50.0, -20.0, -10.0, 0.0, 0.1, 10.0, 20.0, 50.0])
    assert quantise(pixels, TVL1).tolist() == [0, 0, 64, 128, 128, 191, 255, 255]
    assert quantise(pixels, RAFT).tolist() == [0, 0, 64, 128, 129, 192, 256, 256]
    assert quantise(pixels, Flow.parse("dis bound 10")).tolist() == [0, 0, 0, 128, 129, 255, 255, 255]


def test_an_absent_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    for spec in (TVL1, DIS):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "cv2", None)
            with pytest.raises(PackageMissing) as caught:
                create_flow(spec)
            assert "tal-cli[flow]" in caught.value.remedy
    monkeypatch.delattr(cv2, "optflow")  # as the distribution without the contributed modules has it
    with pytest.raises(PackageMissing):
        create_flow(TVL1)
    create_flow(DIS)
