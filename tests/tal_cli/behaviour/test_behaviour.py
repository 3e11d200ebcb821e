"""Statistics and agreement on a few made-up bouts, and their commands."""

from __future__ import annotations

import csv
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numbered_videos import write_numbered_video

from tal_cli import app
from tal_cli.behaviour.agreement import aligned, elementary_units, kappa, needleman_wunsch, time_units
from tal_cli.behaviour.bouts import Bout, Counts, match
from tal_cli.behaviour.budget import Watch, bin_budgets, bins, budgets, closed_bins
from tal_cli.behaviour.comparison import Rules, agreement, pairs_of
from tal_cli.behaviour.frames import frame_span, frame_times
from tal_cli.behaviour.sessions import Session, sessions_of
from tal_cli.behaviour.transitions import latencies, sequence, transitions
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations

RUN = [GroundTruth("run", start, end, subject="Rex") for start, end in ((1.0, 3.0), (5.0, 6.0), (9.0, 12.0))]
BARK = [GroundTruth("bark", time, time, "point", "Rex") for time in (2.0, 10.0)]
SESSION = Session("day", "day", 20.0, (*RUN, *BARK))


def key(_: Session, item: GroundTruth) -> str:
    return item.label


def annotations(*items: GroundTruth, **more: object) -> Annotations:
    video = VideoAnnotation("a", "training", 20.0, 25.0, items, **more)  # type: ignore[arg-type]
    return Annotations("", {"a": video}, tuple(sorted({item.label for item in items})))


def test_a_budget_counts_and_times() -> None:
    found = budgets([SESSION], key)
    run, bark = found["run"], found["bark"]
    assert (run.count, run.seconds, run.share, run.mean, run.latency) == (3, 6.0, 0.3, 2.0, 1.0)
    assert run.sd == pytest.approx(1.0) and run.interval_mean == pytest.approx(2.5)
    assert (bark.count, bark.seconds, bark.share, bark.mean, bark.interval_mean) == (2, None, None, None, 8.0)
    other = [GroundTruth("run", 4.0, 4.5, subject="Tim")]
    pooled = budgets([Session("day", "day", 20.0, (*RUN, *other))], key)["run"]
    assert pooled.count == 4 and pooled.interval_mean == pytest.approx(2.5), "intervals are a subject's own"
    less = budgets(
        [Session("day", "day", 20.0, (*RUN, GroundTruth("rest", 12.0, 17.0, subject="Rex")))],
        key,
        watch=Watch(frozenset({"rest"})),
    )
    assert less["run"].share == pytest.approx(6 / 15)


def test_bins_add_up_unless_they_are_closed() -> None:
    assert bins(SESSION, 8.0) == [(0.0, 8.0), (8.0, 16.0), (16.0, 20.0)]
    parts = [found.get("run") for _, found in bin_budgets(SESSION, 10.0, key)]
    assert [(part.count, part.seconds) for part in parts if part] == [(3, 4.0), (0, 2.0)]
    points = [found["bark"].count for _, found in bin_budgets(SESSION, 10.0, key)]
    assert points == [1, 1]
    twice = [budgets([part], key)["bark"].count for _, part in closed_bins(SESSION, 10.0, key)]
    assert twice == [2, 1], "a point at the edge counts on both sides"


def test_closed_bins_hold_what_begins_at_their_end_but_not_what_ends_at_their_start() -> None:
    bouts = (GroundTruth("run", 5.0, 10.0), GroundTruth("dig", 10.0, 12.0), GroundTruth("sit", 10.0, 10.0))
    parts = [budgets([part], key) for _, part in closed_bins(Session("day", "day", 20.0, bouts), 10.0, key)]
    assert [{name: (told.count, told.seconds) for name, told in part.items()} for part in parts] == [
        {"run": (1, 5.0), "dig": (1, 0.0), "sit": (1, 0.0)}, {"dig": (1, 2.0), "sit": (1, 0.0)}
    ]  # fmt: skip


