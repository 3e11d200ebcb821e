"""Tables on standard output."""

from __future__ import annotations

import re

import pytest

from tal_cli.commands.printing import FITTED_ROWS, print_table


def test_a_table_in_a_pipe_is_aligned_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("n", "label", "c"), [("a", "日本", "x y"), ("bbbb", "", "ü\n"), ("", "1", "zzz")])
    assert capsys.readouterr().out == (
        "n     label  c\n"
        "a     日本   x y\n"
        "bbbb         ü\\n\n"
        "      1      zzz\n"
    )  # fmt: skip


def test_a_long_table_is_not_left_to_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table(("n",), [("x" * 300,)] * FITTED_ROWS)
    assert "x" * 300 not in capsys.readouterr().out  # wrapped
    print_table(("n",), [("x" * 300,)] * (FITTED_ROWS + 1))
    assert capsys.readouterr().out.splitlines() == ["n", *["x" * 300] * (FITTED_ROWS + 1)]


def test_a_narrow_terminal_drops_optional_columns_and_cuts_no_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    header, rows = ("name", "size", "licence", "description"), [("a-name-of-20-letters", "6.5 MB", "MIT", "x " * 30)]

    def shown(columns: int) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        print_table(header, rows, optional=("size", "licence"))
        return capsys.readouterr().out

    wide, narrow, narrowest = shown(20 + 2 + 6 + 2 + 7 + 2 + 24), shown(20 + 2 + 6 + 2 + 24), shown(40)
    assert all(word in wide for word in ("a-name-of-20-letters", "6.5 MB", "MIT"))
    assert "6.5 MB" in narrow and "MIT" not in narrow and "licence" not in narrow
    assert "a-name-of-20-letters" in narrowest and "6.5 MB" not in narrowest
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in narrowest.splitlines()) <= 40
