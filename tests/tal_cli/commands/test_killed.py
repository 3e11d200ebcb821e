"""Runs that are killed at random moments: what is there is whole, and the same command does the rest."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from small_runs import render_clip
from small_training import RECIPE
from tal_server import serving

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import dump_recipe
from tal_cli.models.released.conversion import to_released


@dataclass(frozen=True)
class Case:
    """A command.

    again: what a rerun adds. grows: parts of the names of files that change as it goes on; pickled: of those in which
    equal content may have other bytes. refuses: whether it replaces nothing that is there. kills: how often.
    """

    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()
    grows: tuple[str, ...] = ()
    pickled: tuple[str, ...] = ()
    refuses: bool = False
    kills: int = 1


TRAIN = ("train", "--dataset", "{data}/annotations.json", "--recipe", "{data}/small.yaml", "--device", "cpu")
CASES = {
    "models add": Case(("models", "add", "mine", "--checkpoint", "{in}/w.pth.tar", "--recipe", "{in}/own.yaml",
                        "--labels", "{in}/labels.txt"), refuses=True),
    "export": Case(("export", "small", "-f", "torch-export", "-o", "{out}/small.pt2")),
    "export-released": Case(("models", "export-released", "small", "{out}/small.pth.tar"), refuses=True),
    "train": Case((*TRAIN, "--epochs", "3", "-o", "{out}/run"), ("--resume",), ("metrics", "latest", "model."),
                  ("latest",), kills=2),
    "datasets make": Case(("datasets", "make", "camera", "-o", "{out}/camera", "--videos", "1", "--seed", "4")),
    "datasets convert": Case(("datasets", "convert", "{in}/labels.csv", "{out}/annotations.json")),
    "detect": Case(("detect", "{in}/clip.mp4", "-o", "{out}/found/", "-f", "csv", "--top-k", "3",
                    "--clips", "{out}/clips", "--overlay", "{out}/over")),
}  # fmt: skip


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a `tal` that starts quickly."""
    with serving(tmp_path_factory.mktemp("server")) as folder:
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_killed_run_leaves_what_is_whole_and_the_next_one_does_the_rest(
    commands: Path, environment: dict[str, str], home: Path, small_data: Path, tmp_path: Path, name: str
) -> None:
    case, chance = CASES[name], random.Random(name)
    given = write_inputs(tmp_path / "in")

    def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
        places = {"in": given, "out": out, "data": small_data}
        arguments = [each.format(**places) for each in (*case.arguments, *more)]
        if not out.exists():
            shutil.copytree(home, out / "home")
        variables = environment | {"TAL_HOME": str(out / "home")}
        command = [commands / "tal", *arguments]
        return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    begun = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    lasts = time.monotonic() - begun
    whole = contents(tmp_path / "whole")
    out = tmp_path / "out"
    more: tuple[str, ...] = ()
    for _ in range(case.kills):
        run = start(out, *more)
        time.sleep(lasts * chance.uniform(0.4, 1))
        run.kill()
        run.communicate()  # until the run has let go of its standard error: it is gone then
        assert whole_parts(contents(out), whole, case) == {}
        finished = contents(out).keys() >= whole.keys() and name == "train"
        more = case.again if finished or (out / "run" / "state" / "latest.pt").exists() else ()
        if contents(out).keys() >= whole.keys() and case.refuses:  # it ended before it was killed
            shutil.rmtree(out)
    last = start(out, *more)
    _, said = last.communicate()
    assert last.returncode == 0, said
    assert contents(out).keys() == whole.keys()
    assert whole_parts(contents(out), whole, Case(case.arguments, grows=case.pickled)) == {}
    assert not list(out.rglob(".*"))


def write_inputs(folder: Path) -> Path:
    clip = render_clip(folder / "clip.mp4")
    (folder / "labels.csv").write_text("video,label,start,end\n" + "clip,jump,1,2\n" * 10_000)
    (folder / "own.yaml").write_text(dump_recipe(RECIPE))
    (folder / "labels.txt").write_text("hop\nskip\njump\n")
    torch.manual_seed(0)
    state = to_released(TemporalDetector.from_recipe(RECIPE).state_dict(), RECIPE.model)
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / "w.pth.tar")
    return clip.parent


def contents(folder: Path) -> dict[str, bytes]:
    """Files that a user sees, by their paths."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    shown = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in shown if path.name != "run.json"}  # has paths


def whole_parts(found: dict[str, bytes], whole: dict[str, bytes], case: Case) -> dict[str, tuple[int, int]]:
    """Sizes of files that are not as an uninterrupted run leaves them, other than those that grow."""
    return {
        name: (len(content), len(whole.get(name, b"")))
        for name, content in found.items()
        if whole.get(name) != content and not any(part in name for part in case.grows)
    }
