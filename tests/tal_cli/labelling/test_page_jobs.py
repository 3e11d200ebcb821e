"""Training and suggestions asked for on the page: what is told, and what is left of a job that was broken off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from label_client import labelling
from label_page import LabelPage
from numbered_videos import write_numbered_video

from tal_cli.labelling.jobs import newest_run


def test_a_run_that_was_broken_off_is_no_model(tmp_path: Path) -> None:
    for moment, name in enumerate(("first", "second")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "model.safetensors").touch()
        os.utime(tmp_path / "runs" / name / "model.safetensors", (moment, moment))
    assert newest_run(tmp_path) == Path("runs", "second")
    (tmp_path / "runs" / "second" / "run.json").write_text('{"finished": true}')
    assert newest_run(tmp_path) == Path("runs", "second")
    (tmp_path / "runs" / "second" / "run.json").write_text('{"finished": false}')
    assert newest_run(tmp_path) == Path("runs", "first")


@pytest.mark.slow
def test_a_training_outlives_the_page_and_can_be_cancelled(browser: Any, tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 100, sound=None)
    with labelling(tmp_path / "v.mp4", "--labels", "groom:g", home=tmp_path / "home") as client:
        video = client.videos()["v"]
        bouts = ({"op": "add", "id": f"x{n}", "label": "groom", "segment": [n, n + 0.6]} for n in range(3))
        client.change(video, *bouts, {"op": "reviewed", "add": [0, 4]})
        page = LabelPage(browser, client)
        page.page.locator("#train").click()
        page.page.locator("dialog button", has_text="Train now").click()
        page.until("document.querySelector('#train').textContent.startsWith('Training')")
        page.reload()
        page.until("document.querySelector('#train').textContent.startsWith('Training')")
        page.page.locator("#finish").click()
        assert "still under way" in page.page.locator("dialog h2").inner_text()
        page.page.locator("dialog button", has_text="Stay").click()
        page.page.locator("#train").click()  # the one that is under way, not another
        page.page.locator("dialog button", has_text="Cancel it").click()
        page.until("document.querySelector('#train').textContent === 'Train …'")
        (job,) = client.json("GET", "/api/jobs")["jobs"]
        assert job["state"] == "cancelled"
        page.page.locator("#suggest").click()
        page.until("document.querySelector('dialog')?.textContent.includes('There is no model yet')")
        page.close()


def test_suggest_names_the_labels_that_the_model_knows(browser: Any, tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 100, sound=None)
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    (run / "model.safetensors").touch()
    with labelling(tmp_path / "v.mp4", "--labels", "groom:g", home=tmp_path / "home") as client:
        page = LabelPage(browser, client)
        would = "would look at 1 video, 0.1 minutes that are not reviewed yet."
        for known, told in (
            ("groom\nrear up\n", ", which knows 2 labels (groom, rear up),"),
            ("rear\n", ", which knows 1 label (rear),"),
            ("", ""),
        ):
            (run / "labels.txt").write_text(known)
            page.page.locator("#suggest").click()
            assert page.page.locator("dialog p").first.inner_text() == f"{Path('runs', 'first')}{told} {would}"
            page.press("Escape")
        page.close()
