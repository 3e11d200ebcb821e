"""Statistics and agreement as BORIS computes them, on samples."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tal_cli.behaviour.agreement import elementary_units, joint_units, kappa, needleman_wunsch, time_units
from tal_cli.behaviour.budget import Budget, budget, budgets, closed_bins, deviation, mean
from tal_cli.behaviour.sessions import Session, sessions_of
from tal_cli.behaviour.transitions import after_markers, latencies, sequence, transitions
from tal_cli.datasets.annotations import GroundTruth
from tal_cli.datasets.formats import load_annotations
from tal_cli.datasets.formats.boris.timeline import NO_SUBJECT

FOLDER = Path(os.environ.get("TAL_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "behaviour"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the shared folder is absent: {FOLDER} (set TAL_SHARED)")
ROUNDED, PERCENT = 6e-4, 0.06
SUBJECTS = (None, "m1", "m2")


@cache
def tables() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "expected_statistics.json").read_text())
    return document


@cache
def sessions(project: str) -> dict[str, Session]:
    return {session.name: session for session in sessions_of(load_annotations(FOLDER / project))}


@cache
def categories() -> dict[str, str]:
    return {item.name: item.category for item in load_annotations(FOLDER / "boris/mice.boris").definitions}


def subject(name: str) -> str | None:
    return None if name in ("", NO_SUBJECT) else name


def modifier_text(item: GroundTruth) -> str:
    return "|".join(",".join(values) or "None" for values in item.modifiers)


def same(found: float | None, told: object, tolerance: float = ROUNDED) -> bool:
    if not isinstance(told, int | float):
        return found is None or (told == "NA" and not found)
    return found is not None and abs(found - told) <= tolerance


def chosen(options: dict[str, Any], project: str) -> list[Session]:
    found = [sessions(project)[name] for name in options["observations"]]
    if options["interval"] == "limit to events":
        ends = [(min(i.start for i in s.bouts), max(i.end for i in s.bouts)) for s in found]
        return [session.within(*span) for session, span in zip(found, ends, strict=True)]
    if options["interval"] == "time interval":
        return [session.within(options["from"], options["to"]) for session in found]
    return [session.within(10, 200) for session in found] if options["interval"] == "interval of observation" else found


@pytest.mark.parametrize("number", range(12))
def test_time_budget(number: int) -> None:
    table = tables()["time_budget"][number]
    options = table["options"]
    with_modifiers, by_category = options["include_modifiers"], options["mode"] == "by_category"

    def key(_: Session, item: GroundTruth) -> tuple[str | None, str, str]:
        what = categories()[item.label] or "No category" if by_category else item.label
        return item.subject, what, modifier_text(item) if with_modifiers else ""

    found = budgets(chosen(options, table["project"]), key, outside=options["excluded_from_total_time"])
    told = {
        (subject(r["subject"]), r.get("label", r.get("category")), r.get("modifiers", "")): r for r in table["rows"]
    }
    assert {name for name in told if told[name]["count"]} == set(found)
    # BORIS counts nothing where an interval cuts a bout.
    told = {name: row for name, row in told.items() if row["count"] != "UNPAIRED"}
    for name, row in told.items():
        own = found.get(name, Budget(0, 0.0, 0.0, None, None, None, None, None))
        if options["observations"] == ["mice overlaps"] and name[:2] == ("m1", "interact") and not with_modifiers:
            assert (row["total"], own.seconds) == (20.0, 30.0), (
                "BORIS reads overlapping bouts by turns; 30 s is the sum"
            )
            continue
        # By category, BORIS gives points 0 s.
        assert own.count == row["count"] and same((own.seconds or 0.0) if by_category else own.seconds, row["total"])
        if not by_category:
            assert same(own.mean, row["mean"]) and same(own.sd, row["std"]) and same(own.interval_mean, row["gap_mean"])
            assert same(own.interval_sd, row["gap_std"])
            assert same(None if own.share is None else 100 * own.share, row["percent"], PERCENT)


def test_time_budget_from_bouts() -> None:
    """Percent is of the time from the subject's first start to its last end, over all observations together."""
    table = tables()["time_budget_from_bouts"]
    found = [sessions(table["project"])[name] for name in table["observations"]]
    for row in table["rows"]:
        own = [
            [i for i in s.bouts if (i.subject, i.label) == (subject(row["Subject"]), row["Behavior"])] for s in found
        ]
        everything = [i for s in found for i in s.bouts if i.subject == subject(row["Subject"])]
        watched = max(i.end for i in everything) - min(i.start for i in everything)
        result = budget([(watched / len(own), items) for items in own])
        assert result.count == row["number of occurences"] and same(result.seconds, row["total duration"])
        assert same(result.mean, row["duration mean"]) and same(result.sd, row["duration std dev"])
        assert same(result.interval_mean, row["inter-event intervals mean"])
        assert same(result.interval_sd, row["inter-event intervals std dev"])


