"""`tal selftest`: numerical check of this installation on this device."""

from __future__ import annotations

import typer

from tal_cli import console
from tal_cli.commands.options import Device, Quiet
from tal_cli.commands.printing import print_table
from tal_cli.extractors.errors import EXIT_INTERNAL

EXAMPLE = "Example: tal selftest --device cpu"


def selftest(device: Device = "auto", quiet: Quiet = False) -> None:
    """Check the numerical results of this installation.

    Compares with reference outputs of the published code. Runs a detector, Soft-NMS, and the backbones on synthetic
    weights and a synthetic clip. Prints the relative error of each and exits with code 1 if one is too large.
    """
    from tal_cli.devices import resolve_device
    from tal_cli.selftest.runner import LIMIT, count_cases, run_cases

    where = resolve_device(device)
    results = []
    with console.progress("recomputing", count_cases(), "cases") as progress:
        for result in run_cases(where):
            results.append(result)
            progress.advance()
    print_table(
        ("case", "distance", "verdict"),
        [(result.case, f"{result.distance:.1e}", "right" if result.ok else "off") for result in results],
    )
    off = [result.case for result in results if not result.ok]
    if off:
        console.error(f"on {where} the relative error exceeds {LIMIT:g}: {', '.join(off)}")
        raise typer.Exit(EXIT_INTERNAL)
