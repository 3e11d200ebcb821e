"""From a video file to its feature sequence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal_cli.extractors.catalog import find
from tal_cli.extractors.errors import SettingsError, UsageError, VideoError
from tal_cli.extractors.extraction.blocks import PreparedFrames
from tal_cli.extractors.extraction.cpu_parallel import parallel_map, worker_pool
from tal_cli.extractors.extraction.extractor import Extractor, extract_features, reading_warnings
from tal_cli.extractors.extraction.forward import ForwardPasses, PieceSize
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.video.info import VideoInfo
from tal_cli.extractors.video.messages import VideoSummary
from tal_cli.extractors.video.stream import read_frames

MakeContract = Callable[..., FeatureContract]
Encode = Callable[..., Path]


class MeanColour:
    """A backbone whose features can be computed by hand: the mean colour of a window.

    prepared: how many frames it prepared. blocks: how many frames each forward pass took. most: windows that a pass has
    memory for. rejected: how many passes had too little.
    """

    def __init__(self, contract: FeatureContract, *, lookahead: int = 0, most: int = 1000) -> None:
        self.contract = contract
        self.window_bytes = 1 << 20
        self.lookahead = lookahead
        self.most = most
        self.prepared = 0
        self.blocks: list[int] = []
        self.rejected = 0

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        return width // 2, height // 2

    def to(self, device: str | torch.device) -> MeanColour:
        return self

    def prepare(self, frames: torch.Tensor) -> torch.Tensor:
        """The mean colour of each frame, or how it changes to the next."""
        assert frames.dtype == torch.uint8
        self.prepared += len(frames) - self.lookahead
        colours = frames.float().mean((1, 2))
        return colours[1:] - colours[:-1] if self.lookahead else colours

    def __call__(self, prepared: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        assert times.dtype == torch.float64
        assert len(times) == len(prepared)
        windows = (len(prepared) - self.contract.window) // self.contract.stride + 1
        if windows > self.most:
            self.rejected += 1
            raise torch.OutOfMemoryError("no memory")
        self.blocks.append(len(prepared))
        return prepared.unfold(0, self.contract.window, self.contract.stride).mean(-1)


def by_hand(path: Path, grid: WindowGrid) -> np.ndarray:
    """The mean colour of each window, all frames at once."""
    with read_frames(path, frame_size=lambda width, height: (width // 2, height // 2)) as stream:
        frames = np.concatenate([chunk.frames for chunk in stream]).astype(np.float32).mean((1, 2))
    frames = np.concatenate([frames, np.repeat(frames[-1:], max(0, grid.window - len(frames)), 0)])
    return np.stack([frames[g * grid.stride :][: grid.window].mean(0) for g in range(grid.count(len(frames)))])


@pytest.mark.parametrize("batch", [1, 3, 64, "auto"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.slow
def test_features_do_not_depend_on_batch_and_threads(
    plain: Path, contract: MakeContract, batch: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tal_cli.extractors.extraction.extractor.cpu_workers", lambda: threads)
    sequence = extract_features(plain, MeanColour(contract()), batch_size=batch)
    assert np.allclose(sequence.features, by_hand(plain, WindowGrid(16, 4)), atol=1e-3)
    assert (sequence.fps, sequence.frames, sequence.warnings) == (25.0, 60, ())
    assert sequence.duration == pytest.approx(2.4)
    assert sequence.window_times is None
    assert sequence.seconds([0.0, 11.0]) == pytest.approx([0.32, 2.08])


@pytest.mark.parametrize("frames", [1, 15, 16, 17, 20])
def test_short_videos_have_a_window(encode: Encode, contract: MakeContract, tmp_path: Path, frames: int) -> None:
    pictures = np.full((frames, 32, 32, 3), 90, np.uint8)
    pictures[-1] = 200
    path = encode(tmp_path / "short.mp4", pictures)
    sequence = extract_features(path, MeanColour(contract()))
    assert np.allclose(sequence.features, by_hand(path, WindowGrid(16, 4)), atol=1e-3)
    assert len(sequence.features) == max(1, (frames - 16) // 4 + 1)
    assert ((sequence.seconds([-5.0, 0.0, 9.0]) >= 0) & (sequence.seconds([-5.0, 0.0, 9.0]) <= frames / 25)).all()


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_variable_rate_windows_are_where_their_frames_are(
    encode: Encode, contract: MakeContract, tmp_path: Path, batch: int
) -> None:
    steps = [40 if index % 10 < 6 else 110 for index in range(40)]  # too short for a held frame
    stamps = np.cumsum([0, *steps])[:40]
    path = encode(tmp_path / "vfr.mp4", np.full((40, 32, 32, 3), 90, np.uint8), stamps=[int(at) for at in stamps])
    sequence = extract_features(path, MeanColour(contract()), batch_size=batch)
    centres = stamps[8 : 8 + 4 * 7 : 4] / 1000
    assert sequence.window_times == pytest.approx(centres)
    assert sequence.seconds(np.arange(7.0)) == pytest.approx(centres)
    halfway = (stamps[8] + stamps[12]) / 2000
    assert sequence.seconds(0.5) == pytest.approx(halfway)
    assert sequence.grid(halfway) == pytest.approx(0.5)


def test_odd_windows_have_their_centre_between_frames(plain: Path, contract: MakeContract) -> None:
    sequence = extract_features(plain, MeanColour(contract(window=5, stride=3)))
    assert sequence.seconds([0.0, 1.0]) == pytest.approx([0.1, 0.22])


def test_resampled_features_keep_the_clock_of_the_video(plain: Path, contract: MakeContract) -> None:
    sequence = extract_features(plain, MeanColour(contract(sampling_rate=10.0)))
    assert len(sequence.features) == (24 - 16) // 4 + 1
    assert (sequence.fps, sequence.feature_fps, sequence.frames) == (25.0, 10.0, 60)
    assert sequence.seconds([0.0, 2.0]) == pytest.approx([0.8, 1.6])


def test_decimated_features_keep_the_clock_of_the_video(plain: Path, contract: MakeContract) -> None:
    sequence = extract_features(plain, MeanColour(contract(max_rate=13.0)))
    assert sequence.feature_fps == 12.5
    assert sequence.seconds(0.0) == pytest.approx(0.64)


def test_progress_counts_frames(plain: Path, contract: MakeContract) -> None:
    seen: list[tuple[int, int | None]] = []
    extract_features(plain, MeanColour(contract()), batch_size=2, progress=lambda *done: seen.append(done))
    assert seen[-1] == (48, 60)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_blocks_stay_small_however_long_the_video(encode: Encode, contract: MakeContract, tmp_path: Path) -> None:
    path = encode(tmp_path / "long.mp4", np.full((900, 16, 16, 3), 90, np.uint8))
    backbone = MeanColour(contract())
    extract_features(path, backbone)
    assert max(backbone.blocks) == 16 + 63 * 4
    assert backbone.prepared == 900


@pytest.mark.parametrize(("window_bytes", "windows"), [(1, 64), (100 << 20, 3), (4 << 30, 1)])
def test_windows_per_pass_follow_from_their_memory(
    plain: Path, contract: MakeContract, window_bytes: int, windows: int
) -> None:
    backbone = MeanColour(contract())
    backbone.window_bytes = window_bytes
    assert Extractor(backbone).forward_passes.windows.largest == windows


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.slow
def test_too_little_memory_makes_batches_smaller_and_changes_nothing(
    plain: Path, contract: MakeContract, most: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tal_cli.extractors.extraction.extractor.cpu_workers", lambda: threads)
    backbone = MeanColour(contract(), most=most)
    extractor = Extractor(backbone)
    sequence = extractor.extract(plain)
    assert np.array_equal(sequence.features, extract_features(plain, MeanColour(contract())).features)
    assert max(backbone.blocks) <= WindowGrid(16, 4).frames(most)
    assert 1 <= extractor.forward_passes.windows.largest <= most
    assert backbone.prepared == 60


@pytest.mark.slow
def test_no_memory_at_all_costs_the_video(plain: Path, contract: MakeContract) -> None:
    with pytest.raises(VideoError, match=r"plain.mp4: cpu has too little memory for one window of it"):
        extract_features(plain, MeanColour(contract(), most=0))


@pytest.mark.parametrize("size", [1, 2, 5, 7, 64])
@pytest.mark.slow
def test_frames_are_prepared_in_smaller_pieces_too(
    plain: Path, contract: MakeContract, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = extract_features(plain, MeanColour(contract(), lookahead=1)).features
    backbone = MeanColour(contract(), lookahead=1)
    whole = backbone.prepare

    def prepare(frames: torch.Tensor) -> torch.Tensor:
        if len(frames) - 1 > size:
            raise torch.OutOfMemoryError("no memory")
        return whole(frames)

    monkeypatch.setattr(backbone, "prepare", prepare)
    assert np.array_equal(extract_features(plain, backbone).features, expected)


@pytest.mark.parametrize("batch", [1, 4, "auto"])
@pytest.mark.parametrize("frames", [1, 2, 3, 16, 17, 18, 40])
@pytest.mark.slow
def test_changes_between_frames_take_one_frame_less(
    encode: Encode, contract: MakeContract, tmp_path: Path, frames: int, batch: int
) -> None:
    path = encode(tmp_path / "x.mp4", np.stack([np.full((32, 32, 3), 20 + 4 * n, np.uint8) for n in range(frames)]))
    backbone = MeanColour(contract(), lookahead=1)
    sequence = extract_features(path, backbone, batch_size=batch)
    changes = max(1, frames - 1)
    assert backbone.prepared == changes
    assert len(sequence.features) == WindowGrid(16, 4).count(changes)
    assert np.allclose(sequence.features, 4 if frames > 1 else 0, atol=1.5)
    assert sequence.frames == frames


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("batch", [1, 4, "auto"])
def test_the_way_through_an_accelerator_gives_the_same(
    plain: Path, contract: MakeContract, lookahead: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = extract_features(plain, MeanColour(contract(), lookahead=lookahead)).features
    backbone = MeanColour(contract(), lookahead=lookahead)
    extractor = Extractor(backbone, batch_size=batch)
    monkeypatch.setattr(extractor, "_compute_in_workers", extractor._compute_in_flight)
    assert np.array_equal(extractor.extract(plain).features, expected)
    assert backbone.prepared == 60 - lookahead


def test_errors_on_the_way_through_an_accelerator_leave_nothing_running(
    plain: Path, contract: MakeContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = Extractor(MeanColour(contract(channels=4)), batch_size=1)
    monkeypatch.setattr(extractor, "_compute_in_workers", extractor._compute_in_flight)
    before = threading.active_count()
    with pytest.raises(ValueError, match="mean gave features"):
        extractor.extract(plain)
    until = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.02)
    assert threading.active_count() <= before
    assert not torch.is_inference_mode_enabled()


@pytest.mark.slow
def test_several_videos_share_an_extractor(plain: Path, contract: MakeContract) -> None:
    extractor = Extractor(MeanColour(contract()))
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(extractor.extract, [plain] * 6))
    expected = by_hand(plain, WindowGrid(16, 4))
    assert all(np.allclose(sequence.features, expected, atol=1e-3) for sequence in found)


def test_features_that_are_not_finite_are_an_error(plain: Path, contract: MakeContract) -> None:
    backbone = MeanColour(contract())
    backbone.prepare = lambda frames: frames.float().mean((1, 2)) / 0  # type: ignore[method-assign]
    with pytest.raises(VideoError, match="its features are not finite at precision auto"):
        extract_features(plain, backbone)


def test_lower_precision_is_close(plain: Path, contract: MakeContract) -> None:
    network = torch.nn.Conv2d(3, 8, 5)

    class Network(MeanColour):
        def __call__(self, prepared: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
            maps = network(prepared)
            seen.append(maps.dtype)
            return maps.float().mean((2, 3)).unfold(0, 16, 4).mean(-1)

        def prepare(self, frames: torch.Tensor) -> torch.Tensor:
            return frames.permute(0, 3, 1, 2).float() / 255

    found = {}
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        seen: list[torch.dtype] = []
        found[precision] = extract_features(plain, Network(contract(channels=8)), precision=precision).features
        assert set(seen) == {kind}
    assert 0 < abs(found["bf16"] - found["fp32"]).max() < 0.02
    assert 0 < abs(found["fp16"] - found["fp32"]).max() < 0.002


def test_compiling_needs_a_network(contract: MakeContract) -> None:
    with pytest.raises(SettingsError, match="mean has no network to compile"):
        Extractor(MeanColour(contract()), compiled=True)


def test_a_backbone_that_breaks_its_contract_is_found_out(plain: Path, contract: MakeContract) -> None:
    with pytest.raises(ValueError, match=r"mean gave features \(12, 3\), not \(12, 4\)"):
        extract_features(plain, MeanColour(contract(channels=4)))


def test_broken_videos_are_errors(tmp_path: Path, contract: MakeContract) -> None:
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"x.mp4: it is not a video file"):
        extract_features(tmp_path / "x.mp4", MeanColour(contract()))


def test_workers_keep_the_order_and_pass_errors_on() -> None:
    for workers in (1, 3):
        assert list(parallel_map(lambda value: value * 2, range(50), workers)) == [2 * n for n in range(50)]
        with pytest.raises(ZeroDivisionError):
            list(parallel_map(lambda value: 1 // value, [1, 0, 1, 1, 1], workers))


def test_pools_made_by_many_threads_at_once_leave_the_thread_count_alone() -> None:
    before = torch.get_num_threads()
    with ThreadPoolExecutor(6) as pool:
        pools = list(pool.map(worker_pool, [5] * 6))
        seen = set(pool.map(lambda _: torch.get_num_threads(), range(6)))
    assert len(set(map(id, pools))) == 1
    assert seen == {before}
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_a_halved_batch_is_remembered_for_the_next_video(plain: Path, contract: MakeContract) -> None:
    backbone = MeanColour(contract(), most=2)
    extractor = Extractor(backbone)
    first = extractor.extract(plain)
    assert backbone.rejected > 0
    rejected = backbone.rejected
    assert np.array_equal(extractor.extract(plain).features, first.features)
    assert backbone.rejected == rejected


@pytest.mark.parametrize("workers", [1, 4])
def test_threads_never_enlarge_a_batch_that_another_has_halved(workers: int) -> None:
    size = PieceSize(64)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(size.halve, [64, 8, 32, 16, 64, 8] * 50))
    assert size.largest == 4
    size.halve(1)
    assert size.largest == 1


def test_on_an_accelerator_threads_take_turns(plain: Path, contract: MakeContract) -> None:
    """The backbone computes on the CPU here; what counts is that it is said to be elsewhere."""
    at_once: list[int] = []
    running = threading.Semaphore(1)

    class Counting(MeanColour):
        def __call__(self, prepared: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
            at_once.append(int(running.acquire(blocking=False)))
            time.sleep(0.001)
            features = super().__call__(prepared, times)
            if at_once[-1]:
                running.release()
            return features

    passes = ForwardPasses(Counting(contract()), torch.device("mps"))
    block = PreparedFrames(torch.rand(76, 3), np.arange(76) / 25)
    with ThreadPoolExecutor(4) as pool:
        found = [pending.wait() for pending in pool.map(passes.forward, [block] * 12)]
    assert at_once == [1] * 12
    assert all(np.array_equal(rows, found[0]) for rows in found)


@pytest.mark.parametrize("name", ["auto", "fp32", "bf16", "fp16"])
def test_precision_holds_in_every_worker_whatever_the_caller_s(contract: MakeContract, name: str) -> None:
    seen: list[tuple[bool, torch.dtype]] = []

    class Products(MeanColour):
        def __call__(self, prepared: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
            product = torch.ones(2, 2) @ torch.ones(2, 2)
            seen.append((torch.is_inference_mode_enabled(), product.dtype))
            return super().__call__(prepared, times)

    passes = ForwardPasses(Products(contract()), torch.device("cpu"), name)
    blocks = [PreparedFrames(torch.rand(76, 3), np.arange(76) / 25) for _ in range(6)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        list(parallel_map(passes.forward, blocks, 3))
        passes.forward(blocks[0])
    wanted = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name, torch.float32)
    assert seen == [(True, wanted)] * 7
    assert not torch.is_inference_mode_enabled()


def test_unknown_precisions_are_usage(contract: MakeContract) -> None:
    with pytest.raises(UsageError, match="no precision named 'fp8'"):
        Extractor(MeanColour(contract()), precision="fp8")


def test_a_user_is_told_how_a_video_was_read() -> None:
    contract = find("tiny").contract
    info = VideoInfo("a.mp4", 64, 48, 25.0, 60, 2.4, 0)
    summary = VideoSummary(
        fps=25.0,
        delivered_fps=25.0,
        frames=60,
        duration=2.4,
        start=0.0,
        lost=0,
        constant_rate=True,
        repeated=0,
        jumps=0,
    )
    assert list(reading_warnings(info, summary, contract)) == []
    odd = list(
        reading_warnings(replace(info, streams=3, stream=1), replace(summary, fps=5.0, lost=2, jumps=4), contract)
    )
    assert [warning.split(";")[0].split(":")[0] for warning in odd] == [
        "2 frames could not be decoded",
        "it has 3 video streams",
        "joined recordings",
        "5 frames/s is too low for tiny, which needs 14.4 or more",
    ]
    resampled = replace(contract, sampling_rate=30.0, max_rate=None)
    assert not list(reading_warnings(info, replace(summary, fps=15.0), resampled))
    assert len(list(reading_warnings(info, replace(summary, fps=10.0), resampled))) == 1
