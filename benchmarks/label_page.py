"""The labelling page on a video of two hours at 60 frames/s with 5,000 segments in 12 lanes and 500 suggestions.

    python benchmarks/label_page.py [--seconds 60] [--rounds 60] [--folder FOLDER]

Tells how long the page takes to open, how many frames it loses while it plays with a bout recording, beside a bare
<video>, and how long keys take. Then come rounds of work, each what takes a person some eight minutes: bouts, undo,
steps, jumps, the other video, suggestions that are decided, another window's changes, forms. What the browser keeps
after a forced collection, and what page and server have of memory, must level off. Chromium and Playwright, on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from memory import peak_until, proportional_size, tree
from videos import make_video, repeat_video

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from browsers import launched
from label_client import Client, labelling
from label_page import LabelPage

RATE, HOURS, SEGMENTS, SUGGESTIONS, LANES = 60, 2, 5000, 500, 12
PER_ROUND = 12  # bouts
# When a key was pressed, and when the answer to the change that followed had come.
WATCH = """
window.answers = [];
let pressed = 0;
addEventListener("keydown", () => { pressed = performance.now(); }, true);
const real = window.fetch;
window.fetch = async (...all) => {
  const since = window.event?.timeStamp ?? pressed; // the page may send within the key's own event
  const answer = await real(...all);
  if (String(all[0]).includes("changes") && all[1].body.includes('"op":"add"')) answers.push(performance.now() - since);
  return answer;
};
"""
# Playwright has the page's process record what every request brings, up to 200 MB: no person's browser does.
UNRECORDED = """
const { stringify } = JSON;
JSON.stringify = (message, ...more) => {
  if (message?.method === "Network.enable") message.params = { maxTotalBufferSize: 0, maxResourceBufferSize: 0 };
  return stringify(message, ...more);
};
"""
LOST = """(() => {
  const { droppedVideoFrames, totalVideoFrames } = document.querySelector("video").getVideoPlaybackQuality();
  return [droppedVideoFrames, totalVideoFrames];
})()"""


def material(folder: Path) -> tuple[list[Path], Path]:
    """The videos and their annotation file."""
    videos = [folder / "long.mp4", folder / "short.mp4"]
    rng = random.Random(0)
    frames = HOURS * 3600 * RATE
    if not all(video.exists() for video in videos):
        make_video(videos[1], frames=600, fps=RATE, size=(640, 360))
        repeat_video(videos[1], videos[0], frames)

    def item(number: int, longest: float) -> dict[str, Any]:
        first = rng.randrange(70 * RATE, frames - 60 * RATE)
        last = first + rng.randrange(RATE // 3, int(longest * RATE))
        return {"label": f"l{number % LANES}", "segment": [first / RATE, last / RATE], "id": f"s{number}"}

    found = [{**item(number, 4), "source": "model", "score": 0.4, "status": "pending"} for number in range(SUGGESTIONS)]
    annotations = [{**item(number, 4), "kind": "state"} for number in range(SUGGESTIONS, SUGGESTIONS + SEGMENTS)]
    entries = {"long": {"path": "long.mp4", "reviewed": [], "annotations": annotations, "suggestions": found}}
    path = folder / "labels.json"
    labels = [{"name": f"l{number}", "key": "abcdefghijkl"[number]} for number in range(LANES)]
    path.write_text(json.dumps({"version": "tal 1", "labels": labels, "database": entries}))
    return videos, path


class Memory:
    """What page and server have, in MB."""

    def __init__(self, page: LabelPage, browser: int) -> None:
        self._page, self._browser = page, browser
        self._tools = page.context.new_cdp_session(page.page)
        self._tools.send("Performance.enable")

    def line(self) -> str:
        """Script heap, nodes and listeners after a collection, and memory of the processes."""
        for _ in range(3):
            self._tools.send("HeapProfiler.collectGarbage")
        told = {one["name"]: one["value"] for one in self._tools.send("Performance.getMetrics")["metrics"]}
        renderers = (proportional_size(one) for one in tree(self._browser) if "--type=renderer" in arguments(one))
        server = sum(map(proportional_size, tree(self._page.client.process.pid)))
        heap, nodes, listeners = told["JSHeapUsedSize"] / 1e6, told["Nodes"], told["JSEventListeners"]
        processes = f"page {max(renderers) / 1024:.0f} MB, server {server / 1024:.0f} MB"
        return f"heap {heap:.1f} MB, {nodes:.0f} nodes, {listeners:.0f} listeners, {processes}"


@contextmanager
def unrecorded(folder: Path) -> Iterator[None]:
    """What Playwright starts within does not record the contents of requests."""
    script = folder / "unrecorded.js"
    script.write_text(UNRECORDED)
    with patch.dict(os.environ, NODE_OPTIONS=f"--require {script}"):
        yield


def arguments(process: int) -> str:
    """The command line of a process, empty if it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def lost(page: Any, seconds: float) -> str:
    """Frames that are not shown while it plays."""
    before = page.evaluate(LOST)
    page.wait_for_timeout(1000 * seconds)
    dropped, total = (after - then for after, then in zip(page.evaluate(LOST), before, strict=True))
    return f"{dropped} of {total} frames lost"


