"""What AdaTAD does around its networks, as recorded from its code: images, rows, windows, suppression, learning rate.

Not compared, because it is done otherwise here and the recipes say so: frames spread over a whole video (ActivityNet),
the merging of points that several windows see, frames repeated beyond the last chunk of a short video.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tal_cli.extractors.backbones.preprocessing import crop, resize
from tal_cli.extractors.backbones.windowed import DenseBackbone
from tal_cli.extractors.features.preprocessing_spec import Crop, Resize
from tal_cli.extractors.video.clock import decimation
from tal_cli.models.inference.chunks import plan_chunks
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.inference.resampling import Resampling
from tal_cli.models.recipe.loading import load_recipe
from tal_cli.selftest.formula import clip
from tal_cli.training.schedule import Schedule

RECIPE = load_recipe("adatad-thumos-s")


@pytest.fixture(scope="module")
def recorded(shared: Path) -> SimpleNamespace:
    path = shared / "goldens" / "backbones" / "dense" / "adatad_recipe.json"
    return SimpleNamespace(facts=json.loads(path.read_text()), tensors=load_file(path.with_suffix(".safetensors")))


def test_images_are_the_published_ones_to_a_level(recorded: SimpleNamespace) -> None:
    facts = recorded.facts["test_preparation"]
    call, side = facts["input"]["clip_call"], facts["short_side"]
    frames = clip(call["t"], call["h"], call["w"], call["c"], call["seed"]).permute(0, 3, 1, 2)
    published = Resize.parse(str(RECIPE.features.resize)), Crop.parse(RECIPE.features.crop)
    assert str(published[0]) == "bilinear 8-bit short 160" and str(published[1]) == "center 160x160"
    resized = resize(frames, Resize.parse(f"bilinear 8-bit short {side}"))
    assert list(resized.shape[2:]) == facts["resized_h_w"]
    assert list(Crop.parse(f"center {side}x{side}").box(*resized.shape[:1:-1])[:2]) == facts["crop_top_left"][::-1]
    images = crop(resized, Crop.parse(f"center {side}x{side}")).permute(0, 2, 3, 1)
    differences = images.int() - recorded.tensors["u8.test_preparation"].int()
    assert differences.abs().max() <= 1  # OpenCV computes with 11 bits, and cuts off
    assert differences.ne(0).float().mean() < 0.15


def test_rows_lie_between_time_steps_as_published(recorded: SimpleNamespace) -> None:
    """Two rows per time step; and any number, for the grid of ActivityNet."""
    steps, rows = (recorded.tensors[f"rows.{which}_0"] for which in ("in", "out"))
    contract = replace(RECIPE.features.contract(), chunk=768, overlap=0, value_range="0..1")
    backbone = DenseBackbone(contract, nn.Identity(), step=2, window_bytes=0)
    torch.testing.assert_close(backbone.trimmed(steps[None], 768, 0), rows.T)
    steps, rows = (recorded.tensors[f"rows.{which}_1"] for which in ("in", "out"))
    resampling = Resampling(steps.shape[1], rows.shape[1], window=1, stride=1)
    torch.testing.assert_close(resampling.features(steps.T), rows.T)


@pytest.mark.parametrize("name", ["sliding_0", "sliding_1", "sliding_2", "sliding_3"])
def test_frames_are_the_published_ones(recorded: SimpleNamespace, name: str) -> None:
    """Of a window's rows, as far as the video goes; then its last frame."""
    facts = recorded.facts["frame_choice"][name]
    spec = load_recipe("adatad-thumos-s" if facts["scale_factor"] == 1 else "adatad-thumos-g").features
    every = decimation(30.0, spec.max_rate)
    assert (spec.stride, every * spec.stride) == (facts["scale_factor"], facts["snippet_stride"])
    read = torch.arange(0, facts["total_frames"], every)
    first, last = (row * spec.stride for row in facts["rows"])
    window = recorded.tensors[f"frames.{name}"]
    assert torch.equal(read[first:last], window[: len(read[first:last])])
    assert len(read[first:last]) >= spec.stride * facts["valid_rows"]
    assert window[len(read[first:last]) :].eq(read[-1]).all()


def test_windows_begin_as_published(recorded: SimpleNamespace) -> None:
    """Each once, and the last one at the next multiple of the coarsest cell's length."""
    coarsest = 1 << (RECIPE.model.levels - 1)
    config = RECIPE.inference
    assert config.chunk_overlap == config.chunk_length // 2
    for name, windows in recorded.facts["windows_in_rows_start_end"].items():
        if not name.endswith("overlap 0.5"):
            continue  # of their validation, which leaves rows out
        planned = plan_chunks(-(-int(name.split()[0]) // 4), config, multiple=coarsest)
        wanted = [list(window) for window in dict.fromkeys(map(tuple, windows))]
        assert [chunk.cells.stop for chunk in planned] == [stop for _, stop in wanted]
        assert [chunk.cells.start for chunk in planned] == [-(-start // coarsest) * coarsest for start, _ in wanted]


def test_suppression_over_all_windows_is_the_published_one(recorded: SimpleNamespace) -> None:
    facts = recorded.facts["merge"]["nms"]
    config = RECIPE.inference
    assert (config.nms, config.sigma, config.multiclass) == ("soft", facts["sigma"], facts["multiclass"])
    given = recorded.tensors["merge.per_window_result"].numpy()
    found = suppress(scored(given), config.model_copy(update={"max_segments": facts["max_seg_num"]}))
    wanted = recorded.tensors["merge.result"].numpy()
    np.testing.assert_array_equal(found.labels, wanted[:, 2])
    np.testing.assert_allclose(np.stack([found.starts, found.ends], 1), wanted[:, :2], atol=1e-5)
    np.testing.assert_allclose(found.scores, wanted[:, 3], atol=5.1e-5)  # recorded with four digits


def scored(rows: np.ndarray) -> ScoredSegments:
    """Rows of start, end, class, score."""
    return ScoredSegments(rows[:, 2].astype(np.int64), rows[:, 0], rows[:, 1], rows[:, 3])


def test_learning_rates_are_the_published_ones(recorded: SimpleNamespace) -> None:
    facts = recorded.facts["learning_rate"]
    schedule = Schedule.of(RECIPE.training, facts["iterations_per_epoch"])
    times = RECIPE.backbone.learning_rate / RECIPE.training.learning_rate
    for step, (adapters, detector) in facts["at_iteration"].items():
        rates = schedule.rate(int(step), times), schedule.rate(int(step))
        assert rates == pytest.approx((adapters, detector), rel=1e-6, abs=1e-12)
