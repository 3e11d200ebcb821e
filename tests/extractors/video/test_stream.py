"""Videos as streams of frames: right images at right times, and one clear line for anything that is not a video."""

from __future__ import annotations

import csv
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_videos import write_numbered_video
from numpy.typing import NDArray

from tal_cli.extractors.errors import DecoderUnavailable, VideoError
from tal_cli.extractors.video.messages import VideoSummary
from tal_cli.extractors.video.stream import FrameStream, probe, read_frames

Encode = Callable[..., Path]


def small(width: int, height: int) -> tuple[int, int]:
    """About 3,000 pixels, the aspect kept."""
    scale = (3000 / (width * height)) ** 0.5
    return max(1, round(width * scale)), max(1, round(height * scale))


def read(path: Path, **options: object) -> tuple[NDArray[np.uint8], NDArray[np.float64], VideoSummary]:
    """All frames, all times and the summary of a short video."""
    with read_frames(path, **({"frame_size": small} | options)) as stream:  # type: ignore[arg-type]
        chunks = list(stream)
        summary = stream.summary
    times = np.concatenate([chunk.times for chunk in chunks])
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    return np.concatenate([chunk.frames for chunk in chunks]), times, summary


def test_frames_times_and_summary_of_a_plain_video(plain: Path) -> None:
    frames, times, summary = read(plain, frame_size=lambda width, height: (32, 24))
    assert frames.shape == (60, 24, 32, 3)
    assert times == pytest.approx(np.arange(60) / 25)
    assert summary == VideoSummary(
        fps=25.0,
        delivered_fps=25.0,
        frames=60,
        duration=pytest.approx(2.4),
        start=0.0,
        lost=0,
        constant_rate=True,
        repeated=0,
        jumps=0,
    )


def test_frames_are_area_averages(plain: Path) -> None:
    with av.open(str(plain)) as container:
        full = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)
    expected = full.reshape(60, 12, 4, 16, 4, 3).mean((2, 4))
    frames, _, _ = read(plain, frame_size=lambda width, height: (16, 12))
    assert abs(frames - expected).mean() < 1.5


def test_rows_of_any_width_arrive_whole(plain: Path) -> None:
    wide, _, _ = read(plain, frame_size=lambda width, height: (64, 48))
    odd, _, _ = read(plain, frame_size=lambda width, height: (61, 47))
    assert odd.shape == (60, 47, 61, 3)
    assert abs(odd.mean((1, 2)) - wide.mean((1, 2))).max() < 1.5


def test_the_question_for_a_size_is_asked_for_the_upright_frame(shared: Path) -> None:
    asked: list[tuple[int, int]] = []

    def size(width: int, height: int) -> tuple[int, int]:
        asked.append((width, height))
        return 32, 56

    frames, _, _ = read(shared / "videos" / "decord_video_90.mov", frame_size=size)
    assert asked == [(320, 568)]
    assert frames.shape == (3, 56, 32, 3)


