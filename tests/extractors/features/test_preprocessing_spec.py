"""From the contract's words to pixels: the grammar, sizes, crops, and agreement with Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from tal_cli.extractors.backbones.preprocessing import Preparation, channels_first, crop, resize, scale
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.preprocessing_spec import MAX_PIXELS, Crop, Flow, Resize, ValueRange

SIDES = st.integers(1, 70)
NUMBERS = st.integers(-9, 9).map(float)
RESIZES = st.builds(
    Resize,
    method=st.sampled_from(["bilinear", "bicubic"]),
    antialias=st.booleans(),
    eight_bit=st.booleans(),
    size=st.one_of(SIDES, st.tuples(SIDES, SIDES)),
)
ROUNDINGS = st.sampled_from(["", "round-even", "round-up"])
CROPS = st.builds(Crop, size=st.tuples(SIDES, SIDES), rounding=ROUNDINGS)


def noise(count: int, width: int, height: int, channels: int = 3) -> torch.Tensor:
    """uint8 [count, height, width, channels]."""
    generator = torch.Generator().manual_seed(width * height)
    return torch.randint(0, 256, (count, height, width, channels), dtype=torch.uint8, generator=generator)


@given(RESIZES, st.booleans())
def test_resizes_are_read_as_they_are_written(spec: Resize, enlarge: bool) -> None:
    made = Resize(**{**vars(spec), "enlarge": enlarge and isinstance(spec.size, int)})
    assert Resize.parse(str(made)) == made


@given(CROPS)
def test_crops_are_read_as_they_are_written(spec: Crop) -> None:
    assert Crop.parse(str(spec)) == spec


@given(NUMBERS, NUMBERS, st.booleans(), st.lists(st.tuples(NUMBERS, st.sampled_from([0.5, 1.0, 0.225])), max_size=4))
def test_value_ranges_are_read_as_they_are_written(
    low: float, high: float, bgr: bool, channels: list[tuple[float, float]]
) -> None:
    assume(low < high)
    mean, std = tuple(pair[0] for pair in channels), tuple(pair[1] for pair in channels)
    spec = ValueRange(low=low, high=high, bgr=bgr, mean=mean, std=std)
    assert ValueRange.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Resize, "bilinear"),
        (Resize, "nearest 10x10"),
        (Resize, "area antialias 10x10"),
        (Resize, "bilinear 0x10"),
        (Resize, "bilinear long 10"),
        (Crop, "center 0x0"),
        (Crop, "random 10x10"),
        (ValueRange, "1..0"),
        (ValueRange, "0..1 mean 0.5 std"),
        (ValueRange, "0..1 mean 0.5 std 0"),
        (Flow, "tvl1"),
        (Flow, "farneback bound 20"),
        (Flow, "tvl1 bound 0"),
    ],
)
def test_words_that_mean_nothing_are_rejected(kind: type[Resize], text: str) -> None:
    with pytest.raises(ValueError, match=": use "):
        kind.parse(text)


@given(RESIZES, SIDES, SIDES)
def test_resizing_gives_the_size_it_says_and_keeps_the_range(spec: Resize, width: int, height: int) -> None:
    target = spec.result(width, height)
    assume(target[0] * target[1] < 40_000)
    frames = channels_first(noise(2, width, height))
    made = resize(frames, spec)
    assert made.shape == (2, 3, target[1], target[0])
    if spec.eight_bit:
        assert made.dtype == torch.uint8
    elif spec.method == "bilinear":
        assert made.float().min() >= frames.min() - 1e-3
        assert made.float().max() <= frames.max() + 1e-3
    if isinstance(spec.size, int):
        assert min(target) == spec.size
        assert abs(max(target) - spec.size * max(width, height) / min(width, height)) < 1


@given(RESIZES, SIDES, SIDES)
def test_a_plain_frame_stays_plain(spec: Resize, width: int, height: int) -> None:
    assume(spec.result(width, height)[0] * spec.result(width, height)[1] < 40_000)
    made = resize(torch.full((1, 3, height, width), 77, dtype=torch.uint8), spec)
    assert (made.float() - 77).abs().max() < 1e-3


@given(SIDES, SIDES, CROPS)
def test_crops_are_centred(width: int, height: int, spec: Crop) -> None:
    assert spec.size is not None
    if spec.size[0] > width or spec.size[1] > height:
        with pytest.raises(ValueError, match="does not fit"):
            spec.box(width, height)
        return
    left, top, wide, high = spec.box(width, height)
    assert (wide, high) == spec.size
    for before, rest in ((left, width - wide), (top, height - high)):
        assert abs(before - (rest - before)) <= 1
        assert before == {"": rest // 2, "round-even": round(rest / 2), "round-up": -(-rest // 2)}[spec.rounding]
    frames = channels_first(noise(1, width, height))
    assert torch.equal(crop(frames, spec), frames[..., top : top + high, left : left + wide])


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(41, 30), (100, 77), (64, 48)])
def test_eight_bit_resizing_is_pillows(method: str, size: tuple[int, int]) -> None:
    frames = noise(1, 64, 48)
    spec = Resize(method=method, antialias=True, eight_bit=True, size=size)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    pillow = np.asarray(Image.fromarray(frames[0].numpy()).resize(size, filters[method])).astype(int)
    made = resize(channels_first(frames), spec)[0].permute(1, 2, 0).numpy().astype(int)
    elsewhere = resize(channels_first(frames).float(), spec)[0].permute(1, 2, 0).numpy().astype(int)
    for ours in (made, elsewhere):  # the second is what devices without the kernel do
        assert np.abs(ours - pillow).max() <= 1
        assert (ours != pillow).mean() < 0.03


@pytest.mark.parametrize("text", ["-1..1", "0..1", "0..255", "-2..6"])
def test_scaling_maps_the_ends_to_the_ends(text: str) -> None:
    spec = ValueRange.parse(text)
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    assert torch.allclose(scale(ends, spec).flatten(), torch.tensor([spec.low, spec.high]), atol=1e-6)


def test_blue_comes_first_where_the_contract_says_so() -> None:
    frame = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    assert scale(frame, ValueRange.parse("BGR 0..255")).flatten().tolist() == [30, 20, 10]
    shifted = scale(frame, ValueRange.parse("BGR 0..255 mean 30 20 10 std 1 1 2"))
    assert shifted.flatten().tolist() == [0, 0, 0]


def test_as_many_means_as_channels() -> None:
    with pytest.raises(ValueError, match="3 means for 2 channels"):
        scale(torch.zeros(1, 2, 4, 4), ValueRange.parse("0..1 mean 0 0 0 std 1 1 1"))


def test_a_ribbon_is_not_enlarged_into_all_of_the_memory() -> None:
    with pytest.raises(ValueError, match="become"):
        Resize.parse("bilinear short 256").result(4, MAX_PIXELS)
    assert Resize.parse("bilinear enlarge 20").result(30, 40) == (30, 40)
    assert Resize.parse("bilinear enlarge 20").result(10, 15) == (20, 30)


def test_the_decoder_scales_by_area_only(contract: object) -> None:
    made: FeatureContract = contract(resize="area 30x20", crop="center 10x10", value_range="0..1")  # type: ignore[operator]
    assert Preparation.of(made).frame_size(320, 240) == (30, 20)
    assert Preparation.of(made.changed({"resize": "bilinear 30x20"})).frame_size(320, 240) == (320, 240)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"crop": "center 40x10"}, "does not fit"),
        ({"resize": "bilinear short 8"}, "does not fit"),
        ({"stride": "half"}, "whole number"),
        ({"window": 0}, "at least 1"),
        ({"sampling_rate": "fast"}, "a number of frames"),
        ({"sampling_rate": -1}, "frames per second"),
        ({"pooling": " "}, "must not be empty"),
        ({"weights_sha256": "ab"}, "cannot be set"),
    ],
)
def test_contracts_refuse_what_makes_no_sense(settings: dict[str, object], complaint: str, contract: object) -> None:
    made: FeatureContract = contract(resize="area 30x20", crop="center 10x10")  # type: ignore[operator]
    with pytest.raises(ValueError, match=complaint):
        made.changed(settings)


def test_settings_are_read_as_text_and_written_canonically(contract: object) -> None:
    made: FeatureContract = contract()  # type: ignore[operator]
    changed = made.changed({"stride": "8", "sampling_rate": "none", "max_rate": "30", "resize": " bilinear   30x20 "})
    assert (changed.stride, changed.sampling_rate, changed.max_rate) == (8, None, 30.0)
    assert changed.resize == "bilinear 30x20"
    assert sorted(line.partition(":")[0] for line in changed.differences(made)) == ["max_rate", "resize", "stride"]
    assert made.changed({}) == made
