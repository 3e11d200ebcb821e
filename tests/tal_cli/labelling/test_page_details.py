"""The labelling page: forms, notices, groups and scores."""

from __future__ import annotations

import json
from typing import Any

import pytest
from label_page import LabelPage, frames_of

pytestmark = pytest.mark.slow
SAID = "document.querySelector('#said').textContent"


def set_labels(page: LabelPage, labels: list[dict[str, Any]]) -> None:
    """The labels of the project, as another window sets them."""
    page.client.json("POST", "/api/changes", {"client": "other", "ops": [{"op": "labels", "labels": labels}]})


def answer_with(page: LabelPage, address: str, **more: Any) -> None:
    """Read the page again with more in the server's answers: of each video, where the answer is the project."""

    def answer(route: Any) -> None:
        found = json.loads(route.fetch().body())
        for part in found.get("videos", [found]):
            part.update(more)
        route.fulfill(json=found)

    page.page.route(address, answer)
    page.reload()


def test_undo_of_a_bout_that_ended_another_of_its_group(page: LabelPage) -> None:
    labels = page.client.json("GET", "/api/project")["labels"]
    set_labels(page, [{**label, "group": "" if label["name"] == "bite" else "motion"} for label in labels])
    page.until("import('/static/state.js').then(({ labelOf }) => labelOf('walk').group === 'motion')")
    page.press("g")
    page.step(to=1)
    page.press("w", "Control+z")
    page.until(f"{SAID} === 'undone: the bout of walk that had begun'")
    assert frames_of(page) == [("groom", 0, 0)]
    set_labels(page, labels)


def test_undo_counts_for_the_moment_at_which_it_is_pressed(page: LabelPage) -> None:
    held: list[Any] = []
    page.page.route("**/api/changes", lambda route: held.append(route), times=1)
    page.press("b", "Control+z")
    page.step(to=1)
    page.press("b")
    held[0].continue_()
    page.until(f"{SAID}.startsWith('undone: add bite at 0.000 s')")
    assert frames_of(page) == [("bite", 1, 1)]


def test_the_form_of_a_segment_keeps_what_was_typed(page: LabelPage) -> None:
    labels = page.client.json("GET", "/api/project")["labels"]
    speed = [{"name": "speed", "kind": "one", "values": ["slow", "fast"]}]
    set_labels(page, [{**label, "modifiers": speed if label["name"] == "walk" else []} for label in labels])
    page.until("import('/static/state.js').then(({ labelOf }) => labelOf('walk').modifiers?.length === 1)")
    page.press("g")
    page.step(to=1)
    page.press("g", "ArrowUp", "F4")

    def field(name: str) -> Any:
        return page.page.locator("dialog label", has_text=name).locator("input, select")

    assert page.page.locator("dialog label", has_text="speed").count() == 0
    field("Label").select_option("walk")
    field("speed").select_option("fast")
    field("Comment").fill("seen")
    field("Last frame").fill("f9999")
    page.page.locator("dialog button", has_text="Keep").click()
    page.until("document.querySelector('dialog .problem').textContent.startsWith('times are ')")
    assert (field("speed").input_value(), field("Comment").input_value()) == ("fast", "seen")
    field("Last frame").fill("f3")
    page.page.locator("dialog button", has_text="Keep").click()
    page.until("!document.querySelector('dialog')")
    (item,) = page.annotations("a25")
    assert (item["modifiers"], item["comment"]) == ([["fast"]], "seen") and frames_of(page) == [("walk", 0, 3)]
    set_labels(page, labels)


def test_enter_in_a_field_of_a_dialog_keeps_what_is_there(page: LabelPage) -> None:
    page.press("g")
    page.step(to=1)
    page.press("g", "ArrowUp")
    fields = page.page.locator("dialog :is(select, input:not([type=color]))")
    for begin in (lambda: page.press("F4"), lambda: page.press("F2"), lambda: page.page.locator("#settings").click()):
        for place in (0, 1, -1):
            begin()
            fields.nth(place).press("Enter")
            page.until("!document.querySelector('dialog')")
    page.press("F4", "ArrowDown", "Enter")  # the other state
    page.until("!document.querySelector('dialog')")
    assert frames_of(page) == [("walk", 0, 1)]


def test_an_offer_that_is_left_is_not_made_again(page: LabelPage) -> None:
    answer_with(page, "**/api/project", slow_steps=True)
    page.page.locator("#notice.aside button", has_text="Leave it").click()
    page.reload()
    assert page.page.locator("#notice").is_hidden()


def test_a_copy_is_offered_where_only_the_server_knows_that_it_takes_one(page: LabelPage) -> None:
    answer_with(page, "**/api/project", known=True, playable=False, kind="video/unheard-of")
    assert page.page.locator("#notice p").inner_text().startswith("The browser does not play this video")


def test_a_browser_that_does_not_tell_of_frames(page: LabelPage) -> None:
    page.page.add_init_script("delete HTMLVideoElement.prototype.requestVideoFrameCallback")
    page.reload()
    page.until(f"{SAID}.includes('may be off by one frame')")
    page.step(to=1)
    page.go_to("f100")
    page.step("ArrowLeft", to=99)
    assert page.number == 99


def test_scores_do_not_cover_one_another(page: LabelPage) -> None:
    page.page.add_init_script("""
        window.written = [];
        const { prototype } = CanvasRenderingContext2D;
        const write = prototype.fillText;
        prototype.fillText = function (text, x, y) {
            if (/^[.]\\d\\d$/.test(text)) written.push([text, x]);
            return write.call(this, text, x, y);
        };
    """)
    item = {"label": "groom", "kind": "state", "status": "pending"}
    found = [{**item, "id": f"s{n}", "segment": [0.1 * n, 4 + n], "score": 0.41 + 0.01 * n} for n in range(2)]
    answer_with(page, "**/api/videos/*", suggestions=found)
    page.until("written.length > 1")
    (first, left), (second, right) = page.page.evaluate("written.slice(0, 2)")
    assert (first, second) == (".41", ".42") and right - left >= 18


def test_a_step_that_ends_after_the_video_was_left_is_no_error(page: LabelPage) -> None:
    page.page.evaluate("""
        for (const [key, ctrlKey] of [["ArrowRight", false], ["ArrowDown", true]]) {
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key, code: key, ctrlKey, bubbles: true }));
        }
    """)
    page.until("document.title.startsWith('b30') && document.querySelector('#frame').textContent.includes(' / ')")
    assert page.errors == []
