"""Behaviour common to all commands: help, streams, exit codes and interruption."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from small_runs import TAL, Tal, render_clip

from tal_cli import __version__, app, console


def commands(group: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command of the application as the words that call it, the groups too."""
    found = [path]
    for name, command in getattr(group, "commands", {}).items():
        found += commands(command, (*path, name))
    return found


COMMANDS = commands(typer.main.get_command(app.app))


def test_the_commands_of_this_version_are_there() -> None:
    assert {"detect", "extract-features", "train", "eval", "models", "extractors", "datasets", "selftest"} <= {
        words[0] for words in COMMANDS if words
    }


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "tal")
def test_help_with_an_example(run: Tal, words: tuple[str, ...]) -> None:
    for option in ("-h", "--help"):
        done = run(*words, option)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"Usage: {' '.join(['tal', *words])}")
        assert "Example: tal" in done.out


LISTINGS = [
    "--help",
    "--version",
    "detect -h",
    "models list",
    "models info thumos-i3d",
    "extractors list",
    "datasets list",
]


@pytest.mark.parametrize("line", [*LISTINGS, "train -h", "eval -h", "extract-features -h", "datasets info camera"])
@pytest.mark.slow
def test_listings_import_no_torch(environment: dict[str, str], line: str) -> None:
    code = (
        "import sys; from tal_cli import app; code = app.run(sys.argv[1:]);"
        "heavy = {'torch', 'av', 'numba', 'timm'} & set(sys.modules); assert not heavy, heavy; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *line.split()], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_completion_imports_no_torch_and_knows_the_commands(environment: dict[str, str]) -> None:
    asked = environment | {"_TAL_COMPLETE": "complete_bash", "COMP_WORDS": "tal de", "COMP_CWORD": "1"}
    code = "import sys; from tal_cli import app\ntry: app.main()\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True)
    assert "detect" in done.stdout


def test_version(tal: Tal) -> None:
    done = tal("--version")
    assert (done.code, done.out, done.err) == (0, f"tal {__version__}\n", "")


@pytest.mark.slow
def test_lists(run: Tal) -> None:
    assert "thumos-i3d" in run("models").out
    assert "tiny" in run("extractors").out
    assert "jump, run, cut" in run("models", "info", "small").out
    assert "stride" in run("extractors", "info", "tiny").out
    assert run("models", "info", "nothing").code == 2
    assert run("extractors", "info", "nothing").code == 2


def test_unknown_command_suggests(run: Tal) -> None:
    done = run("detcet", "x.mp4")
    assert done.code == 2
    assert "detect" in done.err


def test_unknown_command_of_a_group_is_pointed_to(run: Tal) -> None:
    done = run("convert", "labels.csv", "labels.json")
    assert done.code == 2 and "hint: tal datasets convert\n" in done.err
    assert "hint: tal models list, tal extractors list, tal datasets list\n" in run("list").err


@pytest.mark.parametrize("command", ["stats", "suggest"])
def test_a_suffix_of_no_format_is_refused(run: Tal, tmp_path: Path, command: str) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("video,label,start,end\na,run,1,2\n", encoding="utf-8")
    done = run(command, labels, "-o", tmp_path / "out.docx")
    assert done.code == 2 and "no format has the suffix '.docx'" in done.err
    assert not (tmp_path / "out.docx").exists()


def test_a_defect_is_logged(run: Tal, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("tal_cli.commands.extractors.print_table", broken)
    done = run("extractors", "list")
    assert (done.code, done.out) == (1, "")
    assert "Traceback" not in done.err
    log = Path(done.err.split("the traceback is in ")[1].strip())
    assert log.is_relative_to(environment["XDG_STATE_HOME"])
    assert "ZeroDivisionError: of all things" in log.read_text()


@pytest.mark.slow
def test_standard_input_and_null(tal: Tal, clips: Path) -> None:
    lines = f"{clips}/first.mp4\n{clips}/second.mp4\n".encode()
    done = tal("detect", "-", "-f", "jsonl", stdin=lines)
    assert (done.code, done.err) == (0, "")
    assert [json.loads(line)["video"] for line in done.out.splitlines()] == ["first", "second"]
    null = lines.replace(b"\n", b"\0")
    assert tal("extract-features", "-", "-0", "--out", "out", stdin=null).code == 0
    assert tal("extract-features", "-", stdin=b"").code == 0


@pytest.mark.slow
def test_works_from_a_folder_with_packages_of_the_same_names(tal: Tal, clips: Path, tmp_path: Path) -> None:
    for name in ("models", "extractors", "tal_cli", "torch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the wrong package')")
    done = tal("detect", clips / "first.mp4")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["results"]["first"]
    (tmp_path / "tal_cli" / "__init__.py").unlink()
    (tmp_path / "tal_cli").rmdir()
    command = [sys.executable, "-m", "tal_cli", "extractors", "info", "tiny"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0


def on_a_terminal(arguments: list[str], env: dict[str, str], cwd: Path) -> tuple[int, bytes, bytes]:
    """Run with standard error on a terminal and standard output in a pipe; the exit code and both."""
    master, slave = pty.openpty()
    process = subprocess.Popen([*TAL, *arguments], stdout=subprocess.PIPE, stderr=slave, env=env, cwd=cwd)
    os.close(slave)
    seen = read_all(master)
    out = process.communicate()[0]
    return process.returncode, out, seen


def read_all(master: int) -> bytes:
    """Output of a terminal until its last writer has closed it."""
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            # Linux says so where others give nothing.
            piece = b""
        if not piece:
            os.close(master)
            return seen
        seen += piece


@pytest.mark.slow
def test_progress_only_on_a_terminal(environment: dict[str, str], clips: Path, tmp_path: Path) -> None:
    arguments = ["detect", str(clips / "first.mp4"), str(clips / "second.mp4")]
    code, out, seen = on_a_terminal(arguments, environment, tmp_path)
    assert code == 0 and json.loads(out)
    assert b"videos" in seen
    code, out, seen = on_a_terminal([*arguments, "--quiet"], environment, tmp_path)
    assert (code, seen) == (0, b"")
    assert json.loads(out)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_bar_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    console.set_quiet(False)
    assert console.is_lively()
    monkeypatch.setenv(name, value)
    assert not console.is_lively()


def test_a_bar_does_not_swallow_messages(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(console, "is_lively", lambda: True)
    with console.progress("outer", total=2) as outer, console.progress("inner [x]") as inner:
        inner(1, 10)
        outer.advance()
        console.warn("look [red]here")
    assert "warning: look [red]here" in capfd.readouterr().err


@pytest.mark.slow
def test_a_bar_makes_way_for_results_on_its_terminal(environment: dict[str, str], clips: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [*TAL, "detect", str(clips / "first.mp4"), "--top-k", "1"]
    process = subprocess.Popen(command, stdout=slave, stderr=slave, env=environment, cwd=tmp_path)
    os.close(slave)
    seen = read_all(master).decode()
    assert process.wait() == 0
    table = seen[seen.index("┏") : seen.index("1 segment in 0:02.40")]
    assert "videos" not in table


def start(arguments: list[object], env: dict[str, str], cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*TAL, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=cwd
    )


def wait_for(condition: object, seconds: float = 120) -> None:
    """Wait until a call returns a true value."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_closed_pipe_ends_quietly_and_at_once(
    environment: dict[str, str], clips: Path, long_clip: Path, tmp_path: Path
) -> None:
    videos = [clips / "first.mp4", long_clip]
    process = start(["detect", *videos, "-f", "jsonl", "--workers", "2"], environment, tmp_path)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.parametrize("arguments", [["-f", "jsonl"], ["-o", "out.json"], ["-o", "folder", "--workers", "2"]])
@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_leaves_nothing(
    environment: dict[str, str], clips: Path, long_clip: Path, tmp_path: Path, arguments: list[str]
) -> None:
    process = start(["detect", long_clip, clips / "second.mp4", *arguments], environment, tmp_path)
    decoders: set[int] = set()
    wait_for(lambda: decoders.update(children_of(process.pid)) or decoders)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in decoders))


def test_an_interrupt_during_an_import_is_not_swallowed(environment: dict[str, str], tmp_path: Path) -> None:
    swallowing = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
    (tmp_path / "swallowing.py").write_text(swallowing)
    code = (
        "import signal, sys; from tal_cli import app; signal.signal(signal.SIGINT, app._interrupt);"
        f"sys.path.insert(0, {str(tmp_path)!r}); import swallowing; print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def children_of(pid: int) -> list[int]:
    """Processes that a process has started, on Linux."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in path.read_text().split()]
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "command", [["detect", "-o", "results", "-f", "json"], ["extract-features", "--out", "results"]]
)
@pytest.mark.slow
def test_a_killed_run_leaves_whole_files_and_a_second_run_finishes(
    environment: dict[str, str], tal: Tal, tmp_path: Path, command: list[str]
) -> None:
    for index in range(4):
        render_clip(tmp_path / "in" / f"{index}.mp4", frames=50, repeat=8)
    results = tmp_path / "results"
    process = start([command[0], tmp_path / "in", *command[1:]], environment, tmp_path)
    wait_for(lambda: results.is_dir() and any(results.glob("*.json")))
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream
        stream.close()
    for path in results.glob("*.json"):
        json.loads(path.read_text())
    done = tal(command[0], tmp_path / "in", *command[1:])
    assert done.code == 0, done.err
    assert {path.stem for path in results.glob("*.json")} == {str(index) for index in range(4)}
