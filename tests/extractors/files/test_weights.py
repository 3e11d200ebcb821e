"""Weights files: every format is read, nothing in one is executed, and what does not fit is named."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tal_cli.extractors.errors import WeightsError
from tal_cli.extractors.files.weights import (
    WeightsSource,
    file_sha256,
    load_state,
    locate,
    pin_path,
    pinned,
    read_state,
    remedy,
    weights_path,
    weights_sha256,
)

STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([1.0, 2.0])}
SOURCE = WeightsSource(file="net.pth", url="https://example.org/net.pth", page="https://example.org", licence="MIT")


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))


def same(state: dict[str, Tensor]) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"model": STATE},
        {"module": STATE, "epoch": 3},
        {"state_dict": STATE, "args": {"lr": 0.1}},
        {"model_state": STATE, "cfg": "text"},
        {"model": {"state_dict": STATE}},
        {**STATE, "version": 2},
    ],
    ids=["bare", "model", "module", "state_dict", "model_state", "nested", "with a number"],
)
@pytest.mark.parametrize("old", [False, True], ids=["archive", "before 1.6"])
def test_what_torch_saves_is_read(tmp_path: Path, content: object, old: bool) -> None:
    path = tmp_path / "net.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    assert same(read_state(path))


def test_prefixes_are_taken_off(tmp_path: Path) -> None:
    torch.save({f"module.backbone.{key}": value for key, value in STATE.items()}, tmp_path / "net.pt")
    assert same(read_state(tmp_path / "net.pt", prefixes=("module.", "backbone.")))


def test_parts_are_read_as_one_and_hashed_as_one(tmp_path: Path) -> None:
    for key, value in STATE.items():
        save_file({key: value}, tmp_path / f"{key}.safetensors")
    index = tmp_path / "net.safetensors.index.json"
    # Names are no paths: a part lies beside its index.
    index.write_text(json.dumps({"weight_map": {key: f"../elsewhere/{key}.safetensors" for key in STATE}}))
    assert same(read_state(index))
    files = [index, tmp_path / "bias.safetensors", tmp_path / "weight.safetensors"]
    joined = "\n".join(file_sha256(path) for path in files)
    assert weights_sha256(index) == hashlib.sha256(joined.encode()).hexdigest()
    save_file({"bias": torch.zeros(2)}, files[1])
    assert weights_sha256(index) != hashlib.sha256(joined.encode()).hexdigest()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_pickled_arrays_are_read(tmp_path: Path, protocol: int) -> None:
    blobs = {key: value.numpy() for key, value in STATE.items()}
    content = {"blobs": {**blobs, "lr": 0.1, "name": "text", "order": blobs["weight"].astype(object)}}
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(content, protocol))
    assert same(read_state(tmp_path / "net.pkl"))


def test_pickled_arrays_of_python_2_are_read(tmp_path: Path) -> None:
    # As Python 2 wrote {"blobs": {"bias": np.array([1, 2], "<f4")}}: bytes, and the names of old modules.
    text = (
        b"\x80\x02}U\x05blobs}U\x04biascnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08\x00\x00\x80?\x00\x00\x00@tbss."
    )
    (tmp_path / "net.pkl").write_bytes(text)
    assert torch.equal(read_state(tmp_path / "net.pkl")["bias"], STATE["bias"])


class Dangerous:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    "name", ["net.pth", "net.pt", "net.pyth", "net.pkl", "net.safetensors", "net.safetensors.index.json"]
)
@pytest.mark.parametrize(
    "content",
    [b"", b"rubbish", pickle.dumps({"weight": Dangerous()}), b"{}", b'{"weight_map": 3}', b"PK\x03\x04 and no archive"],
    ids=["empty", "rubbish", "pickle", "json", "odd index", "odd archive"],
)
def test_hostile_files_are_rejected_and_do_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name.partition(".")[0]):
        read_state(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_a_dangerous_file_of_torch_is_rejected_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": STATE, "optimizer": Dangerous()}, tmp_path / "net.pth")
    with pytest.raises(WeightsError):
        read_state(tmp_path / "net.pth")
    assert not (tmp_path / "executed").exists()


def test_files_are_mapped_and_used_without_a_copy(tmp_path: Path) -> None:
    for path in (tmp_path / "net.pth", tmp_path / "net.safetensors"):
        if path.suffix == ".pth":
            torch.save(STATE, path)
        else:
            save_file(STATE, path)
        state = read_state(path)
        with torch.device("meta"):
            network = nn.Linear(3, 2)
        load_state(network, state, path)
        assert network.weight.data_ptr() == state["weight"].data_ptr()
        assert torch.equal(network(torch.ones(3)), torch.tensor([4.0, 14.0]))


def test_the_type_asked_for_is_the_type_got() -> None:
    half = {key: value.half() for key, value in STATE.items()}
    for dtype, wanted in ((None, torch.float32), (torch.bfloat16, torch.bfloat16)):
        with torch.device("meta"):
            network = nn.Linear(3, 2)
        load_state(network, half, "here", dtype=dtype)
        assert network.weight.dtype == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "bias is missing"),
        ({"more": torch.ones(1)}, "more is unknown"),
        ({"weight": torch.ones(3, 2)}, r"weight is \[3, 2\], not \[2, 3\]"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Tensor | None], message: str) -> None:
    state = {key: value for key, value in {**STATE, **change}.items() if value is not None}
    with torch.device("meta"):
        network = nn.Linear(3, 2)
    with pytest.raises(WeightsError, match=f"here: .*{message}"):
        load_state(network, state, "here")


def test_other_heads_and_counters_do_not_matter() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    norm = {f"1.{key}": torch.ones(2) for key in ("weight", "bias", "running_mean", "running_var")}
    state = {f"0.{key}": value for key, value in STATE.items()} | norm
    load_state(network, {**state, "head.weight": torch.ones(9)}, "here", ignored=("head.",))
    assert torch.equal(network.eval()(torch.ones(1, 3)), network[1](network[0](torch.ones(1, 3))))
    assert not any(tensor.is_meta for tensor in network.state_dict().values())
    with pytest.raises(WeightsError, match=r"head.weight is unknown"):
        load_state(network, {**state, "head.weight": torch.ones(9)}, "here")


def test_published_files_have_one_place_and_three_ways_there(tmp_path: Path) -> None:
    assert locate(SOURCE) is None
    told = remedy("net", (SOURCE,))
    assert "tal extractors pull net" in told
    assert "--weights FILE" in told
    assert f"put net.pth from https://example.org into {tmp_path / 'home' / 'extractors'}" in told
    weights_path(SOURCE).parent.mkdir(parents=True)
    weights_path(SOURCE).write_bytes(b"weights")
    assert locate(SOURCE) == tmp_path / "home" / "extractors" / "net.pth"


@pytest.mark.parametrize("text", ["", "0" * 63, "g" * 64, "\x00", "Ä" * 70])
def test_a_pin_that_is_none_pins_nothing(text: str) -> None:
    path = weights_path(SOURCE)
    pin_path(path).parent.mkdir(parents=True)
    pin_path(path).write_text(text, encoding="latin-1")
    assert pinned(path) is None
