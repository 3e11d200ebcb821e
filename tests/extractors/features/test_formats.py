"""Feature files of every format, of one video and of many; hostile ones lead nowhere."""

from __future__ import annotations

import builtins
import os
import pickle
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tal_cli.extractors.errors import FeatureError, MissingError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.lookup import FeatureFile, default_source, find_features
from tal_cli.extractors.features.sequence import FeatureSequence

FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)


def write_h5(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


MANY: dict[str, Callable[[Path, dict[str, NDArray[Any]]], object]] = {
    "h5": write_h5,
    "pkl": lambda path, arrays: path.write_bytes(pickle.dumps(arrays)),
    "npz": lambda path, arrays: np.savez(path, **arrays),
    "safetensors": lambda path, arrays: save_file(arrays, path),
    "pt": lambda path, arrays: torch.save({name: torch.from_numpy(a) for name, a in arrays.items()}, path),
}


@pytest.mark.parametrize("format", MANY)
def test_one_file_of_many_videos(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"features.{format}"
    MANY[format](path, {"a": FEATURES, "v_b": FEATURES * 2, "c": np.ones((2, 3), np.float32)})
    assert default_source(tmp_path) == path
    found = find_features(path, "b")
    assert found == FeatureFile(path, "v_b") and str(found) == f"{path}[v_b]"
    np.testing.assert_array_equal(found.load().features, FEATURES * 2)
    assert found.load().contract is None and found.outline().features.shape == (4, 3)
    assert find_features(path, "z") is None
    # A file that is written again is read again.
    MANY[format](path, {"z": FEATURES})
    os.utime(path, ns=(1, 1))
    assert find_features(path, "b") is None and find_features(path, "z") == FeatureFile(path, "z")


@pytest.mark.parametrize("format", ["pkl", "h5", "hdf5"])
def test_one_file_per_video(tmp_path: Path, format: str) -> None:
    path = tmp_path / "training" / f"v_a.{format}"
    path.parent.mkdir()
    if format == "pkl":
        path.write_bytes(pickle.dumps({"feats": FEATURES, "fps": 25}))
    else:
        write_h5(path, {"feats": FEATURES, "times": np.ones(4)})
    assert find_features(tmp_path, "a") is None
    found = find_features(tmp_path, "a", "training")
    assert found == FeatureFile(path)
    np.testing.assert_array_equal(found.load().features, FEATURES)


def test_subsets_in_files_of_their_own(tmp_path: Path) -> None:
    write_h5(tmp_path / "validation.h5", {"a": FEATURES})
    assert find_features(tmp_path, "a", "validation") == FeatureFile(tmp_path / "validation.h5", "a")
    assert find_features(tmp_path, "a", "training") is None


def test_published_slowfast_features_of_two_tensors(tmp_path: Path) -> None:
    slow, fast = torch.arange(8.0).reshape(1, 2, 4), -torch.arange(4.0).reshape(1, 1, 4)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"slow_feature": slow, "fast_feature": fast}))
    wanted = torch.cat([slow, fast], 1)[0].T.numpy()
    np.testing.assert_array_equal(FeatureFile(path).load().features, wanted)


def test_a_description_beside_a_pickle_counts(tmp_path: Path) -> None:
    contract = FeatureContract(
        extractor="x", weights_sha256=None, sampling_rate=None, max_rate=None, window=16, stride=4, alignment="center",
        resize="", crop="", value_range="", layer="", pooling="", channels=3,
    )  # fmt: skip
    sequence = FeatureSequence(features=FEATURES, contract=contract, fps=25.0, frames=28, duration=1.12)
    save_features(sequence, tmp_path / "a.npy")
    (tmp_path / "a.npy").unlink()
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(FEATURES))
    found = find_features(tmp_path, "a")
    assert found is not None and found.load().contract == contract and found.load().fps == 25