@pytest.mark.parametrize("number", range(4))
def test_synthetic_time_budget(number: int) -> None:
    table = tables()["synthetic_time_budget"][number]
    options = table["options"]
    for name in options["observations"]:
        rows = [row for row in table["rows"] if row["observation"] == name]
        compare(rows, sessions(table["project"])[name], options)


@pytest.mark.parametrize("number", range(4))
def test_binned_time_budget(number: int) -> None:
    table = tables()["synthetic_time_budget_binned"][number]
    options = table["options"]
    for name in options["observations"]:
        session = sessions(table["project"])[name]
        for (start, end), part in closed_bins(session, options["bin_s"], key_of(options)):
            span = f"{start:.3f}-{end:.3f}"
            rows = [row for row in table["rows"] if row["observation"] == name and row["bin"] == span]
            assert rows
            # BORIS reads overlapping bouts by turns when modifiers do not count; they are one from 10 to 25 s.
            by_turns = name == "mice overlaps" and not options["include_modifiers"]
            rows = [row for row in rows if not by_turns or (row["subject"], row["label"]) != ("m1", "interact")]
            compare(rows, part, options)


def key_of(options: dict[str, Any]) -> Any:
    with_modifiers = options["include_modifiers"]
    return lambda _, item: (item.subject, item.label, modifier_text(item) if with_modifiers else "")


def compare(rows: Iterable[dict[str, Any]], session: Session, options: dict[str, Any]) -> None:
    found = budgets([session], key_of(options), outside=options["excluded_from_total_time"])
    for row in rows:
        own = found.pop((subject(row["subject"]), row["label"], row.get("modifiers", "")), None)
        if own is None:
            assert not row["count"]
            continue
        assert own.count == row["count"] and same(own.seconds, row["total"]) and same(own.mean, row["mean"])
        assert same(own.sd, row["std"]) and same(own.share, row["proportion"])
    assert found.keys() <= {("m1", "interact", "")}


@pytest.mark.parametrize("number", range(12))
def test_transitions(number: int) -> None:
    table = tables()["transitions"][number]
    options = table["options"]
    bouts = sessions(table["project"])[options["observation"]].bouts
    if options["labels"] != "all":
        bouts = tuple(item for item in bouts if item.label in options["labels"])
    sequences = [
        sequence([item for item in bouts if item.subject == name], modifiers=options["include_modifiers"])
        for name in options["subjects"]
    ]
    assert ["|".join(each) for each in sequences] == table["sequences"]
    found = transitions(sequences, options["mode"])
    assert list(found.names) == table["columns"]
    assert np.allclose(found.table, [table["rows"][name] for name in found.names], rtol=0, atol=1e-12)


