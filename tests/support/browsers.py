"""Headless browsers, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
FIREFOX = ("firefox", "firefox-esr")
BROWSERS = ("chromium", "firefox")


@contextmanager
def launched(name: str) -> Iterator[Any]:
    """Chromium or Firefox; without the browser the test skips and says so."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = chromium(playwright) if name == "chromium" else firefox(playwright)
        yield running
        running.close()


def chromium(playwright: Any) -> Any:
    """Chromium, whose absence is a failure if TAL_TESTS_COMPLETE is set."""
    places = [os.environ.get("TAL_CHROMIUM"), *map(shutil.which, CHROMIUM), playwright.chromium.executable_path]
    place = next((place for place in places if place and os.path.exists(place)), None)
    if place is None:
        reason = "no Chromium: install one (apt install chromium), or set TAL_CHROMIUM to where it is"
        if os.environ.get("TAL_TESTS_COMPLETE"):
            pytest.fail(reason)
        pytest.skip(reason)
    return playwright.chromium.launch(executable_path=place, args=FLAGS.split())


def firefox(playwright: Any) -> Any:
    """An installed Firefox, where this Playwright can drive it: versions of the two have to fit."""
    place = next(filter(None, [os.environ.get("TAL_FIREFOX"), *map(shutil.which, FIREFOX)]), None)
    if place is None:
        pytest.skip("no Firefox: install one (apt install firefox-esr), or set TAL_FIREFOX to where it is")
    running = playwright.firefox.launch(channel="moz-firefox", executable_path=place)
    try:
        running.new_context().close()
    except Exception as error:
        running.close()
        pytest.skip(f"{place}: Playwright cannot drive it: {error}")
    return running
