"""Messages are one printable line each, whatever a file's name and content."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from small_runs import TAL, Tal

from tal_cli import console
from tal_cli.batch import Run
from tal_cli.error_report import exit_code_of, message_of, remedy_of
from tal_cli.extractors.corpus.worker_config import WorkerError
from tal_cli.extractors.errors import EXIT_INPUT, EXIT_INTERNAL, FeatureError, RecipeError, WeightsError
from tal_cli.extractors.features.files import load_features
from tal_cli.extractors.files.atomic import unwritable
from tal_cli.extractors.files.weights import read_state
from tal_cli.inputs import Inputs
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides

# A title for the window, a colour, a line break, a turned reading direction, half a character, markup and an emoji.
NASTY = "\x1b]0;title\x07\x9b31m\x1b[31m\r\n\u202e\udcff[bold]x[/bold] [/] :boom:"
KINDS = ("error: ", "hint: ", "warning: ", "note: ")


def assert_lines(text: str) -> None:
    """Every line says what it is, and nothing in it does anything."""
    assert text.endswith("\n")
    for line in text.removesuffix("\n").split("\n"):
        assert line.isprintable() and line.startswith(KINDS), ascii(line)


@pytest.mark.parametrize("say", [console.note, console.warn, console.error, console.hint])
def test_nothing_in_a_message_acts_on_a_terminal(say: object, capfd: pytest.CaptureFixture[str]) -> None:
    console.set_quiet(False)
    say(f"{NASTY}: two  spaces")  # type: ignore[operator]
    said = capfd.readouterr().err
    assert_lines(said)
    assert said.count("\n") == 1 and "[bold]x[/bold] [/] :boom:: two  spaces" in said


def test_nor_above_a_bar_or_in_one(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(console, "is_lively", lambda: True)
    with console.progress(NASTY, total=2) as bar:
        bar.describe(NASTY)
        console.warn(NASTY)
    said = capfd.readouterr().err
    assert "[/] :boom:" in said and "\x1b]0" not in said and "\u202e" not in said and "\x9b" not in said


def test_a_long_name_leaves_room_for_the_numbers() -> None:
    bars = console._new_progress()
    screen = Console(width=80, file=io.StringIO())
    bars.add_task(
        console._short("a video of a very long name " * 5), total=15000, completed=2304, unit="frames", rate=None
    )
    screen.print(bars)
    assert "a video of a very long name" in screen.file.getvalue() and "2304/15000" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_a_bar_says_what_it_waits_for_and_no_rate_of_a_moment(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(console, "is_lively", lambda: True)
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    bars = console._new_progress()
    monkeypatch.setattr(console._state, "progress", bars)

    def shown() -> str:
        screen = Console(width=100, file=io.StringIO())
        screen.print(bars)
        return screen.file.getvalue().strip()  # type: ignore[attr-defined,no-any-return]

    with console.progress("holiday", unit="frames", waiting="opening holiday") as bar:
        assert "opening holiday" in shown() and "/?" not in shown()
        bar(0, None)
        assert "opening holiday" in shown()
        now[0] += 5  # the network loads; then the blocks of parallel workers arrive at once
        for done in (1024, 2048, 3072):
            bar(done, 12000)
        assert shown().startswith("holiday") and "3072/12000" in shown()
        assert "614.4 frames/s" in shown() and "0:00:15" in shown()
    with console.progress("holiday", 500, unit="frames") as bar:
        bar(400)
        now[0] += 0.001
        bar(500)
        assert "500/500" in shown() and "frames/s" not in shown()


def test_names_of_inputs(run: Tal, tmp_path: Path) -> None:
    nasty = tmp_path / f"{NASTY.replace('/', '|')}.mp4"
    nasty.write_text("not a video")
    done = run("detect", nasty, f"{NASTY}.mp4", tmp_path / "two  spaces.mp4", "-f", "json")
    assert done.code == 3 and len(done.err.splitlines()) == 3
    assert_lines(done.err)
    assert f"error: {tmp_path}/two  spaces.mp4: no such file or folder\n" in done.err


@pytest.mark.slow
def test_labels_and_names_in_files(run: Tal, home: Path, clips: Path, tmp_path: Path) -> None:
    label = NASTY.replace("\r\n", "").replace("\udcff", "")
    model = shutil.copytree(home / "models" / "small", tmp_path / "model")
    (model / "labels.txt").write_text(f"{label}\nrun\ncut\n", encoding="utf-8")
    table = run("detect", clips / "first.mp4", "--model", model, "-f", "table")
    refused = run("detect", clips / "first.mp4", "--model", model, "--label", label + "?")
    assert (table.code, table.err, refused.code, refused.out) == (0, "", 2, "")
    assert_lines(refused.err)
    truth = {"database": {label: {"subset": "training", "duration": 9, "annotations": [{"label": label}]}}}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    wrong = run("datasets", "check", tmp_path / "truth.json")
    assert wrong.code == 3
    assert_lines(wrong.err)
    truth["database"][label]["annotations"][0]["segment"] = [1, 2]  # type: ignore[index]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps({"results": {}}))
    arguments = [tmp_path / "found.json", "--annotations", tmp_path / "truth.json", "--subset", "training", "-f"]
    checked, rows = run("datasets", "check", tmp_path / "truth.json"), run("eval", *arguments, "table")
    for text in (table.out, checked.out, rows.out, run("eval", *arguments, "json").out):
        assert "[bold]x[/bold]" in text and all(line.isprintable() for line in text.splitlines())
    assert label in json.loads(run("eval", *arguments, "json").out)["per_label"]


def test_a_message_is_the_same_line_on_a_terminal_and_in_a_file(environment: dict[str, str], tmp_path: Path) -> None:
    command = [*TAL, "datasets", "convert", f"{'long ' * 20}name [red].json", "out.json"]
    into_file = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    master, slave = pty.openpty()
    environment = environment | {"COLUMNS": "80"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=slave, stderr=slave)
    os.close(slave)
    assert process.wait() == into_file.returncode == 3
    seen = os.read(master, 65536).replace(b"\r\n", b"\n")
    os.close(master)
    assert seen == into_file.stderr and seen.count(b"\n") == 1 and b"\x1b" not in seen
    assert_lines(seen.decode())


@pytest.mark.parametrize(("closed", "code"), [(">&-", 2), ("2>&-", 2), ("<&-", 2), (">&- 2>&- <&-", 2)])
def test_closed_streams_change_nothing(environment: dict[str, str], closed: str, code: int) -> None:
    done = subprocess.run(f"{TAL[0]} models info nothing {closed}", shell=True, env=environment, capture_output=True)
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.startswith(b"error: no model named nothing") or "2>&-" in closed


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (MemoryError(), "out of memory", "--batch-size"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            "out of memory",
            "-",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory", "--workers"),
        (RuntimeError("can't start new thread"), "no more threads", "ulimit -u"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "too many open files", "ulimit -n"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.mp4"), "a.mp4: too many open files", "ulimit -n"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "no more threads or processes", "--workers"),
        (WorkerError("RuntimeError: can't start new thread"), "no more threads or processes", "--workers"),
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object", path="/lib/libtorch_cpu.so"),
            "out of memory",
            "ulimit -v",
        ),
        (unwritable("a.npy", OSError(errno.EMFILE, "Too many open files")), "a.npy: cannot be written", "ulimit -n"),
    ],
)
def test_what_a_machine_runs_out_of_is_one_line(error: Exception, reason: str, remedy: str) -> None:
    assert exit_code_of(error) == EXIT_INPUT
    assert message_of(error).startswith(reason) and remedy in remedy_of(error)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits on address space are read from Linux' /proc")
def test_without_address_space_whatever_a_library_says_is_about_memory() -> None:
    script = """
