"""Bounds on what files may hold: tensors, pickles, archives and texts."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tal_cli.extractors.errors import CheckpointError, InputError, WeightsError
from tal_cli.extractors.files import bounds, json_files, pickles
from tal_cli.extractors.files.bounds import load_tensors
from tal_cli.extractors.files.json_files import cost_of, read_json, read_text
from tal_cli.extractors.files.weights import read_state
from tal_cli.models.released.archives import open_checkpoint

TEXT = "a" * (1 << 20)
# A text, remembered, and given to a call that copies it, again and again.
COPIED = b"c_codecs\nencode\nq\x00X" + struct.pack("<I", len(TEXT)) + TEXT.encode() + b"q\x01]("
COPIED += b"h\x00h\x01\x85R" * 80 + b"e."


@pytest.mark.parametrize("legacy", [True, False])
def test_tensors_come_back(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "a.pt"
    shared = torch.arange(6.0)
    content = {"a": shared.reshape(2, 3), "b": [shared[:2], shared.expand(4, 6)], "c": torch.nn.Parameter(shared)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    for found in (load_tensors(path), load_tensors(path, mmap=True), load_tensors(io.BytesIO(path.read_bytes()))):
        assert torch.equal(found["a"], content["a"]) and torch.equal(found["b"][1], content["b"][1])


@pytest.mark.parametrize("legacy", [True, False])
def test_weights_that_repeat_without_limit_are_named(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save({"w": torch.zeros(1).expand(1 << 40)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"a\.pth.*claims to hold"):
        read_state(path)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_checkpoint_of_many_objects_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    path = tmp_path / "a.pth"
    torch.save([[] for _ in range(2000)], path, _use_new_zipfile_serialization=not legacy)
    load_tensors(path)
    monkeypatch.setattr(bounds, "MOST_OBJECTS", 1000)
    with pytest.raises(ValueError, match="more than 1,000 objects"):
        load_tensors(path)


def test_a_pickle_of_many_objects_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([[] for _ in range(2000)]))
    assert len(pickles.read_arrays(tmp_path / "a.pkl", pickles.ARRAYS)) == 2000
    monkeypatch.setattr(pickles, "MOST_OBJECTS", 1000)
    with pytest.raises(pickle.UnpicklingError, match="more than 1,000 objects"):
        pickles.read_arrays(tmp_path / "a.pkl", pickles.ARRAYS)


def test_a_pickle_that_copies_its_content_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02" + COPIED)
    with pytest.raises(pickle.UnpicklingError, match="repeats its content"):
        pickles.read_arrays(tmp_path / "a.pkl", pickles.ARRAYS)


def write_zip(path: Path, size: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/epoch_1.pth.tar", bytes(size))


def write_tar(path: Path, size: int) -> None:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("run/epoch_1.pth.tar")
        entry.size = size
        archive.addfile(entry, io.BytesIO(bytes(size)))


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_an_archive_of_a_checkpoint_is_bounded(tmp_path: Path, write: Callable[[Path, int], None]) -> None:
    write(tmp_path / "a", 1 << 20)
    assert len(open_checkpoint(tmp_path / "a").read()) == 1 << 20
    write(tmp_path / "a", 70 << 20)
    with pytest.raises(CheckpointError, match="claims to hold"):
        open_checkpoint(tmp_path / "a")


def test_text_that_unpacks_without_limit_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"[" + b"0," * 1000 + b"0]"))
    assert len(read_json(path)) == 1001
    path.write_bytes(gzip.compress(b" " * (68 << 20)))
    with pytest.raises(InputError, match="more than 50 times its length"):
        read_text(path)


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * 1000 + "[]]",
        "{" + '"a":{},' * 1000 + '"b":1}',
        "<a>" + "<b/>" * 1000 + "</a>",
        "a,b\n1,2\n" * 1000,
    ],
)
def test_text_whose_objects_cost_too_much_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = tmp_path / "a"
    path.write_text(text)
    assert read_text(path) == text
    monkeypatch.setattr(json_files, "FREE_OBJECTS", 0)
    with pytest.raises(InputError, match="GB of memory") as caught:
        read_text(path)
    assert caught.value.remedy


def test_results_cost_less_than_they_may() -> None:
    """A large file of results is read, however large it is."""
    rows = [{"label": "run", "score": 0.123456, "segment": [1.25, 17.5]}] * 1000
    text = json.dumps({"results": {"video": rows}})
    table = "video,label,start,end,score\n" + "video_1,run,1.25,17.5,0.123456\n" * 1000
    for each in (text, json.dumps(json.loads(text), indent=1), table):
        assert cost_of(each) < json_files.OBJECTS_PER_BYTE * len(each)


def test_values_of_every_kind_are_looked_through() -> None:
    content: list[Any] = [{"a": (torch.zeros(1).expand(1 << 40),)}]
    content.append(content)  # contains itself
    with pytest.raises(ValueError, match="claims to hold"):
        bounds.check_tensors(content, 100)