@pytest.mark.parametrize("link", ["external", "soft", "outside", "virtual"])
def test_hdf5_leads_to_no_other_file(tmp_path: Path, link: str) -> None:
    secret, path = tmp_path / "secret.h5", tmp_path / "features.h5"
    write_h5(secret, {"a": FEATURES})
    (tmp_path / "raw").write_bytes(FEATURES.tobytes())
    with h5py.File(path, "w") as file:
        if link == "external":
            file["a"] = h5py.ExternalLink(str(secret), "/a")
        elif link == "soft":
            file["a"] = h5py.SoftLink("/nowhere")
        elif link == "outside":
            file.create_dataset("a", shape=(4, 3), dtype="f4", external=[(str(tmp_path / "raw"), 0, 48)])
        else:
            layout = h5py.VirtualLayout(shape=(4, 3), dtype="f4")
            layout[:] = h5py.VirtualSource(str(secret), "a", shape=(4, 3))
            file.create_virtual_dataset("a", layout)
    found = find_features(path, "a")
    assert found is not None
    with pytest.raises(FeatureError):
        found.load()


def test_hdf5_that_unpacks_to_more_than_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file.create_dataset("a", shape=(1 << 30, 1 << 10), dtype="f4", chunks=(1024, 1024))
        file["b"] = np.asarray([b"text"])
    for name in ("a", "b"):
        with pytest.raises(FeatureError):
            FeatureFile(tmp_path / "features.h5", name).load()


@pytest.mark.parametrize("name", ["../a", "/etc/a", "x/../../a"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "a.npy", FEATURES)
    assert find_features(tmp_path / "features", name) is None


def test_broken_files_are_named(tmp_path: Path) -> None:
    for suffix in ("h5", "pkl", "npz", "safetensors", "pt"):
        path = tmp_path / f"features.{suffix}"
        path.write_bytes(b"nonsense")
        with pytest.raises(FeatureError, match=path.name):
            find_features(path, "a")
        with pytest.raises(FeatureError, match=path.name):
            FeatureFile(path).load()
    with pytest.raises(FeatureError, match="no such file"):
        FeatureFile(tmp_path / "absent.pkl").load()
    (tmp_path / "features.pkl").write_bytes(pickle.dumps({"a": np.asarray([[np.nan, 1]])}))
    with pytest.raises(FeatureError, match="finite"):
        FeatureFile(tmp_path / "features.pkl", "a").load()


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (FEATURES + 1j, "complex"),
        (FEATURES > 1, "bool"),
        (np.zeros((2, 2), "M8[D]"), "datetime64"),
        (np.zeros((2, 2), [("a", "f4")]), "instead of numbers"),
        (np.stack([FEATURES, FEATURES]), r"\[2, 4, 3\]"),
        (FEATURES[:0], r"\[0, 3\]"),
        (np.float32(3), "instead of numbers"),
        (np.full((2, 3), 1e300), "window 0 holds values that are not finite"),
    ],
)
def test_arrays_that_are_no_features_are_named(tmp_path: Path, values: NDArray[Any], what: str) -> None:
    np.save(tmp_path / "a.npy", values)
    found = FeatureFile(tmp_path / "a.npy")
    with pytest.raises(FeatureError, match=what):
        found.load()
    if "finite" not in what:  # which only the values tell
        with pytest.raises(FeatureError, match=what):
            found.outline()


