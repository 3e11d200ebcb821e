"""`tal stats`: time budgets, bouts, transitions and ethograms of labelled behaviour."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tal_cli import console
from tal_cli.commands.options import MinScore, Quiet
from tal_cli.commands.printing import form_for, print_json, print_or_write, print_table, table_text
from tal_cli.extractors.errors import UsageError
from tal_cli.safe_text import printable

if TYPE_CHECKING:
    from tal_cli.behaviour.budget import Budget
    from tal_cli.behaviour.sessions import Session
    from tal_cli.datasets.annotations import Annotations

EXAMPLE = "Example: tal stats labels.boris --by label,subject --bins 60"
FIELDS = ("video", "subject", "label", "category", "group", "modifiers")
FORMATS = {".csv": "csv", ".json": "json", ".svg": "svg", ".png": "png"}
CLOSED = "closed"
NAMED = 3  # videos that a warning names
DIGITS = 9  # of seconds and shares: sums of times have no sensible more

Row = dict[str, Any]


def stats(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Annotations in any format, or results of `tal detect`.")
    ],
    by: Annotated[
        str, typer.Option(metavar="FIELD,...", help=f"What to tell apart: {', '.join(FIELDS)}.")
    ] = "video,subject,label",
    bins: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECONDS|closed", help="Length of time bins; `closed` as well: closed at both ends, as in BORIS."
        ),
    ] = None,
    transitions: Annotated[bool, typer.Option("--transitions", help="Also what follows what.")] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Label whose time does not count as watched (repeatable)."),
    ] = None,
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
    from tal_cli.behaviour.sessions import sessions_of
    from tal_cli.datasets.convert import VideoFacts, merge, with_lengths
    from tal_cli.datasets.formats.values import How
    from tal_cli.inputs import find_videos

    fields = tuple(field.strip() for field in by.split(","))
    if unknown := [field for field in fields if field not in FIELDS]:
        raise UsageError(f"--by {by}: no such field: {unknown[0]}", f"use some of {', '.join(FIELDS)}")
    step, is_closed = bin_options(bins or ())
    chosen = format or form_for(output, FORMATS)
    facts = VideoFacts([] if videos is None else find_videos(videos))
    merged, untold = with_lengths(merge(files, How(facts=facts), Path()), facts)
    if untold:
        console.warn(
            f"nothing tells the length of {_named(untold)}: taken to end with the last instance, so shares may be too "
            "large; --videos DIR names the folder of the videos"
        )
    annotations = keep_scores(merged, min_score or 0.0)
    sessions = sessions_of(annotations)
    if chosen in ("svg", "png"):
        from tal_cli.behaviour.ethogram import ethogram

        print_or_write(ethogram(sessions, "svg" if chosen == "svg" else "png"), output)
        return
    rows = stat_rows(sessions, annotations, fields, step, exclude or (), is_closed=is_closed)
    document: dict[str, Any] = {"rows": rows}
    if transitions or chosen == "json":
        document["transitions"] = transition_tables(sessions)
    if chosen == "json" and output is None:
        print_json(document)
    elif chosen == "json":
        import json

        print_or_write((json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode(), output)
    elif chosen == "csv":
        print_or_write(_csv(rows).encode(), output)
    else:
        _print(_tables(rows, fields, step, document.get("transitions", {}) if transitions else {}), output)
    if not rows:
        console.note("nothing is labelled")


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


def keep_scores(annotations: Annotations, least: float) -> Annotations:
    """The annotations without instances of lower scores; those without a score stay."""
    from dataclasses import replace

    videos = {
        name: replace(video, segments=tuple(i for i in video.segments if i.score is None or i.score >= least))
        for name, video in annotations.videos.items()
    }
    return replace(annotations, videos=videos)


def stat_rows(
    sessions: Sequence[Session],
    annotations: Annotations,
    fields: Sequence[str],
    step: float | None,
    outside: Sequence[str],
    *,
    is_closed: bool,
) -> list[Row]:
    """Rows of statistics, one for each combination of the fields that occurs."""
    from tal_cli.behaviour.agreement import modifier_text
    from tal_cli.behaviour.budget import bin_budgets, budgets, closed_bins

    about = {item.name: item for item in annotations.definitions}

    def key(session: Session, item: Any) -> tuple[object, ...]:
        known = about.get(item.label)
        told = {
            "video": session.video,
            "subject": item.subject,
            "label": item.label,
            "category": known.category if known else "",
            "group": known.group if known else "",
            "modifiers": modifier_text(item),
        }
        return tuple(told[field] for field in fields)

    apart = [[session] for session in sessions] if "video" in fields or step is not None else [sessions]
    rows: list[Row] = []
    for part in apart:
        if step is None:
            rows += [_row(fields, name, found) for name, found in budgets(part, key, outside=outside).items()]
            continue
        (session,) = part
        parts = (
            ((span, budgets([each], key)) for span, each in closed_bins(session, step, key))
            if is_closed
            else bin_budgets(session, step, key)
        )
        for span, found_in in parts:
            for name, found in found_in.items():
                rows.append({**_row(fields, name, found), "video": session.video, "bin": list(span)})
    return rows


def _row(fields: Sequence[str], name: Any, found: Budget) -> Row:
    from dataclasses import asdict

    told: Row = {"video": None, "subject": None, "label": None}
    numbers = {key: round(v, DIGITS) if isinstance(v, float) else v for key, v in asdict(found).items()}
    return {**told, **dict(zip(fields, name, strict=True)), **numbers}


def transition_tables(sessions: Sequence[Session]) -> dict[str, Any]:
    """Numbers of transitions over all sessions and subjects, and shares of those from the same entry."""
    from tal_cli.behaviour.transitions import sequence, transitions

    sequences = [
        sequence([item for item in session.bouts if item.subject == subject])
        for session in sessions
        for subject in dict.fromkeys(item.subject for item in session.bouts)
    ]
    number, after = (transitions(sequences, mode) for mode in ("number", "frequencies_after_behaviors"))
    return {"names": list(number.names), "number": number.table.tolist(), "share": after.table.tolist()}


def _tables(
    rows: Sequence[Row], fields: Sequence[str], step: float | None, transitions: dict[str, Any]
) -> Iterator[list[Sequence[str]]]:
    """The table of statistics, and that of transitions, each with its header."""
    numbers = ("count", "seconds", "share", "mean", "sd", "interval_mean", "interval_sd", "latency")
    named = ([*(["video"] if "video" not in fields else []), "bin"] if step is not None else []) + list(fields)
    yield [(*named, *numbers), *([_text(row[name]) for name in (*named, *numbers)] for row in rows)]
    if transitions:
        names = transitions["names"]
        lines = zip(names, transitions["number"], strict=True)
        yield [("then", *names), *([name, *(f"{value:g}" for value in row)] for name, row in lines)]


def _print(tables: Iterable[Sequence[Sequence[str]]], output: Path | None) -> None:
    if output is not None:
        print_or_write("\n".join(map(table_text, tables)).encode(), output)
        return
    for number, (header, *rows) in enumerate(tables):
        if number:
            print()
        print_table(header, rows)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return f"{value[0]:g}-{value[1]:g}"
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value))


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["video", "subject", "label"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows)
    return text.getvalue()
