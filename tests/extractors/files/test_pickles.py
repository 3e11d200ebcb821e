"""Arrays in pickles, of features and of weights: they come back, and nothing in a pickle is executed."""

from __future__ import annotations

import contextlib
import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.errors import FeatureError, WeightsError
from tal_cli.extractors.features.lookup import FeatureFile
from tal_cli.extractors.files.pickles import ARRAYS, TENSORS, read_arrays
from tal_cli.extractors.files.weights import read_state

FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["<f4", ">f8", "f2", "i8", "u1", "?"])
def test_arrays_survive_every_protocol(tmp_path: Path, protocol: int, kind: str) -> None:
    values = np.asarray(FEATURES, kind)
    for array in (values, values.T, np.asfortranarray(values), values[:0]):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(array, protocol))
        found = read_arrays(tmp_path / "a.pkl", ARRAYS)
        np.testing.assert_array_equal(found, array)
        assert found.shape == array.shape


class Calls:
    """Something that pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.reduced


def written(tmp_path: Path, content: Any, protocol: int = 4) -> Path:
    path = tmp_path / "hostile.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


MARK = "mark-of-the-intruder"
HOSTILE: dict[str, Any] = {
    "a command": Calls(os.system, f"touch {MARK}"),
    "code": Calls(exec, f"open('{MARK}', 'w')"),
    "evaluation": Calls(eval, f"open('{MARK}', 'w')"),
    "an attribute": Calls(getattr, 3, "real"),
    "a file": Calls(open, MARK, "w"),
    "inside an array": {"v": [Calls(os.system, f"touch {MARK}")], "w": FEATURES},
    "numpy's own loader": Calls(np.load, "x.npy"),
    "an array of objects": np.asarray([Calls(os.system, f"touch {MARK}")], dtype=object),
    "an array of records": np.zeros(2, dtype=[("a", "f4")]),
    "a class": Calls,
    "by protocol 0": b"cos\nsystem\n(S'touch " + MARK.encode() + b"'\ntR.",
    "by the type's name": b"cnumpy\nndarray\n(I9999999999\ntR.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0fcore.sys.exit\x93)R.",
    "an assignment to a name": b"cnumpy\ndtype\n(N}S'__call__'\nI1\nstb.",
    "an extension": b"\x82\x01.",
    "a table without end": b"Nr\xff\xff\xff\x7f.",
    "a persistent name": b"Pfile\n.",
    "nothing": b"",
    "half": pickle.dumps(FEATURES)[:-20],
    "not a pickle": b"\x93NUMPY" + bytes(50),
    "a text": "hello",
    "many numbers": list(range(5)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, HOSTILE[name])
    with pytest.raises(FeatureError, match=r"hostile\.pkl"):
        FeatureFile(path).load()
    assert {item.name for item in tmp_path.iterdir()} == {"hostile.pkl"}


@given(content=st.binary(max_size=60), at=st.integers(0, 200), protocol=st.integers(0, 5))
def test_broken_pickles_are_feature_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, at: int, protocol: int
) -> None:
    whole = pickle.dumps({"features": FEATURES}, protocol)
    path = tmp_path_factory.getbasetemp() / "broken.pkl"
    path.write_bytes(whole[:at] + content + whole[at + len(content) :])
    with contextlib.suppress(FeatureError):
        assert FeatureFile(path).load().features.ndim == 2


def test_the_bytes_of_a_tensor_run_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inner = pickle.dumps(Calls(os.system, f"touch {MARK}"), 2)
    for outer in (inner, pickle.dumps(0x1950A86A20F9469CFC6C, 2) + inner):
        path = written(tmp_path, Calls(torch.storage._load_from_bytes, outer), 2)
        with pytest.raises(FeatureError):
            FeatureFile(path).load()
    storage = torch.ones(4)._typed_storage()
    for size, stride in (((9, 1), (1, 1)), ((1 << 40, 3), (0, 0))):
        tensor = Calls(torch._utils._rebuild_tensor_v2, storage, 0, size, stride, False, {})
        with pytest.raises(FeatureError):
            FeatureFile(written(tmp_path, tensor)).load()
    assert not (tmp_path / MARK).exists()


def test_what_names_lead_to_cannot_be_changed() -> None:
    for stand_in in (ARRAYS | TENSORS).values():
        with pytest.raises(AttributeError):
            stand_in.anything = 1
        assert not isinstance(stand_in, type)


def test_a_pickle_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    content = bytearray(pickle.dumps(FEATURES, 2))
    at = content.find(b"K\x04K\x03\x86")  # the shape (4, 3)
    assert at > 0 and "BININT1" in [op.name for op, _, _ in pickletools.genops(bytes(content))]
    content[at : at + 5] = b"J" + struct.pack("<i", 2**31 - 1) + b"K\x03\x86"
    with pytest.raises(FeatureError):
        FeatureFile(written(tmp_path, bytes(content))).load()


def test_arrays_that_python_2_wrote_come_back(tmp_path: Path) -> None:
    values = -np.arange(6, dtype="<f4").reshape(2, 3)
    text = repr(values.tobytes())[1:].encode()  # protocol 0: bytes as an escaped text
    content = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nI3\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\n"
        b"tR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS" + text + b"\ntb."
    )
    found = read_arrays(written(tmp_path, content), ARRAYS)
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("name", HOSTILE)
def test_weights_in_a_pickle_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, HOSTILE[name])
    with pytest.raises(WeightsError, match=r"hostile\.pkl: (no weights can be read|it contains no named tensors)"):
        create_backbone("slowfast-r50-4x16", path)
    assert {item.name for item in tmp_path.iterdir()} == {"hostile.pkl"}


@pytest.mark.parametrize("allowed", [ARRAYS, ARRAYS | TENSORS])
def test_what_is_asked_for_is_named(tmp_path: Path, allowed: dict[tuple[str, str], object]) -> None:
    path = written(tmp_path, {"blobs": {"a": [Calls(os.mkdir, "harm")]}})
    with pytest.raises(pickle.UnpicklingError, match=r"it refers to posix\.mkdir; only arrays are read"):
        read_arrays(path, allowed)


def test_only_features_may_hold_tensors(tmp_path: Path) -> None:
    path = written(tmp_path, {"a": torch.ones(2, 3)})
    np.testing.assert_array_equal(read_arrays(path, ARRAYS | TENSORS)["a"], np.ones((2, 3)))
    with pytest.raises(pickle.UnpicklingError, match="it refers to torch"):
        read_arrays(path, ARRAYS)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_caffe2s_blobs_come_back_under_their_names(protocol: int, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("content", [b"", b"rubbish", pickle.dumps([1, 2]), pickle.dumps({"blobs": {}})])
def test_what_holds_no_arrays_is_rejected(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pkl").write_bytes(content)
    with pytest.raises(WeightsError):
        read_state(tmp_path / "net.pkl")
