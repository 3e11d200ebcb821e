"""`tal combine`: fuses detections with other scores into the results that benchmarks ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tal_cli import __version__, console
from tal_cli.commands.options import Quiet, finite
from tal_cli.commands.printing import print_path
from tal_cli.datasets.annotations import DECIMALS
from tal_cli.extractors.errors import MissingError, UsageError
from tal_cli.safe_text import counted

if TYPE_CHECKING:
    from tal_cli.evaluation.predictions import Predictions
    from tal_cli.fusion.actions import Action

NAMED_AT_MOST = 3
LEVELS = ("sls_pt", "sls_tl", "sls_td")

app = typer.Typer(
    help="Combine detections with other scores or labels.",
    epilog="Example: tal combine actions verbs.json nouns.json -o actions.json",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Out = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="JSON file to write.")]


@app.command("video-scores", epilog="Example: tal combine video-scores proposals.json cuhk.json -o predictions.json")
def video_scores(
    proposals: Annotated[Path, typer.Argument(metavar="PROPOSALS", help="Results of `tal detect --min-score 0`.")],
    scores: Annotated[
        Path, typer.Argument(metavar="SCORES", help="Video-level class scores: JSON, or UntrimmedNet's .npy.")
    ],
    output: Out,
    classes: Annotated[int, typer.Option(min=1, metavar="N", help="Use the N best classes of each video.")] = 2,
    top_k: Annotated[
        int, typer.Option(min=1, metavar="N", help="Use at most N proposals per video, best first.")
    ] = 200,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Class names, one per line, if SCORES lacks them."),
    ] = None,
    softmax: Annotated[bool, typer.Option("--softmax", help="SCORES are logits: apply softmax first.")] = False,
    quiet: Quiet = False,
) -> None:
    """Label proposals with a video-level classifier: score = sqrt(class score x proposal score).

    This is how published results on ActivityNet are made, where detectors find segments without labels.
    """
    from tal_cli.evaluation.predictions import load_predictions
    from tal_cli.extractors.files.json_files import read_text
    from tal_cli.fusion.video_scores import label_proposals, load_video_scores

    found = load_predictions(proposals)
    names = read_text(labels).splitlines() if labels else ()
    result, missing = label_proposals(found, load_video_scores(scores, names, softmax=softmax), classes, top_k)
    if missing:
        some = ", ".join(missing[:NAMED_AT_MOST])
        console.warn(f"{scores} has no scores for {len(missing)} videos, which are skipped: {some}")
    if found.videos and not result.videos:
        raise MissingError(
            f"{scores} has scores for none of the videos", "check that videos have the same names in both files"
        )
    about = {"tool": "tal"} | (found.run_videos.as_json() if found.run_videos else {})
    _write(output, {"version": __version__, "results": _results(result), "external_data": about})


@app.command("actions", epilog="Example: tal combine actions verbs.json nouns.json -o actions.json")
def actions(
    verbs: Annotated[Path, typer.Argument(metavar="VERBS", help="Results of `tal detect --min-score 0`.")],
    nouns: Annotated[Path, typer.Argument(metavar="NOUNS", help="Nouns of the same videos.")],
    output: Out,
    verb_classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="EPIC_100_verb_classes.csv, which maps names to class numbers.")
    ] = None,
    noun_classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="EPIC_100_noun_classes.csv, which maps names to class numbers.")
    ] = None,
    tiou: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, metavar="X", callback=finite, help="tIoU threshold for pairing a verb with a noun."
        ),
    ] = 0.5,
    top_k: Annotated[
        int, typer.Option(min=1, metavar="N", help="Keep at most N actions per video, best first.")
    ] = 2000,
    supervision: Annotated[
        str | None, typer.Option(metavar="PT,TL,TD", help="Supervision levels to declare (0 to 5 each).")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Combine verbs and nouns into actions: an EPIC-KITCHENS submission, which `tal eval --protocol epic` reads.

    The segment of a pair is the mean of both segments, its score sqrt(verb score x noun score).
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
        console.warn("no verb overlaps a noun; check that both files are of the same videos")
    _write(output, {"version": "0.2", "challenge": "action_detection", **levels, "results": results})


def _levels(text: str | None) -> dict[str, int]:
    """The supervision levels of a submission, by their keys."""
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
    raise UsageError(f"submissions need class numbers, and the number of the {kind} {name!r} is unknown", remedy)


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
