"""The labelling page in a real browser, with videos whose frame numbers are in their pixels."""

from __future__ import annotations

import time
from typing import Any

from label_client import Client
from numbered_videos import BITS

# Reads the number in the pixels of the video, and notes it at every key.
READ_NUMBER = """
window.numberShown = () => {
  const video = document.querySelector("video");
  const [wide, high] = [video.videoWidth, video.videoHeight];
  const pen = Object.assign(document.createElement("canvas"), { width: wide, height: high }).getContext("2d");
  pen.drawImage(video, 0, 0);
  const column = Math.floor(wide / COLUMNS);
  let number = 0;
  for (let bit = 0; bit < BITS; bit += 1) {
    const { data } = pen.getImageData(Math.floor((bit + 1.5) * column), high / 2, 1, 1);
    if (data[0] > 128) number += 2 ** bit;
  }
  return number;
};
window.keysSeen = [];
for (const kind of ["keydown", "keyup"]) {
  window.addEventListener(kind, (event) => {
    if (!event.repeat) window.keysSeen.push({ kind, key: event.key, number: window.numberShown() });
  }, true);
}
""".replace("COLUMNS", str(BITS + 2)).replace("BITS", str(BITS))


FRAMES = 250  # of the videos of the tests
READY = "document.documentElement.dataset.ready === 'true' && document.querySelector('video').readyState > 1"


class LabelPage:
    """The page of a running `tal label`, and everything that it complained of."""

    def __init__(self, browser: Any, client: Client, ready: str = READY, **options: Any) -> None:
        self.client = client
        self.ready = ready
        self.context = browser.new_context(**({"viewport": {"width": 1024, "height": 640}} | options))
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.add_init_script(READ_NUMBER)
        self.open(client.url)

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.until(self.ready)

    def reload(self) -> None:
        self.page.reload()
        self.until(self.ready)

    def until(self, condition: str) -> None:
        deadline = time.monotonic() + 30
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"never: {condition}; {self.errors}"
            self.page.wait_for_timeout(10)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def step(self, key: str = "ArrowRight", to: int | None = None) -> None:
        """Press a key, and wait until the frame is on screen."""
        self.page.keyboard.press(key)
        self.settled(to)

    def settled(self, frame: int | None = None) -> None:
        """Wait until no seek is under way; with `frame`, until it is on screen."""
        wanted = "true" if frame is None else f"document.querySelector('#frame').textContent.startsWith('f {frame} ')"
        self.until(f"!document.querySelector('#frame').classList.contains('pending') && {wanted}")

    def go_to(self, moment: str) -> None:
        self.page.locator("#time").click()
        self.page.locator("#timeinput").fill(moment)
        self.page.keyboard.press("Enter")
        if moment.startswith("f"):
            self.settled(int(moment[1:]))

    def play(self, until: int) -> None:
        """Play until a frame has been shown."""
        self.press("Space")
        self.until(f"Number(document.querySelector('#frame').textContent.split(' ')[1]) >= {until}")

    @property
    def frame(self) -> int:
        return int(self.page.locator("#frame").inner_text().split()[1])

    @property
    def number(self) -> int:
        """The number in the pixels."""
        found: int = self.page.evaluate("numberShown()")
        return found

    def keys(self, kind: str, key: str) -> list[int]:
        """Numbers that were on screen at each press or release of a key."""
        seen = self.page.evaluate("keysSeen")
        return [item["number"] for item in seen if item["kind"] == kind and item["key"] == key]

    def saved(self) -> None:
        """Wait until every change is acknowledged."""
        self.page.wait_for_timeout(50)
        self.until("document.querySelector('#saved').textContent.startsWith('saved')")

    def annotations(self, video: str) -> list[dict[str, Any]]:
        self.saved()
        found = self.client.contents(self.client.videos()[video])["annotations"]
        return sorted(found, key=lambda item: (item["segment"], item["label"]))

    def close(self) -> None:
        self.context.close()
        assert self.errors == []


def frames_of(page: LabelPage, video: str = "a25") -> list[tuple[str, int, int]]:
    """Label, first and last frame of each annotation."""
    edges = page.client.edges(page.client.videos()[video])

    def place(time: float) -> int:
        found = min(range(len(edges)), key=lambda index: abs(edges[index] - time))
        assert abs(edges[found] - time) < 2e-6
        return found

    items = page.annotations(video)
    return [(i["label"], place(i["segment"][0]), place(i["segment"][1]) - (i["kind"] == "state")) for i in items]
