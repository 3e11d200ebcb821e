"""`tal stats`: time budgets, bouts, transitions and ethograms of labelled behaviour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tal_cli import console
from tal_cli.commands.options import LabelNames, MinScore, Quiet, SubjectNames
from tal_cli.commands.printing import form_for, print_json, print_or_write, print_table, table_text
from tal_cli.extractors.errors import UsageError
from tal_cli.safe_text import printable
from tal_cli.spreadsheets import csv_bytes

if TYPE_CHECKING:
    from tal_cli.behaviour.selection import Interval
    from tal_cli.behaviour.sessions import Session
    from tal_cli.behaviour.tables import Row

EXAMPLE = "Example: tal stats labels.boris --by label,subject --bins 60"
FORMATS = {".csv": "csv", ".json": "json", ".svg": "svg", ".png": "png"}
CLOSED = "closed"
NAMED = 3  # videos that a warning names


def stats(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Annotations in any format, or results of `tal detect`.")
    ],
    by: Annotated[
        str,
        typer.Option(
            metavar="FIELD,...",
            help="What to tell apart: video, observation, subject, label, category, group, modifiers.",
        ),
    ] = "video,subject,label",
    bins: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECONDS|closed", help="Length of time bins; `closed` as well: closed at both ends, as in BORIS."
        ),
    ] = None,
    transitions: Annotated[
        bool, typer.Option("--transitions", help="Also what follows what; with modifiers, if --by names them.")
    ] = False,
    latencies: Annotated[
        bool, typer.Option("--latencies", help="Also seconds from the end of each label to the start of others.")
    ] = False,
    after: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Also seconds from each start of LABEL to what follows (repeatable)."),
    ] = None,
    observation: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Observation or video that counts (repeatable).")
    ] = None,
    subject: SubjectNames = None,
    label: LabelNames = None,
    interval: Annotated[
        str,
        typer.Option(
            metavar="all|events|observation|subject|FROM:TO",
            help="Time that counts: all; from the first to the last event; what the source says was observed; from the "
            "first to the last event of each subject; or seconds.",
        ),
    ] = "all",
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Label whose time does not count as watched (repeatable)."),
    ] = None,
    absent: Annotated[
        bool, typer.Option("--absent", help="Also rows of subjects and labels that do not occur.")
    ] = False,
    min_score: MinScore = None,
    videos: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Video files, for lengths that the annotations do not tell.")
    ] = None,
    format: Annotated[
        Literal["table", "csv", "json", "svg", "png"] | None,
        typer.Option(
            "--format", "-f", metavar="table|csv|json|svg|png", help="Output format. Default: by the file's suffix."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: standard output.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Count and time what was labelled: bouts, their lengths and intervals, latency, transitions.

    Shares are of the time that was watched. In bins, a bout counts where it starts, and its seconds where it passes.
    svg and png are ethograms.
    """
    from tal_cli.behaviour.budget import Watch
    from tal_cli.behaviour.selection import Selection, in_interval, keep_scores, observations_of, parse_interval
    from tal_cli.behaviour.sessions import sessions_of
    from tal_cli.behaviour.tables import FIELDS, latency_tables, marker_rows, stat_rows, transition_tables
    from tal_cli.datasets.convert import merge, with_lengths
    from tal_cli.datasets.formats.values import How
    from tal_cli.datasets.video_facts import VideoFacts
    from tal_cli.inputs import find_videos

    fields = tuple(field.strip() for field in by.split(","))
    if unknown := [field for field in fields if field not in FIELDS]:
        raise UsageError(f"--by {by}: no such field: {unknown[0]}", f"use some of {', '.join(FIELDS)}")
    step, is_closed = bin_options(bins or ())
    span = parse_interval(interval)
    chosen = format or form_for(output, FORMATS)
    facts = VideoFacts([] if videos is None else find_videos(videos))
    annotations = observations_of(merge(files, How(facts=facts), Path()), observation or ())
    annotations, untold = with_lengths(keep_scores(annotations, min_score or 0.0), facts)
    selection = Selection.named([annotations], subject or (), label or ())
    for option, names in (("--exclude", exclude), ("--after", after)):
        Selection.named([annotations], (), names or (), option)
    if untold:
        console.warn(
            f"nothing tells the length of {_named(untold)}: taken to end with the last instance, so shares may be too "
            "large; --videos DIR names the folder of the videos"
        )
    whole = sessions_of(annotations)
    _warn_of_ends(whole, span)
    sessions = [selection.of_subjects(in_interval(session, span)) for session in whole]
    counted = [replace(session, bouts=selection.of(session.bouts)) for session in sessions]
    if chosen in ("svg", "png"):
        from tal_cli.behaviour.ethogram import ethogram

        form: Literal["svg", "png"] = "svg" if chosen == "svg" else "png"
        print_or_write(ethogram(counted, form, annotations.definitions), output)
        return
    watch = Watch(frozenset(exclude or ()), of_subject=span == "subject")
    rows = stat_rows(sessions, annotations, fields, selection, watch, step, is_closed=is_closed, with_absent=absent)
    document: dict[str, Any] = {"rows": rows}
    if transitions or chosen == "json":
        document["transitions"] = transition_tables(counted, modifiers="modifiers" in fields)
    if latencies:
        document["latencies"] = latency_tables(counted)
    if after:
        document["after"] = marker_rows(sessions, after, selection)
    if chosen == "json" and output is None:
        print_json(document)
    elif chosen == "json":
        import json

        print_or_write((json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode(), output)
    elif chosen == "csv":
        print_or_write(b"\n".join(map(_csv, _tables(document, fields, step, is_whole=True))), output)
    else:
        _print(_tables(document, fields, step), output)
    if not rows:
        console.note("nothing is labelled")


def _warn_of_ends(sessions: Iterable[Session], interval: Interval) -> None:
    late = [session for session in sessions if isinstance(interval, tuple) and interval[1] > session.end + 1e-6]
    if late:
        console.warn(
            f"the interval ends after {_named([session.name for session in late])}; shares are of the whole interval"
        )


def _named(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(map(printable, names[:NAMED])) + (f" and {more} more" if more > 0 else "")


def bin_options(told: Sequence[str]) -> tuple[float | None, bool]:
    """Length of bins in seconds, and whether they are closed at both ends. Raises UsageError."""
    parts = [part for text in told for part in text.split(",")]
    numbers = [part for part in parts if part != CLOSED]
    try:
        steps = [float(number) for number in numbers]
    except ValueError:
        raise UsageError(f"--bins {','.join(told)}: not seconds", "for example --bins 60") from None
    if len(steps) > 1 or any(not 0 < step < float("inf") for step in steps) or (CLOSED in parts and not steps):
        raise UsageError(f"--bins {','.join(told)}: expected one length above 0 s", "for example --bins 60,closed")
    return (steps[0] if steps else None), CLOSED in parts


@dataclass(frozen=True)
class _Table:
    """A header, and rows of values."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


def _tables(
    document: dict[str, Any], fields: Sequence[str], step: float | None, *, is_whole: bool = False
) -> list[_Table]:
    """What was counted, as tables; `is_whole` with columns that are for computing rather than reading."""
    rows = document["rows"]
    if is_whole:
        names = list(dict.fromkeys(name for row in rows for name in row)) or ["video", "subject", "label"]
    else:
        numbers = ("count", "seconds", "share", "mean", "sd", "interval_mean", "interval_sd", "latency")
        names = [*(["video"] if step is not None and "video" not in fields else []), *(["bin"] if step else [])]
        names += [*fields, *numbers]
    found = [_Table(names, [[row.get(name) for name in names] for row in rows])]
    if told := document.get("transitions"):
        lines = zip(told["names"], told["number"], strict=True)
        found.append(_Table(("then", *told["names"]), [(name, *map(_number, row)) for name, row in lines]))
    if told := document.get("latencies"):
        found += [_of_rows(told["summary"]), _of_rows(told["pairs"])]
    if told := document.get("after"):
        found.append(_of_rows(told))
    return [table for table in found if table.header]


def _of_rows(rows: Sequence[Row]) -> _Table:
    return _Table(list(rows[0]) if rows else (), [list(row.values()) for row in rows])


def _number(value: float) -> str:
    return f"{value:g}"


def _print(tables: Sequence[_Table], output: Path | None) -> None:
    texts = [[table.header, *([_text(value) for value in row] for row in table.rows)] for table in tables]
    if output is not None:
        print_or_write("\n".join(map(table_text, texts)).encode(), output)
        return
    for number, (header, *rows) in enumerate(texts):
        if number:
            print()
        print_table(header, rows)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return _bin(value)
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value))


def _bin(edges: Sequence[float]) -> str:
    return "-".join(f"{edge:.10g}" for edge in edges)


def _csv(table: _Table) -> bytes:
    rows = [[_bin(value) if isinstance(value, list) else value for value in row] for row in table.rows]
    return csv_bytes([table.header, *rows])
