"""The decoder's process: what happens when it, or its parent, ends in an unusual way. Real processes throughout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tal_cli.extractors.errors import VideoError
from tal_cli.extractors.files import child as host
from tal_cli.extractors.video.stream import CHUNKS_AHEAD, FrameStream, default_time_limit, read_frames

Encode = Callable[..., Path]
REPOSITORY = Path(__file__).resolve().parents[3]


def stay(width: int, height: int) -> tuple[int, int]:
    """The size that the video has."""
    return width, height


def child_of(stream: FrameStream) -> int:
    """The process id of a stream's decoder."""
    return stream._child.pid


def has_ended(pid: int, patience: float = 10.0) -> bool:
    """Whether a process is gone, or becomes so within that many seconds."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def long_video(encode: Encode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More frames than the pipes and queues between child and parent hold."""
    frames = np.random.default_rng(1).integers(0, 255, (40, 240, 320, 3), np.uint8)
    return encode(tmp_path_factory.mktemp("long") / "long.mp4", np.concatenate([frames] * 6))


@pytest.mark.slow
def test_a_crash_costs_this_video_and_says_so(long_video: Path) -> None:
    with read_frames(long_video, frame_size=stay) as stream:
        os.kill(child_of(stream), signal.SIGSEGV)
        with pytest.raises(VideoError, match=r"long.mp4: the decoder crashed \(SIGSEGV\)"):
            list(stream)


def test_a_hang_costs_this_video_and_says_so(long_video: Path) -> None:
    with read_frames(long_video, frame_size=stay) as stream:
        os.kill(child_of(stream), signal.SIGSTOP)
        stream._timeout = 0.2  # a child that starts on a busy machine has longer
        with pytest.raises(VideoError, match=r"the decoder made no progress for 0\.2 s"):
            list(stream)
    assert has_ended(child_of(stream))


def test_a_file_that_trickles_ends_at_the_limit_of_its_time(long_video: Path) -> None:
    with read_frames(long_video, frame_size=stay) as stream:
        os.kill(child_of(stream), signal.SIGSTOP)
        stream._limit = stream._waited + 0.2
        with pytest.raises(VideoError, match=r"long.mp4: decoding took .* s; --time-limit SECONDS allows more"):
            list(stream)
    assert has_ended(child_of(stream))
    with pytest.raises(VideoError, match=r"long.mp4: decoding took 0\.001 s; --time-limit"):
        read_frames(long_video, frame_size=stay, time_limit=0.001)


@pytest.mark.parametrize(
    ("duration", "size", "limit"),
    [(None, 1 << 30, 600.0), (60.0, 1 << 30, 1200.0), (1e12, 100_000, 1600.0), (-5.0, 100_000, 600.0)],
)
def test_the_limit_of_time_follows_a_plausible_duration(duration: float | None, size: int, limit: float) -> None:
    assert default_time_limit(duration, size) == limit


@pytest.mark.slow
def test_a_slow_reader_is_no_hang(long_video: Path) -> None:
    with read_frames(long_video, frame_size=stay) as stream:
        chunks = iter(stream)
        while not stream._child._inbox.full():
            time.sleep(0.02)
        patience, stream._timeout = stream._timeout, 0.01
        limit, stream._limit = stream._limit, stream._waited
        for _ in range(CHUNKS_AHEAD):
            next(chunks)
            time.sleep(0.05)
        stream._timeout, stream._limit = patience, limit
        assert sum(len(chunk.times) for chunk in chunks) > 0
    assert stream.summary.frames == 240


def test_a_child_that_cannot_start_says_why(long_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "BOOTSTRAP", "raise SystemExit('no room')")
    with pytest.raises(VideoError, match=r"the decoder ended early with code 1 \(no room\)"):
        read_frames(long_video, frame_size=stay)


def test_leaving_a_stream_ends_its_child(long_video: Path) -> None:
    with read_frames(long_video, frame_size=stay) as stream:
        next(iter(stream))
    assert has_ended(child_of(stream), patience=1.0)


def test_a_forgotten_stream_ends_its_child(long_video: Path) -> None:
    stream = read_frames(long_video, frame_size=stay)
    pid = child_of(stream)
    del stream
    assert has_ended(pid)


def test_too_much_memory_costs_this_video(long_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_after(monkeypatch, "import tal_cli.extractors.files.child_side as side; side.MEMORY_LIMIT = 1 << 26")
    with pytest.raises(VideoError, match=r"takes more than 0\.0625 GiB of memory"):
        list(read_frames(long_video, frame_size=lambda width, height: (8000, 6000)))


def test_frames_that_claim_to_be_huge_cost_this_video(long_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_after(monkeypatch, "import tal_cli.extractors.video.decoders.pyav as source; source.MAX_PIXELS = 76_799")
    with pytest.raises(VideoError, match="its frames have 320x240 pixels"):
        read_frames(long_video, frame_size=stay)


def run_after(monkeypatch: pytest.MonkeyPatch, statements: str) -> None:
    """Let the child run some statements before it begins."""
    path, work = host.BOOTSTRAP.rsplit("; ", 1)
    monkeypatch.setattr(host, "BOOTSTRAP", f"{path}; {statements}; {work}")


SCRIPT = """
import sys, time
from tal_cli.extractors.video.stream import read_frames
stream = read_frames(sys.argv[1], frame_size=lambda width, height: (width, height))
next(iter(stream))
print(stream._child.pid, "torch" in sys.modules, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_child_ends_with_its_parent(long_video: Path, ending: signal.Signals) -> None:
    parent = start(SCRIPT, long_video, REPOSITORY)
    assert parent.stdout is not None
    pid, torch_loaded = parent.stdout.readline().split()
    assert torch_loaded == "False"
    parent.send_signal(ending)
    parent.wait(10)
    assert has_ended(int(pid))


def start(script: str, video: Path, folder: Path) -> subprocess.Popen[str]:
    """A Python process that runs a script, unguarded, in that folder."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(video)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
def test_modules_in_the_working_folder_do_no_harm(long_video: Path, tmp_path: Path) -> None:
    for name in ("models", "extractors", "av", "numpy", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('wrong module')")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "import sys\nfrom tal_cli.extractors.video.stream import read_frames\n"
        "print(sum(len(c.times) for c in read_frames(sys.argv[1], frame_size=lambda w, h: (16, 16))))\n"
    )
    result = subprocess.run(
        [sys.executable, str(script), str(long_video)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == "240", result.stderr


def test_the_child_imports_neither_torch_nor_numpy() -> None:
    script = (
        "import sys, tal_cli.extractors.video.worker, tal_cli.extractors.video.decoders.pyav;"
        "print(*sorted(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy"} & set(result.stdout.split())
