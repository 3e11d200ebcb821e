"""The videos that a server shows: their frames, files, proxies and small pictures."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tal_cli import console
from tal_cli.error_report import message_of, reason_of
from tal_cli.extractors.errors import InputError, TalError
from tal_cli.extractors.files.atomic import scratch_beside
from tal_cli.extractors.video.info import regular_file
from tal_cli.inputs import Source
from tal_cli.labelling.frames import FrameTimes, cache_folder, load_frame_times
from tal_cli.labelling.project.document import Json, identity_of
from tal_cli.media.host import run_task

PLAYLISTS = (b"#extm3u", b"ffconcat", b"[playlist]")
COLUMNS = 100  # of a waveform, per second
SAMPLE = 1 << 20  # bytes of each part of a large file that are hashed
WHOLE = 64 << 20  # up to this size all of a file is hashed
PREVIEW = "preview.mp4"  # see tal_cli.media.proxy
PIECE = 256 << 10  # bytes
GROWS = 0.2  # seconds between looks at a file that grows
MOST_PICTURES = 60

Told = Callable[[Json], None]


@dataclass(frozen=True)
class ProxyRequest:
    """Arguments of the task `proxy`."""

    target: str
    scratch: str
    frames: int
    duration: float


@dataclass(frozen=True)
class WaveformRequest:
    """Arguments of the task `waveform`."""

    columns: int


@dataclass(frozen=True)
class PictureRequest:
    """Arguments of the task `pictures`."""

    start: float
    end: float
    count: int
    width: int = 160
    quality: int = 75


class Video:
    """One video. path: its real path; problem: why it cannot be read, if so."""

    def __init__(self, name: str, path: Path, tell: Told) -> None:
        self.id = identity_of("video", name)
        self.name, self.path = name, path
        self.problem = ""
        self.proxy_state = ""  # "", making, ready, failed
        self.proxy_problem = ""
        self._tell = tell
        self._lock = threading.Lock()
        self._times: FrameTimes | None = None
        self._read: tuple[int, int] | None = None  # what they were read from
        self._proxy: Path | None = None
        self._preview: Path | None = None
        self._wave: tuple[bytes, bytes] | None = None

    @property
    def known(self) -> FrameTimes | None:
        """The frame times, if they are loaded."""
        return self._times

    def times(self) -> FrameTimes:
        """The frame times; the first call takes one pass over the file, and so does one after the file was replaced.
        A file that is gone has the times that it had. Raises InputError."""
        with self._lock:
            stamp = self._stamp()
            if self._times is None or (stamp and stamp != self._read):
                if self._times is not None and self.proxy_state != "making":  # what was made of the former file
                    self.proxy_state, self._proxy, self._wave = "", None, None
                try:
                    self._times = load_frame_times(self.path, self._indexing)
                    self.problem = ""
                except (TalError, OSError) as error:
                    self.problem = reason_of(error)
                    raise InputError(self.path, self.problem) from None
                if self.proxy.exists():
                    self.proxy_state = "ready"
                self._read = stamp
                self._tell({"event": "indexed", "video": self.id})
            return self._times

    def _stamp(self) -> tuple[int, int] | None:
        """What differs when the file is another one; None if there is no file."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None

    def _indexing(self, done: float, total: float | None) -> None:
        share = min(1.0, max(0.0, done / total)) if total else None
        self._tell({"event": "indexing", "video": self.id, "share": share})

    @property
    def proxy(self) -> Path:
        """Where the proxy is or would be."""
        if self._proxy is None:
            self._proxy = cache_folder() / "proxies" / f"{content_hash(self.path)}.mp4"
        return self._proxy

    @property
    def played_file(self) -> Path:
        """The file that the page plays: the proxy, if there is one."""
        return self.proxy if self.proxy_state == "ready" else self.path

    def make_proxy(self, progress: Callable[[float, float | None], None]) -> None:
        """Make the proxy, unless there is one. Raises InputError."""
        times = self.times()
        if self.proxy_state == "ready":
            return
        self.proxy_state, self._preview = "making", None
        try:
            self.proxy.parent.mkdir(parents=True, exist_ok=True)
            with scratch_beside(self.proxy) as scratch:
                self._preview = scratch / PREVIEW
                self._tell({"event": "making", "video": self.id})
                request = ProxyRequest(str(self.proxy), str(scratch), times.frames, times.duration)
                run_task("proxy", str(self.path), request, progress)
        except BaseException as error:
            self.proxy_state, self.proxy_problem = "failed", reason_of(error)
            raise
        self.proxy_state = "ready"

    def preview(self) -> Iterator[bytes]:
        """The copy that is being made, as far as it is, and what comes, until it is finished."""
        file = None
        while self.proxy_state == "making":
            if file is None and self._preview is not None and self._preview.exists():
                file = self._preview.open("rb", buffering=0)
            piece = file.read(PIECE) if file is not None else b""
            if piece:
                yield piece
            else:
                time.sleep(GROWS)
        if file is not None:
            yield from iter(lambda: file.read(PIECE), b"")
            file.close()

    def facts(self) -> Json:
        """What the page needs to know to play it."""
        times = self._times
        told: Json = {"proxy": self.proxy_state, "proxy_problem": self.proxy_problem, "problem": self.problem}
        if times is None:
            return told | {"known": False}
        is_proxy = self.proxy_state == "ready"
        return told | {
            "known": True,
            "duration": times.duration,
            "frames": times.frames,
            "fps": times.fps,
            "width": times.width,
            "height": times.height,
            "offset": 0.0 if is_proxy else times.offset,
            "playable": is_proxy or times.is_playable,
            "kind": media_kind(times, is_proxy),
            "slow_steps": not is_proxy and times.has_slow_steps,
            "sound": times.sound,
            "grey": times.grey,
        }

    def pictures(self, start: float, end: float, count: int) -> list[str]:
        """Small JPEGs, as data, one for each of equal parts of the seconds from start to end. Raises InputError."""
        request = PictureRequest(start, end, max(1, min(count, MOST_PICTURES)))
        found: list[str] = run_task("pictures", str(self.path), request)
        return found

    def waveform(self, start: float, end: float, width: int) -> tuple[list[int], list[int]]:
        """Lowest and highest sample, -128 to 127, in each of `width` columns of a part. Raises InputError."""
        with self._lock:
            if self._wave is None:
                found = run_task("waveform", str(self.path), WaveformRequest(COLUMNS))
                self._wave = base64.b64decode(found["lowest"]), base64.b64decode(found["highest"])
            low, high = (memoryview(data).cast("b") for data in self._wave)
        lows, highs = [], []
        for column in range(width):
            first = int((start + (end - start) * column / width) * COLUMNS)
            last = max(first + 1, int((start + (end - start) * (column + 1) / width) * COLUMNS))
            lows.append(min(low[first:last], default=0))
            highs.append(max(high[first:last], default=0))
        return lows, highs