def pictures(client: Client, video: str, start: float, end: float) -> str:
    """What the small pictures of a part take, of time and, with the server, of memory."""
    path = f"/api/videos/{client.videos()[video]}/thumbnails?from={start}&to={end}&count=24"
    begun = time.perf_counter()
    asked = threading.Thread(target=client.json, args=("GET", path))
    asked.start()
    peak = peak_until(client.process.pid, lambda: not asked.is_alive())
    return f"{time.perf_counter() - begun:.1f} s, {peak:.0f} MB"


def milliseconds(times: list[float]) -> str:
    """Median and worst."""
    return f"median {statistics.median(times):.0f} ms, at most {max(times):.0f}"


def timed(act: Any) -> float:
    """Milliseconds that something takes."""
    begun = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - begun)


def answers(page: LabelPage, key: str, times: int) -> str:
    """How long it takes from a key to its change being on disk; every other press begins a bout."""
    page.page.evaluate("answers.length = 0")
    for _ in range(2 * times):
        page.press(key)
        page.page.wait_for_timeout(150)
    page.saved()
    return milliseconds(page.page.evaluate("answers"))


def speed(page: LabelPage, seconds: float) -> None:
    """Frames lost, and how long keys take."""
    page.press("Space")
    page.page.wait_for_timeout(1000)
    page.press("a")
    print(f"{lost(page.page, seconds)} in {seconds:.0f} s with a bout recording")
    page.press("a")
    print("key to change on disk, playing:", answers(page, "b", 20))
    page.press("Space")
    print("key to change on disk, paused:", answers(page, "b", 20))
    for key in ("ArrowRight", "ArrowLeft"):
        print(f"{key}:", milliseconds([timed(lambda key=key: page.step(key)) for _ in range(20)]))
    rng = random.Random(1)
    print("jump:", milliseconds([timed(lambda: page.go_to(f"f{rng.randrange(400_000)}")) for _ in range(10)]))


def work(page: LabelPage, client: Client, number: int) -> None:
    """One round."""
    rng, press = random.Random(number), page.press
    page.go_to(f"f{rng.randrange(400_000)}")
    for _ in range(PER_ROUND):
        key = rng.choice("abcdefghijkl")
        press(key, *["ArrowRight"] * rng.randrange(1, 6))
        page.page.wait_for_timeout(100)  # what comes sooner after a press of the same key is a bounce
        press(key)
        page.page.wait_for_timeout(100)
    press(*["Control+z"] * (PER_ROUND // 2), "ArrowDown", "Enter", "ArrowLeft", "Enter", "Enter", ",", ".", "Escape")
    press("ArrowDown", "F4", "Escape", "?", "Escape", "F2", "Escape", "Control+ArrowDown")
    page.until("document.title.startsWith('short')")
    page.settled()
    press("Space")
    page.page.wait_for_timeout(300)
    press("Space", "Control+ArrowUp")
    page.until("document.title.startsWith('long') && document.querySelector('#frame').textContent.includes(' / 4')")
    video = client.videos()["long"]
    for op in ({"op": "decide", "id": f"s{number}", "status": "rejected"}, {"op": "delete", "id": f"s{4000 + number}"}):
        client.change(video, op, client="other")
    page.saved()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="where the two hours of video are, or are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, unrecorded(Path(scratch)), launched("chromium") as browser:
        folder = options.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        videos, annotations = material(folder)
        bare = browser.new_page(viewport={"width": 1024, "height": 640})
        (folder / "bare.html").write_text('<video src="long.mp4" muted autoplay style="width: 620px"></video>')
        bare.goto((folder / "bare.html").as_uri())
        bare.wait_for_timeout(2000)
        print(f"a bare <video>: {lost(bare, options.seconds)}")
        bare.close()
        begun = time.perf_counter()
        with labelling(*videos, "--annotations", annotations, home=folder / "home") as client:
            print(f"server up in {time.perf_counter() - begun:.2f} s")
            page = LabelPage(browser, client)
            ready = page.page.evaluate("performance.now()") / 1000  # since the address was opened
            print(f"page ready in {ready:.2f} s, the first time also all frames counted")
            page.page.evaluate(WATCH)
            page.page.evaluate("window.numberShown = () => 0")  # drawing at every key is the tests' own
            page.until("!document.querySelector('#frame').textContent.startsWith('counting')")
            memory = Memory(page, browser_process())
            print("begin:", memory.line())
            speed(page, options.seconds)
            begun = time.perf_counter()
            for number in range(options.rounds + 1):
                if number % max(1, options.rounds // 6) == 0:
                    print(f"{time.perf_counter() - begun:.0f} s, round {number}: {memory.line()}", flush=True)
                work(page, client, number)
            for end in (HOURS * 3600, 60):
                print(f"24 pictures of {end} s: {pictures(client, 'long', 0, end)}")
            page.close()


def browser_process() -> int:
    """The process of Chromium: a child of Playwright's driver."""
    return next(one for one in tree(int(Path("/proc/self").resolve().name)) if "--remote-debugging" in arguments(one))


if __name__ == "__main__":
    main()
