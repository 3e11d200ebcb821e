"""Keys while the video plays: edges are the frames that were on screen."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from browsers import BROWSERS
from label_client import labelling
from label_page import LabelPage, frames_of
from numbered_videos import write_numbered_video

pytestmark = pytest.mark.slow
PROMPT = 25  # ms: see player.js
# At each key: the number in the pixels before and after the page has dealt with it, the moment of the key, and how late
# the page was told; and when each frame was presented.
WATCH = """
window.presses = [];
window.presented = [];
const video = document.querySelector("video");
const each = (now, { mediaTime, presentationTime }) => {
  video.requestVideoFrameCallback(each);
  presented.push([presentationTime, Math.round(mediaTime * RATE)]);
};
video.requestVideoFrameCallback(each);
addEventListener("keydown", (event) => {
  if (event.key !== "g" && event.key !== "F8") return;
  const late = performance.now() - event.timeStamp;
  presses.push({ before: keysSeen.at(-1).number, after: numberShown(), moment: event.timeStamp, late });
});
"""


def on_screen(press: dict[str, Any], presented: list[list[float]]) -> range:
    """The frames that were on screen at a press: one, or two if the picture changed just then.

    Where the page was told late, the pixels are of a later moment: it is a frame from the last one presented before the
    press to the first one after it. A busy page is not told of all frames.
    """
    first, last = press["before"], press["after"]
    if press["late"] > PROMPT:
        first = max(int(frame) for when, frame in presented if when <= press["moment"])
        last = min((int(frame) for when, frame in presented if when > press["moment"]), default=last)
    return range(first, max(first, last) + 1)  # 0 is read while the player has no picture


@pytest.mark.parametrize("speed", [1, 0.25, 2])
@pytest.mark.parametrize("browser", BROWSERS, indirect=True)
def test_a_robot_labels_while_it_plays(browser: Any, tmp_path: Path, speed: float) -> None:
    rng, rate = random.Random(3), {1: 20, 0.25: 60, 2: 12}[speed]
    segments = 30 if speed == 1 else 8
    write_numbered_video(tmp_path / "v.mp4", 510, fps=rate, size=(352, 96), sound=None)
    with labelling(tmp_path, "--labels", "groom:g", home=tmp_path) as client:
        page = LabelPage(browser, client)
        page.page.evaluate(WATCH.replace("RATE", str(rate)))
        for _ in range({1: 0, 0.25: 3, 2: 3}[speed]):
            page.press("-" if speed < 1 else "+")
        page.play(until=1)
        for _ in range(2 * segments):
            page.press("g")
            page.page.wait_for_timeout(rng.randrange(100, 250))
        page.press("Space")
        presses, presented = page.page.evaluate("[presses, presented]")
        made = frames_of(page, "v")
        page.close()
    assert len(made) == segments and len(presses) == 2 * segments
    edges = [frame for bout in made for frame in bout[1:]]
    seen = [on_screen(press, presented) for press in presses]
    wrong = [(edge, frames) for edge, frames in zip(edges, seen, strict=True) if edge not in frames]
    if browser.browser_type.name == "firefox":  # it tells milliseconds: a key may fall on the other side of an edge
        assert len(wrong) <= len(edges) / 10
        wrong = [(edge, frames) for edge, frames in wrong if edge + 1 not in frames and edge - 1 not in frames]
    assert wrong == []


# As WATCH does, of every key, its release too; STAMPS: when each frame is presented.
WATCH_ALL = """
window.presses = [];
window.presented = [];
const video = document.querySelector("video");
const each = (now, { mediaTime, presentationTime }) => {
  video.requestVideoFrameCallback(each);
  presented.push([presentationTime, STAMPS.findLastIndex((stamp) => stamp < mediaTime + 5e-4)]);
};
video.requestVideoFrameCallback(each);
for (const kind of ["keydown", "keyup"]) {
  addEventListener(kind, (event) => {
    const moment = event.timeStamp, late = performance.now() - moment;
    presses.push({ kind, code: event.code, before: keysSeen.at(-1).number, after: numberShown(), moment, late });
  });
}
"""
HOLD = 350  # ms from which on a press is no tap
NAMES = {"KeyG": "groom", "KeyW": "walk", "KeyB": "bite"}
Bout = tuple[str, str | None, range, range]  # label, subject, what was on screen at the start and at the end


def expected(presses: list[dict[str, Any]], presented: list[list[float]]) -> list[Bout]:
    """What the keys make."""
    subject: str | None = None
    items: list[Bout] = []
    begun: dict[tuple[str, str | None], dict[str, Any]] = {}  # by which press
    held: dict[str, tuple[str, str | None]] = {}
    order: list[Any] = []  # what undo takes back: bouts that have begun, and items

    def finish(key: tuple[str, str | None], press: dict[str, Any]) -> None:
        items.append((*key, on_screen(begun.pop(key), presented), on_screen(press, presented)))
        order.remove(key)
        order.append(items[-1])

    for press in presses:
        code = press["code"]
        if press["kind"] == "keyup":
            key = held.pop(code, None)
            begin = begun.get(key) if key else None
            if key and begin and begin["code"] == code and press["moment"] - begin["moment"] >= HOLD:
                finish(key, press)
        elif code.startswith("Digit"):
            subject = None if code == "Digit0" else f"m{code[-1]}"
        elif code == "KeyZ":
            newest = order.pop() if order else None
            if newest in begun:
                del begun[newest]
            elif newest:
                items.remove(newest)
        elif code == "KeyB":
            items.append(("bite", subject, on_screen(press, presented), on_screen(press, presented)))
            order.append(items[-1])
        elif code in NAMES and (NAMES[code], subject) in begun:
            finish((NAMES[code], subject), press)
        elif code in NAMES:
            held[code] = (NAMES[code], subject)
            begun[held[code]] = press
            order.append(held[code])
    return items


@pytest.mark.parametrize("speed", [1, 1.25])
def test_keys_of_all_kinds_while_a_video_of_variable_rate_plays(browser: Any, tmp_path: Path, speed: float) -> None:
    """Taps, holds with taps meanwhile, points, subjects and undo; the video begins late."""
    rng = random.Random(speed)
    # No frame is shown for as long as presses are apart: on one frame, bouts of a label would be joined.
    stamps = [166 + 50 * number + 17 * (number % 3) + 30 * max(0, number - 100) for number in range(400)]
    write_numbered_video(tmp_path / "v.mkv", 400, stamps=stamps, size=(352, 96))
    with labelling(tmp_path, "--labels", "groom:g,walk:w,bite:b!", "--subjects", "m1,m2", home=tmp_path) as client:
        page = LabelPage(browser, client)
        page.page.evaluate(WATCH_ALL.replace("STAMPS", str([stamp / 1000 for stamp in stamps])))
        page.press(*["+"] * (speed > 1))
        page.play(until=1)
        for number in range(40):
            kind = ("tap", "hold", "subject", "tap", "undo")[number % 5] if number > 10 else rng.choice(("tap", "hold"))
            if kind == "hold":
                page.page.keyboard.down("w")
                page.page.wait_for_timeout(100)
                page.press("g")
                page.page.wait_for_timeout(HOLD)
                page.page.keyboard.up("w")
            else:
                subject = f"Shift+Digit{rng.randrange(3)}"
                page.press({"tap": rng.choice("ggb"), "subject": subject, "undo": "Control+z"}[kind])
            page.page.wait_for_timeout(rng.randrange(110, 250))
        page.press("Space")
        presses, presented = page.page.evaluate("[presses, presented]")
        edges = client.edges(client.videos()["v"])
        made = page.annotations("v")
        page.close()
    wanted = expected(presses, presented)
    assert len(made) == len(wanted) > 20
    places = {round(edge, 6): place for place, edge in enumerate(edges)}
    for item in made:
        first, last = (places[round(time, 6)] for time in item["segment"])
        last -= item["kind"] == "state"
        fits = (i for i in wanted if i[:2] == (item["label"], item["subject"]) and first in i[2] and last in i[3])
        wanted.remove(next(fits))
    assert wanted == []


def test_a_key_while_the_page_is_busy(page: LabelPage) -> None:
    """Of the frames that the page is not told of meanwhile, it is the one of the key's moment."""
    page.page.evaluate(WATCH.replace("RATE", "25"))
    page.play(until=10)
    page.page.evaluate("""setTimeout(() => {
        window.begun = presented.at(-1);
        const until = performance.now() + 600;
        while (performance.now() < until);
        window.busy = presented.length;
    })""")
    page.until("window.busy && presented.length > busy + 2")
    asked = "import('/static/video.js').then(({ player }) => player.frameOnScreen(begun[0] + 300))"
    marked, before, after = page.page.evaluate(f"{asked}.then((marked) => [marked, begun[1], presented[busy][1]])")
    assert before + 5 <= marked <= min(before + 9, after)  # 40 ms each