def test_time_that_does_not_count_is_a_subjects_own_and_a_bins_own() -> None:
    rests = (GroundTruth("rest", 12.0, 17.0, subject="Rex"), GroundTruth("rest", 0.0, 9.0, subject="Tim"))
    day = Session("day", "day", 20.0, (*RUN, *rests, GroundTruth("nap", 17.0, 18.0, subject="Rex")))
    watch = Watch(frozenset({"rest", "nap"}))
    watched = {label: told.watched for label, told in budgets([day], key, watch=watch).items()}
    assert watched == {"run": 14.0, "rest": 20.0, "nap": 20.0}, "labels that do not count have all of the time"
    both = replace(day, bouts=(*day.bouts, GroundTruth("run", 0.0, 1.0, subject="Tim")))
    assert budgets([both], key, watch=watch)["run"].watched == 20.0 - (6 + 9) / 2
    in_bins = [found["run"].watched for _, found in bin_budgets(day, 10.0, key, watch) if "run" in found]
    assert in_bins == [10.0, 4.0]


def test_bins_list_labels_in_one_order() -> None:
    later = (GroundTruth("jump", 0.5, 1.4), GroundTruth("run", 1.6, 2.5))
    orders = [list(found) for _, found in bin_budgets(Session("day", "day", 3.0, later), 1.0, key)]
    assert orders == [["jump"], ["jump", "run"], ["run"]], "jump, which only goes on there, comes first"


def test_bins_know_what_was_not_reviewed() -> None:
    (session,) = sessions_of(annotations(*RUN, *BARK, reviewed=((0.0, 4.0), (8.0, 11.0))))
    found = {span: parts["run"] for span, parts in bin_budgets(session, 5.0, key) if "run" in parts}
    assert {span: (part.count, part.seconds) for span, part in found.items()} == {
        (0.0, 5.0): (1, 2.0), (5.0, 10.0): (1, 1.0), (10.0, 11.0): (0, 1.0)
    }  # fmt: skip
    assert [part.share for part in found.values()] == [2 / 4, 1 / 2, 1.0]
    closed = {span: part.length for span, part in closed_bins(session, 5.0, key)}
    assert closed == {(0.0, 5.0): 4.0, (5.0, 10.0): 2.0, (10.0, 11.0): 1.0}


def test_sequences_and_transitions() -> None:
    found = sequence([*RUN, *BARK, GroundTruth("dig", 5.5, 7.0)])
    assert found == ["run", "run+bark", "run", "dig+run", "dig", "run", "run+bark"]
    table = transitions([found], "frequencies_after_behaviors")
    assert table.names == ("dig", "dig+run", "run", "run+bark")
    assert table.table.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1 / 3, 0, 2 / 3], [0, 0, 1, 0]]
    assert [(e.before, e.after, e.seconds) for e in latencies([*RUN[:2], *BARK[:1]])] == [
        ("run", "bark", -1.0), ("bark", "run", 3.0)
    ]  # fmt: skip


def test_states_at_a_point_are_in_the_order_in_which_they_began() -> None:
    """As BORIS has it; and a state that ends where it starts does not go on for ever."""
    bouts = [GroundTruth("run", 1.0, 5.0), GroundTruth("dig", 2.0, 4.0), GroundTruth("bark", 3.0, 3.0, "point")]
    assert sequence(bouts) == ["run", "dig+run", "run+dig+bark", "run"]
    assert sequence([*bouts, GroundTruth("eat", 3.0, 3.0)]) == [
        "run", "dig+run", "run+dig+bark", "dig+eat+run", "dig+run", "run"
    ]  # fmt: skip


def test_sessions_are_what_was_reviewed() -> None:
    (session,) = sessions_of(annotations(*RUN, *BARK, reviewed=((0.0, 4.0), (8.0, 11.0))))
    assert session.length == 7.0 and [item.start for item in session.bouts] == [1.0, 2.0, 9.0, 10.0]
    assert sessions_of(annotations(*RUN, reviewed=())) == []


def test_kappa_of_known_codes() -> None:
    found = kappa(list("aabb"), list("aaba"))
    assert (found.observed, found.expected, found.kappa) == (0.75, 0.5, 0.5)
    assert kappa(["a"], ["a"]).kappa == 1.0 and kappa([], []).kappa == 1.0


def test_units_of_time_and_of_bouts() -> None:
    first, second = (
        [GroundTruth("run", 0.0, 2.0)],
        [GroundTruth("run", 1.0, 2.0), GroundTruth("bark", 4.0, 4.0, "point")],
    )
    assert time_units((first, second), 1.0, [None]) == (
        ["|run", "|run", "|run", "", ""], ["", "|run", "|run", "", "|bark"]
    )  # fmt: skip
    codes = elementary_units((first, second), point_weight=0.5)
    assert codes == (["|run", "|run", ""], ["", "|run", "|bark"], [1.0, 1.0, 0.5])


