"""The labelling page in headless Chromium, by keys: every edge is on the frame that was on screen."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from browsers import BROWSERS
from label_client import labelling
from label_page import FRAMES, READY, LabelPage, frames_of
from numbered_videos import write_numbered_video

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("video", ["a25", "b30", "c60", "turned", "variable"])
@pytest.mark.parametrize("browser", BROWSERS, indirect=True)
def test_every_frame_is_reached(page: LabelPage, video: str) -> None:
    place = sorted(page.client.videos()).index(video)
    for _ in range(place):
        page.press("Control+ArrowDown")
        page.page.wait_for_timeout(300)
    page.until(
        f"document.title.startsWith('{video}') && document.querySelector('#frame').textContent === 'f 0 / {FRAMES}'"
    )
    page.until("document.querySelector('video').readyState > 1")
    rng = random.Random(1)
    page.settled(0)
    assert page.number == 0
    for frame in range(1, 40):
        page.step(to=frame)
        assert page.number == frame
    for frame in range(38, 20, -1):
        page.step("ArrowLeft", frame)
        assert page.number == frame
    for _ in range(25):
        frame = rng.randrange(FRAMES)
        page.go_to(f"f{frame}")
        assert (page.frame, page.number) == (frame, frame)
    page.step("End", FRAMES - 1)
    page.step("Shift+ArrowLeft", FRAMES - 11)
    page.step("Home", 0)
    assert page.number == 0


def test_500_frames_forth_and_back_and_100_jumps(browser: Any, tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 500, size=(352, 96), sound=None, gop=100)
    shown = (
        "[document.querySelector('#frame').classList.contains('pending'),"
        " Number(document.querySelector('#frame').textContent.split(' ')[1]), numberShown()]"
    )
    with labelling(tmp_path, home=tmp_path / "home") as client:
        page = LabelPage(browser, client)
        rng = random.Random(2)
        for key, frames in (("ArrowRight", range(1, 500)), ("ArrowLeft", range(498, -1, -1))):
            for frame in frames:
                page.press(key)
                while (now := page.page.evaluate(shown)) != [False, frame, frame]:
                    assert now[0] or now[1] != frame, now  # once it is told, it is what is seen
        for frame in rng.sample(range(500), 100):
            page.go_to(f"f{frame}")
            assert page.page.evaluate(shown) == [False, frame, frame]
        page.close()


@pytest.mark.parametrize("browser", BROWSERS, indirect=True)
def test_taps_while_stepping(page: LabelPage) -> None:
    page.go_to("f10")
    page.press("g")
    for frame in range(11, 15):
        page.step(to=frame)
    page.press("w")
    page.step(to=15)
    page.press("g")
    page.step(to=16)
    page.press("b")
    page.step(to=17)
    page.page.wait_for_timeout(100)
    page.press("w")
    # start, step, end, start works while paused as well
    page.step(to=18)
    page.press("w")
    page.step(to=19)
    page.page.wait_for_timeout(100)
    page.press("w")
    assert frames_of(page) == [("groom", 10, 15), ("walk", 14, 17), ("bite", 16, 16), ("walk", 18, 19)]


def test_an_exclusive_group_shares_one_edge(page: LabelPage) -> None:
    labels = page.client.json("GET", "/api/project")["labels"]
    grouped = [{**label, "group": "motion" if label["name"] != "bite" else ""} for label in labels]
    page.client.json("POST", "/api/changes", {"client": "t", "ops": [{"op": "labels", "labels": grouped}]})
    page.page.wait_for_timeout(200)
    page.go_to("f10")
    page.press("g")
    page.go_to("f20")
    page.press("w")
    page.go_to("f30")
    page.press("w")
    assert frames_of(page) == [("groom", 10, 19), ("walk", 20, 30)]
    page.client.json("POST", "/api/changes", {"client": "t", "ops": [{"op": "labels", "labels": labels}]})


def test_edges_are_moved_by_keys(page: LabelPage) -> None:
    edges = page.client.edges(page.client.videos()["a25"])
    video = page.client.videos()["a25"]
    page.client.change(video, {"op": "add", "id": "x", "label": "groom", "segment": [edges[20], edges[31]]})
    page.client.change(video, {"op": "add", "id": "y", "label": "walk", "segment": [edges[5], edges[16]]})
    page.reload()
    page.press("ArrowDown", "ArrowDown")
    page.settled(20)
    page.press("Enter")
    page.step("ArrowLeft", 19)
    page.step("Shift+ArrowLeft", 9)  # across another bout
    page.press("Enter")
    page.settled(30)
    page.step("ArrowRight", 31)
    page.press("Enter")
    page.page.wait_for_timeout(100)
    assert frames_of(page)[1] == ("groom", 9, 31)
    for frame in (30, 29, 28):
        page.step("ArrowLeft", frame)
    page.press("Shift+Home")
    page.saved()
    assert frames_of(page)[1] == ("groom", 28, 31)
    page.go_to("f40")
    page.press("Shift+Home")  # after the end: rejected with a word
    assert "after the end" in page.page.locator("#said").inner_text()
    page.press("Shift+End")
    assert frames_of(page)[1] == ("groom", 28, 40)
    page.go_to("f35")
    page.press("Control+Enter")
    assert frames_of(page)[1:] == [("groom", 28, 34), ("groom", 35, 40)]
    page.press("Control+z")
    page.page.wait_for_timeout(200)
    assert frames_of(page)[1:] == [("groom", 28, 40)]
    page.press("Enter", "Enter")
    page.settled(40)
    for _ in range(22):
        page.press("Shift+ArrowRight")
    page.page.wait_for_timeout(600)
    page.settled(FRAMES - 1)
    assert frames_of(page)[1:] == [("groom", 28, FRAMES - 1)]


@pytest.mark.parametrize("browser", BROWSERS, indirect=True)
def test_undo_after_a_reload(page: LabelPage) -> None:
    page.press("g")
    page.step(to=1)
    page.press("g")
    page.press("b")
    page.saved()
    page.press("w")
    page.press("Control+z")  # a bout that has begun
    assert [item[0] for item in frames_of(page)] == ["groom", "bite"]
    page.reload()
    page.press("Control+z")
    page.page.wait_for_timeout(200)
    assert [item[0] for item in frames_of(page)] == ["groom"]
    page.press("Control+z")
    page.page.wait_for_timeout(200)
    assert frames_of(page) == []
    page.press("Control+Shift+z", "Control+Shift+z")
    page.page.wait_for_timeout(300)
    assert [item[0] for item in frames_of(page)] == ["groom", "bite"]


def test_undo_takes_back_the_newest_first(page: LabelPage) -> None:
    page.press("g")
    page.step(to=1)
    page.press("b", "Control+z")  # the point, which came after the bout had begun
    said = "document.querySelector('#said').textContent"
    page.until(f"{said}.startsWith('undone: add bite')")
    lit = page.page.locator("#labels [aria-pressed=true]")
    assert lit.count() == 1 and frames_of(page) == []
    page.press("Control+z")
    page.until("!document.querySelector('#labels [aria-pressed=true]')")
    page.press("Control+Shift+z")
    page.until(f"{said}.startsWith('redone: add bite')")
    assert frames_of(page) == [("bite", 1, 1)]


def test_suggestions_by_keys(page: LabelPage, folder: Path, tmp_path: Path) -> None:
    edges = page.client.edges(page.client.videos()["a25"])
    rows = [{"label": "groom", "segment": [edges[n], edges[n + 8]], "score": 0.3} for n in range(10, 90, 20)]
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"results": {"a25": rows}}))
    with labelling(folder, "--annotations", tmp_path / "l.json", "--suggestions", results, home=tmp_path) as other:
        again = LabelPage(page.context.browser, other)
        again.press("ArrowDown")
        again.settled(10)
        again.press("Enter")
        again.settled(30)
        again.press("Backspace")
        again.settled(50)
        again.go_to("f55")
        again.press("Shift+End", "Enter")
        again.settled(70)
        assert frames_of(again) == [("groom", 10, 17), ("groom", 50, 55)]
        again.close()
    video = json.loads((tmp_path / "l.json").read_text())["database"]["a25"]
    assert [item["status"] for item in video["annotations"]] == ["accepted", "corrected"]
    assert [item["status"] for item in video["suggestions"]] == ["rejected", "pending"]


def test_what_is_played_or_stepped_through_is_reviewed(page: LabelPage) -> None:
    for frame in range(1, 5):
        page.step(to=frame)
    page.go_to("f100")
    page.step("ArrowLeft", 99)
    page.page.wait_for_timeout(500)
    page.go_to("f150")
    page.press("F8")
    page.go_to("f160")
    page.press("F8")
    page.saved()
    found = page.client.contents(page.client.videos()["a25"])["reviewed"]
    edges = page.client.edges(page.client.videos()["a25"])
    assert found == [
        pytest.approx([edges[0], edges[5]]),
        pytest.approx([edges[99], edges[101]]),
        pytest.approx([edges[150], edges[161]]),
    ]


@pytest.mark.parametrize("browser", BROWSERS, indirect=True)
def test_two_windows_and_one_segment(page: LabelPage) -> None:
    video = page.client.videos()["a25"]
    edges = page.client.edges(video)
    page.client.change(video, {"op": "add", "id": "x", "label": "groom", "segment": [edges[20], edges[31]]})
    page.until("document.querySelector('#labels .count').textContent === '1'")  # told by an event
    page.press("ArrowDown")
    page.settled(20)
    page.page.context.set_offline(True)
    page.go_to("f24")
    page.press("Shift+Home")
    page.until("document.querySelector('#saved').textContent.startsWith('NOT SAVED')")
    page.client.change(video, {"op": "update", "id": "x", "label": "walk"})
    page.page.context.set_offline(False)
    page.page.locator("dialog button", has_text="Keep mine").click(timeout=20_000)
    assert frames_of(page) == [("walk", 24, 30)]


def test_what_another_window_did_is_seen_before_it_is_changed(page: LabelPage) -> None:
    video = page.client.videos()["a25"]
    edges = page.client.edges(video)
    page.client.change(video, {"op": "add", "id": "x", "label": "groom", "segment": [edges[20], edges[31]]})
    page.until("document.querySelector('#labels .count').textContent === '1'")
    page.press("ArrowDown")
    page.settled(20)
    page.press("w")
    page.client.change(video, {"op": "update", "id": "x", "segment": [edges[10], edges[31]]})
    page.until("document.querySelector('#chosen').textContent.startsWith('walk, 0.40 ')")
    page.step(to=21)
    page.press("Shift+Home")
    page.saved()
    assert page.page.locator("dialog").count() == 0 and frames_of(page) == [("walk", 21, 30)]


def test_labels_that_are_refused_can_be_mended(page: LabelPage) -> None:
    page.press("F2")
    keys = page.page.locator("dialog [aria-label=Key]")
    keys.nth(1).fill("g")
    page.page.locator("dialog button", has_text="Keep").click()
    page.until("document.querySelector('dialog .problem')?.textContent.includes(\"'g' is given twice\")")
    keys.nth(1).fill("w")
    page.page.locator("dialog button", has_text="Keep").click()
    page.until("document.querySelector('dialog') === null")


def test_nothing_hostile_runs(page: LabelPage) -> None:
    name = '<img src=x onerror="window.pwned=1">'
    labels = page.client.json("GET", "/api/project")["labels"]
    more = [*labels, {"name": name, "key": "x"}]
    page.client.json("POST", "/api/changes", {"client": "t", "ops": [{"op": "labels", "labels": more}]})
    page.reload()
    page.press("x")
    page.step(to=1)
    page.press("x", "F2")
    page.page.wait_for_timeout(200)
    assert page.page.evaluate("window.pwned") is None and page.page.locator("img").count() == 0
    assert frames_of(page) == [(name, 0, 1)]
    page.press("Escape", "Control+z")
    page.page.wait_for_timeout(200)
    page.client.json("POST", "/api/changes", {"client": "t", "ops": [{"op": "labels", "labels": labels}]})


def test_the_screen_at_its_smallest(page: LabelPage) -> None:
    assert page.page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && document.body.scrollHeight <= innerHeight"
    )
    names = page.page.evaluate(
        "[...document.querySelectorAll('button, input, select, [role]:not([role=status])')]"
        ".filter((item) => item.offsetParent"
        " && !(item.textContent.trim() || item.getAttribute('aria-label') || item.title)).map((item) => item.outerHTML)"
    )
    assert names == []
    # A long name of a video takes nothing from the rest.
    page.page.evaluate("document.querySelector('#title').textContent = 'long '.repeat(100)")
    assert page.page.locator("#finish").bounding_box()["x"] < 1000


def test_names_are_shortened_only_if_they_must_be(page: LabelPage) -> None:
    names = ["walk", "a long name begins", "a long name begun", "x a long name begins", "one that ends in 1"]
    script = "(names) => import('/static/names.js').then((m) => [...m.shortened(names, (one) => one.length < 13)])"
    texts = dict(page.page.evaluate(script, names))
    assert list(texts) == names and len(set(texts.values())) == len(names)
    assert texts["walk"] == "walk" and texts["a long name begins"] == "a long name…"
    assert all(len(text) < 13 for text in texts.values())


def test_what_a_killed_server_did_not_take_is_sent_to_the_next(browser: Any, folder: Path, tmp_path: Path) -> None:
    options = (folder / "a25.mp4", "--annotations", tmp_path / "l.json", "--labels", "bite!")
    with labelling(*options, home=tmp_path, code=None) as first:
        page = LabelPage(browser, first)
        page.press("b")
        page.saved()
        first.process.kill()
        first.process.wait()
        page.step(to=1)
        page.press("b")
        page.until("document.querySelector('#saved').textContent.startsWith('NOT SAVED')")
    with labelling(*options, home=tmp_path) as second:
        with page.page.expect_event("load"):  # only the token differs: the page loads itself again
            page.page.goto(second.url)
        page.until(READY)
        page.client = second
        assert frames_of(page) == [("bite", 0, 0), ("bite", 1, 1)]
        page.close()