# Frames are told of 100 ms after they came.
LATE = """
const { prototype } = HTMLVideoElement;
const soon = prototype.requestVideoFrameCallback;
prototype.requestVideoFrameCallback = function (act) {
    return soon.call(this, (...all) => setTimeout(act, 100, ...all));
};
"""


def test_keys_where_the_browser_tells_of_frames_late(page: LabelPage) -> None:
    video = page.client.videos()["a25"]
    edges = page.client.edges(video)
    page.client.change(video, {"op": "add", "id": "x", "label": "groom", "segment": [edges[2], edges[240]]})
    page.page.add_init_script(LATE)
    page.reload()
    page.press("ArrowDown")
    page.settled(2)
    page.play(until=8)
    for key in ("Shift+Home", "b", "Control+Enter"):
        page.press(key)
        page.page.wait_for_timeout(150)
    page.press("Space")
    seen = [page.keys("keydown", key)[-1] for key in ("Home", "b", "Enter")]
    (_, *first), (_, marked, _), (_, *second) = sorted(frames_of(page), key=lambda item: item[1:])
    made = [first[0], marked, second[0]]
    assert all(mark - number in (0, 1) for mark, number in zip(made, seen, strict=True)), (made, seen)


def test_what_is_marked_while_it_plays(browser: Any, tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 120, fps=12, size=(352, 96), sound=None)
    with labelling(tmp_path, home=tmp_path) as client:
        page = LabelPage(browser, client)
        page.page.evaluate(WATCH.replace("RATE", "12"))
        page.page.locator("#recording").click()
        page.play(until=1)
        for _ in range(6):
            page.press("F8")
            page.page.wait_for_timeout(350)
        page.press("Space")
        presses, presented = page.page.evaluate("[presses, presented]")
        page.saved()
        marked = client.contents(client.videos()["v"])["reviewed"]
        page.close()
    edges = [round(12 * time) - place for part in marked for place, time in enumerate(part)]
    seen = [on_screen(press, presented) for press in presses]
    assert all(edge in frames for edge, frames in zip(edges, seen, strict=True)), (edges, seen)


