"""Videos that browsers do not play, that are very large, and the store of neighbouring frames."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from label_client import Client, labelling
from label_page import LabelPage, frames_of
from mp4_boxes import CLOCKWISE, MIRRORED_CLOCKWISE, UPSIDE_DOWN, spread, turn
from numbered_videos import see, write_numbered_video

pytestmark = pytest.mark.slow
HUGE = 20 << 30  # bytes, of a sparse file
KEPT = "import('/static/neighbours.js').then((module) => module.kept()"


def copied(client: Client, name: str) -> Any:
    """The finished job that makes a copy of a video."""
    client.json("POST", "/api/jobs", {"kind": "proxy", "video": client.videos()[name]})
    while (job := client.json("GET", "/api/jobs")["jobs"][0])["state"] in ("waiting", "running"):
        time.sleep(0.1)
    return job


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [("old.avi", "mpeg4", "pcm_s16le"), ("new.mp4", "libx265", "aac"), ("loud.mkv", "libx264", "pcm_s16le")],
)
def test_a_copy_has_the_same_frames(tmp_path: Path, name: str, codec: str, sound: str) -> None:
    write_numbered_video(tmp_path / name, 60, codec=codec, sound=sound)
    with labelling(tmp_path / name, home=tmp_path / "home") as client:
        video = client.videos()[Path(name).stem]
        edges = client.edges(video)
        assert client.contents(video)["playable"] == (codec == "libx264")
        assert client.ask("GET", f"/api/videos/{video}/preview")[0] == 404
        job = copied(client, Path(name).stem)
        assert job["state"] == "done", job
        assert client.contents(video)["playable"] and client.contents(video)["proxy"] == "ready"
        assert client.edges(video) == edges
        _, headers, body = client.ask("GET", f"/api/videos/{video}/media")
        assert headers["Content-Type"] == "video/mp4"
        (tmp_path / "copy.mp4").write_bytes(body)
    copy = see(tmp_path / "copy.mp4")
    assert copy.numbers == list(range(60)) and copy.times == pytest.approx(edges[:60], abs=1e-4)
    assert len(copy.sound)


def test_the_page_offers_a_copy_and_plays_it_while_it_is_made(browser: Any, tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 500, codec="libx265", sound=None, size=(704, 192))
    with labelling(tmp_path / "v.mp4", "--labels", "groom:g", home=tmp_path / "home") as client:
        page = LabelPage(browser, client, ready="!document.querySelector('#notice').hidden")
        page.page.locator("#notice button", has_text="Make a copy").click()
        page.until("document.querySelector('video').readyState > 1")
        page.press("Escape")
        page.until("document.querySelector('#notice').hidden")
        page.settled()
        page.go_to("f7")
        assert page.number == 7
        page.press("g")
        page.step(to=8)
        page.press("g")
        page.until("document.querySelector('video').currentSrc.includes('/media')")  # the finished copy
        page.until("document.querySelector('video').readyState > 1")
        page.settled(8)
        assert page.number == 8
        assert frames_of(page, "v") == [("groom", 7, 8)]
        page.close()


def test_a_seek_in_a_sparse_file_reads_little(browser: Any, tmp_path: Path) -> None:
    stamps = [10_000 * number for number in range(720)]  # two hours
    plain = write_numbered_video(tmp_path / "plain.mp4", 720, stamps=stamps, sound=None, gop=24)
    try:
        spread(plain, tmp_path / "huge.mp4", HUGE, 24)
    except OSError as error:
        pytest.skip(f"no sparse files here: {error}")
    with labelling(tmp_path / "huge.mp4", home=tmp_path) as client:
        counter = Path(f"/proc/{client.process.pid}/io")
        if not counter.exists():
            pytest.skip("this system does not count what a process reads")
        page = LabelPage(browser, client)
        before = int(counter.read_text().split()[1])
        page.go_to("1:59:00")
        page.settled(714)
        assert page.number == 714 % 512
        assert int(counter.read_text().split()[1]) - before < 5 << 20
        page.close()


def test_a_video_that_cannot_be_decoded_to_its_end(browser: Any, tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.mp4", 200, size=(352, 96), gop=50, sound=None)
    content = bytearray(path.read_bytes())
    begin, end = (content.index(b"mdat") + len(content) * share // 10 for share in (6, 8))
    content[begin:end] = b"\xff" * (end - begin)
    path.write_bytes(content)
    with labelling(path, home=tmp_path) as client:
        page = LabelPage(browser, client)
        page.go_to("f20")
        assert page.number == 20
        page.press("End")  # a seek that never comes to its end
        page.until("document.querySelector('#notice p').textContent.startsWith('The browser does not play this video')")
        page.settled(20)
        page.page.locator("#notice button", has_text="Leave it").click()
        page.go_to("f30")
        page.close()


def test_neighbours_are_kept_while_it_stands(page: LabelPage) -> None:
    page.go_to("f100")
    page.until(f"{KEPT}.length >= 31)")
    assert page.page.evaluate(f"{KEPT})") == list(range(85, 116))
    # A step shows its frame at once, before the player has it: in the task of the key itself.
    shown = page.page.evaluate("""import('/static/neighbours.js').then((module) => {
        const press = { key: "ArrowLeft", code: "ArrowLeft", bubbles: true };
        document.body.dispatchEvent(new KeyboardEvent("keydown", press));
        const still = document.querySelector("#still");
        const pen = still.getContext("2d");
        let number = 0;
        for (let bit = 0; bit < 9; bit += 1) {
            const { data } = pen.getImageData((bit + 1.5) * (still.width / 11), still.height / 2, 1, 1);
            if (data[0] > 128) number += 2 ** bit;
        }
        return [module.shown, still.hidden, number];
    })""")
    assert shown == [99, False, 99]
    page.settled(99)
    assert page.number == 99
    page.until("document.querySelector('#still').hidden")


# Pixels of the frame that is kept and of the one that the player shows.
BOTH = """async () => {
    const { showStill, hideStill } = await import("/static/neighbours.js");
    const [still, video] = ["#still", "#video"].map((name) => document.querySelector(name));
    showStill(5);
    const { width, height } = still;
    const kept = still.getContext("2d").getImageData(0, 0, width, height).data;
    hideStill();
    const pen = new OffscreenCanvas(width, height).getContext("2d");
    pen.drawImage(video, 0, 0, width, height);
    const shown = pen.getImageData(0, 0, width, height).data;
    const most = kept.reduce((worst, value, place) => Math.max(worst, Math.abs(value - shown[place])), 0);
    return [width / video.videoWidth, height / video.videoHeight, most];
}"""


def test_neighbours_are_turned_and_mirrored_as_the_player_does_it(browser: Any, tmp_path: Path) -> None:
    for number, matrix in enumerate((CLOCKWISE, UPSIDE_DOWN, MIRRORED_CLOCKWISE)):
        write_numbered_video(tmp_path / f"v{number}.mp4", 12, size=(704, 480), sound=None)
        turn(tmp_path / f"v{number}.mp4", matrix)
    with labelling(tmp_path, home=tmp_path / "home") as client:
        page = LabelPage(browser, client)
        for number in range(3):
            page.until(f"document.title.startsWith('v{number}')")
            page.until("document.querySelector('#frame').textContent.endsWith('12')")
            page.go_to("f5")
            page.until(f"{KEPT}.includes(5))")
            wide, high, difference = page.page.evaluate(BOTH)
            assert wide == high <= 1 and difference < 10
            page.press("Control+ArrowDown")
        page.close()


def test_black_where_the_video_is_not_is_said(page: LabelPage) -> None:
    assert page.page.locator("#notice").is_hidden()
    page.page.add_init_script("VideoFrame.prototype.copyTo = async () => []")
    page.reload()
    page.until("document.querySelector('#notice p').textContent === 'The browser shows black where this video is not.'")


def test_pictures_on_hovering(page: LabelPage) -> None:
    canvas = page.page.locator("#lanes").bounding_box()
    page.page.mouse.move(canvas["x"] + 500, canvas["y"] + 40)
    page.until("!document.querySelector('#tip').hidden && !document.querySelector('#tip canvas').hidden")
    assert page.page.evaluate("document.querySelector('#tip canvas').width") == 160
    page.page.mouse.move(500, 100)
    page.until("document.querySelector('#tip').hidden")


def test_pictures_are_asked_for_one_after_the_other(page: LabelPage) -> None:
    asked: list[str] = []
    held: list[Any] = []
    page.page.on("request", lambda request: asked.append(request.url) if "/thumbnails" in request.url else None)
    page.page.route("**/thumbnails*", lambda route: held.append(route), times=1)
    canvas = page.page.locator("#lanes").bounding_box()
    for number in range(4):
        page.page.mouse.move(canvas["x"] + 300 + 10 * number, canvas["y"] + 40)
        page.page.wait_for_timeout(200)
        page.press(".")  # half as much in view: other pictures
        page.page.wait_for_timeout(50)
    assert len(asked) == 1
    with page.page.expect_request("**/thumbnails*"):
        held[0].continue_()
    page.until("!document.querySelector('#tip canvas').hidden")
    assert len(asked) == 2