def test_alignment() -> None:
    assert needleman_wunsch(list("abcd"), list("abcd")) == 1.0
    assert aligned(list("abcd"), list("bcd")) == (3, 4) and aligned([], list("ab")) == (0, 2)


@given(*[st.text("abc", max_size=12)] * 2)
def test_alignment_by_its_definition(first: str, second: str) -> None:
    score: dict[tuple[int, int], int] = {}
    for i, j in itertools.product(range(len(first) + 1), range(len(second) + 1)):
        ways = [score[i - 1, j - 1] + (1 if first[i - 1] == second[j - 1] else -1)] if i and j else []
        ways += [score[place] - 1 for place in ((i - 1, j), (i, j - 1)) if place in score]
        score[i, j] = max(ways, default=0)
    i, j = len(first), len(second)
    columns = []
    while i or j:
        same = bool(i and j) and first[i - 1] == second[j - 1]
        columns.append(same)
        if i and j and score[i, j] == score[i - 1, j - 1] + (1 if same else -1):
            i, j = i - 1, j - 1
            continue
        columns[-1] = False
        i, j = (i - 1, j) if i and score[i, j] == score[i - 1, j] - 1 else (i, j - 1)
    assert aligned(first, second) == (sum(columns), len(columns))


def test_bouts_are_matched_once_by_score() -> None:
    truth = [Bout("run", 0.0, 10.0), Bout("run", 20.0, 30.0), Bout("bark", 5.0, 5.0)]
    guesses = [
        Bout("run", 0.0, 10.0, 0.5), Bout("run", 1.0, 10.0, 0.9), Bout("run", 24.0, 30.0, 0.4), Bout("bark", 5.4, 5.4),
        Bout("dig", 0.0, 10.0),
    ]  # fmt: skip
    assert match(truth, guesses, 0.5, 0.5) == Counts(3, 2, 0)
    assert match(truth, guesses, 0.7, 0.1) == Counts(1, 4, 2)
    assert Counts(1, 1, 2).f1 == 0.4 and Counts().f1 == 0.0


def test_frames_of_an_instance() -> None:
    times = frame_times(10, 10.0)
    assert frame_span(0.2, 0.5, times) == (2, 5) and frame_span(0.21, 0.29, times) == (2, 3)
    assert frame_span(0.3, 0.3, times) == (3, 4) and frame_span(0.95, 5.0, times) == (9, 10)


