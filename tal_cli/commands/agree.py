"""`tal agree`: how far two people, or a person and a model, agree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tal_cli.commands.options import Format, LabelNames, MinScore, Quiet, SubjectNames, finite
from tal_cli.commands.printing import print_facts, print_json, print_table
from tal_cli.extractors.errors import InputError

EXAMPLE = "Example: tal agree first.json second.json --window 0.5"


def agree(
    first: Annotated[Path, typer.Argument(metavar="A", help="Annotations in any format, or results of `tal detect`.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same of somebody else, or of a model.")],
    window: Annotated[
        float,
        typer.Option(
            min=0.001, metavar="SECONDS", callback=finite, help="Time unit; also how far points may be apart."
        ),
    ] = 1.0,
    tiou: Annotated[str, typer.Option(metavar="X,...", help="tIoU from which segments are the same.")] = "0.3,0.5,0.7",
    observations: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Observations of A and of B, where files have several; given twice, names may hold commas.",
        ),
    ] = None,
    subject: SubjectNames = None,
    label: LabelNames = None,
    modifiers: Annotated[bool, typer.Option("--modifiers", help="Modifiers have to be the same.")] = False,
    decimals: Annotated[
        int, typer.Option(min=0, max=6, metavar="N", help="Decimals of times in the kappa of bouts.")
    ] = 3,
    point_weight: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            callback=finite,
            help="Weight of a point in the kappa of bouts that is weighted by duration.",
        ),
    ] = 1.0,
    min_score: MinScore = None,
    format: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Compute Cohen's kappa, alignment and F1 of two files on the same videos.

    Videos are those of both files; of partly reviewed ones, what both have reviewed. F1 is of B against A.
    """
    from tal_cli.behaviour.comparison import Pair, Rules, agreement, pairs_of
    from tal_cli.behaviour.selection import Selection, keep_scores, observations_of, two_names
    from tal_cli.datasets.convert import merge
    from tal_cli.datasets.formats.values import How
    from tal_cli.evaluation.average_precision import parse_tiou

    sides = [keep_scores(merge([path], How()), min_score or 0.0) for path in (first, second)]
    names = two_names(observations, *sides) if observations else None
    for number, name in enumerate(names or ()):
        sides[number] = observations_of(sides[number], [name])
    selection = Selection.named(sides, subject or (), label or ())
    pairs: list[Pair] = [pair.of(selection) for pair in pairs_of(*sides)]
    if not pairs:
        remedy = "name the videos alike, or choose one of each with --observations A,B"
        raise InputError(second, f"no video is also in {first}", remedy)
    without_sets = frozenset(item.name for side in sides for item in side.definitions if not item.modifiers)
    rules = Rules(window, parse_tiou(tiou), modifiers, decimals, point_weight, selection.subjects, without_sets)
    found = agreement(pairs, rules)
    if format == "json":
        print_json(found)
        return
    _print(found)


def _print(found: dict[str, Any]) -> None:
    kappa = found["kappa"]
    print_facts({
        "videos": found["videos"],
        "time units": f"{found['units']} of {found['window']:g} s",
        "kappa of time units": f"{kappa['time']:.4f}",
        "kappa of bouts": f"{kappa['bouts']:.4f}",
        "kappa of bouts, by duration": f"{kappa['bouts_by_duration']:.4f}",
        "Needleman-Wunsch identity": f"{found['needleman_wunsch']:.4f}",
        **{f"F1 at tIoU {level}": f"{value:.4f}" for level, value in found["f1"].items()},
    }.items())  # fmt: skip
    print()
    levels = list(found["f1"])
    rows = [
        (label, f"{row['kappa']:.4f}", *(f"{row['f1'][level]:.4f}" for level in levels),
         *(str(row["units"][name]) for name in ("both", "only_a", "only_b", "neither")))
        for label, row in found["per_label"].items()
    ]  # fmt: skip
    print_table(
        ("label", "kappa", *(f"F1 at {level}" for level in levels), "both", "only A", "only B", "neither"), rows
    )
