"""Headless Chromium, driven by Playwright."""

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


@contextmanager
def launched() -> Iterator[Any]:
    """Chromium; where there is none the test skips and says so, unless TAL_TESTS_COMPLETE is set."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        places = [os.environ.get("TAL_CHROMIUM"), *map(shutil.which, CHROMIUM), playwright.chromium.executable_path]
        place = next((place for place in places if place and os.path.exists(place)), None)
        if place is None:
            reason = "no Chromium: install one (apt install chromium), or set TAL_CHROMIUM to where it is"
            if os.environ.get("TAL_TESTS_COMPLETE"):
                pytest.fail(reason)
            pytest.skip(reason)
        running = playwright.chromium.launch(executable_path=place, args=FLAGS.split())
        yield running
        running.close()
