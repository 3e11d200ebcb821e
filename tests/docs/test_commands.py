"""Every command that README and docs show does what they say: it is run, or, where a test lacks what it needs, read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import typer
from doc_blocks import FENCE, Block, blocks, commands
from doc_commands import check_names, check_words
from doc_labels import label_as_rendered

from tal_cli.app import app
from tal_cli.extractors.catalog import ENTRIES

ROOT = Path(__file__).resolve().parents[2]
# docs/reference is generated, and shows what `--help` does.
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if "reference" not in p.parts)]
EXPORT, EXTEND = (ROOT / "docs" / "how-to" / f"{name}.md" for name in ("export", "extend"))  # have tests of their own
SHELL = [block for page in PAGES if page != EXTEND for block in blocks(page, ROOT) if block.language == "sh"]
WITH_SHELL = [page for page in PAGES if page != EXPORT and any((ROOT / block.page) == page for block in SHELL)]
# What is run or read here; there is no other way to show a command.
LANGUAGES = {"sh", "python", "json", "csv", "bibtex", "toml", "text"}
RUN = ("tal", "scripts/demo", "find", "jq", "sort", "duckdb", "cat", "awk", "ls", "eval")
NOT_RUN = {
    "scripts/test": "it is what runs these tests",
    "pip": "it would change the environment of these tests; the extras it names are looked up, the wheel is built",
    "uv": "as pip",
}
# A placeholder, numbers that only make a run long; of two rendered videos none can be held out.
CHANGED = (
    (r"\[VIDEO\.\.\.\]", "holiday.mp4"),
    (r"--videos \d+ --seed \d+", "--videos 2 --seed 79"),
    (r"(clips/annotations.json .*)--validation [\d.]+", r"\1--validation 0"),
    (r"(tal diagnose mine.json .*)--subset held-out", r"\1--subset all"),
    (r"(tal (?:eval|diagnose) .*--annotations labels.csv) --subset held-out", r"\1"),
    (r"\btal train\b", "tal train --epochs 1 --set training.warmup_epochs=0 --set training.crops=1"),
)


@pytest.fixture
def walk(shell: Any, material: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], dict[str, Any]]:
    """Runs a page's blocks from top to bottom in one folder, so that one may use what an earlier one wrote.

    Gives the names that its Python blocks have left.
    """
    monkeypatch.chdir(material)
    monkeypatch.setenv("TAL_HOME", str(material.parent / "home"))

    def through(page: Path) -> dict[str, Any]:
        names: dict[str, Any] = {}
        output = ""
        for block in (block for block in blocks(page, ROOT) if block.runs):
            if block.language == "python":
                exec(compile(block.text, f"{block.page}:{block.line}", "exec"), names)
            if block.labelled:
                for words in commands(block.text):
                    label_as_rendered(words, material, material.parent / "home")
            elif block.language == "sh":
                script = runnable(block.text)
                done = shell(script, material)
                said = f"{block.page}:{block.line} ended with {done.returncode}, not {block.code}"
                assert done.returncode == block.code, f"{said}:\n{script}\n{done.stderr[-3000:]}"
                output = done.stdout
            if block.language == "text":
                assert same_output(block.text, output), f"{block.page}:{block.line}: the commands write\n{output}"
        return names

    return through


@pytest.fixture
def webb(request: pytest.FixtureRequest, page: Path, material: Path) -> None:
    """The clip whose results README shows, for README alone: see docs/report.txt."""
    if page.name != "README.md":
        return
    source = request.getfixturevalue("shared") / "videos" / "torchcodec_nasa_13013.mp4"
    with av.open(str(source)) as original, av.open(str(material / "webb.mp4"), "w") as copy:
        stream = original.streams.video[1]
        target = copy.add_stream_from_template(stream)
        for packet in original.demux(stream):
            if packet.dts is not None:
                packet.stream = target
                copy.mux(packet)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("webb")
@pytest.mark.parametrize("page", WITH_SHELL, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.slow
def test_a_page_runs(page: Path, walk: Callable[[Path], dict[str, Any]]) -> None:
    walk(page)


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_a_few_lines_of_numpy_find_what_tal_finds(
    walk: Callable[[Path], dict[str, Any]], shell: Any, material: Path
) -> None:
    names = walk(EXPORT)
    best = sorted(names["found"], reverse=True)[:10]
    # The lines do not end segments at found cuts, as the recipe of `camera` has it.
    plain = shutil.copytree(ROOT / "models" / "weights" / "camera", material / "plain")
    recipe = (plain / "recipe.yaml").read_text()
    (plain / "recipe.yaml").write_text(re.sub(r"  boundary:\n(    .*\n)+", "", recipe))
    done = shell("tal detect features/holiday.npy --model plain --min-score 0 --top-k 10 --format json", material)
    expected = json.loads(done.stdout)["results"]["holiday"]
    assert [row[1] for row in best] == [item["label"] for item in expected]
    for (score, _, start, end), item in zip(best, expected, strict=True):
        assert [start, end] == pytest.approx(item["segment"], abs=0.01)
        assert score == pytest.approx(item["score"], abs=1e-3)


@pytest.mark.parametrize("block", SHELL, ids=lambda block: f"{block.page}:{block.line}")
def test_the_options_of_a_block_exist(block: Block) -> None:
    for words in commands(block.text):
        check_words(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_escapes(page: Path) -> None:
    text = page.read_text("utf-8")
    found = blocks(page, ROOT)
    assert {block.language for block in found} <= LANGUAGES
    assert len(re.findall(r"^[ \t>]*(?:```|~~~)", text, re.M)) == 2 * len(found), "a block that is indented or unclosed"
    assert not re.search(r"^(?: {4}|\t)(?:tal|\$|pip|scripts/) ?", FENCE.sub("", text), re.M), "an indented block"
    for span in re.findall(r"`([^`]+)`", FENCE.sub("", text)):
        check_names(span.split())


@pytest.mark.slow
def test_the_examples_in_help_exist() -> None:
    examples = [command.epilog for command in all_commands(typer.main.get_command(app))]
    assert all(example.startswith("Example: tal ") for example in examples)
    for example in examples:
        for words in commands(example.removeprefix("Example: ")):
            check_words(words)


def all_commands(command: Any) -> list[Any]:
    """A command and those below it."""
    return [command, *(each for child in getattr(command, "commands", {}).values() for each in all_commands(child))]


def same_output(shown: str, written: str) -> bool:
    """Whether texts agree in words, and in numbers up to the last digit, which processors may round differently."""
    number = re.compile(r"\d+(?:\.\d+)?")
    if number.sub("#", shown).split() != number.sub("#", written).split():
        return False
    pairs = zip(number.findall(shown), number.findall(written), strict=True)
    return all(abs(float(a) - float(b)) < 1.5 * 10 ** -len(a.partition(".")[2]) for a, b in pairs)


def runnable(script: str) -> str:
    """A script without the lines that need what tests lack, and with smaller numbers."""
    whole = re.sub(r"(\\|\|)\n", r"\1\0", script)
    lines = [line for line in whole.split("\n") if not any(need(words) for words in commands(line.replace("\0", "\n")))]
    text = "\n".join(lines).replace("\0", "\n")
    for pattern, short in CHANGED:
        text = re.sub(pattern, short, text)
    return text


def need(words: list[str]) -> str | None:
    """Requirements of a command that the test environment lacks. Fails for an unknown program."""
    if words[0] in NOT_RUN:
        return NOT_RUN[words[0]]
    assert words[0] in RUN, f"{words[0]}: let a test run it, or say in NOT_RUN why not"
    if any("://" in word for word in words) or "pull" in words[:3]:
        return "a network"
    if "ray" in words:
        return "a cluster"
    if any(word.endswith("-completion") for word in words):
        return "a shell that a person is in; test_completion installs it"
    if words[:2] == ["tal", "selftest"]:
        return "a minute; it has tests of its own"
    heavy = [entry.name for entry in ENTRIES if entry.needs_weights]
    if words[:2] == ["tal", "extract-features"] and any(word in heavy or word.startswith("timm:") for word in words):
        return "weights"
    return None


def test_a_wrong_option_is_noticed() -> None:
    with pytest.raises(Exception, match="--colour"):
        check_words(["tal", "detect", "a.mp4", "--colour", "red"])
    with pytest.raises(Exception, match="pictures"):
        check_words(["tal", "detect", "a.mp4", "--format", "pictures"])
    with pytest.raises(AssertionError, match="detekt"):
        check_words(["tal", "detekt"])
    with pytest.raises(AssertionError, match="no extra"):
        check_words(["pip", "install", "tal-cli[rey]"])


def test_a_wrong_name_in_text_is_noticed() -> None:
    check_names(["tal", "train", "--dataset", "FILE", "--resume"])
    with pytest.raises(AssertionError, match="no option --colour"):
        check_names(["tal", "detect", "--colour"])
    with pytest.raises(AssertionError, match="no command addd"):
        check_names(["tal", "models", "addd", "NAME"])
    with pytest.raises(AssertionError, match="say in NOT_RUN why not"):
        need(["make", "coffee"])


def test_another_output_is_noticed() -> None:
    assert same_output("cut  0:07.94 0.87", "cut 0:07.95 0.86\n")
    assert not same_output("cut 0:07.94", "cut 0:07.96") and not same_output("cut 0.5", "fade 0.5")


def test_lines_that_need_more_than_a_test_has_are_left_out() -> None:
    script = "tal detect a.mp4 |\n  jq .\ntal detect s3://b/a.mp4 |\n  jq .\ntal train --dataset a.json\n"
    short = "tal train --epochs 1 --set training.warmup_epochs=0 --set training.crops=1 --dataset a.json\n"
    assert runnable(script) == f"tal detect a.mp4 |\n  jq .\n{short}"
