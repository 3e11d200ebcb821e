"""Small images of moments and of parts of a video: the right frames, and few that are decoded for them."""

from __future__ import annotations

import base64
import io
import random
from bisect import bisect_right
from pathlib import Path
from typing import Any

import av
import pytest
from numbered_videos import number_of, see, write_numbered_video
from PIL import Image

from tal_cli.media.reader import Reader
from tal_cli.media.thumbnails import moments, pictures

FRAMES = 100
VARIABLE = [66 + 33 * number + 9 * (number % 3) + 700 * (number > 60) for number in range(FRAMES)]
VIDEOS: dict[str, dict[str, Any]] = {
    "key.mp4": {"gop": 5},
    "long.mp4": {"gop": 250, "fps": 60},
    "variable.mkv": {"stamps": VARIABLE},
    "other.avi": {"codec": "mpeg4", "sound": None},
}


@pytest.fixture(scope="module", params=VIDEOS)
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / request.param
    return write_numbered_video(path, FRAMES, **{"sound": None} | VIDEOS[request.param])


def starts(path: Path) -> list[float]:
    """Seconds after frame 0 at which each frame is shown."""
    times = see(path).times
    return [time - times[0] for time in times]


def number_in(uri: str) -> int:
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return number_of(av.VideoFrame.from_image(image))


def test_each_moment_has_the_frame_shown_then(video: Path) -> None:
    shown, rng = starts(video), random.Random(0)
    times = sorted(rng.uniform(0, shown[-1] + 1) for _ in range(30))
    numbers = [number_of(frame) for _, frame in moments(Reader(str(video)), times, lambda done, total: None)]
    assert numbers == [bisect_right(shown, time + 1e-6) - 1 for time in times]


@pytest.mark.parametrize(("first", "last", "count"), [(0.0, 1.0, 4), (0.3, 0.75, 9), (0.55, 0.85, 1), (0.98, 1.0, 2)])
def test_each_part_has_a_frame_shown_in_it(video: Path, first: float, last: float, count: int) -> None:
    shown = starts(video)
    start, end = first * shown[-1], last * shown[-1]
    request = {"start": start, "end": end, "count": count, "width": 160, "quality": 75}
    found = [number_in(uri) for uri in pictures(str(video), request, lambda done, total: None)]
    assert len(found) == count
    for part, number in enumerate(found):
        begin, finish = (start + (end - start) * place / count for place in (part, part + 1))
        assert shown[number] < finish + 1e-9 and (number == FRAMES - 1 or shown[number + 1] > begin - 1e-6)


def test_key_frames_are_enough_for_parts_that_have_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbered_video(tmp_path / "key.mp4", 400, gop=20, sound=None)
    decoded = 0
    real = Reader.frames

    def counted(reader: Reader) -> Any:
        nonlocal decoded
        for frame in real(reader):
            decoded += 1
            yield frame

    monkeypatch.setattr(Reader, "frames", counted)
    request = {"start": 0.0, "end": 16.0, "count": 8, "width": 160, "quality": 75}
    found = [number_in(uri) for uri in pictures(str(path), request, lambda done, total: None)]
    assert found == [40, 80, 140, 180, 240, 280, 340, 380] and decoded <= 2 * 8
