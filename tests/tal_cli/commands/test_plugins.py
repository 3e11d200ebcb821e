"""Commands see what other packages add, and stay quick and keep working whatever those contain."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from plugin_packages import Install, write_package
from small_runs import Tal, render_clip

from tal_cli.datasets.formats import load_annotations
from tal_cli.extractors.errors import AnnotationError, PluginWarning
from tal_cli.results.writers import format_for

FORMAT = """\
from tal_cli.results.writers import Format
NAMES = Format("names", ".names.txt", "names_writer:write")
"""
WRITER = """\
def write(detections, file, run):
    for found in detections:
        file.write(f"{found.video}\\n".encode())
"""
READER = """\
from tal_cli.datasets.annotations import Annotations
NAME = "lines"

def recognises(head):
    return head.startswith(("{", "!lines"))

def read(path, text, how):
    return Annotations("lines", {}, ())
"""
ODD_CLASS = """\
import sys

class Odd:
    NAME, recognises, read = "odd", bool, print

sys.modules[__name__] = Odd
"""


@pytest.fixture
def elsewhere(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a process that finds packages in tmp_path/elsewhere."""
    return environment | {"PYTHONPATH": str(tmp_path / "elsewhere")}


def test_an_output_format(install: Install, run: Tal, tmp_path: Path) -> None:
    install("tal-names", "[tal.formats]\nnames = names:NAMES\n", {"names.py": FORMAT, "names_writer.py": WRITER})
    assert "labelstudio|names\n" in run("detect", "--help").out
    assert "names" not in sys.modules
    wrong = run("detect", "x.mp4", "-f", "nonsense")
    assert wrong.code == 2 and wrong.err.rstrip().endswith("labelstudio, names")
    assert format_for(Path("x.names.txt")).name == "names" and format_for(Path("x.txt")).name == "table"
    assert "names_writer" not in sys.modules
    video = render_clip(tmp_path / "a.mp4")
    done = run("detect", video, "--format", "names", "-q")
    assert (done.code, done.out) == (0, "a\n"), done.err


def test_formats_with_one_suffix(install: Install, run: Tal) -> None:
    module = FORMAT.replace(".names.txt", ".json")
    install("tal-names", "[tal.formats]\nnames = names:NAMES\n", {"names.py": module})
    done = run("detect", "x.mp4", "-o", "x.json")
    assert done.code == 2 and "json and names have the same suffix" in done.err and "--format" in done.err


@pytest.mark.slow
def test_a_format_that_cannot_be_used(tal: Tal, elsewhere: dict[str, str], tmp_path: Path) -> None:
    entry = "[tal.formats]\nnames = names:NAMES\n"
    write_package(tmp_path / "elsewhere", "tal-names", entry, {"names.py": "import no_such_module\n"})
    video = render_clip(tmp_path / "a.mp4")
    asked = tal("detect", video, "-f", "names", env=elsewhere)
    assert asked.code == 2 and asked.err.splitlines() == [
        "error: tal.formats names (tal-names 1.0) cannot be imported: ModuleNotFoundError: No module named"
        " 'no_such_module'",
        "hint: update or uninstall it",
    ]
    done = tal("detect", video, "-o", "x.csv", "-q", env=elsewhere)
    (warning,) = done.err.splitlines()
    assert done.code == 0 and warning.startswith("warning: left out: tal.formats names (tal-names 1.0) cannot be")
    write_package(tmp_path / "elsewhere", "tal-csv", "[tal.formats]\ncsv = names:NAMES\n", {})
    clash = tal("detect", video, "-f", "csv", env=elsewhere)
    assert clash.code == 2 and "tal.formats csv is in tal-cli and in tal-csv 1.0" in clash.err


def test_an_annotation_format(install: Install, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"database": {}}')
    assert load_annotations(path).version == ""
    install("tal-lines", "[tal.annotation_formats]\nlines = lines\n", {"lines.py": READER})
    assert load_annotations(path).version == "lines", "asked before the built-in ones"
    install("tal-more", "[tal.annotation_formats]\nmore = more\n", {"more.py": READER})
    with pytest.raises(
        AnnotationError, match=r"several plug-in annotation formats match: (lines and more|more and lines)"
    ):
        load_annotations(path)


