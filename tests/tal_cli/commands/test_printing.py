"""Tables on standard output."""

from __future__ import annotations

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
