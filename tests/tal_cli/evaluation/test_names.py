"""Names of videos that two files spell differently are reported by every command that compares them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli import app
from tal_cli.evaluation.names import unmatched


@pytest.mark.parametrize("predicted", ["a.mp4", "clips/a.MKV", "v_a", "A"])
def test_both_spellings_are_shown(predicted: str) -> None:
    told = unmatched([predicted, "other"], ["b", "a"])
    assert told.startswith("none of 2 predicted videos are annotated")
    assert f"predicted {predicted!r}, annotated 'a'" in told


def test_what_matches_is_counted() -> None:
    told = unmatched(["a", "c"], ["a", "b"])
    assert told.startswith("1 of 2 predicted videos is annotated: predicted for example 'c'")


@given(st.lists(st.text(), unique=True))
def test_nothing_is_said_where_all_are_annotated(names: list[str]) -> None:
    assert unmatched(names, [*names, "more"]) == ""


@pytest.mark.parametrize("command", ["eval", "diagnose", "compare", "view"])
def test_every_command_tells(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"label": "x", "segment": [1, 2], "score": 0.9}
    (tmp_path / "found.json").write_text(json.dumps({"results": {"a.mp4": [row]}}))
    entry = {"subset": "test", "duration": 9, "annotations": [{"label": "x", "segment": [1, 2]}]}
    (tmp_path / "truth.json").write_text(json.dumps({"database": {"a": entry}}))
    files = [str(tmp_path / "found.json")] * (2 if command == "compare" else 1)
    more = ["-o", str(tmp_path / "page.html")] if command == "view" else []
    app.run([command, *files, "--annotations", str(tmp_path / "truth.json"), *more])
    assert "predicted 'a.mp4', annotated 'a'" in capsys.readouterr().err


def test_results_that_a_spreadsheet_saved_again_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "sep=;\r\nvideo;label;start;end;score\r\na;x;1,0;2,0;0,9\r\n"
    (tmp_path / "found.csv").write_bytes(text.encode("utf-16"))
    entry = {"subset": "test", "duration": 9, "annotations": [{"label": "x", "segment": [1, 2]}]}
    (tmp_path / "truth.json").write_text(json.dumps({"database": {"a": entry}}))
    truth = ["--annotations", str(tmp_path / "truth.json")]
    assert app.run(["eval", str(tmp_path / "found.csv"), *truth, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["average"] == 1.0
