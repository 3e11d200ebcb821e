"""`tal models pull` and `tal extractors pull`: one command under two names."""

from __future__ import annotations

from typing import Annotated

import typer

from tal_cli import console
from tal_cli.commands.completion import model_and_extractor_names
from tal_cli.commands.options import Quiet
from tal_cli.commands.printing import print_path
from tal_cli.extractors.errors import MissingError

EXAMPLE = "Example: tal models pull thumos-videomae"


def pull(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            autocompletion=model_and_extractor_names,
            help="Models or extractors, as listed by `tal models list` and `tal extractors list`.",
        ),
    ],
    quiet: Quiet = False,
) -> None:
    """Download the weights of an extractor, or of a model and its extractor.

    Files that are already there are verified and kept. An interrupted download is resumed. TAL_OFFLINE=1 or
    HF_HUB_OFFLINE=1 disables downloads; proxies are taken from the environment.
    """
    from tal_cli.model_files.pull import steps_for

    models = context.parent is None or context.parent.info_name != "extractors"  # some names are those of both

    failed: list[MissingError] = []
    for step in [step for name in names for step in steps_for(name, models=models)]:
        try:
            print_path(step())
        except MissingError as error:
            if str(error) not in map(str, failed):  # a model and its extractor may be parts of one file
                failed.append(error)
    for problem in failed[:-1]:
        console.error(str(problem))
        if problem.remedy:
            console.hint(problem.remedy)
    if failed:
        raise failed[-1]
