"""The shell completes names of models, labels, data sets, recipes and extractors, quickly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tal_cli import app


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("tal detect -m cam", ["camera"]),
        ("tal extract-features --model cam", ["camera"]),
        ("tal models info tridet-t", ["tridet-thumos-i3d"]),
        ("tal models remove cam", ["camera"]),
        ("tal models pull r3", ["r3d_18"]),
        ("tal export tin", ["tiny"]),
        ("tal benchmark tridet-t", ["tridet-thumos-i3d"]),
        ("tal detect --label zo", ["zoom-in", "zoom-out"]),
        ("tal detect -m camera --label zo", ["zoom-in", "zoom-out"]),
        ("tal detect -m no-such-model --label zo", []),
        ("tal train --dataset epic", ["epic-noun", "epic-verb"]),
        ("tal train --recipe tridet-t", ["tridet-thumos-i3d"]),
        ("tal eval found.csv --dataset multi", ["multithumos"]),
        ("tal diagnose found.csv --dataset multi", ["multithumos"]),
        ("tal compare a b --dataset multi", ["multithumos"]),
        ("tal datasets info multi", ["multithumos"]),
        ("tal datasets check multi", ["multithumos"]),
        ("tal extractors info tin", ["tiny"]),
        ("tal extract-features -x tin", ["tiny"]),
    ],
)
def test_names_are_completed(
    line: str,
    wanted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_TAL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    with pytest.raises(SystemExit):
        app.run([])
    assert sorted(capsys.readouterr().out.split()) == wanted


@pytest.mark.parametrize("line", ["tal detect -m cam", "tal detect --label cu", "tal train --dataset th"])
def test_completion_imports_no_torch(environment: dict[str, str], line: str) -> None:
    code = (
        "import sys\nfrom tal_cli import app\n"
        "try: app.run([])\nfinally: print(sorted({'torch'} & set(sys.modules)), file=sys.stderr)"
    )
    asked = {"_TAL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment, **asked}, capture_output=True, text=True
    )
    assert done.stdout.split() and done.stderr == "[]\n", done.stderr