import resource, mmap
from tal_cli.error_report import exit_code_of, message_of
from tal_cli.extractors.errors import UsageError
errors = RuntimeError("could not execute a primitive"), UsageError("no such name"), FileNotFoundError(2, "No", "a.mp4")
print([exit_code_of(error) for error in errors])
resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))
mmap.mmap(-1, int(0.9 * 2**40), flags=mmap.MAP_PRIVATE, prot=0)
print([exit_code_of(error) for error in errors], message_of(errors[0]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[1, 2, 3]", "[3, 2, 3] out of memory"], done.stderr


def test_what_the_system_refuses_is_no_defect(capfd: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "runs/mine")
    assert exit_code_of(full) == exit_code_of(denied) == EXIT_INPUT
    assert message_of(full) == "No space left on device"
    assert message_of(denied) == "runs/mine: Permission denied"
    assert exit_code_of(OSError("of all things")) == EXIT_INTERNAL
    run = Run(Inputs((), ()))
    run.report(denied, "a.mp4")
    run.report(FeatureError("a.json", "it does not describe features"), "a.npy")
    run.report(FeatureError("a.npy", "it is no array"), "a.npy")
    assert capfd.readouterr().err.splitlines() == [
        "error: a.mp4: runs/mine: Permission denied",
        "error: a.npy: a.json: it does not describe features",
        "error: a.npy: it is no array",
    ]


def test_everything_wrong_in_a_recipe_is_one_line_in_words() -> None:
    wrong = [
        "model.width=wide",
        "training.epochs=-1",
        "inference.nms=medium",
        "inference.sgma=1",
        "features.stride=null",
    ]
    with pytest.raises(RecipeError) as caught:
        override(load_recipe("thumos-i3d"), parse_overrides(wrong))
    assert str(caught.value).split("; ") == [
        "features.stride: must be a whole number, not null",
        'model.width: must be a whole number, not "wide"',
        "training.epochs: must be greater than or equal to 0, not -1",
        "inference.nms: must be 'soft', 'hard', 'overlaps' or 'none', not \"medium\"",
        "inference.sgma: unknown key",
        "did you mean sigma?",
    ]


class Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("/nowhere/at/all",)


def test_no_message_advises_to_load_a_file_unsafely(tmp_path: Path) -> None:
    torch.save({"weight": Command()}, tmp_path / "w.pt")
    (tmp_path / "w.bin").write_bytes(b"no weights")
    np.save(tmp_path / "a.npy", np.array([Command()], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps([1]))
    for name in ("w.pt", "w.bin", "a.npy", "b.npy"):
        with pytest.raises((WeightsError, FeatureError)) as caught:
            (read_state if name.startswith("w") else load_features)(tmp_path / name)
        said = str(caught.value)
        assert said.startswith(f"{tmp_path / name}: ") and "\n" not in said
        assert not [word for word in ("weights_only", "allow_pickle", "unsafe", "trust") if word in said], said
