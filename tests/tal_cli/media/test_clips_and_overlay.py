"""Clips and overlays: the right frames at the right times, with their sound, whatever the video is like."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_videos import Seen, pitch, see, write_numbered_video
from small_runs import Tal, render_clip

from tal_cli.extractors.errors import InputError, VideoError
from tal_cli.extractors.video.messages import DecodeError
from tal_cli.extractors.video.stream import probe
from tal_cli.media import host
from tal_cli.media.clips import MOST_ENCODERS, Cut, at_once
from tal_cli.media.reader import Reader
from tal_cli.results.clips import clip_name, cut_clips, draw_overlay
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import RunInfo

RUN = RunInfo("0.1.0", "small", "", ("run", "jump"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds at 25 frames per second, a key frame every second, a tone."""
    return write_numbered_video(tmp_path_factory.mktemp("recording") / "recording.mp4")


def found(path: Path, *spans: tuple[float, float], label: str = "run") -> Detections:
    segments = tuple(Segment(label, start, end, 0.9 - 0.1 * index) for index, (start, end) in enumerate(spans))
    return Detections(path.stem, str(path), 4.0, 25.0, 100, segments)


def clips_of(folder: Path, detections: Detections) -> list[tuple[Path, Seen]]:
    cut_clips(detections, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert not list(folder.rglob(".*"))
    return [(path, see(path)) for path in files]


def images(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


def test_between_key_frames_packets_are_copied(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ((path, seen),) = clips_of(tmp_path / "clips", found(recording, (1.0, 3.0)))
    assert seen.numbers == list(range(25, 75))
    assert images(path) == images(recording)[25:75]  # to the last bit
    assert np.allclose(np.diff(seen.times), 0.04)
    assert "1 clip in" in capsys.readouterr().err
    assert abs(len(seen.sound) / 44_100 + seen.sound_start - 2.0) < 0.05
    assert abs(pitch(seen, seen.times[0] + 0.4) - 600) < 15


def test_packets_of_matroska_are_copied_and_sound_stays_with_them(tmp_path: Path) -> None:
    source = write_numbered_video(tmp_path / "late.mkv", stamps=[500 + 40 * number for number in range(100)])
    ((path, seen),) = clips_of(tmp_path / "clips", found(source, (1.0, 3.0)))
    assert path.suffix == ".mkv" and images(path) == images(source)[25:75]
    assert np.allclose(np.diff(seen.times), 0.04, atol=1.1e-3)
    # The recording's first image is half a second late: the pitch changes in the middle of seconds.
    assert abs(pitch(seen, seen.times[0] + 0.35) - 600) < 15 and abs(pitch(seen, seen.times[0] + 0.55) - 900) < 15


@pytest.mark.parametrize(
    ("start", "end"), [(0.2, 0.6), (1.02, 1.5), (0.98, 2.06), (3.5, 4.0), (2.0, 2.04), (1.0, 1.88)]
)
def test_a_clip_has_exactly_its_frames(recording: Path, tmp_path: Path, start: float, end: float) -> None:
    ((_, seen),) = clips_of(tmp_path / "clips", found(recording, (start, end)))
    shown = [number for number in range(100) if start - 0.02 <= number / 25 < end - 0.02]
    assert seen.numbers == shown
    assert np.allclose(np.array(seen.times) - seen.times[0], (np.array(shown) - shown[0]) / 25, atol=1e-3)


def test_padded_clips_end_with_the_video(recording: Path, tmp_path: Path) -> None:
    cut_clips(found(recording, (0.2, 0.6), (1.52, 2.0), (3.4, 3.8)), tmp_path, pad=0.52)
    files = sorted(tmp_path.rglob("*.mp4"))
    assert [path.stem.split("_")[2] for path in files] == ["0.20-0.60", "1.52-2.00", "3.40-3.80"]
    assert [see(path).numbers for path in files] == [list(range(28)), list(range(25, 63)), list(range(72, 100))]


def test_padding_wants_clips(run: Tal, tmp_path: Path) -> None:
    done = run("detect", tmp_path / "x.mp4", "--pad", "1")
    assert done.code == 2 and "--pad requires a folder of clips" in done.err and "--clips DIR" in done.err


def test_overlapping_clips_come_out_of_one_pass(recording: Path, tmp_path: Path) -> None:
    spans = [(0.2, 1.4), (0.6, 0.8), (0.6, 3.88), (1.0, 2.0), (3.92, 4.0)]
    written = clips_of(tmp_path / "clips", found(recording, *spans))
    assert [seen.numbers for _, seen in written] == [
        list(range(round(start * 25), round(end * 25))) for start, end in sorted(spans)
    ]
    middle = written[2][1]
    assert abs(pitch(middle, 0.1) - 300) < 15 and abs(pitch(middle, 1.6) - 900) < 15


def test_no_more_recordings_than_memory_has_room_for_are_encoded_at_once() -> None:
    cuts = [Cut(0.1 * number, 0.1 * number + 2, "") for number in range(60)]
    passes = []
    left = cuts
    while left:
        now, left = at_once(left)
        passes.append(now)
        for item in now:
            assert sum(other.start <= item.start < other.end for other in now) <= MOST_ENCODERS
    assert sorted(id(item) for now in passes for item in now) == sorted(map(id, cuts))
    assert len(passes) == 3


def test_many_segments_of_one_moment_are_all_cut(recording: Path, tmp_path: Path) -> None:
    written = clips_of(tmp_path / "clips", found(recording, *[(0.2, 0.4 + 0.04 * number) for number in range(12)]))
    assert sorted(len(seen.numbers) for _, seen in written) == list(range(5, 17))


def test_a_segment_shorter_than_a_frame_is_one_frame(recording: Path, tmp_path: Path) -> None:
    written = clips_of(tmp_path / "clips", found(recording, (1.021, 1.022), (3.999, 4.0)))
    assert [len(seen.numbers) for _, seen in written] == [1, 1]
    assert written[0][1].numbers[0] in (25, 26) and written[1][1].numbers == [99]


def test_long_gaps_are_jumped(tmp_path: Path) -> None:
    long = write_numbered_video(tmp_path / "long.mp4", 500, fps=10, gop=20, sound=None)
    spans = [(0.5, 1.0), (30.3, 31.1), (46.0, 46.5), (49.5, 50.0)]
    written = clips_of(tmp_path / "clips", replace(found(long, *spans), duration=50.0, fps=10.0))
    assert [seen.numbers for _, seen in written] == [
        list(range(round(10 * start), round(10 * end))) for start, end in spans
    ]


def test_at_a_variable_rate_frames_keep_their_times(tmp_path: Path) -> None:
    stamps = [int(1000 * t) for t in np.cumsum([0, *([0.03] * 30), 0.5, *([0.1] * 20)])]
    recording = write_numbered_video(tmp_path / "vfr.mp4", len(stamps), stamps=stamps, gop=10)
    ((_, seen),) = clips_of(tmp_path / "clips", replace(found(recording, (0.6, 2.5)), fps=16.0))
    shown = [number for number, stamp in enumerate(stamps) if 600 - 40 <= stamp < 2500 - 40]
    assert set(seen.numbers) <= set(range(shown[0] - 1, shown[-1] + 2)) and len(seen.numbers) >= len(shown) - 2
    source = np.array(stamps)[seen.numbers] / 1000
    assert np.allclose(np.array(seen.times) - seen.times[0], source - source[0], atol=2e-3)


@pytest.mark.parametrize(
    ("suffix", "options", "size", "pixels"),
    [
        (".mp4", {"size": (177, 65), "pixels": "yuv444p"}, (176, 64), "yuv420p"),
        (".mp4", {"pixels": "yuv420p10le"}, (176, 64), "yuv420p"),
        (".mkv", {"sound": "flac"}, (176, 64), "yuv420p"),
        (".avi", {"codec": "mpeg4", "sound": "libmp3lame"}, (176, 64), "yuv420p"),
        (".ts", {"sound": "mp2"}, (176, 64), "yuv420p"),
    ],
)
@pytest.mark.slow
def test_any_video_can_be_cut(
    tmp_path: Path, suffix: str, options: dict[str, object], size: tuple[int, int], pixels: str
) -> None:
    source = write_numbered_video(tmp_path / f"recording{suffix}", 60, **options)  # type: ignore[arg-type]
    ((path, seen),) = clips_of(tmp_path / "clips", found(source, (0.48, 1.6)))
    times = see(source).times  # avi delays its second frame
    assert seen.numbers == [number for number, time in enumerate(times) if 0.46 <= time - times[0] < 1.58]
    assert (path.suffix, seen.width, seen.height, seen.pixels) == (".mp4", *size, pixels)
    assert abs(pitch(seen, 0.1) - 300) < 20 and abs(pitch(seen, 0.7) - 600) < 20


def test_a_turned_video_is_upright(shared: Path, tmp_path: Path) -> None:
    source = shared / "videos" / "decord_video_90.mov"
    spans = [(0.0, 0.1), (0.034, 0.1)]
    (_, copied), (path, turned) = clips_of(tmp_path / "clips", replace(found(source, *spans), fps=30.0, duration=0.1))
    assert (copied.width, copied.height) == (turned.width, turned.height) == (320, 568)
    with av.open(str(path)) as container, av.open(str(source)) as original:
        made = next(container.decode(video=0))
        assert made.rotation == 0
        frame = list(original.decode(video=0))[1]
        upright = np.rot90(frame.to_ndarray(format="gray"), round(frame.rotation / 90) % 4)
        assert np.abs(made.to_ndarray(format="gray").astype(int) - upright).mean() < 4


@pytest.mark.slow
def test_colours_stay_what_they_were(shared: Path, tmp_path: Path) -> None:
    source = shared / "videos" / "torchcodec_bt709_full_range.mp4"
    detections = replace(found(source, (0.31, 0.5)), fps=30.0, duration=1.0, frames=30)
    cut_clips(detections, tmp_path / "clips")
    draw_overlay(replace(detections, segments=()), tmp_path / "over", RUN)
    (clip,) = (tmp_path / "clips").rglob("*.mp4")
    for path, number in [(clip, 0), (tmp_path / "over" / f"{source.stem}.overlay.mp4", 9)]:
        made, original = frame_at(path, number).astype(int), frame_at(source, 9)
        assert np.abs(made - original)[200:600].mean() < 4


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    source = write_numbered_video(tmp_path / "wide.mp4", 20, sound=None, pixel_shape=Fraction(4, 3))
    cut_clips(found(source, (0.2, 0.6)), tmp_path / "clips")
    (clip,) = (tmp_path / "clips").rglob("*.mp4")
    with av.open(str(clip)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_names_stay_in_the_folder(recording: Path, tmp_path: Path) -> None:
    found_there = replace(found(recording, (0.2, 0.4), label="../../a/b\n<x>"), video="../up/../recording")
    ((path, _),) = clips_of(tmp_path / "clips", found_there)
    assert path.relative_to(tmp_path / "clips").parts == ("up", "recording", "0001_a-b-n-x_0.20-0.40.mp4")
    assert clip_name(1, Segment("", 0, 1, 1)) == "0001_segment_0.00-1.00"
    assert len(clip_name(1, Segment("動" * 400, 0, 1, 1)).encode()) < 200


@pytest.mark.slow
def test_an_overlay_has_all_frames_times_and_sound(recording: Path, tmp_path: Path) -> None:
    draw_overlay(found(recording, (1.0, 2.0)), tmp_path / "out", RUN)
    (path,) = [path for path in (tmp_path / "out").iterdir()]
    assert path.name == "recording.overlay.mp4"
    seen, original = see(path), see(recording)
    assert len(seen.numbers) == 100
    assert np.allclose(np.diff(seen.times), 0.04, atol=1e-3)
    assert abs(len(seen.sound) - len(original.sound)) < 3 * 1024
    assert [round(pitch(seen, second + 0.4) / 300) for second in range(3)] == [1, 2, 3]
    before, during = (frame_at(path, 10), frame_at(path, 30))
    label = (slice(2, 14), slice(2, 60))
    assert np.abs(during[label].astype(int) - frame_at(recording, 30)[label]).mean() > 25
    assert np.abs(before[label].astype(int) - frame_at(recording, 10)[label]).mean() < 6
    timeline = (slice(-2, None), slice(60, 80))  # the segment lies in the second quarter
    assert np.abs(before[timeline].astype(int) - before[-2:, 120:140]).mean() > 25


def frame_at(path: Path, number: int) -> np.ndarray:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))[number].to_ndarray(format="rgb24")


@pytest.mark.parametrize("count", [3, 300])
def test_a_timeline_leaves_most_of_the_frame_free(recording: Path, tmp_path: Path, count: int) -> None:
    segments = tuple(Segment(f"label {number} {'x' * 500}", 0.0, 4.0, 1.0) for number in range(count))
    draw_overlay(replace(found(recording), segments=segments), tmp_path / "out", RUN)
    made, original = (
        frame_at(path, 30).astype(int) for path in ((tmp_path / "out" / "recording.overlay.mp4"), recording)
    )
    assert np.abs(made - original)[44:46].mean() < 8  # labels are above, the timeline is below
    assert np.abs(made - original)[-2:].mean() > 20


def test_an_overlay_never_replaces_its_video(recording: Path, tmp_path: Path) -> None:
    video = tmp_path / "a.overlay.mp4"
    video.write_bytes(recording.read_bytes())
    with pytest.raises(InputError, match="would replace"):
        draw_overlay(replace(found(video, (1, 2)), video="a"), tmp_path, RUN)
    assert video.read_bytes() == recording.read_bytes()


def test_broken_videos_are_rejected_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(bytes(range(256)) * 40)
    for step in (
        partial(cut_clips, folder=tmp_path / "clips"),
        partial(draw_overlay, folder=tmp_path / "over", run=RUN),
    ):
        with pytest.raises(InputError, match="not a video file"):
            step(found(broken, (0, 1)))
    features = replace(found(tmp_path / "a.npy", (0, 1)))
    with pytest.raises(InputError, match="only the features"):
        cut_clips(features, tmp_path / "clips")
    assert not [path for name in ("clips", "over") for path in (tmp_path / name).iterdir()]


@pytest.mark.parametrize(
    ("child", "message"),
    [
        ("import os; os.kill(os.getpid(), 11)", "the process reading it crashed .SIGSEGV"),
        ("import time; time.sleep(60)", "no progress for 0.5 s"),
        ("import sys; sys.exit('out of luck')", "ended early with code 1 .out of luck"),
    ],
)
def test_a_child_that_dies_or_hangs_costs_one_video(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str, message: str
) -> None:
    monkeypatch.setattr("tal_cli.extractors.files.child.BOOTSTRAP", child)
    monkeypatch.setattr(host, "TIMEOUT", 0.5 if "sleep" in child else 30)
    with pytest.raises(InputError, match=message):
        cut_clips(found(recording, (0, 1)), tmp_path / "clips")
    assert list((tmp_path / "clips").iterdir()) == []


def test_what_a_killed_run_has_not_finished_goes_with_it(tmp_path: Path) -> None:
    recording = render_clip(tmp_path / "recording.mp4", frames=50, repeat=1000)
    script = (
        "import sys; from pathlib import Path; from tal_cli.results.writers import RunInfo\n"
        "from tal_cli.results.clips import draw_overlay; from tal_cli.results.segments import Detections\n"
        "found = Detections('recording', sys.argv[1], 2e3, 25.0, 50000, ())\n"
        "draw_overlay(found, Path(sys.argv[2]), RunInfo('0', 'm', ''))"
    )
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", script, str(recording), str(out)]) as run:
        until(lambda: bool(list(out.glob(".recording.overlay.mp4.*.part/video.mp4"))))
        run.kill()
    until(lambda: list(out.iterdir()) == [])


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_the_command_line_makes_both(run: Tal, recording: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    folders = ("--clips", tmp_path / "clips", "--overlay", tmp_path / "over")
    done = run("detect", recording, broken, *folders, "--top-k", 2, "-o", tmp_path / "found.json")
    assert done.code == 3 and "broken.mp4" in done.err
    assert len(list((tmp_path / "clips" / "recording").iterdir())) == 2
    assert [path.name for path in (tmp_path / "over").iterdir()] == ["recording.overlay.mp4"]


def test_a_folder_that_is_a_file_is_rejected_at_once(run: Tal, recording: Path) -> None:
    done = run("detect", recording, "--clips", recording)
    assert done.code == 2 and "this is a file" in done.err


@pytest.mark.slow
def test_no_child_outlives_its_parent(recording: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys, threading\n"
        "from tal_cli.extractors.files import child\n"
        "from tal_cli.media import host\n"
        "path, work = child.BOOTSTRAP.rsplit('; ', 1)\n"
        "child.BOOTSTRAP = path + '; import tal_cli.media.tasks as c; "
        'c._answer = lambda *a: __import__("time").sleep(60); print(1); \' + work\n'
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass R: pass\n"
        "start = child.subprocess.Popen\n"
        "def popen(*a, **k):\n    process = start(*a, **k)\n    print(process.pid, flush=True)\n"
        "    threading.Timer(1, os._exit, [0]).start()\n    return process\n"
        "child.subprocess.Popen = popen\n"
        f"host.run_task('look', {str(recording)!r}, R())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout.split()[0])
    for _ in range(100):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
        if not state or state.startswith("Z"):
            return
        subprocess.run(["sleep", "0.1"], check=True)
    pytest.fail("the child still runs")


def test_an_encrypted_video_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "encrypted.mp4"
    encryption = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "0123456789abcdef0123456789abcdef",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    with av.open(str(path), "w", options=encryption) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        for picture in np.zeros((10, 48, 64, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="it is encrypted"):
        probe(path)
    with pytest.raises(DecodeError, match="it is encrypted"):
        Reader(str(path))