@pytest.mark.parametrize("module", ["NAME = 'odd'\n", ODD_CLASS, READER.replace("return head", "return head.nothing")])
def test_an_annotation_format_that_cannot_be_used(install: Install, tmp_path: Path, module: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("video,label,start,end\na,cut,1,2\n")
    install("tal-odd", "[tal.annotation_formats]\nodd = odd\n", {"odd.py": module})
    with pytest.warns(PluginWarning, match="left out: .*odd"):
        assert load_annotations(path).labels == ("cut",)


@pytest.mark.slow
def test_names_are_completed_and_listed_without_an_import(elsewhere: dict[str, str], tmp_path: Path) -> None:
    groups = ("formats", "annotation_formats", "backbones", "encoders", "decoders")
    entries = "".join(f"[tal.{group}]\nmine-of-{group} = must_not_be_imported\n" for group in groups)
    write_package(tmp_path / "elsewhere", "tal-mine", entries, {"must_not_be_imported.py": "raise SystemExit(7)"})

    def call(*words: str, **variables: str) -> str:
        code = "import sys; from tal_cli.app import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *words], env=elsewhere | variables, capture_output=True, text=True
        )
        assert done.stderr == "", done.stderr
        return done.stdout

    def complete(line: str) -> str:
        return call(_TAL_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1))

    assert "mine-of-formats" in complete("tal detect --format mine")
    assert "mine-of-backbones" in complete("tal extract-features -x mine")
    assert "mine-of-backbones" in complete("tal extractors info mine")
    assert "|mine-of-formats" in call("detect", "--help")
    assert "camera" in call("models", "list") and "thumos" in call("models", "info", "thumos-i3d")


@pytest.mark.slow
def test_the_list_of_extractors_goes_past_a_broken_one(tal: Tal, elsewhere: dict[str, str], tmp_path: Path) -> None:
    entry = "[tal.backbones]\nmine = mine:MINE\n"
    write_package(tmp_path / "elsewhere", "tal-mine", entry, {"mine.py": "MINE = 3\n"})
    done = tal("extractors", "list", "--format", "json", env=elsewhere)
    assert done.code == 0 and "tiny" in {item["name"] for item in json.loads(done.out)}
    (warning,) = done.err.splitlines()
    assert "tal.backbones mine (tal-mine 1.0) must be of type BackboneEntry" in warning
    assert tal("extractors", "info", "mine", env=elsewhere).code == 2


def test_a_clash_with_a_built_in_part_stops_its_use_only(install: Install, run: Tal) -> None:
    groups = "[tal.encoders]\nsgp = clash:S\n[tal.decoders]\ncltdr = clash:C\n[tal.backbones]\ntiny = clash:T\n"
    install("tal-clash", groups)
    decoder = "tal.decoders cltdr is in tal-cli and in tal-clash 1.0"
    with pytest.warns(PluginWarning) as warned:
        listed = run("models", "list")
    reasons = [str(warning.message) for warning in warned]
    assert reasons == [
        f"recipes left out: {decoder}; uninstall one of them",
        "recipes left out: tal.encoders sgp is in tal-cli and in tal-clash 1.0; uninstall one of them",
    ]
    names = {line.split()[0] for line in listed.out.splitlines()[1:]}
    assert listed.code == 0 and "actionformer-thumos-i3d" in names and not names & {"tridet-thumos-i3d", "thumos-i3d"}
    assert f"weights/camera: {decoder}" in listed.err
    with pytest.warns(PluginWarning, match="left out: tal.backbones tiny"):
        extractors = run("extractors", "list")
    assert extractors.code == 0 and "r3d_18" in extractors.out and "\ntiny" not in extractors.out
    assert run("models", "info", "actionformer-thumos-i3d").code == 0
    used = run("models", "info", "thumos-i3d")
    assert used.code == 2 and decoder in used.err


HOOK = """\
import importlib.util, sys

class Finder:
    def find_spec(name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, {place!r}) if name == "mine" else None

sys.meta_path.append(Finder)
"""
BACKBONE = """\
import dataclasses
from tal_cli.extractors.catalog import find
TINY = find("tiny")
MINE = dataclasses.replace(TINY, name="mine", contract=dataclasses.replace(TINY.contract, extractor="mine"))
"""


@pytest.mark.slow
def test_workers_see_a_backbone_that_an_import_hook_leads_to(environment: dict[str, str], tmp_path: Path) -> None:
    """As some editable installs have it: the module path alone does not lead to the package."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text("\n".join(path for path in sys.path if Path(path).is_dir()))
    place = tmp_path / "checkout" / "not_its_name.py"
    write_package(site, "tal-mine", "[tal.backbones]\nmine = mine:MINE\n", {"hook.py": HOOK.format(place=str(place))})
    (site / "mine.pth").write_text("import hook\n")
    place.parent.mkdir()
    place.write_text(BACKBONE)
    video = render_clip(tmp_path / "a.mp4")
    command = [str(tmp_path / "venv" / "bin" / "python"), "-m", "tal_cli", "extract-features", str(video)]
    done = subprocess.run(
        [*command, "-x", "mine", "-o", str(tmp_path / "out")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "a.json").read_text())["contract"]["extractor"] == "mine"
