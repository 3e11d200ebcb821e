"""`tal selftest`: is this installation, on this device, numerically right?"""

from __future__ import annotations

import typer

from tal_cli import console
from tal_cli.commands.options import Device, Quiet
from tal_cli.commands.printing import print_table
from tal_cli.extractors.errors import EXIT_INTERNAL

EXAMPLE = "Example: tal selftest --device cpu"


def selftest(device: Device = "auto", quiet: Quiet = False) -> None:
    """Recompute recorded outputs of the published code.

    The detector, Soft-NMS, the losses, and the backbones on weights and a clip made by formula; prints the largest
    distance to the reference (relative for backbones) and ends with exit code 1 if one is too large.
    """
    from tal_cli.devices import resolve_device
    from tal_cli.goldens import SHIPPED_CASES, case_files, check_cases

    where = resolve_device(device)
    paths = case_files(SHIPPED_CASES)
    reports = []
    with console.progress("recomputing", len(paths), "cases") as progress:
        for report in check_cases(paths, where):
            reports.append(report)
            progress.advance()
    print_table(
        ("case", "tensors", "largest error", "verdict"),
        [
            (report.case, str(len(report.comparisons)), f"{report.worst:.1e}", "right" if report.ok else "off")
            for report in reports
        ],
    )
    off = [report.case for report in reports if not report.ok or not report.comparisons]
    if off:
        console.error(f"on {where} this installation is not numerically right: {', '.join(off)}")
        raise typer.Exit(EXIT_INTERNAL)