class Library:
    """All videos, in order."""

    def __init__(self, videos: Sequence[Video]) -> None:
        self.videos = {video.id: video for video in videos}
        self.by_name = {video.name: video for video in videos}

    def load(self, each: Callable[[Video], None]) -> None:
        """Load the frame times of all videos in the background, one after the other."""

        def work() -> None:
            for video in self.videos.values():
                try:
                    video.times()
                    each(video)
                except InputError as error:
                    console.warn(message_of(error))

        threading.Thread(target=work, daemon=True).start()


def media_kind(times: FrameTimes, is_proxy: bool) -> str:
    """The MIME type of what is played."""
    if is_proxy or times.container.startswith("mov"):
        return "video/mp4"
    return "video/webm" if "webm" in times.container else "application/octet-stream"


def content_hash(path: Path) -> str:
    """A hash of a file's content; of a large one, of its size and of parts all over it."""
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE:
            digest.update(file.read())
        else:
            for part in range(17):
                file.seek(part * (size - SAMPLE) // 16)
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:40]


def admitted(sources: Sequence[Source], arguments: Sequence[str]) -> tuple[list[tuple[Source, Path]], list[InputError]]:
    """The sources with their real paths, and problems: what is no regular video file, and links that lead out of the
    folders given."""
    folders = [argument for argument in arguments if os.path.isdir(argument)]
    roots = [Path(folder).resolve() for folder in folders]
    named = {os.path.abspath(argument) for argument in arguments}
    found: list[tuple[Source, Path]] = []
    problems: list[InputError] = []
    for source in sources:
        try:
            real = source.path.resolve(strict=True)
            place = Path(os.path.abspath(source.path))
            searched = any(place.is_relative_to(os.path.abspath(folder)) for folder in folders)
            if searched and str(place) not in named and not any(map(real.is_relative_to, roots)):
                raise InputError(source.path, f"a link to {real}, outside the folders given", f"name {real} too")
            regular_file(str(real))
            with real.open("rb") as file:
                if file.read(16).lstrip().lower().startswith(PLAYLISTS):
                    raise InputError(source.path, "a playlist is no video", "name the videos that it lists")
            found.append((source, real))
        except TalError as error:
            problems.append(InputError(source.path, reason_of(error), error.remedy))
        except OSError as error:
            problems.append(InputError(source.path, reason_of(error)))
    return found, problems
