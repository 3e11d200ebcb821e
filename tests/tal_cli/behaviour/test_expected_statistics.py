"""Statistics and agreement as BORIS computes them, on samples, from the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tal_cli import app

FOLDER = Path(os.environ.get("TAL_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "behaviour"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the shared folder is absent: {FOLDER} (set TAL_SHARED)")
ROUNDED, PERCENT = 6e-4, 0.06
INTERVALS = {"full obs": "all", "limit to events": "events", "interval of observation": "observation"}
BUDGET = (("seconds", "total"), ("mean", "mean"), ("sd", "std"))
BY_TURNS = (
    "BORIS reads overlapping bouts by turns when modifiers do not count; they last 30 s, and are one from 10 to 25 s"
)

Options = dict[str, Any]
Output = pytest.CaptureFixture[str]


@cache
def tables() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "expected_statistics.json").read_text())
    return document


def tal(output: Output, *command: str) -> dict[str, Any]:
    assert app.run([*command, "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(output.readouterr().out)
    return document


def each(option: str, values: Iterable[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


def statistics(output: Output, table: dict[str, Any], by: str, *more: str) -> dict[str, Any]:
    options: Options = {"interval": "full obs", "excluded_from_total_time": []} | table.get("options", {})
    names = table.get("observations") or options.get("observations") or [options["observation"]]
    span = INTERVALS.get(options["interval"]) or f"{options['from']}:{options['to']}"
    fields = f"{by},modifiers" if options.get("include_modifiers") else by
    return tal(
        output, "stats", str(FOLDER / table["project"]), "--by", fields, *each("--observation", names), "--interval",
        span, *each("--exclude", options["excluded_from_total_time"]), *more,
    )  # fmt: skip


def subject(name: str) -> str | None:
    return None if name in ("", "No focal subject") else name


def same(found: float | None, told: object, tolerance: float = ROUNDED) -> bool:
    if not isinstance(told, int | float):
        return found is None
    return found is not None and abs(found - told) <= tolerance


def read_by_turns(row: dict[str, Any], options: Options) -> bool:
    """Whether BORIS is wrong: see BY_TURNS."""
    overlap = options["observations"] == ["mice overlaps"] and not options["include_modifiers"]
    return overlap and (row["subject"], row.get("label")) == ("m1", "interact")


@pytest.mark.parametrize("number", range(12))
def test_time_budget(number: int, capsys: Output) -> None:
    table = tables()["time_budget"][number]
    options = table["options"]
    what = "category" if options["mode"] == "by_category" else "label"
    found = statistics(capsys, table, f"subject,{what}", "--absent")["rows"]
    own = {(row["subject"], row[what], row.get("modifiers", "")): row for row in found}
    seen = set()
    for told in table["rows"]:
        name = (subject(told["subject"]), told[what].replace("No category", ""), told.get("modifiers", ""))
        seen.add(name)
        row = own.get(name)
        if told["count"] == "UNPAIRED":  # an interval cuts a bout
            continue
        if row is None:  # with modifiers, of those that the label has somewhere
            assert not told["count"] and options["include_modifiers"]
            continue
        if read_by_turns(told, options):
            assert (told["total"], row["seconds"]) == (20.0, 30.0), BY_TURNS
            continue
        assert row["count"] == told["count"] and same(row["seconds"], told["total"])
        if what == "label":
            assert same(row["mean"], told["mean"]) and same(row["sd"], told["std"])
            assert same(row["interval_mean"], told["gap_mean"]) and same(row["interval_sd"], told["gap_std"])
            assert same(None if row["share"] is None else 100 * row["share"], told["percent"], PERCENT)
    assert {name for name, row in own.items() if row["count"]} <= seen


def test_time_budget_from_bouts(capsys: Output) -> None:
    """Percent is of the time from the subject's first start to its last end, over all observations together."""
    table = tables()["time_budget_from_bouts"]
    found = statistics(capsys, table, "subject,label", "--interval", "subject")["rows"]
    own = {(row["subject"], row["label"]): row for row in found}
    for told in table["rows"]:
        row = own.pop((subject(told["Subject"]), told["Behavior"]))
        assert row["count"] == told["number of occurences"] and same(row["seconds"], told["total duration"])
        assert same(row["mean"], told["duration mean"]) and same(row["sd"], told["duration std dev"])
        assert same(row["interval_mean"], told["inter-event intervals mean"])
        assert same(row["interval_sd"], told["inter-event intervals std dev"])
        share = None if row["share"] is None else 100 * row["share"]
        assert same(share, told["% of total subject observation duration"])
    assert not own


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("name", ["synthetic_time_budget", "synthetic_time_budget_binned"])
def test_synthetic_time_budget(name: str, number: int, capsys: Output) -> None:
    table = tables()[name][number]
    options = table["options"]
    bins = ["--bins", f"{options['bin_s']},closed"] if "bin_s" in options else []
    found = statistics(capsys, table, "observation,subject,label", "--absent", *bins)["rows"]
    own = {}
    for row in found:
        span = "{:.3f}-{:.3f}".format(*row["bin"]) if bins else None
        own[row["observation"], span, row["subject"], row["label"], row.get("modifiers", "")] = row
    for told in table["rows"]:
        place = (told["observation"], told.get("bin"), subject(told["subject"]))
        row = own.pop((*place, told["label"], told.get("modifiers", "")))
        if bins and read_by_turns(told, options):
            continue
        assert row["count"] == told["count"] and same(row["share"], told["proportion"])
        # BORIS's bins have a mean of 0 where nothing is.
        assert all(same(row[a], told[b]) or (a == "mean" and not told["count"]) for a, b in BUDGET)
    assert not any(row["count"] for row in own.values())