def test_latencies_between_labels() -> None:
    table = tables()["latency"][0]
    found = [
        (name, who or NO_SUBJECT, each)
        for name in table["observations"]
        for who in SUBJECTS
        for each in latencies([i for i in sessions(table["project"])[name].bouts if i.subject == who])
    ]
    told = sorted(tuple(row.values()) for row in table["detail"])
    own = sorted(
        (name, who, e.before, e.after, round(e.stop, 3), round(e.start, 3), e.seconds) for name, who, e in found
    )
    assert [row[:4] for row in own] == [row[:4] for row in told]
    assert np.allclose([row[4:] for row in own], [row[4:] for row in told], rtol=0, atol=ROUNDED)
    for row in table["summary"]:
        names = [row["Subject"], row["Behavior A"], row["Behavior B"]]
        own_seconds = [each.seconds for _, who, each in found if [who, each.before, each.after] == names]
        assert len(own_seconds) == row["count"] and same(mean(own_seconds), row["latency mean (s)"])
        assert same(deviation(own_seconds), row["latency std dev (s)"] or "NA")


def test_latencies_after_markers() -> None:
    table = tables()["latency"][1]
    options = table["options"]
    bouts = [i for i in sessions(table["project"])[table["observation"]].bouts if i.subject in options["subjects"]]
    found = after_markers(bouts, options["markers"], options["labels"])
    assert [(mark.label, mark.start, mark.subject) for mark, _ in found] == [
        (row["marker"], row["at"], row["subject"]) for row in table["markers"]
    ]
    for (_, times), row in zip(found, table["markers"], strict=True):
        told = {(each["label"], each["subject"]): each["all"] for each in row["latencies"]}
        assert times.keys() == told.keys()
        assert all(np.allclose(times[name], told[name], rtol=0, atol=ROUNDED) for name in told)


def raters(names: list[str], *, areas: bool = True) -> tuple[list[GroundTruth], list[GroundTruth]]:
    """Two raters' bouts. `areas`: whether areas of BORIS's coding maps, which its plugins overlook, are modifiers."""
    first, second = (
        [
            item if areas or item.label != "in nest" else replace(item, modifiers=())
            for item in sessions("boris/mice_raters.boris.gz")[name].bouts
        ]
        for name in names
    )
    return first, second


def units(table: dict[str, Any]) -> tuple[list[str | None], tuple[list[GroundTruth], list[GroundTruth]]]:
    options = table["options"]
    who = [subject(name) for name in options["subjects"]]
    labels = options["labels"]
    first, second = (
        [item for item in bouts if item.subject in who and (labels == "all" or item.label in labels)]
        for bouts in raters(options["observations"])
    )
    return who, (first, second)


@pytest.mark.parametrize("number", range(15))
def test_kappa_by_time_unit(number: int) -> None:
    table = tables()["kappa_time_unit"][number]
    who, pair = units(table)
    options = table["options"]
    codes = time_units(pair, options["interval_s"], who, modifiers=options["include_modifiers"])
    found = kappa(*codes)
    assert found.weight == table["units"] and len({*codes[0], *codes[1]}) == table["categories"]
    assert found.kappa == pytest.approx(table["kappa"], abs=1e-9)
    assert found.observed == pytest.approx(table["observed_agreement"], abs=1e-9)
    assert found.expected == pytest.approx(table["expected_agreement"], abs=1e-9)


@pytest.mark.parametrize("number", range(12))
def test_needleman_wunsch(number: int) -> None:
    table = tables()["needleman_wunsch"][number]
    _, pair = units(table)
    codes = joint_units(pair, table["options"]["interval_s"], modifiers=table["options"]["include_modifiers"])
    assert 100 * needleman_wunsch(*codes) == pytest.approx(table["identity_percent"], abs=1e-9)


@pytest.mark.parametrize("number", range(12))
def test_kappa_by_bout(number: int) -> None:
    table = tables()["kappa_elementary"][number]
    options = table["options"]
    weighted, modifiers = options["weighted_by_duration"], options["include_modifiers"]
    for row in table["pairs"]:
        first, second, weights = elementary_units(
            raters(row["pair"], areas=False), decimals=options["decimals"], modifiers=modifiers,
            point_weight=options.get("weight_of_a_point", 1.0),
        )  # fmt: skip
        found = kappa(first, second, weights if weighted else None)
        assert found.weight == pytest.approx(row.get("weight", row.get("units")), abs=1e-9)
        assert found.kappa == pytest.approx(row["kappa"], abs=6e-4 if modifiers and weighted else 1e-9)
