"""`tal combine`: detections and other scores made into the results that benchmarks ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tal_cli import __version__, console
from tal_cli.commands.options import Quiet, finite
from tal_cli.commands.printing import print_path
from tal_cli.extractors.errors import MissingError, UsageError
from tal_cli.safe_text import counted

if TYPE_CHECKING:
    from tal_cli.evaluation.predictions import Predictions
    from tal_cli.fusion.actions import Action

NAMED_AT_MOST = 3
LEVELS = ("sls_pt", "sls_tl", "sls_td")
DECIMALS = 6

app = typer.Typer(
    help="Combine detections: proposals with scores of whole videos, verbs with nouns.",
    epilog="Example: tal combine actions verbs.json nouns.json -o actions.json",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Out = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The JSON to write.")]


@app.command("video-scores", epilog="Example: tal combine video-scores proposals.json cuhk.json -o predictions.json")
def video_scores(
    proposals: Annotated[Path, typer.Argument(metavar="PROPOSALS", help="Results of `tal detect --min-score 0`.")],
    scores: Annotated[
        Path, typer.Argument(metavar="SCORES", help="Class scores of whole videos: JSON, or UntrimmedNet's .npy.")
    ],
    output: Out,
    classes: Annotated[int, typer.Option(min=1, metavar="N", help="A video's best classes that are used.")] = 2,
    top_k: Annotated[
        int, typer.Option(min=1, metavar="N", help="Use at most N proposals per video, best first.")
    ] = 200,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Names of the classes, one a line, if SCORES lacks them."),
    ] = None,
    softmax: Annotated[bool, typer.Option("--softmax", help="SCORES are raw outputs: softmax them first.")] = False,
    quiet: Quiet = False,
) -> None:
    """Label proposals by a classifier of whole videos: score = sqrt(class score x proposal score).

    The way of published results on ActivityNet, whose detectors find segments without labels.
    """
    from tal_cli.evaluation.predictions import load_predictions
    from tal_cli.extractors.files.json_files import read_text
    from tal_cli.fusion.video_scores import label_proposals, load_video_scores

    found = load_predictions(proposals)
    names = read_text(labels).splitlines() if labels else ()
    result, missing = label_proposals(found, load_video_scores(scores, names, softmax=softmax), classes, top_k)
    if missing:
        some = ", ".join(missing[:NAMED_AT_MOST])
        console.warn(f"{scores} has no scores for {len(missing)} videos, which are left out: {some}")
    if found.videos and not result.videos:
        raise MissingError(
            f"{scores} has scores for none of the videos", "are its videos named as those of the proposals?"
        )
    _write(output, {"version": __version__, "results": _results(result), "external_data": {"tool": "tal"}})


@app.command("actions", epilog="Example: tal combine actions verbs.json nouns.json -o actions.json")
def actions(
    verbs: Annotated[Path, typer.Argument(metavar="VERBS", help="Results of `tal detect --min-score 0`.")],
    nouns: Annotated[Path, typer.Argument(metavar="NOUNS", help="The same videos' nouns.")],
    output: Out,
    verb_classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="EPIC_100_verb_classes.csv, which numbers the names.")
    ] = None,
    noun_classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="EPIC_100_noun_classes.csv, which numbers the names.")
    ] = None,
    tiou: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, metavar="X", callback=finite, help="tIoU threshold for a verb and a noun to be paired."
        ),
    ] = 0.5,
    top_k: Annotated[
        int, typer.Option(min=1, metavar="N", help="Keep at most N actions per video, best first.")
    ] = 2000,
    supervision: Annotated[
        str | None, typer.Option(metavar="PT,TL,TD", help="Supervision levels (0 to 5) that a submission declares.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """EPIC-KITCHENS: combine verbs and nouns into actions, as a submission that `tal eval --protocol epic` reads.

    A pair's segment is the mean of both, its score sqrt(verb score x noun score).
    """
    from tal_cli.evaluation.predictions import load_predictions
    from tal_cli.fusion.actions import combine_actions

    levels = _levels(supervision)
    pairs = combine_actions(load_predictions(verbs), load_predictions(nouns), tiou, top_k)
    numbers = (_numbers(verb_classes), _numbers(noun_classes))
    results: dict[str, list[dict[str, Any]]] = {}
    for action in pairs:
        results.setdefault(action.video, []).append(_submitted(action, numbers))
    if not results:
        console.warn("no verb and noun overlap; are both files of the same videos?")
    _write(output, {"version": "0.2", "challenge": "action_detection", **levels, "results": results})


def _levels(text: str | None) -> dict[str, int]:
    """The entries of a submission that say how much supervision went into it."""
    if text is None:
        return {}
    levels = text.split(",")
    if len(levels) != len(LEVELS) or not all(level in "012345" and level for level in levels):
        raise UsageError(f"--supervision {text}: expected three levels from 0 to 5, as in 1,4,3")
    return {name: int(level) for name, level in zip(LEVELS, levels, strict=True)}


def _submitted(action: Action, numbers: Sequence[dict[str, int]]) -> dict[str, Any]:
    names = (action.verb, action.noun)
    verb, noun = (
        _number(name, known, kind) for name, known, kind in zip(names, numbers, ("verb", "noun"), strict=True)
    )
    segment = [round(action.start, DECIMALS), round(action.end, DECIMALS)]
    score = round(action.score, DECIMALS)
    return {"verb": verb, "noun": noun, "action": f"{verb},{noun}", "score": score, "segment": segment}


def _number(name: str, known: dict[str, int], kind: str) -> int:
    if name in known:
        return known[name]
    if name.isdecimal():
        return int(name)
    remedy = f"give EPIC_100_{kind}_classes.csv with --{kind}-classes"
    raise UsageError(f"submissions have class numbers, and nothing says that of the {kind} {name!r}", remedy)


def _numbers(path: Path | None) -> dict[str, int]:
    from tal_cli.datasets.formats.epic import class_names

    return {} if path is None else {name: number for number, name in enumerate(class_names(path))}


def _results(predictions: Predictions) -> dict[str, list[dict[str, Any]]]:
    results: dict[str, list[dict[str, Any]]] = {video: [] for video in predictions.videos}
    columns = (predictions.videos, predictions.labels, predictions.starts, predictions.ends, predictions.scores)
    for video, label, start, end, score in zip(*columns, strict=True):
        segment = [round(float(start), DECIMALS), round(float(end), DECIMALS)]
        results[video].append({"label": label, "score": float(score), "segment": segment})
    for rows in results.values():
        rows.sort(key=lambda row: -row["score"])
    return results


def _write(path: Path, document: dict[str, Any]) -> None:
    from tal_cli.extractors.files.atomic import write_atomically

    write_atomically(path, (json.dumps(document, ensure_ascii=False) + "\n").encode())
    results: dict[str, Iterable[Any]] = document["results"]
    segments = sum(len(list(rows)) for rows in results.values())
    console.note(f"{counted(segments, 'segment')} in {counted(len(results), 'video')}")
    print_path(path)