@pytest.mark.parametrize("browser", BROWSERS, indirect=True)
def test_holds_bounces_and_crossed_keys(page: LabelPage) -> None:
    keyboard = page.page.keyboard
    page.press("Space")
    page.page.wait_for_timeout(200)
    keyboard.down("g")
    keyboard.down("g")  # auto-repeat
    page.page.wait_for_timeout(300)
    keyboard.down("w")
    page.page.wait_for_timeout(300)
    keyboard.up("g")
    keyboard.down("g")  # a bounce
    keyboard.up("g")
    page.page.wait_for_timeout(400)
    keyboard.up("w")
    page.press("Shift+Digit2", "b")
    page.page.wait_for_timeout(100)
    keyboard.down("g")
    page.page.wait_for_timeout(500)
    page.page.evaluate("window.dispatchEvent(new Event('blur'))")
    page.press("Space")
    keyboard.up("g")
    found = page.annotations("a25")
    assert [(item["label"], item["subject"]) for item in found] == [
        ("groom", None),
        ("walk", None),
        ("bite", "m2"),
        ("groom", "m2"),
    ]
    first, walk = found[0]["segment"], found[1]["segment"]
    assert first[0] < walk[0] < first[1] < walk[1]


def test_a_loop_stays_within_the_segment(page: LabelPage) -> None:
    video = page.client.videos()["a25"]
    edges = page.client.edges(video)
    page.client.change(video, {"op": "add", "id": "x", "label": "groom", "segment": [edges[20], edges[31]]})
    page.reload()
    page.press("ArrowDown")
    page.settled(20)
    page.page.evaluate(
        "window.looped = []; const each = () => { looped.push(numberShown());"
        "document.querySelector('video').requestVideoFrameCallback(each); }; each()"
    )
    page.press("-", "-", "Shift+Space")
    page.until("looped.filter((number, place) => number < looped[place - 1]).length >= 3")
    page.press("Escape")
    assert set(page.page.evaluate("looped")) <= set(range(20, 31))
