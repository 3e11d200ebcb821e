"""The annotation file: ops, undo, journal, backups, other programs' changes."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tal_cli.datasets.annotations import joined
from tal_cli.datasets.formats import load_annotations
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.labelling.frames import FrameTimes
from tal_cli.labelling.project.document import Document, VideoEntry, document_from, parse_labels
from tal_cli.labelling.project.files import AnnotationFile, FileLocked, Journal, Lock
from tal_cli.labelling.project.importing import open_document, suggested, suggestion, with_labels
from tal_cli.labelling.project.ops import Conflict, OpError
from tal_cli.labelling.project.ranges import without
from tal_cli.labelling.project.store import NotSaved, Store

# 30 frames: 29.97 fps with a longer step in the middle.
STEPS = tuple(1001 if number != 10 else 2002 for number in range(30))
TIMES = FrameTimes((1, 30000), 0, STEPS, 64, 48, 29.0, 0.0, "mov", "h264", "yuv420p", False, 12, 80.0)
Open = Callable[[], Store]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))


@pytest.fixture
def open_store(tmp_path: Path, home: None) -> Open:
    """Opens the store of labels.json, as a new start of the program does."""

    def call() -> Store:
        file = AnnotationFile(tmp_path / "labels.json")
        document = open_document(file)
        with_labels(document, parse_labels("groom:g,walk,bite!"), ("m1", "m2"))
        store = Store(file, Journal(file.path), document, "ann", lambda event: None)
        store.replay()
        for name in ("one", "two"):
            document.videos.setdefault(name, VideoEntry({"path": f"{name}.mp4"}, reviewed=()))
        return store

    return call


def change(store: Store, *ops: dict[str, Any], video: str = "one", client: str = "a", **more: Any) -> Any:
    return store.change(video, list(ops), client, more.get("revision"), more.get("request", ""), False, lambda: TIMES)


def bout(identity: str, first: int, last: int, label: str = "groom", **more: Any) -> dict[str, Any]:
    segment = [TIMES.edge(first), TIMES.edge(last + 1)]
    return {"op": "add", "id": identity, "label": label, "segment": segment, **more}


def labels_of(store: Store, video: str = "one") -> list[tuple[str, int, int]]:
    items = store.document.videos[video].annotations.values()
    return sorted((i.label, TIMES.nearest_edge(i.start), TIMES.nearest_edge(i.end) - 1) for i in items)


def test_edges_are_snapped_to_frames_and_said(open_store: Open) -> None:
    store = open_store()
    late = TIMES.edge(3) + 0.004
    answer = change(store, {"op": "add", "id": "x", "label": "groom", "segment": [late, late + 0.001]})
    assert answer["snapped"] == ["x"]
    assert labels_of(store) == [("groom", 3, 3)]
    assert "snapped" not in change(store, bout("y", 11, 29))
    assert store.document.videos["one"].annotations["y"].end == TIMES.duration


@pytest.mark.parametrize(
    "op",
    [
        {"op": "add", "id": "x", "label": "groom", "segment": [0.5, 99]},
        {"op": "add", "id": "x", "label": "groom", "segment": [-1, 0.5]},
        {"op": "add", "id": "x", "label": "groom", "segment": [0.5, 0.5]},
        {"op": "add", "id": "x", "label": "groom", "segment": [0.5, 0.4]},
        {"op": "add", "id": "x", "label": "groom", "segment": [0.5, float("nan")]},
        {"op": "add", "id": "x", "label": "unknown", "segment": [0, 0.5]},
        {"op": "add", "id": "x", "label": "groom", "segment": [0, 0.5], "subject": "a stranger"},
        {"op": "add", "label": "groom", "segment": [0, 0.5]},
        {"op": "update", "id": "missing", "label": "walk"},
        {"op": "update", "id": "a", "by": "somebody else"},
        {"op": "decide", "id": "missing", "status": "accepted"},
        {"op": "reviewed"},
        {"op": "reviewed", "add": [0.5, 0.1]},
        {"op": "labels", "labels": [{"name": "walk"}]},
        {"op": "labels", "labels": [{"name": "groom", "key": "g"}, {"name": "walk", "key": "g"}]},
        {"op": "labels", "labels": [{"name": "groom", "kind": "point"}]},
        {"op": "no such op"},
        "no object",
    ],
)
def test_a_list_of_ops_is_done_whole_or_not_at_all(open_store: Open, op: Any) -> None:
    store = open_store()
    change(store, bout("a", 0, 5))
    before = store.document.to_bytes()
    with pytest.raises(OpError):
        change(store, bout("b", 8, 9), op)
    assert store.document.to_bytes() == before


def test_overlapping_bouts_of_one_label_and_subject_are_joined(open_store: Open) -> None:
    store = open_store()
    change(store, bout("a", 0, 4), bout("b", 10, 14), bout("c", 2, 3, "walk"), bout("d", 2, 3, subject="m1"))
    change(store, bout("e", 15, 16))
    assert labels_of(store) == [("groom", 0, 4), ("groom", 2, 3), ("groom", 10, 14), ("groom", 15, 16), ("walk", 2, 3)]
    change(store, {"op": "update", "id": "b", "segment": [TIMES.edge(4), TIMES.edge(15)]})
    assert labels_of(store) == [("groom", 0, 14), ("groom", 2, 3), ("groom", 15, 16), ("walk", 2, 3)]
    store.undo("one", "a")
    assert labels_of(store)[2] == ("groom", 10, 14)


def test_a_repeated_request_changes_nothing_twice(open_store: Open) -> None:
    store = open_store()
    first = change(store, bout("a", 0, 4), request="r1")
    assert change(store, bout("a", 0, 4), request="r1") == first
    change(store, {"op": "delete", "id": "a"})
    change(store, {"op": "delete", "id": "a"})
    assert change(store, bout("b", 0, 4))["revision"] == change(store, bout("b", 0, 4))["revision"] == 3
    with pytest.raises(Conflict):  # it is another bout, which would be lost in silence
        change(store, bout("b", 7, 9))


def test_two_windows(open_store: Open) -> None:
    store = open_store()
    known = change(store, bout("a", 0, 4), bout("b", 10, 14))["revision"]
    change(store, {"op": "update", "id": "a", "label": "walk"}, client="one", revision=known)
    change(store, {"op": "update", "id": "b", "label": "walk"}, client="two", revision=known)
    with pytest.raises(Conflict) as conflict:
        change(store, {"op": "delete", "id": "a"}, client="two", revision=known)
    assert conflict.value.newer[0]["after"]["label"] == "walk"
    assert labels_of(store) == [("walk", 0, 4), ("walk", 10, 14)]
    change(store, {"op": "delete", "id": "a"}, client="two", revision=store.document.revision)
    assert labels_of(store) == [("walk", 10, 14)]


def some_op(rng: random.Random, store: Store, video: str) -> dict[str, Any]:
    there = list(store.document.videos[video].annotations)
    first = rng.randrange(29)
    new = bout(f"n{rng.random()}", first, rng.randrange(first, 30), rng.choice(("groom", "walk")))
    if not there or rng.random() < 0.4:
        return new if rng.random() < 0.8 else {**new, "label": "bite", "segment": [new["segment"][0]] * 2}
    one = store.document.videos[video].annotations[rng.choice(there)]
    choices: list[dict[str, Any]] = [
        {"op": "delete", "id": one.id},
        {"op": "update", "id": one.id, "comment": str(rng.random())},
        {"op": "update", "id": one.id, "subject": rng.choice((None, "m1", "m2"))},
        {"op": "update", "id": one.id, "segment": new["segment"]},
        {"op": "reviewed", rng.choice(("add", "remove")): new["segment"]},
    ]
    return rng.choice(choices)


@pytest.mark.parametrize("seed", range(5))
def test_undo_of_many_ops_gives_the_state_before(open_store: Open, seed: int) -> None:
    store, rng = open_store(), random.Random(seed)
    states = [store.document.videos["one"].to_text()]
    steps = 0
    for _ in range(200):
        change(store, some_op(rng, store, "two"), video="two")
        op = some_op(rng, store, "one")
        before = store.document.revision
        change(store, op)
        if store.document.revision > before:
            steps += 1
            states.append(store.document.videos["one"].to_text())
    other = store.document.videos["two"].to_text()
    for state in states[-2::-1]:
        assert store.undo("one", "a")["step"]
        assert store.document.videos["one"].to_text() == state
    assert store.undo("one", "a")["step"] == ""
    store.close()
    store = open_store()  # steps outlast the program
    for state in states[1:]:
        store.undo("one", "a", redo=True)
        assert store.document.videos["one"].to_text() == state
    assert store.document.videos["two"].to_text() == other


def test_undo_leaves_alone_what_others_changed_since(open_store: Open) -> None:
    store = open_store()
    change(store, bout("a", 0, 4), {"op": "reviewed", "add": [0.0, TIMES.edge(5)]})
    change(store, {"op": "update", "id": "a", "comment": "seen"}, video="one")
    store._steps["one"].done.pop()  # somebody else's
    store.undo("one", "a")
    assert labels_of(store) == [("groom", 0, 4)] and store.document.videos["one"].reviewed == ()


def test_undo_names_what_it_takes_back(open_store: Open) -> None:
    store = open_store()
    found = [suggestion("one", "groom", TIMES.edge(place), TIMES.edge(place + 3), 0.4) for place in (0, 6)]
    store.put_suggestions(lambda document: suggested(document, "one", found))
    steps: list[tuple[str, list[dict[str, Any]]]] = [
        ("add walk at 0.634 s", [bout("a", 18, 20, "walk")]),
        ("change walk at 0.701 s", [{"op": "update", "id": "a", "segment": [TIMES.edge(20), TIMES.edge(21)]}]),
        ("accept groom at 0.000 s", [{"op": "decide", "id": found[0].id, "status": "accepted"}]),
        ("change walk at 0.200 s", [{"op": "update", "id": found[1].id, "label": "walk"}]),
        ("reject walk at 0.200 s", [{"op": "decide", "id": found[1].id, "status": "rejected"}]),
        ("delete walk at 0.701 s, and 1 more", [{"op": "delete", "id": "a"}, {"op": "delete", "id": found[0].id}]),
        ("reviewed range", [{"op": "reviewed", "add": [0, TIMES.duration]}]),
    ]
    for _, ops in steps:
        change(store, *ops)
    told = [step for step, _ in steps]
    assert [store.undo("one", "a")["step"] for _ in steps] == told[::-1]
    assert [store.undo("one", "a", redo=True)["step"] for _ in steps] == told


def test_renaming_rewrites_annotations_in_one_step(open_store: Open) -> None:
    store = open_store()
    change(store, bout("a", 0, 4), bout("b", 6, 7, "walk"))
    change(store, bout("c", 0, 4), video="two")
    kept = [label.to_json() for label in store.document.labels if label.name != "groom"]
    change(store, {"op": "labels", "labels": kept, "rename": {"groom": "walk"}})
    assert labels_of(store) == [("walk", 0, 4), ("walk", 6, 7)] and labels_of(store, "two") == [("walk", 0, 4)]
    store.undo("one", "a")
    assert labels_of(store) == [("groom", 0, 4), ("walk", 6, 7)] and labels_of(store, "two") == [("groom", 0, 4)]
    assert [label.name for label in store.document.labels] == ["groom", "walk", "bite"]


def test_suggestions_are_decided(open_store: Open) -> None:
    store = open_store()
    found = [suggestion("one", "groom", TIMES.edge(place), TIMES.edge(place + 3), 0.4) for place in (0, 6, 12, 18)]
    store.put_suggestions(lambda document: suggested(document, "one", found))
    accepted, rejected, corrected, left = (item.id for item in found)
    change(store, {"op": "decide", "id": accepted, "status": "accepted"})
    change(store, {"op": "decide", "id": rejected, "status": "rejected"})
    change(store, {"op": "update", "id": corrected, "segment": [TIMES.edge(12), TIMES.edge(16)]})
    change(store, {"op": "decide", "id": corrected, "status": "accepted"})
    entry = store.document.videos["one"]
    assert {key: item.status for key, item in entry.annotations.items()} == {
        accepted: "accepted",
        corrected: "corrected",
    }
    assert all(item.source == "model" and item.score == 0.4 for item in entry.annotations.values())
    assert "original" not in entry.annotations[corrected].to_json()
    assert {key: item.status for key, item in entry.suggestions.items()} == {rejected: "rejected", left: "pending"}
    # A newer run replaces what is undecided, and brings back nothing that was rejected or is there.
    again = [suggestion("one", "groom", TIMES.edge(place), TIMES.edge(place + 3), 0.6) for place in (0, 6, 21)]
    store.put_suggestions(lambda document: suggested(document, "one", again))
    assert {key: item.status for key, item in entry.suggestions.items()} == {
        rejected: "rejected",
        again[2].id: "pending",
    }


def test_a_killed_program_loses_nothing(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    change(store, bout("a", 0, 4))
    store.save()
    change(store, bout("b", 6, 7))
    change(store, {"op": "delete", "id": "a"})
    store._timer.cancel()  # type: ignore[union-attr]
    journal = tmp_path / "labels.json.journal"
    with journal.open("ab") as file:
        file.write(b'{"revision": 4, "edits": [{"wh')  # cut by a power failure
    again = open_store()
    assert labels_of(again) == [("groom", 6, 7)]
    again.undo("one", "a")
    assert labels_of(again) == [("groom", 0, 4), ("groom", 6, 7)]
    assert again.save() and journal.read_bytes() == b""
    assert labels_of(open_store()) == [("groom", 0, 4), ("groom", 6, 7)]


def test_killed_between_the_file_and_the_journal(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    change(store, bout("a", 0, 4))
    journal = tmp_path / "labels.json.journal"
    lines = journal.read_bytes()
    store.save()
    journal.write_bytes(lines)
    assert labels_of(open_store()) == [("groom", 0, 4)]


def test_what_cannot_be_written_is_not_acknowledged(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    change(store, bout("a", 0, 4))

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotSaved, match="No space left"):
        change(store, bout("b", 6, 7))
    assert labels_of(store) == [("groom", 0, 4)] and "No space left" in store.problem
    assert not store.save()
    monkeypatch.undo()
    change(store, bout("c", 8, 9))
    assert [entry["revision"] for entry in store.journal.read()[0]] == [1, 2]
    assert labels_of(open_store()) == [("groom", 0, 4), ("groom", 8, 9)]


def test_another_program_changes_the_file(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    change(store, bout("a", 0, 4))
    store.save()
    path = tmp_path / "labels.json"
    theirs = json.loads(path.read_text())
    theirs["database"]["one"]["annotations"].append({"label": "walk", "segment": [0.1, 0.4]})
    path.write_text(json.dumps(theirs))
    change(store, bout("b", 6, 7))
    assert not store.save()
    assert json.loads(path.read_text()) == theirs
    assert store.difference()["videos"] == {"one": {"mine": 1, "theirs": 1, "changed": 0}}
    store.settle("both")
    assert {label for label, *_ in labels_of(store)} == {"groom", "walk"} and len(labels_of(store)) == 3
    assert len(json.loads(path.read_text())["database"]["one"]["annotations"]) == 3
    kept = [json.loads(item.read_text()) for item in (tmp_path / "labels.json.backups").iterdir()]
    assert theirs in kept


def test_backups(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    backups = tmp_path / "labels.json.backups"
    for number in range(15):
        change(store, bout(f"b{number}", number, number))
        store.save()
        for item in backups.glob("*"):
            os.utime(item, (0, item.stat().st_mtime - 3600))
    assert len(list(backups.iterdir())) == 10
    change(store, bout("last", 20, 21))
    store.save()
    change(store, bout("later", 25, 26))
    store.save()
    assert len(list(backups.iterdir())) == 10


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    content = {
        "version": "x",
        "taxonomy": [1],
        "labels": [{"name": "run", "colour group": 3}],
        "database": {"v": {"url": "u", "annotations": [{"label": "run", "segment": [0, 1], "confidence": "high"}]}},
    }
    document = document_from(tmp_path, content)
    again = json.loads(document.to_bytes())
    assert again["taxonomy"] == [1] and again["labels"][0]["colour group"] == 3
    assert again["database"]["v"]["url"] == "u" and "reviewed" not in again["database"]["v"]
    assert again["database"]["v"]["annotations"][0]["confidence"] == "high"
    assert document_from(tmp_path, again).to_bytes() == document.to_bytes()


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b'{"database": {"v": {"annotations": [{"label": 1}]}}}', b"{"])
def test_a_damaged_file_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(InputError):
        open_document(AnnotationFile(path))
    assert path.read_bytes() == content


def test_one_program_a_file(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "labels.json")
    lock.tell("http://127.0.0.1:1/#t")
    with pytest.raises(FileLocked, match=r"http://127\.0\.0\.1:1/#t") as error:
        Lock(tmp_path / "labels.json")
    assert isinstance(error.value, UsageError)
    lock.release()
    Lock(tmp_path / "labels.json").release()
    assert list(tmp_path.iterdir()) == []


def test_ranges() -> None:
    parts = joined([(3.0, 4.0), (0.0, 1.0), (1.0, 2.0)])
    assert parts == ((0.0, 2.0), (3.0, 4.0))
    assert without(parts, [(0.5, 1.0), (3.5, 9.0)]) == ((0.0, 0.5), (1.0, 2.0), (3.0, 3.5))


def test_labels_on_the_command_line() -> None:
    found = {label.name: (label.kind, label.key) for label in parse_labels("groom:g, walk,bite!,rear:r!,dig!:d")}
    assert found == {
        "groom": ("state", "g"),
        "walk": ("state", ""),
        "bite": ("point", ""),
        "rear": ("point", "r"),
        "dig": ("point", "d"),
    }
    for wrong in ("a:bc", "a,a", "a:x,b:x", ":x"):
        with pytest.raises(ValueError):
            parse_labels(wrong)
    document = Document()
    with_labels(document, parse_labels("groom,go,gag"), ())
    assert [label.key for label in document.labels] == ["g", "o", "a"]


def test_training_reads_the_file(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    point = {"op": "add", "id": "p", "label": "bite", "segment": [TIMES.edge(9)] * 2, "subject": "m1"}
    found = [suggestion("one", "groom", TIMES.edge(20), TIMES.edge(24), 0.4)]
    store.put_suggestions(lambda document: suggested(document, "one", found))
    change(store, bout("a", 0, 4, subject="m2"), point, {"op": "reviewed", "add": [0.0, TIMES.edge(12)]})
    change(store, {"op": "decide", "id": found[0].id, "status": "rejected"})
    store.save()
    video = load_annotations(tmp_path / "labels.json").videos["one"]
    assert [(item.label, item.kind, item.subject, item.start, item.end) for item in video.segments] == [
        ("groom", "state", "m2", 0.0, TIMES.edge(5)),
        ("bite", "point", "m1", TIMES.edge(9), TIMES.edge(9)),
    ]
    assert video.reviewed == ((0.0, TIMES.edge(12)),)
    assert [item.status for item in video.suggestions] == ["rejected"]
    assert load_annotations(tmp_path / "labels.json").videos["two"].is_unseen


@pytest.mark.parametrize(
    ("group", "size", "is_slow"),
    [(250, (320, 240), False), (60, (640, 360), False), (250, (640, 360), True), (600, (352, 96), True)],
)
def test_few_key_frames_make_steps_slow_in_large_pictures(group: int, size: tuple[int, int], is_slow: bool) -> None:
    assert replace(TIMES, longest_group=group, width=size[0], height=size[1]).has_slow_steps is is_slow
