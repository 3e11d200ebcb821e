"""The shell completes commands and options, without waiting for torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The console script, with a word at the end on whether torch was imported.
RUN = """\
import atexit, sys
atexit.register(lambda: print("torch" in sys.modules, file=sys.stderr))
sys.argv = ["tal"]
from tal_cli.app import main
main()
"""


def run(shell: str, **variables: str) -> list[str]:
    """Lines that the shell gets."""
    environment = os.environ | {"_TAL_COMPLETE": shell} | variables
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True)
    assert done.stderr.split() == ["False"], done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tal ", {"detect", "extract-features", "train", "models"}),
        ("tal de", {"detect"}),
        ("tal models ", {"list", "info", "add", "pull"}),
        ("tal detect --m", {"--model", "--min-score"}),
        ("tal detect --format s", {"srt"}),
    ],
)
def test_bash(words: str, expected: set[str]) -> None:
    count = len(words.split()) - (0 if words.endswith(" ") else 1)
    found = run("complete_bash", COMP_WORDS=words, COMP_CWORD=str(count))
    assert expected <= {line.partition(",")[2] or line for line in found}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    script = "\n".join(run(f"source_{shell}"))
    assert f"_TAL_COMPLETE=complete_{shell}" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_installing_it(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("tal")), "--install-completion", "bash"]
    # Otherwise typer would look for the shell above it, which is whatever runs the tests.
    environment = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "tal.sh" in (tmp_path / ".bashrc").read_text()
    assert "complete_bash" in (tmp_path / ".bash_completions" / "tal.sh").read_text()
