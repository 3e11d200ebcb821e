"""The report in a real browser: headless Chromium, driven by Playwright, from `file://`."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numbered_videos import write_numbered_video

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.results.report.builder import Report
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS, RunInfo

HOSTILE = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=2">'
SEGMENTS = (
    Segment("run", 0.4, 1.2, 0.9),
    Segment("run", 2.0, 2.6, 0.4),
    Segment("jump", 1.0, 1.6, 0.7),
    Segment("cut", 3.0, 3.2, 0.2),
    Segment(HOSTILE, 3.4, 3.8, 0.6),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages: a video with ground truth, one with the video inside, one gone, fifty videos, 5,000 segments."""
    folder = tmp_path_factory.mktemp("pages")
    recording = write_numbered_video(folder / "a recording #1 <b> 100%41? 'é\".mp4")
    video = Detections(f"recording {HOSTILE}", str(recording), 4.0, 25.0, 100, SEGMENTS)
    truth = {"subset": "test", "duration": 4.0, "annotations": [{"label": "run", "segment": [0.5, 1.2]}]}
    (folder / "truth.json").write_text(json.dumps({"database": {recording.stem: truth}}))
    write(folder / "one.html", [video], load_annotations(folder / "truth.json"))
    (folder / "inside").mkdir()
    write(folder / "inside.html", [video], embed=True)
    (folder / "inside.html").rename(folder / "inside" / "moved.html")
    gone = replace(video, path=str(folder / "gone.mp4"))
    write(folder / "gone.html", [gone])
    write(folder / "many.html", [replace(gone if i else video, video=f"video {i}") for i in range(50)])
    crowd = tuple(Segment(["run", "jump", "cut"][i % 3], i / 1300, i / 1300 + 0.1, i % 100 / 100) for i in range(5000))
    write(folder / "crowd.html", [replace(video, segments=crowd)])
    other = (Segment("win", 1.0, 2.0, 37.5), Segment("lose", 2.0, 3.0, -4.0), Segment("draw", 0.2, 0.6, 12.0))
    write(folder / "scores.html", [replace(video, segments=other)])
    old = write_numbered_video(folder / "old.avi", codec="mpeg4", sound=None)
    write(folder / "old.html", [replace(video, path=str(old))])
    return folder


def write(path: Path, videos: list[Detections], truth: Annotations | None = None, embed: bool = False) -> None:
    report = Report(path, RunInfo("0.1.0", "small", ""), annotations=truth, embed=embed)
    for video in videos:
        report.add(video)
    report.finish()


class Tab:
    """A page that is open, and everything it asked for or complained of."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path, place: str = "") -> Any:
        self.page.goto(path.as_uri() + place)
        return self.page

    def until(self, condition: str) -> None:
        """Wait for a condition; Playwright's own way would need a looser content security policy."""
        deadline = time.monotonic() + 30
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"never: {condition}"
            self.page.wait_for_timeout(20)

    def wait_for_time(self, seconds: float) -> None:
        self.until(f"Math.abs(document.querySelector('video').currentTime - {seconds}) < 0.03")

    def ready(self) -> None:
        self.until("document.querySelector('video').readyState > 0")

    def rows(self) -> list[str]:
        return [row.inner_text() for row in self.page.locator("tbody tr .go").all()]


@pytest.fixture
def tab(browser: Any) -> Iterator[Tab]:
    tab = Tab(browser)
    yield tab
    tab.context.close()


