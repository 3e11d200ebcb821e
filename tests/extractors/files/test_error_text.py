"""What stands in the place of a file, for every kind of file that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tal_cli.extractors.errors import TalError
from tal_cli.extractors.features.files import load_features
from tal_cli.extractors.files.error_text import stand_in
from tal_cli.extractors.files.json_files import read_json
from tal_cli.extractors.files.weights import read_state
from tal_cli.extractors.video.stream import probe

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
PAGES = (
    b"<!DOCTYPE html><html>",
    b"\xef\xbb\xbf\n<html lang='en'>",
    b'<?xml version="1.0"?>\n<!-- log in -->\n<!doctype HTML PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">',
)
READERS: dict[str, Callable[[Path], object]] = {
    "video.mp4": probe,
    "features.npy": load_features,
    "features.h5": load_features,
    "weights.pth": read_state,
    "weights.safetensors": read_state,
    "annotations.json": read_json,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(("content", "what"), [(b"", "empty"), (POINTER, "git lfs pull"), (PAGES[0], "HTML page")])
def test_every_reader_names_it(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TalError, match=rf"{name}: .*{what}"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_all_kinds(page: bytes) -> None:
    assert "HTML page" in (stand_in(page) or "")


@pytest.mark.parametrize("content", [b"{}", b'<?xml version="1.0"?><ANNOTATION_DOCUMENT>', b"\x89HDF", b"<htmlx>"])
def test_other_content_is_the_file_itself(content: bytes) -> None:
    assert stand_in(content) is None
