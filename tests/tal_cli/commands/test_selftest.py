"""`tal selftest`: the bundled cases agree, a wrong number is noticed, and the cases are the recorded ones."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import Tal

from harness.bundle import bundle
from tal_cli.selftest import runner

QUICK = {"cltdr_thumos", "soft_nms", "soft_nms_voting", "tsp", "internvideo2-tiny"}


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command's cases without those that take seconds."""
    facts = json.loads(runner.CASES.read_text())
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({kind: {n: c for n, c in cases.items() if n in QUICK} for kind, cases in facts.items()}))
    save_file(load_file(runner.CASES.with_suffix(".safetensors")), path.with_suffix(".safetensors"))
    monkeypatch.setattr(runner, "run_cases", partial(runner.run_cases, path=path))
    return path


@pytest.mark.slow
def test_the_cases_agree(run: Tal, quick: Path) -> None:
    done = run("selftest", "--device", "cpu")
    assert (done.code, done.err) == (0, "")
    assert all(f"\n{name} " in done.out for name in QUICK) and "off" not in done.out


@pytest.mark.parametrize("tensor", ["cltdr_thumos/distances", "soft_nms/kept", "internvideo2-tiny"])
@pytest.mark.slow
def test_a_wrong_number_is_noticed(run: Tal, quick: Path, tensor: str) -> None:
    tensors = load_file(quick.with_suffix(".safetensors"))
    tensors[tensor].view(-1)[7] += 0.01
    save_file(tensors, quick.with_suffix(".safetensors"))
    done = run("selftest", "--device", "cpu")
    assert done.code == 1 and "off" in done.out
    assert done.err.rstrip().endswith(f"exceeds 1e-05: {tensor.partition('/')[0]}")


def test_fewer_segments_and_no_number_are_off() -> None:
    assert not runner.Result("case", float("nan")).ok
    tensors = load_file(runner.CASES.with_suffix(".safetensors"))
    recorded = {"candidates": tensors["soft_nms/candidates"][:5], "kept": tensors["soft_nms/kept"]}
    config = json.loads(runner.CASES.read_text())["nms"]["soft_nms"]
    assert runner.nms_distance(runner.InferenceConfig.model_validate(config), recorded) == float("inf")


def test_the_cases_are_the_recorded_ones(tmp_path: Path) -> None:
    bundle(tmp_path / "cases.json")
    assert (tmp_path / "cases.json").read_text() == runner.CASES.read_text()
    written, bundled = (load_file(p.with_suffix(".safetensors")) for p in (tmp_path / "cases.json", runner.CASES))
    assert written.keys() == bundled.keys()
    assert all(torch.equal(tensor, bundled[name]) for name, tensor in written.items())
