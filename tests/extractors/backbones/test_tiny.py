"""The tiny backbone measures what it says: known motion and change; a window does not depend on its neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tal_cli.extractors.backbones import create_backbone, tiny
from tal_cli.extractors.backbones.tiny import REFERENCE_RATE, STRIDE, WINDOW

FPS = 25.0
WIDTH, HEIGHT = 108, 76


def picture(seed: int) -> np.ndarray:
    """Smooth random blobs [400, 500], 0..255."""
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 1, 50, 63)).astype(np.float32))
    fine = torch.nn.functional.interpolate(noise, size=(400, 500), mode="bicubic")[0, 0].numpy()
    return np.clip(128 + 60 * fine, 0, 255)


def clip(frames: int, right: float = 0, down: float = 0, zoom: float = 0, roll: float = 0, seed: int = 0) -> Tensor:
    """Frames [N, H, W, 3] of a still image under a camera with these rates per second (see REFERENCE_RATE)."""
    texture = picture(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    x, y = x - WIDTH / 2 + 0.5, y - HEIGHT / 2 + 0.5
    out = []
    for index in range(frames):
        time = index / FPS
        scale, angle = 2.0 * np.exp(-zoom * time), -roll * time
        u = 250 + scale * (np.cos(angle) * x - np.sin(angle) * y - right * time * WIDTH)
        v = 200 + scale * (np.sin(angle) * x + np.cos(angle) * y - down * time * HEIGHT)
        u0, v0 = np.floor(u).astype(int), np.floor(v).astype(int)
        fu, fv = u - u0, v - v0
        value = (texture[v0, u0] * (1 - fu) + texture[v0, u0 + 1] * fu) * (1 - fv)
        value += (texture[v0 + 1, u0] * (1 - fu) + texture[v0 + 1, u0 + 1] * fu) * fv
        out.append(np.repeat(value[..., None], 3, 2))
    return torch.from_numpy(np.stack(out).round().astype(np.uint8))


def times(frames: int, fps: float = FPS) -> Tensor:
    return torch.arange(frames, dtype=torch.float64) / fps


def rates(frames: Tensor, fps: float = FPS) -> Tensor:
    """Mean measured rates [4] per second."""
    compressed = tiny._measure(frames, times(len(frames), fps)).motion[1:].mean(0)
    return compressed.sign() * torch.expm1(compressed.abs()) * torch.tensor(REFERENCE_RATE)


@pytest.mark.parametrize(
    "motion",
    [{"right": 0.2}, {"right": -0.4}, {"down": 0.25}, {"down": -0.15}, {"zoom": 0.3}, {"zoom": -0.2}, {"roll": 0.4}],
)
def test_measures_camera_motion(motion: dict[str, float]) -> None:
    """Each rate is found within a seventh, and nothing else of note is."""
    found = rates(clip(16, **motion))
    for index, name in enumerate(("right", "down", "zoom", "roll")):
        expected = motion.get(name, 0.0)
        assert found[index] == pytest.approx(expected, abs=abs(expected) / 7 + 0.03), name


def test_rates_are_per_second_not_per_frame() -> None:
    frames = clip(16, right=0.2)
    assert rates(frames, fps=50.0)[0] == pytest.approx(2 * float(rates(frames)[0]), rel=0.01)


def test_a_window_does_not_depend_on_what_is_read_with_it() -> None:
    frames = torch.cat([clip(20, right=0.3), clip(20, zoom=0.4, seed=1)])
    backbone = create_backbone("tiny")
    together = backbone(frames, times(40))
    assert together.shape == ((40 - WINDOW) // STRIDE + 1, backbone.contract.channels)
    for index in range(len(together)):
        own = slice(index * STRIDE, index * STRIDE + WINDOW)
        torch.testing.assert_close(backbone(frames[own], times(40)[own])[0], together[index], rtol=1e-3, atol=2e-3)


def test_a_cut_stands_out_from_motion() -> None:
    still, joined = clip(16, right=0.3), torch.cat([clip(8, right=0.3), clip(8, seed=1)])
    change = [tiny._measure(frames, times(16)).sharp[8, 0] for frames in (still, joined)]
    assert change[1] > 3 * change[0]


def passing(frames: int) -> Tensor:
    """Somebody as high as the image passes before a camera that keeps still."""
    background, body = clip(1)[0], clip(1, seed=2)[0]
    out = background.repeat(frames, 1, 1, 1)
    for index in range(frames):
        left = 30 + 2 * index
        out[index, 12:, left : left + 34] = body[12:, :34]
    return out


def test_a_moving_camera_is_told_from_something_that_moves_before_it() -> None:
    moved, passed = (tiny._measure(frames, times(16)) for frames in (clip(16, right=0.5), passing(16)))
    assert moved.agreement[8:].mean(0).min() > 0.5  # all blocks move along
    assert moved.long_kept[14:].mean() < 0.5
    assert passed.agreement[8:].mean(0).median() < 0.2
    assert passed.long_kept[14:, ::4].min() > 1.9  # the left side, which was empty, is where it was


def test_light_does_not_move_edges() -> None:
    frames = clip(16)
    dimmed = (frames.float() * torch.linspace(1, 0.4, 16).view(-1, 1, 1, 1)).round().to(torch.uint8)
    assert tiny._measure(dimmed, times(16)).long_kept[14:].min() > 1.8


def test_a_repeated_frame_is_perfectly_still() -> None:
    backbone = create_backbone("tiny")
    frozen = backbone(clip(1).repeat(16, 1, 1, 1), times(16))
    assert torch.isfinite(frozen).all()
    measures = tiny._measure(clip(1).repeat(16, 1, 1, 1), times(16))
    assert measures.motion.abs().max() < 1e-4
    assert measures.residual.abs().max() < 1e-3


def two_shots() -> Tensor:
    """Frames [24, 60, 84, 3] in integer arithmetic, the same on every machine: a fading, moving camera, then a cut."""
    cells = np.random.default_rng(5).integers(0, 256, (2, 12, 16, 3))
    fine = cells.repeat(8, 1).repeat(8, 2).cumsum(1).cumsum(2)
    images = (fine[:, 8:, 8:] - fine[:, :-8, 8:] - fine[:, 8:, :-8] + fine[:, :-8, :-8]) // 64
    frames = [images[0, 8 - t // 2 :, t:][:60, :84] * (256 - 5 * t) // 256 for t in range(14)]
    frames += [images[1, t:, 20 - 2 * t :][:60, :84] for t in range(10)]
    return torch.from_numpy(np.stack(frames).astype(np.uint8))


def test_features_are_those_that_the_shipped_weights_were_trained_with() -> None:
    """Recorded from the implementation in torch with which `camera` was trained, at a variable frame rate."""
    recorded = np.load(Path(__file__).with_name("tiny_features.npy"))
    shown = torch.arange(24, dtype=torch.float64) / FPS + (torch.arange(24) % 3) / 100
    features = create_backbone("tiny")(two_shots(), shown)
    np.testing.assert_allclose(features.numpy(), recorded, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (7680, 4320), (50, 2000), (320, 240)])
def test_any_shape_of_picture_gives_finite_features(size: tuple[int, int]) -> None:
    backbone = create_backbone("tiny")
    width, height = backbone.frame_size(*size)
    assert width % 4 == height % 4 == 0
    frames = torch.randint(0, 256, (WINDOW + STRIDE, height, width, 3), dtype=torch.uint8)
    features = backbone(frames, times(WINDOW + STRIDE))
    assert features.shape == (2, backbone.contract.channels)
    assert torch.isfinite(features).all()