@pytest.mark.parametrize("kind", ["f2", "f8", ">f4", "i4", "u1", "g"])
@pytest.mark.parametrize("shape", [(4, 3), (1, 4, 3), (4, 3, 1, 1)])
def test_numbers_of_every_kind_and_order(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    for order in ("C", "F"):
        np.save(tmp_path / "a.npy", np.asarray(FEATURES.reshape(shape), kind, order=order))
        found = FeatureFile(tmp_path / "a.npy")
        assert found.outline().features.shape == (4, 3) and found.load().features.dtype == np.float32
        np.testing.assert_array_equal(found.load().features, FEATURES)


def test_files_of_one_format_under_the_name_of_another(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", FEATURES)
    np.save(tmp_path / "b.npy", FEATURES)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    (tmp_path / "c.npy").write_bytes(pickle.dumps(FEATURES))
    torch.save([torch.ones(2)], tmp_path / "d.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "e.pt")
    for name in ("a.npy", "b.npz", "c.npy", "d.pt", "e.pt"):
        for read in (FeatureFile(tmp_path / name).load, FeatureFile(tmp_path / name).outline):
            with pytest.raises(FeatureError, match=name) as caught:
                read()
            assert "allow_pickle" not in str(caught.value) and "weights_only" not in str(caught.value)


def write_zeros(path: Path, size: int) -> None:
    """An .npz of 4 x size zeros, packed to a thousandth."""
    np.savez_compressed(path, features=np.zeros((size, 1), np.float32))


def write_deflated(path: Path, size: int) -> None:
    """The same as torch saves it, packed again."""
    torch.save(torch.zeros(size, 1), path)
    with zipfile.ZipFile(path) as saved:
        entries = {name: saved.read(name) for name in saved.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)


def write_chunks(path: Path, size: int, **settings: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("features", shape=(size, 1), dtype="f4", **settings)


def write_packed_chunk(path: Path, size: int) -> None:
    """An array of sixteen rows whose only chunk unpacks to more."""
    with h5py.File(path, "w") as file:
        array = file.create_dataset("features", shape=(16, 1), dtype="f4", chunks=(16, 1), compression="gzip")
        array.id.write_direct_chunk((0, 0), zlib.compress(bytes(4 * size)))


FAR = 25 << 20  # numbers of four bytes: 100 MiB
CLAIMS: dict[str, Callable[[Path], object]] = {
    "deflated.npz": lambda path: write_zeros(path, FAR),
    "deflated.pt": lambda path: write_deflated(path, FAR),
    "repeated.pt": lambda path: torch.save(torch.zeros(1, 1).expand(FAR, 3), path),
    "repeated-wide.pt": lambda path: torch.save(torch.zeros(1).expand(16, FAR), path),
    "empty.pt": lambda path: torch.save(torch.empty(FAR, 3, device="meta"), path),
    "buffer.pt": lambda path: path.write_bytes(b"\x80\x02c__builtin__\nbytearray\nJ\0\0\0\x08\x85R."),
    "unwritten.h5": lambda path: write_chunks(path, FAR, chunks=(1024, 1)),
    "packed.h5": lambda path: write_packed_chunk(path, FAR),
    "wide-chunk.h5": lambda path: write_chunks(path, 16, maxshape=(None, 1), chunks=(FAR, 1), compression="gzip"),
    "header.safetensors": lambda path: path.write_bytes((1 << 26).to_bytes(8, "little") + b"{" + b" " * (1 << 26)),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_no_file_holds_far_more_than_it_is_long(tmp_path: Path, name: str) -> None:
    CLAIMS[name](tmp_path / name)
    tracemalloc.start()
    try:
        with pytest.raises(FeatureError, match=name):
            FeatureFile(tmp_path / name).load()
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", ["npz", "pt", "h5"])
def test_features_that_repeat_or_compress_well_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        write_zeros(path, 1 << 20)
    elif suffix == "pt":
        torch.save(torch.zeros(1, 1).expand(1 << 20, 1), path)
    else:
        write_chunks(path, 1 << 20, chunks=(1 << 16, 1), compression="gzip", fillvalue=0)
    assert FeatureFile(path).load().features.shape == (1 << 20, 1)


def test_tensors_as_training_code_saves_them(tmp_path: Path) -> None:
    torch.save(torch.nn.Parameter(torch.from_numpy(FEATURES)), tmp_path / "a.pt")
    torch.save({"feats": torch.from_numpy(FEATURES).bfloat16(), "fps": 25.0}, tmp_path / "b.pt")
    torch.save({"a": torch.from_numpy(FEATURES), "fps": 25.0}, tmp_path / "features.pt")
    for found in (
        FeatureFile(tmp_path / "a.pt"),
        FeatureFile(tmp_path / "b.pt"),
        find_features(tmp_path / "features.pt", "a"),
    ):
        assert found is not None
        np.testing.assert_array_equal(found.load().features, FEATURES)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_h5(tmp_path / "a.h5", {"a": FEATURES})
    really = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return really(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingError) as caught:
        FeatureFile(tmp_path / "a.h5").load()
    assert "tal-cli[h5]" in caught.value.remedy
