"""docs/paper-tables.md: every row of the paper's tables 6 to 15 parses, builds and is another model than the others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe

ROWS = {6: 7, 7: 2, 8: 2, 9: 8, 10: 4, 11: 3, 12: 3, 13: 5, 14: 48, 15: 5}
COMPARED = {1: 15, 2: 9, 3: 12, 4: 9, 5: 7}
PUBLISHED = Path(__file__).resolve().parents[3] / "docs" / "paper-tables.md"


@dataclass(frozen=True)
class Row:
    """One row of one table."""

    table: int
    title: str
    recipe: str
    assignments: tuple[str, ...]
    figures: tuple[str, ...]

    def load(self) -> Recipe:
        return override(load_recipe(self.recipe), parse_overrides(self.assignments))


def read_rows() -> list[Row]:
    rows = []
    table = 0
    for line in PUBLISHED.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"## Table (\d+)", line):
            table = int(match.group(1))
        elif match := re.match(r"\| ([^|]+) \| `([^`]+)` \|([^|]*)\| (.+) \|", line):
            title, recipe, assignments, figures = match.groups()
            given = tuple(re.findall(r"`([^`]+)`", assignments))
            rows.append(Row(table, title, recipe, given, tuple(figures.split(" | "))))
    return rows


TABLE_ROWS = read_rows()


def test_every_table_is_there() -> None:
    counts = {table: sum(row.table == table for row in TABLE_ROWS) for table in ROWS}
    assert counts == ROWS and len(TABLE_ROWS) == sum(ROWS.values())


def test_what_the_compared_systems_run_as_is_there() -> None:
    counts, table = dict.fromkeys(COMPARED, 0), 0
    for line in PUBLISHED.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"## Table (\d+)", line):
            table = int(match.group(1))
        elif table in COMPARED and re.match(r"\|.*\d", line) and "| average |" not in line:
            counts[table] += 1
            runs_as = line.rstrip("| ").rpartition("| ")[2]
            recipes = [name for name in re.findall(r"`([^`]+)`", runs_as) if ": " not in name]
            assert recipes or runs_as.startswith(("- : ", "the same")), line
            for name in recipes:
                load_recipe(name)
    assert counts == COMPARED


@pytest.mark.slow
@pytest.mark.parametrize("row", TABLE_ROWS, ids=lambda row: f"{row.table}: {row.title}")
def test_row_builds(row: Row) -> None:
    recipe = row.load()
    with torch.device("meta"):
        detector = TemporalDetector.from_recipe(recipe)
    assert sum(parameter.numel() for parameter in detector.parameters()) > 1e6


@pytest.mark.parametrize("table", ROWS)
def test_rows_of_a_table_are_different_models(table: int) -> None:
    rows = [row.load() for row in TABLE_ROWS if row.table == table]
    # The published setting stands in both halves of table 9.
    assert len({row.model_dump_json() for row in rows}) == len(rows) - (table == 9)


def test_figures_are_the_paper_s(shared: Path) -> None:
    text = (shared / "paper.md").read_text(encoding="utf-8")
    for row in TABLE_ROWS:
        # The caption stands below its table, but for the mistaken caption of table 13.
        end = max(match.end() for match in re.finditer(rf"Table {row.table}: ", text))
        numbers = re.findall(r"\d+\.?\d*", text[max(end - 2500, 0) : end])
        for figure in row.figures:
            assert re.findall(r"\d+\.?\d*", figure)[0] in numbers, (row, figure)


def test_parameters_of_table_15() -> None:
    """The published numbers of parameters, where the released configuration is the one that was counted."""
    published = {row.recipe: float(row.figures[0].removesuffix("M")) for row in TABLE_ROWS if row.table == 15}
    for name, millions in published.items():
        row = next(row for row in TABLE_ROWS if row.table == 15 and row.recipe == name)
        with torch.device("meta"):
            detector = TemporalDetector.from_recipe(row.load())
        found = sum(parameter.numel() for parameter in detector.parameters()) / 1e6
        if name == "thumos-i3d":  # the released configuration has 21.9 million, the paper counts 17.6
            assert found == pytest.approx(21.9, abs=0.1)
        elif name.startswith("actionmamba"):  # counted by the paper at the width of InternVideo2
            assert found == pytest.approx(18.5, abs=0.3)
        else:
            assert found == pytest.approx(millions, abs=0.15)
