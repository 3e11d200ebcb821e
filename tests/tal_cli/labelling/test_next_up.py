"""The queue of the page: suggestions by doubt, stretches that models learn from, else what was seen least."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tal_cli.labelling import evidence
from tal_cli.labelling.evidence import keep_evidence, load_evidence
from tal_cli.labelling.next_up import Evidence, Item, next_up
from tal_cli.labelling.project.document import PENDING, Annotation, Document, VideoEntry
from tal_cli.labelling.session import Events, Session

VIDEOS = (("a", 100.0), ("b", 100.0))
RANKED = Evidence([Item("b", 20, 28, "unlike", 1.0)], {"walk": 0.6})


def suggestion(name: str, start: float, score: float, label: str = "groom") -> Annotation:
    return Annotation(name, label, start, start + 2, score=score, status=PENDING, source="model")


def document(*found: Annotation, reviewed: tuple[tuple[float, float], ...] = ()) -> Document:
    suggestions = {item.id: item for item in found}
    return Document(videos={"a": VideoEntry({}, {}, suggestions, reviewed), "b": VideoEntry({}, reviewed=())})


def test_what_is_nearest_to_its_labels_threshold_comes_first() -> None:
    found = document(suggestion("x", 10, 0.6), suggestion("y", 30, 0.32), suggestion("z", 50, 0.6, "walk"))
    items = next_up(found, VIDEOS, set(), Evidence(shown_from={"walk": 0.6}))
    assert [item.start for item in items] == [50, 30, 10]
    assert items[0].why == "walk? score 0.60, near the threshold 0.60; 0 examples so far"
    assert [item.start for item in next_up(found, VIDEOS, {items[0].id})] == [30, 10]  # what is done is left out


def test_rare_labels_are_first_among_equals() -> None:
    found = document(suggestion("x", 10, 0.3), suggestion("y", 30, 0.3, "walk"))
    found.videos["b"].annotations["n"] = Annotation("n", "groom", 1, 2)
    assert [item.start for item in next_up(found, VIDEOS, set())] == [30, 10]


def test_stretches_of_models_are_joined_in_and_reviewed_ones_left_out() -> None:
    ranked = (Item("b", 20, 28, "unlike", 1.0), Item("a", 5, 13, "walk?", 0.95), Item("a", 60, 68, "bite?", 0.9))
    found = document(suggestion("x", 10, 0.35), suggestion("y", 30, 0.5), reviewed=((58.0, 70.0),))
    items = next_up(found, VIDEOS, set(), Evidence(ranked))
    assert [(item.video, item.start) for item in items] == [("b", 20), ("a", 5), ("a", 30)]  # one item a stretch


def test_without_a_model_the_least_seen_videos_come_first() -> None:
    items = next_up(document(reviewed=((0.0, 90.0),)), VIDEOS, set())
    assert items[0].video == "b" and items[0].end - items[0].start == 10
    assert "not looked at yet" in items[0].why


def test_a_ranking_outlives_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))
    keep_evidence(tmp_path / "labels.json", RANKED, {"q"})
    assert load_evidence(tmp_path / "labels.json") == (RANKED, {"q"})
    assert load_evidence(tmp_path / "other.json") == (Evidence(), set())


@pytest.mark.parametrize("first", [lambda session: session.settle("p", True), lambda session: session.take(RANKED)])
def test_two_requests_at_once_both_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Callable[[Session], None]
) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))
    path = tmp_path / "labels.json"
    session = Session([], path, "", "given", Events())
    second = threading.Thread(target=session.settle, args=("q", True))
    write = evidence.write_atomically

    def slowly(*arguments: Any) -> None:
        if threading.current_thread() is not second:  # the other request comes before this one has written
            second.start()
            second.join(0.3)
        write(*arguments)

    monkeypatch.setattr(evidence, "write_atomically", slowly)
    first(session)
    second.join()
    kept, done = load_evidence(path)
    assert list(kept.ranked) == list(session.evidence.ranked) and done == session.done
