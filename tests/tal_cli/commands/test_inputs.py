"""From arguments to sources."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.extractors.errors import UsageError
from tal_cli.inputs import VIDEO_SUFFIXES, _Found, _name, gather


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(arguments: list[str], **kwargs: object) -> list[str]:
    return [source.name for source in gather(arguments, **kwargs).sources]  # type: ignore[arg-type]


def test_folders_are_searched_recursively_for_videos(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "deep/er/b.MKV", "notes.txt", ".hidden/c.mp4", ".d.mp4")
    assert names([str(tmp_path)]) == ["a", "b"]


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_a_folder_is_searched_for_every_kind_of_video(tmp_path: Path, suffix: str) -> None:
    make(tmp_path, f"clip{suffix.upper()}")
    assert names([str(tmp_path)]) == ["clip"]


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    make(tmp_path, "here/a.mp4", "there/b.mp4")
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "there")
    (tmp_path / "here" / "again").symlink_to(tmp_path / "there")
    (tmp_path / "there" / "loop").symlink_to(tmp_path / "here")
    assert sorted(names([str(tmp_path / "here")])) == ["a", "b"]


def test_feature_files_in_a_folder_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "clips/a.mp4", "clips/a.npy", "clips/b.npy", "features/a.npy")
    assert names([str(tmp_path / "clips")]) == ["a"]
    assert "2 feature files ignored" in capsys.readouterr().err
    assert [problem.reason for problem in gather([str(tmp_path / "features")]).problems] == [
        "no video file in this folder"
    ]
    assert "1 feature file ignored" in capsys.readouterr().err


def test_a_byte_order_mark_is_no_part_of_a_path(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    assert names(["-"], stdin=io.BytesIO(f"\ufeff{tmp_path}/a.mp4\n".encode())) == ["a"]
    assert names(["-"], stdin=io.BytesIO(f"{tmp_path}/a.mp4\r\n".encode("utf-16"))) == ["a"]


def test_files_are_taken_whatever_their_suffix(tmp_path: Path) -> None:
    make(tmp_path, "clip.bin")
    assert names([str(tmp_path / "clip.bin")]) == ["clip"]


def test_glob_patterns(tmp_path: Path) -> None:
    make(tmp_path, "a1.mp4", "a2.mp4", "b.mp4", "x/a3.mp4", "we[i]rd.mp4")
    assert names([str(tmp_path / "a*.mp4")]) == ["a1", "a2"]
    assert names([str(tmp_path / "**" / "a*.mp4")]) == ["a1", "a2", "a3"]
    assert names([str(tmp_path / "we[i]rd.mp4")]) == ["we[i]rd"], "an existing file is no pattern"


def test_standard_input(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "line\nbreak.mp4")
    lines = f"{tmp_path}/a.mp4\n\n{tmp_path}/none.mp4\n".encode()
    found = gather(["-"], stdin=io.BytesIO(lines))
    assert [source.name for source in found.sources] == ["a"]
    assert [problem.reason for problem in found.problems] == ["no such file or folder"]
    nul = f"{tmp_path}/a.mp4\0{tmp_path}/line\nbreak.mp4\0".encode()
    assert names(["-"], null_separated=True, stdin=io.BytesIO(nul)) == ["a", r"line\nbreak"]


def test_what_is_missing_is_one_line_each_and_the_rest_is_found(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    (tmp_path / "empty").mkdir()
    arguments = ["gone.mp4", "no*match", "empty", "a.mp4", "nul\0byte"]
    found = gather([str(tmp_path / name) for name in arguments])
    assert [source.name for source in found.sources] == ["a"]
    assert len(found.problems) == 4
    assert all("\n" not in str(problem) for problem in found.problems)


def test_an_empty_argument_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.mp4")
    monkeypatch.chdir(tmp_path)
    found = gather([""])
    assert (found.sources, [problem.reason for problem in found.problems]) == ((), ["an empty path"])
    assert names(["."]) == ["a"]


def test_a_file_is_taken_once(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    assert names([str(tmp_path), str(tmp_path / "a.mp4"), str(tmp_path / "*.mp4")]) == ["a"]


def test_clashing_stems_get_their_path_in_the_folder(tmp_path: Path) -> None:
    make(tmp_path, "one/x.mp4", "two/x.mp4", "two/y.mp4", "two/y.avi", "z.mp4")
    assert names([str(tmp_path)]) == ["z", "one/x.mp4", "two/x.mp4", "two/y.avi", "two/y.mp4"]


def test_clashes_between_given_folders_and_files(tmp_path: Path) -> None:
    make(tmp_path, "one/x.mp4", "two/x.mp4")
    assert names([str(tmp_path / "one"), str(tmp_path / "two")]) == ["one/x.mp4", "two/x.mp4"]
    assert names([str(tmp_path / "one/x.mp4"), str(tmp_path / "two/x.mp4")]) == ["one/x.mp4", "two/x.mp4"]


def test_no_argument_is_wrong_usage() -> None:
    with pytest.raises(UsageError):
        gather([])


@pytest.mark.skipif(os.name == "nt", reason="file names there are text")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    Path(os.fsdecode(raw)).write_bytes(b"x")
    (name,) = names(["-"], stdin=io.BytesIO(raw + b"\n"))
    assert name.encode("utf-8") == rb"caf\udce9"


PARTS = st.lists(st.sampled_from(["a", "b", "c", "..", "x y"]), min_size=0, max_size=3)


@given(st.sets(st.tuples(PARTS.map(tuple), st.sampled_from(["x.mp4", "x.avi", "y.mp4", "x"])), min_size=1, max_size=12))
def test_names_are_unique_and_stay_inside(files: set[tuple[tuple[str, ...], str]]) -> None:
    paths = {os.path.abspath(Path(*folders, file)): Path(*folders, file) for folders, file in sorted(files)}
    sources = _name([_Found(path, None) for path in paths.values()])
    assert len({source.name for source in sources}) == len(sources)
    for source in sources:
        assert not source.name.startswith("/")
        assert ".." not in source.name.split("/")
