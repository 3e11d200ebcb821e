"""Videos whose frame numbers are in their pixels, and the page that labels them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from label_client import Client, labelling
from label_page import FRAMES, LabelPage
from mp4_boxes import turn
from numbered_videos import write_numbered_video

VARIABLE = [66 + 33 * number + 9 * (number % 3) for number in range(FRAMES)]


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    size = (352, 96)
    write_numbered_video(folder / "b30.mp4", FRAMES, fps=30, size=size, gop=250, sound=None)
    write_numbered_video(folder / "c60.mp4", FRAMES, fps=60, size=size)
    write_numbered_video(folder / "a25.mp4", FRAMES, size=size, gop=50)
    write_numbered_video(folder / "turned.mp4", FRAMES, size=size, sound=None, turns=1)
    turn(folder / "turned.mp4")
    write_numbered_video(folder / "variable.mkv", FRAMES, size=size, stamps=VARIABLE)
    return folder


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    options = ("--labels", "groom:g,walk,bite!", "--subjects", "m1,m2")
    with labelling(folder, *options, home=tmp_path_factory.mktemp("home")) as client:
        yield client


@pytest.fixture
def page(browser: Any, client: Client) -> Iterator[LabelPage]:
    """The page on the first video, on which nothing is labelled."""
    for video in client.videos().values():
        found = client.contents(video)
        ops: list[dict[str, Any]] = [{"op": "delete", "id": item["id"]} for item in found["annotations"]]
        client.change(video, *ops, {"op": "reviewed", "remove": [0, 1000]})
    page = LabelPage(browser, client)
    yield page
    page.close()
