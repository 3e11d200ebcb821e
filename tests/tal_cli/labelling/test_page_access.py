"""For everybody: contrast in both themes, focus that is seen, everything by keys."""

from __future__ import annotations

import pytest
from label_page import LabelPage, frames_of

pytestmark = pytest.mark.slow
# Texts whose contrast with what is behind them is less than 4.5 : 1.
FAINT = r"""() => {
  const rgb = (text) => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    return text.startsWith("color") ? [...numbers.slice(0, 3).map((one) => one * 255), numbers[3]] : numbers;
  };
  const light = (colour) => {
    const [red, green, blue] = colour.map((one) => (one <= 10 ? one / 3294 : ((one / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if ((colour[3] ?? 1) > 0.9) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!hasText || !element.offsetParent || element.closest(".faded, .unseen")) continue;
    const both = [rgb(getComputedStyle(element).color), behind(element)].map(light).sort((a, b) => b - a);
    if (both[0] / both[1] < 4.5) found.push(`${element.textContent} ${both[0] / both[1]}`);
  }
  return found;
}"""
FOCUS = (
    "[document.activeElement.id || document.activeElement.textContent, "
    "getComputedStyle(document.activeElement).outlineStyle]"
)


def test_contrast_in_both_themes(page: LabelPage) -> None:
    for _ in range(2):
        for key in ("", "F2", "?"):
            if key:
                page.press(key)
                page.until("document.querySelector('dialog[open]') !== null")
            assert page.page.evaluate(FAINT) == []
            page.press("Escape")
        page.page.locator("#theme").click()


def test_every_button_has_a_focus_that_is_seen(page: LabelPage) -> None:
    wanted = set(page.page.evaluate("[...document.querySelectorAll('button')].map((one) => one.id).filter(Boolean)"))
    seen = set()
    for _ in range(40):
        page.press("Tab")
        name, outline = page.page.evaluate(FOCUS)
        seen.add(name)
        assert outline == "solid" or "tal label" in name, name  # the page itself between its end and its beginning
    assert wanted <= seen


def test_a_label_is_made_and_a_segment_changed_in_its_form_by_keys(page: LabelPage) -> None:
    page.press("g")
    page.step(to=1)
    page.press("g")
    page.saved()
    page.press("ArrowUp", "F4", "Tab", "ArrowDown", "Tab", *"seen", "Tab", "Tab", "Enter")
    page.saved()
    (item,) = page.annotations("a25")
    assert (item["subject"], item["comment"]) == ("m1", "seen")
    assert frames_of(page) == [("groom", 0, 1)]
    page.settled(0)
    page.press("Control+F8")
    page.step(to=1)
    page.press("Control+F8")
    page.page.wait_for_timeout(500)  # longer than the page waits to send what was stepped through
    page.saved()
    assert page.client.contents(page.client.videos()["a25"])["reviewed"] == []
    page.press("Escape", "g")
    page.step(to=2)
    page.press("g", "Control+a", "Delete")
    page.saved()
    assert frames_of(page) == []