def test_agreement_is_on_what_both_reviewed() -> None:
    first = annotations(*RUN, *BARK, reviewed=((0.0, 8.0),))
    second = annotations(*RUN[:2], BARK[0])
    assert agreement(pairs_of(first, second), Rules())["kappa"]["time"] == 1.0
    whole = agreement(pairs_of(annotations(*RUN, *BARK), second), Rules())
    assert whole["kappa"]["time"] < 1.0 and whole["f1"]["0.5"] == pytest.approx(6 / 8)
    assert whole["per_label"]["run"]["units"] == {"both": 5, "only_a": 4, "only_b": 0, "neither": 3}
    assert pairs_of(first, Annotations("", {}, ())) == []


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    save_annotations(annotations(*RUN, *BARK), one)
    save_annotations(annotations(*RUN[:2], *BARK), other)
    assert app.run(["stats", str(one), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"video", "subject", "label", "count", "seconds", "share", "mean", "sd", "interval_mean", "interval_sd",
            "latency"} <= set(document["rows"][0])  # fmt: skip
    assert document["rows"][0]["seconds"] == 6.0 and document["transitions"]["names"] == ["run", "run+bark"]
    assert app.run(["stats", str(one), "--by", "label", "--bins", "10", "-f", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["label"], row["bin"], row["count"]) for row in rows] == [
        ("run", "0-10", "3"), ("bark", "0-10", "1"), ("run", "10-20", "0"), ("bark", "10-20", "1")
    ]  # fmt: skip
    assert app.run(["stats", str(one), "-o", str(tmp_path / "x.svg")]) == 0
    assert "<svg" in (tmp_path / "x.svg").read_text()

    assert app.run(["agree", str(one), str(other), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert {"kappa", "needleman_wunsch", "f1", "per_label"} <= set(found) and found["per_label"]["bark"]["kappa"] == 1.0
    assert app.run(["agree", str(one), str(other)]) == 0 and "kappa of time units" in capsys.readouterr().out
    assert (
        app.run(["stats", str(one), "--by", "weather"]) == 2 and app.run(["stats", str(one), "--bins", "closed"]) == 2
    )
    assert app.run(["agree", str(one), str(other), "--observations", "x,y"]) == 2


def boris(*observations: tuple[str, list[list[Any]], list[float]]) -> str:
    """A project of a mouse that can run, bite and dig, filmed for 20 s."""
    kinds = {"run": "State event", "bite": "Point event", "run+dig": "State event"}
    entries = {}
    for name, events, span in observations:
        media = {"length": {f"{name}.mp4": 20.0}, "fps": {f"{name}.mp4": 25.0}}
        entries[name] = {
            "type": "MEDIA", "file": {"1": [f"{name}.mp4"]}, "media_info": media, "events": events,
            "observation time interval": span,
        }  # fmt: skip
    return json.dumps(
        {
            "project_format_version": "7.0",
            "behaviors_conf": {str(n): {"code": c, "type": kind} for n, (c, kind) in enumerate(kinds.items())},
            "subjects_conf": {"0": {"name": "m1"}},
            "observations": entries,
        }
    )


def test_what_counts_of_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = [[2.0, "m1", "run", "", ""], [6.0, "m1", "run", "", ""], [7.0, "", "bite", "", ""]]
    dug = [[1.0, "m1", "run+dig", "", ""], [3.0, "m1", "run+dig", "", ""]]
    (tmp_path / "x.boris").write_text(boris(("day 1, a", ran, [4, 0]), ("day 2", dug, [0, 0])))

    def rows(*options: str) -> list[tuple[Any, ...]]:
        assert app.run(["stats", str(tmp_path / "x.boris"), "-f", "json", *options]) == 0
        found = json.loads(capsys.readouterr().out)["rows"]
        return [(row["subject"], row["label"], row["count"], row["seconds"], row["share"]) for row in found]

    assert rows("--observation", "day 1, a", "--subject", "m1") == [("m1", "run", 1, 4.0, 0.2)]
    assert rows("--label", "bite") == rows("--subject", "") == [(None, "bite", 1, None, None)]
    assert rows("--interval", "observation")[0] == ("m1", "run", 1, 2.0, 2 / 16)
    assert rows("--interval", "events")[0] == ("m1", "run", 1, 4.0, 4 / 5)
    assert rows("--interval", "3:5")[0] == ("m1", "run", 1, 2.0, 1.0)
    assert rows("--by", "label", "--interval", "0:30")[0][-1] == round(4 / 60, 9)
    absent = rows("--by", "subject,label", "--absent")
    assert absent[3:] == [(None, "run", 0, 0.0, 0.0), (None, "run+dig", 0, 0.0, 0.0), ("m1", "bite", 0, None, None)]
    for option in ("--label", "--subject", "--observation", "--exclude", "--after"):
        assert app.run(["stats", str(tmp_path / "x.boris"), option, "sleep"]) == 2
        assert "sleep" in capsys.readouterr().err
    assert app.run(["stats", str(tmp_path / "x.boris"), "--interval", "5:3"]) == 2
    back = str(tmp_path / "back.boris")
    assert app.run(["datasets", "convert", str(tmp_path / "x.boris"), back]) == 0
    told = json.loads(Path(back).read_text())["observations"]
    assert [told[name]["observation time interval"] for name in told] == [[4, 0], [0, 0]]


def test_tables_follow_one_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("video,label,start,end,duration\na,run,1,2,9\na,dig,3,4,9\na,run,5,6,9\n")
    run = ["stats", str(tmp_path / "x.csv"), "--transitions", "--latencies", "--after", "dig"]
    assert app.run([*run, "-f", "csv"]) == 0
    _, matrix, summary, pairs, after = (
        list(csv.reader(io.StringIO(part))) for part in capsys.readouterr().out.split("\n\n")
    )
    assert matrix == [["then", "dig", "run"], ["dig", "0", "1"], ["run", "1", "0"]]
    assert summary[1:] == [["", "run", "dig", "1", *["1.0"] * 4, ""], ["", "dig", "run", "1", *["1.0"] * 4, ""]]
    assert pairs[1] == ["a", "a", "", "run", "dig", "2.0", "3.0", "1.0"]
    assert (
        after[1:]
        == [["a", "a", "dig", "", "3.0", "dig", "", "0.0"], ["a", "a", "dig", "", "3.0", "run", "", "2.0"]][1:]
    )
    assert app.run(run) == 0 and capsys.readouterr().out.count("\n\n") == 4


def test_agreement_on_a_label_whose_name_ends_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of observations whose names hold commas."""
    run, dug = ([[1.0, "", label, "", ""], [3.0, "", label, "", ""]] for label in ("run", "run+dig"))
    (tmp_path / "x.boris").write_text(boris(("a, 1", run, [0, 0]), ("b, 2", dug, [0, 0]), ("c", run, [0, 0])))
    agree = ["agree", *[str(tmp_path / "x.boris")] * 2, "-f", "json"]
    for told in (["--observations", "a, 1,b, 2"], ["--observations", "a, 1", "--observations", "b, 2"]):
        assert app.run([*agree, *told]) == 0
        found = json.loads(capsys.readouterr().out)["per_label"]
        assert found["run"]["units"] == {"both": 0, "only_a": 3, "only_b": 0, "neither": 0}
    assert app.run([*agree, "--observations", "a, 1,c", "--label", "run"]) == 0
    assert json.loads(capsys.readouterr().out)["kappa"] == {"time": 1.0, "bouts": 1.0, "bouts_by_duration": 1.0}


def test_lengths_that_nothing_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two videos that end with their last instance, one is at hand; a third is longer than that."""
    write_numbered_video(tmp_path / "a.mp4", 50, fps=10, sound=None)
    table = "video,label,start,end,duration\na,run,1,2,\nb,run,1,2,\nc,run,1,2,10\n"
    (tmp_path / "x.csv").write_text(table)
    run = ["stats", str(tmp_path / "x.csv"), "-f", "json"]
    assert app.run(run) == 0
    told = capsys.readouterr()
    assert [row["share"] for row in json.loads(told.out)["rows"]] == [0.5, 0.5, 0.1]
    assert "nothing tells the length of a, b: taken to end with the last instance" in told.err
    assert app.run([*run, "--videos", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert [row["share"] for row in json.loads(told.out)["rows"]] == [0.2, 0.5, 0.1]
    assert "the length of b: taken" in told.err
    crossing = {"label": "run", "segment": [1, 2], "part": [1, 2]}
    (tmp_path / "x.json").write_text(json.dumps({"database": {"d": {"duration": 2, "annotations": [crossing]}}}))
    assert app.run(["stats", str(tmp_path / "x.json")]) == 0 and "length" not in capsys.readouterr().err


def test_sums_are_short_and_tables_are_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("video,label,start,end,duration\na,run,0.1,0.3,1\na,run,0.4,0.5,1\n")
    for form in ("csv", "table"):
        assert app.run(["stats", str(tmp_path / "x.csv"), "-f", form, "-o", str(tmp_path / "out")]) == 0
        text = (tmp_path / "out").read_text()
        assert ("0.3,0.3," in text and "000000" not in text) if form == "csv" else "0.300    0.300" in text
    assert app.run(["stats", str(tmp_path / "x.csv"), "-f", "table"]) == 0
    assert capsys.readouterr().out.endswith(text)


def test_an_ethogram_has_the_colours_and_the_order_of_the_file(tmp_path: Path) -> None:
    labels = [
        {"name": "walk", "kind": "state", "color": "#123ABC"},
        {"name": "groom", "kind": "state", "color": "none such"},
    ]
    bouts = [{"label": label, "segment": [1.0, 2.0]} for label in ("groom", "walk")]
    database = {name: {"duration": 10.0 * length, "annotations": bouts} for length, name in enumerate("ab", start=1)}
    (tmp_path / "labels.json").write_text(json.dumps({"version": "tal 1", "labels": labels, "database": database}))
    assert app.run(["stats", str(tmp_path / "labels.json"), "-o", str(tmp_path / "x.svg")]) == 0
    drawn = (tmp_path / "x.svg").read_text()
    assert drawn.count("fill: #123abc") == 2 and "none such" not in drawn
    assert drawn.index("<!-- walk -->") < drawn.index("<!-- groom -->")
    assert drawn.count("<!-- 20") == 2, "one scale of time for both panels"