@pytest.mark.slow
def test_it_plays_from_a_file_without_a_network(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    tab.ready()
    assert abs(page.evaluate("document.querySelector('video').duration") - 4.0) < 0.1
    page.keyboard.press("Space")
    tab.until("document.querySelector('video').currentTime > 0.3")
    page.keyboard.press("Space")
    assert page.evaluate("document.querySelector('video').paused")
    assert tab.errors == []
    assert {url.split(":")[0] for url in tab.requests} <= {"file", "data", "blob"}


@pytest.mark.slow
def test_nothing_hostile_runs(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    tab.ready()
    assert page.evaluate("window.pwned") is None
    assert HOSTILE in page.locator("h1").inner_text() and page.title().startswith(f"recording {HOSTILE}")
    assert HOSTILE in page.locator(".names").inner_text() and HOSTILE in tab.rows()
    assert page.locator("img[src=x]").count() == 0
    # And were one to slip in, the policy would not run it.
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.pwned=3\">')")
    page.wait_for_timeout(50)
    assert page.evaluate("window.pwned") is None


@pytest.mark.slow
def test_a_row_is_one_click_from_its_moment(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    tab.ready()
    page.locator("tbody tr", has_text="jump").click()
    tab.wait_for_time(1.0)
    assert page.url.endswith("#t=1") and page.locator("tbody tr.chosen").count() == 1
    assert "jump, 0:01.00 to 0:01.60, score 0.70" in page.locator("#said").inner_text()
    assert {chip.inner_text().split()[0] for chip in page.locator(".now .chip").all()} == {"run", "jump"}


def test_a_link_opens_a_moment(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html", "#t=2.5")
    tab.ready()
    tab.wait_for_time(2.5)
    page.evaluate("location.hash = 't=0.5'")
    tab.wait_for_time(0.5)


@pytest.mark.slow
def test_the_keyboard_goes_through_the_segments(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    tab.ready()
    for seconds in (0.4, 1.0, 2.0, 3.0, 3.4, 3.4):
        page.keyboard.press("n")
        tab.wait_for_time(seconds)
    page.keyboard.press("p")
    tab.wait_for_time(3.0)
    page.keyboard.press("ArrowLeft")
    tab.wait_for_time(2.0)
    page.keyboard.press(".")
    tab.wait_for_time(2.04)
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


@pytest.mark.slow
def test_score_and_labels_filter_everything(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    tab.ready()
    assert len(tab.rows()) == 5
    painted = colour_at(tab, "run", 2.3)
    page.locator("#lowest").evaluate("slider => { slider.value = 0.5; slider.dispatchEvent(new Event('input')) }")
    tab.until("document.querySelectorAll('tbody tr').length === 3")
    assert page.locator(".segments .caption").inner_text() == "3 of 5 segments"
    assert page.locator("output").inner_text() == "0.50"
    assert colour_at(tab, "run", 2.3) != painted
    page.locator(".filter .chip", has_text="run").locator("input").uncheck()
    tab.until("document.querySelectorAll('tbody tr').length === 2")
    assert sorted(tab.rows()) == sorted([HOSTILE, "jump"])
    page.keyboard.press("Home")
    page.keyboard.press("n")
    tab.wait_for_time(1.0)  # what is filtered out is passed over
    page.get_by_role("button", name="None").click()
    tab.until("document.querySelectorAll('tbody tr').length === 0")
    assert page.locator(".names").inner_text() == ""
    assert page.locator(".nothing").inner_text() == "No segment has this score and one of these labels."
    page.get_by_role("button", name="All", exact=True).click()
    tab.until("document.querySelectorAll('tbody tr').length === 3")


def counts(tab: Tab) -> dict[str, str]:
    """What the filter says of each label: how many segments it has at this score."""
    chips = tab.page.locator(".filter .chip").all()
    return {chip.locator(".name").inner_text(): chip.locator(".count").inner_text() for chip in chips}


def set_score(tab: Tab, score: float) -> None:
    script = f"slider => {{ slider.value = {score}; slider.dispatchEvent(new Event('input')) }}"
    tab.page.locator("#lowest").evaluate(script)
    tab.page.wait_for_timeout(50)


@pytest.mark.slow
def test_counts_and_lanes_follow_the_score(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    assert counts(tab) == {"cut": "1", "jump": "1", "run": "2", HOSTILE: "1"}
    set_score(tab, 0.65)
    assert counts(tab) == {"cut": "0", "jump": "1", "run": "1", HOSTILE: "0"}
    assert page.locator(".names > div").all_inner_texts() == ["jump", "run"]
    set_score(tab, 0.95)
    assert page.locator(".names > div").all_inner_texts() == ["run"]  # which is annotated


@pytest.mark.slow
def test_the_index_follows_the_filter(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "many.html")
    assert page.locator(".finder .caption").inner_text() == "50 videos · 250 segments"
    set_score(tab, 0.5)
    assert page.locator(".finder .caption").inner_text() == "50 videos · 150 of 250 segments"
    assert counts(tab)["run"] == "50" and page.locator(".card .count").last.inner_text() == "3 of 5 segments"
    page.get_by_role("button", name="None").click()
    tab.until("document.querySelectorAll('.card.none').length === 50")


@pytest.mark.slow
def test_scores_of_other_tools_have_a_slider_that_fits(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "scores.html")
    assert len(tab.rows()) == 3 and page.locator("#lowest").get_attribute("min") == "-4"
    assert page.locator("#lowest").get_attribute("max") == "37.5"
    set_score(tab, 0)
    assert tab.rows() == ["draw", "win"]
    set_score(tab, 37.5)
    assert tab.rows() == ["win"]
    assert colour_at(tab, "win", 1.5)[3] == 255


@pytest.mark.slow
def test_the_slider_begins_at_what_is_listed(tab: Tab, folder: Path) -> None:
    run = RunInfo("0.1.0", "small", "", min_score={"run": 0.4, "jump": 0.7})
    report = Report(folder / "listed.html", run)
    report.add(Detections("v", str(folder / "gone.mp4"), 4.0, 25.0, 100, SEGMENTS[:3]))
    report.finish()
    page = tab.open(folder / "listed.html")
    assert page.locator("output").inner_text() == "0.40" and page.locator("#lowest").input_value() == "0.4"
    assert tab.rows() == ["run", "jump", "run"]
    set_score(tab, 0.5)
    assert tab.rows() == ["run", "jump"]


@pytest.mark.slow
def test_keys_stay_the_videos_after_a_click(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    tab.ready()
    page.locator("#lowest").click(position={"x": 60, "y": 8})
    lowest = page.locator("output").inner_text()
    page.keyboard.press("p")
    page.keyboard.press("n")
    tab.wait_for_time(0.4)
    page.keyboard.press("ArrowRight")
    assert page.locator("output").inner_text() > lowest  # the slider's own
    page.get_by_role("button", name="Go to jump, 0:01.00 to 0:01.60, score 0.70").click()
    tab.wait_for_time(1.0)
    page.keyboard.press("Space")
    tab.until("document.querySelector('video').currentTime > 1.2")
    page.keyboard.press("Space")
    assert page.evaluate("document.querySelector('video').paused")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")  # now it is the button's
    tab.wait_for_time(1.0)


@pytest.mark.slow
def test_a_video_that_browsers_do_not_play_is_told_and_shown_in_stills(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "old.html")
    tab.until("!document.querySelector('.notice').hidden")
    assert "Browsers do not play avi files." in page.locator(".notice").inner_text()
    page.keyboard.press("n")
    shown = page.evaluate("document.querySelector('video').poster")
    page.keyboard.press("n")
    assert shown.startswith("data:image/jpeg") and page.evaluate("document.querySelector('video').poster") != shown
    page.keyboard.press("Space")
    assert page.locator("#said").inner_text() == "There is no video to play" and page.locator("#said").is_visible()


@pytest.mark.parametrize(("place", "seconds"), [("#t=0:02.5", 2.5), ("#t=1.5,3", 1.5), ("#t=2s", 2), ("#t=soon", 0)])
@pytest.mark.slow
def test_links_of_other_players_open_a_moment(tab: Tab, folder: Path, place: str, seconds: float) -> None:
    page = tab.open(folder / "one.html", place)
    tab.ready()
    tab.wait_for_time(seconds)
    page.keyboard.press("c")
    tab.until("document.querySelector('#said').textContent !== ''")
    assert page.url.endswith(f"#t={seconds:g}" if seconds else "#")


def colour_at(tab: Tab, label: str, seconds: float) -> list[int]:
    """What the timeline shows in a label's lane at a time: [red, green, blue, opacity]."""
    script = """([label, time]) => {
      const canvas = document.querySelector('.timeline canvas');
      const names = [...document.querySelectorAll('.names > div')];
      const row = names.find((name) => name.innerText === label);
      const y = row.getBoundingClientRect().top - canvas.getBoundingClientRect().top + 10;
      const x = (time / 4) * canvas.clientWidth;
      const ratio = canvas.width / canvas.clientWidth;
      return [...canvas.getContext('2d').getImageData(x * ratio, y * ratio, 1, 1).data];
    }"""
    return list(tab.page.evaluate(script, [label, seconds]))


def test_certain_segments_are_stronger_and_lanes_show_the_truth(tab: Tab, folder: Path) -> None:
    tab.open(folder / "one.html")
    tab.ready()
    strong, weak, empty = (colour_at(tab, "run", seconds) for seconds in (0.8, 2.3, 1.8))
    distance = [sum(abs(a - b) for a, b in zip(one, empty, strict=True)) for one in (strong, weak)]
    assert distance[0] > 1.5 * distance[1] > 60
    row = tab.page.locator("tbody tr", has_text="0:00.40")
    assert row.locator("td").last.inner_text() == "0.88"  # 0.7 s of the 0.8 s of both


def test_the_timeline_seeks_and_selects(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    tab.ready()
    canvas = page.locator(".timeline canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 2.8 / 4, "y": 10})
    tab.wait_for_time(2.8)
    lane = page.locator(".names > div", has_text="jump").bounding_box()
    canvas.click(position={"x": box["width"] * 1.4 / 4, "y": lane["y"] - box["y"] + 10})
    tab.wait_for_time(1.0)
    assert page.locator("tbody tr.chosen").inner_text().split()[0] == "jump"
    assert page.locator("#tip").is_visible() and "jump" in page.locator("#tip").inner_text()
    slider = page.get_by_role("slider", name="Timeline: time in the video")
    assert slider.get_attribute("aria-valuenow") == "1.00"
    assert "0:01.00 of 0:04.00: run 0.90, jump 0.70" in str(slider.get_attribute("aria-valuetext"))


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 740), (1000, 500)])
@pytest.mark.slow
def test_the_player_stays_in_view_when_a_late_row_is_clicked(
    browser: Any, folder: Path, width: int, height: int
) -> None:
    tab = Tab(browser, viewport={"width": width, "height": height})
    page = tab.open(folder / "crowd.html")
    tab.ready()
    page.locator("tbody tr").nth(90).locator(".go").click()
    box = page.locator("video").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= height
    assert tab.errors == []
    tab.context.close()


@pytest.mark.slow
def test_a_segment_is_played_from_start_to_end(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    tab.ready()
    page.get_by_role("button", name="Play jump, 0:01.00 to 0:01.60").click()
    tab.until("document.querySelector('video').currentTime > 1.05")
    tab.until("document.querySelector('video').paused")
    tab.wait_for_time(1.6)
    page.keyboard.press("s")
    tab.until("!document.querySelector('video').paused && document.querySelector('video').currentTime < 1.5")
    tab.until("document.querySelector('video').paused")
    tab.wait_for_time(1.6)
    page.keyboard.press("Space")  # plays on: only a segment's own playback stops
    tab.until("document.querySelector('video').currentTime > 1.9")
    assert tab.errors == []


def test_points_are_told_as_points(tab: Tab, tmp_path: Path) -> None:
    spots = (Segment("cut", 1.0, 1.0, 0.9, "point"), Segment("jump", 2.0, 2.0, 0.8, "point"))
    truth = VideoAnnotation("gone", "test", 4.0, 25.0, (GroundTruth("cut", 1.25, 1.25, "point"),))
    video = Detections("gone", str(tmp_path / "gone.mp4"), 4.0, 25.0, 100, spots)
    write(tmp_path / "points.html", [video], Annotations("", {"gone": truth}, ("cut",)))
    page = tab.open(tmp_path / "points.html")
    rows = [[cell.inner_text() for cell in row.locator("td").all()[-3:]] for row in page.locator("tbody tr").all()]
    assert rows == [["point", "0.90", "0.25 s off"], ["point", "0.80", "–"]]


@pytest.mark.slow
def test_numbers_are_rounded_as_in_the_table(tab: Tab, tmp_path: Path) -> None:
    starts = (0.125, 0.375, 1.005, 2.675, 4.9949999, 7.285, 59.995, 59.996, 3599.999)
    scores = (0.125, 0.375, 0.145, 0.285, 0.625, 0.875, 0.005, 0.015, 0.9949999)
    segments = tuple(
        Segment("run", start, start + 0.25 + score, score) for start, score in zip(starts, scores, strict=True)
    )
    video = Detections("gone", str(tmp_path / "gone.mp4"), 4000.0, 25.0, 100_000, segments)
    write(tmp_path / "page.html", [video])
    page = tab.open(tmp_path / "page.html")
    shown = [row.inner_text().split()[1:] for row in page.locator("tbody tr").all()]
    file = io.BytesIO()
    FORMATS["table"].writer()([video], file, RunInfo("0.1.0", "small", ""))
    rows = [line.split() for line in file.getvalue().decode().splitlines() if line.startswith("│")]
    assert shown == [[start, end, seconds, score] for _, _, _, start, _, end, _, seconds, _, score, *_ in rows]


@pytest.mark.slow
def test_columns_sort(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    page.get_by_role("button", name="Score", exact=True).click()
    assert tab.rows() == ["run", "jump", HOSTILE, "run", "cut"]
    assert page.locator("th[aria-sort=descending]").inner_text().strip() == "Score"
    page.get_by_role("button", name="Score", exact=True).click()
    assert tab.rows()[0] == "cut"
    page.get_by_role("button", name="Label", exact=True).click()
    assert tab.rows()[1:] == ["cut", "jump", "run", "run"]


def test_everything_has_a_name_and_a_place_in_the_tab_order(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "one.html")
    tab.ready()
    nameless = """() => [...document.querySelectorAll('button, a, input, select, [tabindex="0"], video')]
      .filter((e) => e.offsetParent && !(e.innerText || '').trim())
      .filter((e) => !e.getAttribute('aria-label') && !e.labels?.length)
      .map((e) => e.outerHTML)"""
    assert page.evaluate(nameless) == []
    out_of_order = """() => [...document.querySelectorAll('button, a, input, select, .area')]
      .filter((e) => e.offsetParent && e.tabIndex !== 0).map((e) => e.outerHTML)"""
    assert page.evaluate(out_of_order) == []
    page.locator("#lowest").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "All"
    row = page.get_by_role("button", name="Go to cut, 0:03.00 to 0:03.20, score 0.20")
    row.focus()
    page.keyboard.press("Enter")
    tab.wait_for_time(3.0)


@pytest.mark.slow
def test_a_page_with_the_video_inside_can_go_anywhere(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "inside" / "moved.html")
    tab.ready()
    page.keyboard.press("n")
    tab.wait_for_time(0.4)
    assert all(url.startswith(("blob:", "data:")) or url.endswith("moved.html") for url in tab.requests)


@pytest.mark.parametrize(("suffix", "sound"), [(".mp4", "aac"), (".mp4", None), (".mkv", None)])
@pytest.mark.slow
def test_a_video_whose_frames_begin_late_shows_the_right_ones(
    tab: Tab, tmp_path: Path, suffix: str, sound: str | None
) -> None:
    recording = write_numbered_video(
        tmp_path / f"late{suffix}", stamps=[500 + 40 * number for number in range(100)], sound=sound
    )
    write(tmp_path / "late.html", [Detections("late", str(recording), 4.0, 25.0, 100, SEGMENTS[2:3])], embed=True)
    page = tab.open(tmp_path / "late.html")
    tab.ready()
    page.keyboard.press("n")
    shown = """(() => {
      const pen = document.createElement('canvas').getContext('2d');
      pen.drawImage(document.querySelector('video'), 0, 0, 176, 64);
      const bits = [...Array(9).keys()].map((bit) => pen.getImageData((bit + 1) * 16 + 8, 32, 1, 1).data[0] > 128);
      return bits.reduce((number, bit, at) => number + (bit << at), 0);
    })()"""
    tab.until(f"{shown} === 25")  # one second after the first frame


def test_a_missing_video_can_be_chosen(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "gone.html")
    assert "No such file" in page.locator(".notice").inner_text()
    page.keyboard.press("n")
    assert page.locator(".time").inner_text() == "0:00.40 / 0:04.00"  # without a video there is still a time
    page.locator("#chooser").set_input_files(next(folder.glob("*.mp4")))
    tab.ready()
    tab.wait_for_time(0.4)
    assert not page.locator(".notice").is_visible()


@pytest.mark.slow
def test_fifty_videos_have_an_index(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "many.html")
    assert page.locator(".card").count() == 50 and page.locator("h1").inner_text() == "50 videos"
    tab.until("document.querySelectorAll('script[id^=data-]').length < 50")
    assert page.locator("script[id^=data-]").count() > 20  # what is out of sight is not parsed
    assert page.locator("script[id^=thumbnails-]").count() == 50
    page.get_by_label("Find a video").fill("video 4")
    assert page.locator(".card").count() == 11
    page.locator(".card a").first.click()
    page.wait_for_selector(".player")
    assert page.locator("h1").inner_text() == "video 4"
    page.keyboard.press("n")
    assert page.url.endswith("#v=video+4&t=0.4")
    page.get_by_role("button", name="All videos").click()
    page.wait_for_selector(".card")
    tab.open(folder / "many.html", "#v=video%200&t=2")
    tab.ready()
    tab.wait_for_time(2.0)
    assert tab.errors == []


@pytest.mark.slow
def test_five_thousand_segments_are_written_as_they_are_read(tab: Tab, folder: Path) -> None:
    page = tab.open(folder / "crowd.html")
    tab.ready()
    assert page.locator(".segments .caption").inner_text() == "5,000 segments"
    assert page.locator("tbody tr").count() <= 300
    page.locator("#lowest").evaluate("slider => { slider.value = 0.9; slider.dispatchEvent(new Event('input')) }")
    tab.until("document.querySelector('.segments .caption').textContent.startsWith('500 of')")
    scrolled = "window.scrollTo(0, document.body.scrollHeight)"
    tab.until(f"({scrolled}, document.querySelectorAll('tbody tr').length === 500)")
    assert tab.errors == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("name", ["one.html", "many.html"])
@pytest.mark.slow
def test_it_fits_a_phone_and_follows_the_theme(browser: Any, folder: Path, scheme: str, name: str) -> None:
    tab = Tab(browser, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True, is_mobile=True)
    page = tab.open(folder / name)
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    if name == "one.html":
        assert page.evaluate("document.querySelector('td.score').getBoundingClientRect().right") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) < 64) == (scheme == "dark")
    page.get_by_role("button", name="Dark or light").tap()
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") != scheme  # it is remembered
    tab.context.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.slow
def test_a_diagnosis_fits_a_phone_and_follows_the_theme(browser: Any, tmp_path: Path, scheme: str) -> None:
    truth = VideoAnnotation("a", "validation", 60.0, None, (GroundTruth("run", 1.0, 5.0),))
    save_annotations(Annotations("", {"a": truth}, ("run",)), tmp_path / "truth.json")
    (tmp_path / "found.csv").write_text("video,label,start,end,score\na,run,1,5.5,0.5\n")
    arguments = ["diagnose", str(tmp_path / "found.csv"), "--annotations", str(tmp_path / "truth.json")]
    assert app.run([*arguments, "-q", "-o", str(tmp_path / "out")]) == 0
    tab = Tab(browser, viewport={"width": 390, "height": 740}, color_scheme=scheme)
    page = tab.open(tmp_path / "out" / "index.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("img").first.bounding_box()["width"] >= 500  # legible, in a frame that scrolls
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) < 64) == (scheme == "dark")
    assert page.evaluate("getComputedStyle(document.querySelector('img')).filter").startswith("invert") == (
        scheme == "dark"
    )
    assert "mAP_N" not in page.locator("main").inner_text() and tab.errors == []
    tab.context.close()
