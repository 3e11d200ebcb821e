"""Recompute every recorded case in a folder, detectors and backbones, and print the largest error per tensor.

    scripts/check_goldens DIR [--all]

Folders inside DIR are looked into as well. Exits with 1 when a tensor is off, 2 when there is nothing to check. Without
--all, tensors of one kind (pyramid levels, runs, gradients) share one line. Errors of backbones are relative (L2).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import check_case
from harness.report import CaseReport, Comparison


def grouped(comparisons: Sequence[Comparison]) -> list[tuple[str, list[Comparison]]]:
    """Comparisons by kind: levels, numbered runs and gradients fall together."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        kind = re.sub(r"/level\d+", "/level*", comparison.tensor)
        kind = re.sub(r"^([^/ ]+)/run\d+/", r"\1/run*/", kind)
        kind = re.sub(r"^grad/.*", "grad/*", kind)
        groups.setdefault(kind, []).append(comparison)
    return list(groups.items())


def show(report: CaseReport, *, everything: bool) -> None:
    """Print one case."""
    if report.not_checked is not None:
        print(f"{report.case}: not checked ({report.not_checked})\n")
        return
    print(f"{report.case}: {'ok' if report.ok else 'OFF'}, {len(report.comparisons)} tensors")
    groups = [(c.tensor, [c]) for c in report.comparisons] if everything else grouped(report.comparisons)
    for name, members in groups:
        worst = max(members, key=lambda member: member.error)
        bad = [member.tensor for member in members if not member.ok]
        count = f" ({len(members)})" if len(members) > 1 else ""
        mark = f"  OFF: {', '.join(bad[:5])}" if bad else ""
        print(f"  {worst.error:10.2e} of {worst.largest:10.3g}  {name}{count}{mark}")
    print()


def main() -> int:
    """Check the folder named on the command line."""
    parser = argparse.ArgumentParser(
        prog="check_goldens", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="one line per tensor")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    reports = []
    for path in sorted(arguments.folder.rglob("*.json")):
        report = check_case(path, arguments.device)
        show(report, everything=arguments.all)
        reports.append(report)
    checked = [report for report in reports if report.not_checked is None]
    off = [report.case for report in checked if not report.ok]
    print(f"{len(checked) - len(off)} of {len(checked)} checked cases agree; {len(reports) - len(checked)} not checked")
    if not checked:
        print(f"error: {arguments.folder}: no case that can be checked", file=sys.stderr)
        return 2
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
