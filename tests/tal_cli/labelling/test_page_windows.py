"""What another window, or an earlier page, did is neither overwritten nor missed."""

from __future__ import annotations

from typing import Any

import pytest
from label_page import READY, LabelPage, frames_of

pytestmark = pytest.mark.slow
COUNT = "document.querySelector('#labels .count').textContent"
CONFLICT = "Another window has changed the same thing"


@pytest.fixture
def edges(page: LabelPage) -> list[float]:
    """Times of the frames of a video with one bout, `x`."""
    video = page.client.videos()["a25"]
    edges = page.client.edges(video)
    page.client.change(video, {"op": "add", "id": "x", "label": "groom", "segment": [edges[20], edges[31]]})
    page.until(f"{COUNT} === '1'")
    return edges


def move_start(page: LabelPage) -> None:
    """Select the bout, and begin it at frame 24."""
    page.press("ArrowDown")
    page.settled(20)
    page.go_to("f24")
    page.press("Shift+Home")


def test_a_change_that_was_not_told_is_not_overwritten(page: LabelPage, edges: list[float]) -> None:
    page.page.add_init_script("window.EventSource = class { close() {} }")
    page.reload()
    page.client.change(page.client.videos()["a25"], {"op": "update", "id": "x", "label": "walk"}, client="other")
    with page.page.expect_response("**/api/project"):
        page.page.evaluate("window.dispatchEvent(new Event('focus'))")
    move_start(page)
    page.page.locator("dialog", has_text=CONFLICT).locator("button", has_text="Keep theirs").click()
    page.until("!document.querySelector('dialog')")
    assert frames_of(page) == [("walk", 20, 30)]


def test_a_change_while_all_is_read_again_stays(page: LabelPage, edges: list[float]) -> None:
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append((route, route.fetch().body()))

    page.page.route("**/api/videos/*", hold, times=1)
    page.page.evaluate(
        "import('/static/state.js').then(({ reload }) => { reload().then(() => { window.isRead = true; }); })"
    )
    while not held:
        page.page.wait_for_timeout(10)
    bout = {"op": "add", "id": "y", "label": "groom", "segment": [edges[50], edges[60]]}
    page.client.change(page.client.videos()["a25"], bout, client="other")
    page.until(f"{COUNT} === '2'")
    ((route, body),) = held
    route.fulfill(body=body, content_type="application/json")
    page.until("window.isRead")
    assert page.page.evaluate("import('/static/state.js').then(({ state }) => state.annotations.size)") == 2


def test_what_an_earlier_page_could_not_send_may_conflict(page: LabelPage, edges: list[float]) -> None:
    page.page.route("**/api/changes", lambda route: route.abort())
    move_start(page)
    page.until("document.querySelector('#saved').textContent.startsWith('NOT SAVED')")
    page.page.close()
    page.client.change(page.client.videos()["a25"], {"op": "update", "id": "x", "label": "walk"}, client="other")
    page.page = page.context.new_page()
    page.page.goto(page.client.origin)
    page.until(READY)
    page.page.locator("dialog", has_text=CONFLICT).locator("button", has_text="Keep mine").click()
    page.until("!document.querySelector('dialog')")
    assert frames_of(page) == [("walk", 24, 30)]
