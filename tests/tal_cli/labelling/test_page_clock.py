"""Videos whose clock does not begin at 0: keys, steps, saved times, exports and detections name the same frames."""

from __future__ import annotations

import csv
import io
import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from label_client import Client, labelling
from label_page import LabelPage, frames_of
from numbered_videos import see, write_numbered_video
from small_runs import Tal

pytestmark = pytest.mark.slow
FRAMES, CUT = 60, 15
SIZE = (352, 96)
WATCH = """
window.presses = [];
addEventListener("keydown", (event) => {
  if (event.key === "g" || event.key === "b") presses.push([keysSeen.at(-1).number, numberShown()]);
});
"""


def late(path: Path, seconds: float, **more: Any) -> None:
    """A video with B-frames whose first frame is shown at that time of its own clock."""
    stamps = [round(seconds * 1000) + 40 * number for number in range(FRAMES)]
    write_numbered_video(path, FRAMES, stamps=stamps, size=SIZE, **more)


def cut_start(path: Path, frames: int) -> None:
    """Let the edit list of a file with B-frames begin some frames later, within a group of pictures."""
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 16  # after kind, version, count and length
    (begins,) = struct.unpack(">i", data[place : place + 4])
    data[place : place + 4] = struct.pack(">i", begins + frames * 512)  # in 1/12800 s
    path.write_bytes(bytes(data))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clocks")
    late(folder / "late.mp4", 1.4)
    late(folder / "later.mkv", 10, sound=None)
    late(folder / "stream.ts", 1.4, sound=None)
    write_numbered_video(folder / "cut.mp4", FRAMES, size=SIZE, sound=None)
    cut_start(folder / "cut.mp4", CUT)
    return folder


def exported(client: Client, form: str) -> Any:
    status, _, content = client.ask("GET", f"/api/export?format={form}")
    assert status == 200
    return json.loads(content) if content.startswith(b"{") else list(csv.DictReader(io.StringIO(content.decode())))


def test_every_clock_names_the_same_frames(browser: Any, videos: Path, tmp_path: Path) -> None:
    options = ("--annotations", tmp_path / "labels.json", "--labels", "groom:g,bite!", "--proxies")
    with labelling(videos, *options, home=tmp_path / "home") as client:
        page = LabelPage(browser, client)
        page.until("fetch('/api/project').then((r) => r.json()).then((p) => p.videos.every((v) => v.playable))")
        page.page.evaluate(WATCH)
        wanted: dict[str, list[tuple[str, int, int]]] = {}
        for place, name in enumerate(sorted(client.videos())):
            if place:
                page.press("Control+ArrowDown")
            page.until(f"document.title.startsWith('{name} ') && document.querySelector('video').readyState > 1")
            page.until("document.querySelector('#frame').textContent.startsWith('f 0 ')")
            first = see(videos / next(videos.glob(f"{name}.*"))).numbers[0]
            assert first == (CUT if name == "cut" else 0)
            for frame in (0, 1, 13, 40, 7):
                page.go_to(f"f{frame}")
                assert page.number == first + frame
            page.press(*"-" * 3)  # a frame is on screen for 0.16 s
            page.play(until=9)
            page.press("g")
            page.until("Number(document.querySelector('#frame').textContent.split(' ')[1]) >= 12")
            page.press("g", "b", "Space")
            seen = page.page.evaluate("presses.splice(0)")
            found = frames_of(page, name)
            assert [item[0] for item in found] == ["groom", "bite"]
            bout = [found[0][1], found[0][2], found[1][1]]
            assert all(low <= frame + first <= high for frame, (low, high) in zip(bout, seen, strict=True)), (
                name,
                bout,
                seen,
            )
            video, seen_to = client.videos()[name], bout[2] / 25
            page.until(
                f"fetch('/api/videos/{video}').then((r) => r.json())"
                f".then((v) => v.reviewed.some(([start, end]) => end > {seen_to}))"
            )
            wanted[name] = found
        page.close()
        frames = exported(client, "frames")
        boris = exported(client, "boris")
        seconds = exported(client, "csv")
    assert len(wanted) == 4
    for name, found in wanted.items():
        (_, start, last), (_, point, _) = found
        rows = [row for row in frames if row["video"] == name]
        assert len(rows) == FRAMES - (CUT if name == "cut" else 0)
        assert [n for n, row in enumerate(rows) if row["groom"] == "1"] == list(range(start, last + 1))
        assert [n for n, row in enumerate(rows) if row["bite"] == "1"] == [point]
        events = boris["observations"][name]["events"]
        assert sorted(event[-1] for event in events) == sorted([start, last + 1, point])
        media = boris["observations"][name]["file"]["1"][0]  # relative to the annotation file
        assert (tmp_path / media).resolve() == next(videos.glob(f"{name}.*"))
        times = [float(row["start"]) for row in seconds if row["video"] == name]
        assert times == pytest.approx([start / 25, point / 25], abs=1e-6)


def test_detections_lie_where_the_page_has_them(run: Tal, videos: Path, tmp_path: Path) -> None:
    write_numbered_video(videos / "plain.mp4", FRAMES, size=SIZE, sound=None)
    inputs = [videos / name for name in ("plain.mp4", "late.mp4", "later.mkv", "stream.ts")]
    results = tmp_path / "results.json"
    assert run("detect", *inputs, "-o", results).code == 0
    found = json.loads(results.read_text())["results"]
    assert found["plain"] and found["late"] == found["later"] == found["stream"] == found["plain"]
    options = ("--annotations", tmp_path / "labels.json", "--suggestions", results)
    with labelling(*inputs, *options, home=tmp_path / "home") as client:
        shown = {}
        for name, video in client.videos().items():
            edges = client.edges(video)
            while len(items := client.contents(video)["suggestions"]) < len(found[name]):
                time.sleep(0.02)
            assert all(min(abs(edge - time) for edge in edges) < 2e-6 for item in items for time in item["segment"])
            shown[name] = sorted((item["label"], item["segment"]) for item in items)
        assert len(shown["plain"]) == len(found["plain"])
        assert shown["late"] == shown["later"] == shown["stream"] == shown["plain"]


def test_frame_tables_follow_a_variable_rate(tmp_path: Path) -> None:
    stamps = [40 * number + (400 if number > 9 else 0) for number in range(20)]
    write_numbered_video(tmp_path / "v.mkv", 20, stamps=stamps, sound=None)
    with labelling(tmp_path, "--labels", "groom:g", home=tmp_path / "home") as client:
        video = client.videos()["v"]
        edges = client.edges(video)
        bout = {"op": "add", "id": "x", "label": "groom", "segment": [edges[9], edges[12]]}
        client.change(video, bout, {"op": "reviewed", "add": [0, 10]})
        rows, boris = exported(client, "frames"), exported(client, "boris")
    assert [n for n, row in enumerate(rows) if row["groom"] == "1"] == [9, 10, 11]
    assert [event[-1] for event in boris["observations"]["v"]["events"]] == [9, 12]