@pytest.mark.parametrize("number", range(12))
def test_transitions(number: int, capsys: Output) -> None:
    table = tables()["transitions"][number]
    options = table["options"]
    labels = [] if options["labels"] == "all" else options["labels"]
    more = [*each("--subject", options["subjects"]), *each("--label", labels)]
    found = statistics(capsys, table, "subject,label", *more)["transitions"]
    assert ["|".join(told["entries"]) for told in found["sequences"]] == table["sequences"]
    assert found["names"] == table["columns"]
    what = {"number": "number", "frequency": "share_of_all", "frequencies_after_behaviors": "share"}[options["mode"]]
    for name, row in zip(found["names"], found[what], strict=True):
        assert row == pytest.approx(table["rows"][name], abs=1e-12)


def test_latencies_between_labels(capsys: Output) -> None:
    table = tables()["latency"][0]
    found = statistics(capsys, table, "subject,label", "--latencies")["latencies"]
    keys = ("observation", "subject", "before", "after", "stop", "start", "seconds")
    own = sorted(tuple(row[key] or "No focal subject" for key in keys) for row in found["pairs"])
    told = sorted(tuple(row.values()) for row in table["detail"])
    assert [row[:4] for row in own] == [row[:4] for row in told]
    assert all(
        same(a, b) for row, other in zip(own, told, strict=True) for a, b in zip(row[4:], other[4:], strict=True)
    )
    summary = {(row["subject"], row["before"], row["after"]): row for row in found["summary"]}
    for line in table["summary"]:
        row = summary.pop((subject(line["Subject"]), line["Behavior A"], line["Behavior B"]))
        assert row["count"] == line["count"] and same(row["sd"], line["latency std dev (s)"])
        assert all(same(row[name], line[f"latency {name} (s)"]) for name in ("mean", "median", "min", "max"))
    assert not summary


def test_latencies_after_markers(capsys: Output) -> None:
    table = tables()["latency"][1]
    options = table["options"]
    more = [*each("--subject", options["subjects"]), *each("--label", options["labels"])]
    table = {**table, "observations": [table["observation"]], "options": {}}
    own: dict[tuple[Any, ...], list[float]] = {}
    for row in statistics(capsys, table, "subject,label", *more, *each("--after", options["markers"]))["after"]:
        own.setdefault((row["marker"], row["at"], row["marker_subject"], row["label"], row["subject"]), []).append(
            row["seconds"]
        )
    for mark in table["markers"]:
        place = (mark["marker"], mark["at"], subject(mark["subject"]))
        for told in mark["latencies"]:
            assert own.pop((*place, told["label"], subject(told["subject"]))) == pytest.approx(told["all"], abs=ROUNDED)
        if not mark["latencies"]:
            assert own.pop((*place, None, None)) == [None]
    assert not own


def agree(output: Output, table: dict[str, Any], names: Sequence[str], *more: str) -> dict[str, Any]:
    options, path = table["options"], str(FOLDER / table["project"])
    labels = [] if options.get("labels", "all") == "all" else options["labels"]
    modifiers = ["--modifiers"] if options["include_modifiers"] else []
    return tal(
        output, "agree", path, path, "--observations", ",".join(names), *each("--label", labels), *modifiers,
        *each("--subject", options.get("subjects", ())), *more,
    )  # fmt: skip


@pytest.mark.parametrize("number", range(15))
def test_kappa_by_time_unit(number: int, capsys: Output) -> None:
    table = tables()["kappa_time_unit"][number]
    options = table["options"]
    found = agree(capsys, table, options["observations"], "--window", str(options["interval_s"]))
    told = found["kappa_of"]["time"]
    assert (told["units"], told["categories"]) == (table["units"], table["categories"])
    assert found["kappa"]["time"] == pytest.approx(table["kappa"], abs=1e-9)
    assert told["observed"] == pytest.approx(table["observed_agreement"], abs=1e-9)
    assert told["expected"] == pytest.approx(table["expected_agreement"], abs=1e-9)


@pytest.mark.parametrize("number", range(12))
def test_needleman_wunsch(number: int, capsys: Output) -> None:
    table = tables()["needleman_wunsch"][number]
    options = table["options"]
    found = agree(capsys, table, options["observations"], "--window", str(options["interval_s"]))
    assert 100 * found["needleman_wunsch"] == pytest.approx(table["identity_percent"], abs=1e-9)


@pytest.mark.parametrize("number", range(12))
def test_kappa_by_bout(number: int, capsys: Output) -> None:
    table = tables()["kappa_elementary"][number]
    options = table["options"]
    weighted = options["weighted_by_duration"]
    weight = str(options.get("weight_of_a_point", 1.0))
    name = "bouts_by_duration" if weighted else "bouts"
    for row in table["pairs"]:
        found = agree(
            capsys,
            table,
            row["pair"],
            "--window",
            "20",
            "--decimals",
            str(options["decimals"]),
            "--point-weight",
            weight,
        )
        assert found["kappa_of"][name]["units"] == pytest.approx(row.get("weight", row.get("units")), abs=1e-9)
        tolerance = 6e-4 if options["include_modifiers"] and weighted else 1e-9
        assert found["kappa"][name] == pytest.approx(row["kappa"], abs=tolerance)
