"""Weights written by Caffe2 are read, and nothing in their pickle is executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.errors import WeightsError
from tal_cli.extractors.files.caffe2 import read_blobs
from tal_cli.extractors.files.weights import read_state


class Harm:
    """Runs a command when it is unpickled by a careless reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_arrays_come_back_under_their_names(protocol: int, tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    blobs = {
        "conv1_w": weight,
        "bias64": np.ones(2),
        "conv1_w_momentum": weight,
        "lr": np.zeros(1, np.float32),
        "model_iter": np.zeros(1, np.int64),
    }
    (tmp_path / "net.pkl").write_bytes(pickle.dumps({"blobs": blobs, "cfg": "text"}, protocol))
    state = read_state(tmp_path / "net.pkl")
    assert set(state) == {"conv1_w", "bias64"}
    assert torch.equal(state["conv1_w"], torch.from_numpy(weight))
    assert state["bias64"].dtype == torch.float32


@pytest.mark.parametrize("hidden", [lambda harm: harm, lambda harm: {"blobs": {"a": np.array([harm], dtype=object)}}])
def test_a_pickle_that_wants_more_is_refused(hidden: object, tmp_path: Path) -> None:
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(hidden(Harm(tmp_path / "harm"))))  # type: ignore[operator]
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        read_blobs(str(path))
    with pytest.raises(WeightsError, match="no weights can be read"):
        create_backbone("slowfast-r50-4x16", path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"rubbish", pickle.dumps([1, 2]), pickle.dumps({"blobs": {}})])
def test_what_holds_no_arrays_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pkl").write_bytes(content)
    with pytest.raises(WeightsError):
        read_state(tmp_path / "net.pkl")