@pytest.mark.parametrize(("name", "turns"), [("90", 3), ("180", 2), ("270", 1)])
def test_rotated_videos_are_upright(shared: Path, name: str, turns: int) -> None:
    path = shared / "videos" / f"decord_video_{name}.mov"
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    expected = np.rot90(stored, turns)
    expected = expected[: expected.shape[0] // 8 * 8, : expected.shape[1] // 8 * 8].astype(float)
    height, width = expected.shape[0] // 8, expected.shape[1] // 8
    expected = expected.reshape(height, 8, width, 8, 3).mean((1, 3))
    frames, _, _ = read(path, frame_size=lambda _width, _height: (width, height))
    assert abs(frames[0] - expected).mean() < 3
    assert probe(path).rotation == turns * 90


def test_variable_rate_keeps_the_presentation_times(broken: object) -> None:
    folder, manifest = broken.folder, broken.manifest  # type: ignore[attr-defined]
    _, times, summary = read(folder / "vfr.mp4")
    stamps = np.array(manifest["vfr.mp4"]["pts_ms"]) / 1000
    nearest = np.abs(times[:, None] - stamps).min(axis=0)
    assert nearest.max() < 1e-6
    assert summary.frames == len(stamps) == len(times) - summary.repeated
    assert np.diff(times).max() < 0.15
    assert 0.033 < summary.duration - times[-1] < 0.041  # as long as the file says


@pytest.mark.parametrize(("name", "start"), [("late_start.mkv", 5.0), ("transport.ts", 0.08)])
def test_late_starts_begin_at_zero(broken: object, name: str, start: float) -> None:
    _, times, summary = read(broken.folder / name)  # type: ignore[attr-defined]
    assert times == pytest.approx(np.arange(30) / 25)
    assert summary.duration == pytest.approx(1.2)
    assert summary.start == pytest.approx(start)


def test_frames_out_of_order_in_avi_keep_their_order_and_an_even_rate(shared: Path) -> None:
    _, times, summary = read(shared / "videos" / "mmaction2_test.avi")
    assert times == pytest.approx(np.arange(164) / 25)
    assert summary.constant_rate


def test_resampling(plain: Path) -> None:
    frames, times, summary = read(plain, sampling_rate=10.0)
    original, _, _ = read(plain)
    assert times == pytest.approx(np.arange(24) / 10)
    assert (summary.fps, summary.delivered_fps, summary.frames) == (25.0, 10.0, 60)
    # Each tick shows the last frame that is nearest to it or came before.
    nearest = [max(frame for frame in range(60) if int(frame / 2.5 + 0.5) <= tick) for tick in range(24)]
    assert np.array_equal(frames, original[nearest])


def test_resampling_up_repeats_frames(plain: Path) -> None:
    frames, times, _ = read(plain, sampling_rate=50.0)
    assert len(frames) == 120
    assert times == pytest.approx(np.arange(120) / 50)
    assert np.array_equal(frames[0], frames[1])


def test_fast_videos_are_decimated(plain: Path) -> None:
    frames, times, summary = read(plain, max_rate=10.0)
    original, _, _ = read(plain)
    assert np.array_equal(frames, original[::3])
    assert times == pytest.approx(np.arange(20) * 3 / 25)
    assert summary.delivered_fps == pytest.approx(25 / 3)
    assert summary.duration == pytest.approx(2.4)


@pytest.mark.slow
def test_every_real_video_gives_the_frames_and_seconds_of_its_table(shared: Path) -> None:
    wrong = []
    for name, expected, seconds in table_of(shared / "videos" / "README.md"):
        _, _, summary = read(shared / "videos" / name)
        # avi has no display times, so one step more or less is a matter of taste.
        tolerance = 0.05 if name.endswith(".avi") else 0.002
        if name == "decord_corrupted.mp4":
            assert summary.lost == 1  # where others stop, the rest still decodes
            assert summary.frames == 49
        elif summary.frames != expected or abs(summary.duration - seconds) > tolerance or summary.lost:
            wrong.append((name, expected, seconds, summary))
    assert not wrong


def table_of(readme: Path) -> list[tuple[str, int, float]]:
    """(file, frames, seconds) of every row of the README's table."""
    rows = csv.reader(readme.read_text(encoding="utf8").splitlines(), delimiter="|")
    cells = [[cell.strip() for cell in row] for row in rows if len(row) > 12]
    return [(row[1], int(row[7].split()[0]), float(row[8])) for row in cells if row[7][:1].isdigit()]


@pytest.mark.parametrize("expect", ["ok", "partial", "reject", "refuse"])
@pytest.mark.slow
def test_broken_files_end_as_their_manifest_says(broken: object, expect: str) -> None:
    wrong = []
    for path, entry in broken.expecting(expect):  # type: ignore[attr-defined]
        outcome = outcome_of(path)
        if not as_expected(outcome, path, expect, entry):
            wrong.append((path.name, entry, outcome))
    assert not wrong


def outcome_of(path: Path) -> VideoSummary | str:
    """The summary, or the reason why there is none."""
    try:
        return read(path)[2]
    except VideoError as error:
        assert error.path == str(path)
        assert "\n" not in error.reason
        return error.reason


def as_expected(outcome: VideoSummary | str, path: Path, expect: str, entry: dict[str, object]) -> bool:
    if path.name == "image.mp4":
        return outcome == "its format is not a supported video format"
    if path.name == "unreadable.mp4" and os.access(path, os.R_OK):
        return isinstance(outcome, VideoSummary)
    if expect == "ok":
        return isinstance(outcome, VideoSummary) and outcome.frames == entry["frames"] and outcome.lost == 0
    if expect == "partial":
        return isinstance(outcome, VideoSummary) and outcome.frames > 20 and outcome.lost > 0
    return isinstance(outcome, str)


@pytest.mark.slow
def test_refused_files_are_rejected_for_their_format(broken: object) -> None:
    reasons = {outcome_of(path) for path, _ in broken.expecting("refuse")}  # type: ignore[attr-defined]
    assert reasons <= {"its format is not a supported video format", "it is not a video file, or its index is lost"}


def test_probe_says_what_the_container_claims(plain: Path) -> None:
    info = probe(plain)
    assert (info.width, info.height, info.fps, info.frames, info.rotation) == (64, 48, 25.0, 60, 0)
    assert info.duration == pytest.approx(2.4)


def test_names_are_taken_relative_to_the_working_folder(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plain.parent)
    assert probe(plain.name).frames == 60


def test_unknown_decoders_and_sizes_are_errors_of_the_caller(plain: Path) -> None:
    with pytest.raises(ValueError, match="there are auto, pyav"):
        read_frames(plain, frame_size=small, decoder="vlc")
    with pytest.raises(ValueError, match="cannot be made"):
        read_frames(plain, frame_size=lambda width, height: (0, 10))


def test_a_decoder_that_is_not_installed_is_named(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tal_cli.extractors.files.child.module_path", path_without_packages)
    with pytest.raises(DecoderUnavailable, match="decoder torchcodec is not installed") as caught:
        read_frames(plain, frame_size=small, decoder="torchcodec")
    assert "torchcodec" in caught.value.remedy


def path_without_packages() -> list[str]:
    """A module path on which nothing that was installed can be imported."""
    home = str(Path(__file__).resolve().parents[3])
    return [home, *(entry for entry in sys.path if entry and "site-packages" not in entry)]


def test_a_summary_before_the_end_is_an_error(plain: Path) -> None:
    with read_frames(plain, frame_size=small) as stream, pytest.raises(RuntimeError, match="after the last frame"):
        assert isinstance(stream, FrameStream)
        _ = stream.summary


@pytest.mark.slow
def test_damaged_bytes_give_frames_or_one_line(plain: Path, tmp_path: Path) -> None:
    good, chance = plain.read_bytes(), random.Random(11)
    for _ in range(24):
        content = bytearray(good)
        for _ in range(chance.choice([1, 10, 100])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path = tmp_path / "damaged.mp4"
        path.write_bytes(content)
        outcome = outcome_of(path)
        assert isinstance(outcome, VideoSummary) or "Error" not in outcome.split(":")[0]


def test_a_title_that_is_not_utf8_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "title.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.metadata["title"] = "abcdefgh"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"\xff\xfebad\xc3\x28\x80"))
    with read_frames(path, frame_size=lambda width, height: (width, height)) as frames:
        assert sum(len(chunk.times) for chunk in frames) == 1


@pytest.mark.parametrize(
    ("name", "stamps", "skipped"),
    [("steady.mp4", None, 75), ("late.mkv", [5000 + 40 * number for number in range(200)], 75), ("old.avi", None, 0)],
)
def test_decoding_begins_at_the_key_frame_before_a_start(
    tmp_path: Path, name: str, stamps: list[int] | None, skipped: int
) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_numbered_video(tmp_path / name, 200, stamps=stamps, sound=None, codec=codec)
    whole, all_times, _ = read(path)
    with read_frames(path, frame_size=small, start=3.3) as stream:
        chunks = list(stream)
    frames, times = (np.concatenate([getattr(chunk, what) for chunk in chunks]) for what in ("frames", "times"))
    assert times == pytest.approx(all_times[skipped:])
    assert np.array_equal(frames, whole[skipped:])
    with read_frames(path, frame_size=small, start=3.3, sampling_rate=10.0) as stream:
        first = next(iter(stream)).times[0]
    assert first == pytest.approx(skipped / 25)
