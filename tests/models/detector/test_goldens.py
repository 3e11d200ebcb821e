"""Agreement with the published code, case by case."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from harness import CASES, check_case

ROOT = Path(__file__).parents[3]
PATHS = sorted((CASES / "models").glob("*.json"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
@pytest.mark.slow
def test_case_agrees(path: Path) -> None:
    report = check_case(path)
    assert report.not_checked is None
    assert [comparison for comparison in report.comparisons if not comparison.ok] == []
    assert len(report.comparisons) > 30


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
@pytest.mark.slow
def test_everything_that_a_detector_recorded_is_compared(path: Path) -> None:
    """But for the inputs of a comparison."""
    compared = " ".join(comparison.tensor for comparison in check_case(path).comparisons)
    recorded = [name for name in load_file(path.with_suffix(".safetensors")) if name.startswith(("infer", "train/"))]
    inputs = re.compile(r"train/(feats|gt_segments|gt_labels)/\d+|infer\w*/(feats|pre_nms/labels|final/\w+)")
    assert [name for name in recorded if not inputs.fullmatch(name) and name not in compared] == []


@pytest.mark.slow
def test_all_cases_of_the_published_code_agree(shared: Path) -> None:
    reports = {path.stem: check_case(path) for path in (shared / "goldens").glob("*.json")}
    assert {path.stem for path in PATHS} <= reports.keys()
    assert [case for case, report in reports.items() if report.not_checked is not None or not report.ok] == []


COMPARED = (
    "causaltad_anet",
    "causaltad_thumos",
    "dyfadet_hacs",
    "dyfadet_thumos",
    "losses_compared",
    "pointtad_multithumos",
    "react_thumos",
    "tadtr_plain",
    "tadtr_thumos",
    "tadtr_windows",
    "tfformer_epic",
    "tfformer_thumos",
    "transgmc_anet",
    "transgmc_ego4d",
    "transgmc_thumos",
)


@pytest.mark.parametrize("case", COMPARED)
def test_cases_of_the_systems_compared_with_agree(case: str, shared: Path) -> None:
    report = check_case(shared / "goldens" / "compared" / f"{case}.json")
    assert report.not_checked is None
    assert [comparison for comparison in report.comparisons if not comparison.ok] == []
    assert len(report.comparisons) > 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in (CASES / "models").glob("losses.*"):
        shutil.copyfile(path, tmp_path / f"renamed{path.suffix}")
    return tmp_path


def run_script(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / "check_goldens"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_script_tells_cases_by_content(folder: Path) -> None:
    (folder / "other.json").write_text(json.dumps({"state_keys": {"some.weight": [1]}}))
    result = run_script(folder)
    assert result.returncode == 0, result.stderr
    assert "renamed: ok" in result.stdout
    assert "other: not checked" in result.stdout
    assert "reg/ctr_diou/value" in result.stdout


@pytest.mark.slow
def test_script_fails_when_a_tensor_is_off(folder: Path) -> None:
    tensors = load_file(folder / "renamed.safetensors")
    tensors["reg/ctr_diou/value"][3] += 1e-3
    save_file(tensors, folder / "renamed.safetensors")
    result = run_script(folder)
    assert result.returncode == 1
    assert "OFF: reg/ctr_diou/value" in result.stdout


@pytest.mark.slow
def test_script_wants_something_to_check(tmp_path: Path) -> None:
    assert run_script(tmp_path).returncode == 2
