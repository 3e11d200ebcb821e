"""Parts that other packages add: found by name without an import, and a broken one does not affect the others."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
from plugin_packages import Install

from tal_cli.extractors.errors import PluginError, PluginWarning, TalError
from tal_cli.extractors.plugins import Registry, load_object

NUMBERS = Registry("tal.numbers", int, {"one": 1})


def test_a_plugin_is_imported_when_it_is_used(install: Install) -> None:
    install("tal-two", "[tal.numbers]\ntwo = two_module:TWO\n", {"two_module.py": "TWO = 2\n"})
    assert list(NUMBERS) == ["one", "two"] and "two" in NUMBERS and "three" not in NUMBERS
    assert "two_module" not in sys.modules
    assert NUMBERS["two"] == 2 and NUMBERS["one"] == 1
    assert NUMBERS.get("three") is None
    assert NUMBERS.usable() == {"one": 1, "two": 2}


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("def (", "SyntaxError"),
        ("raise OSError('no disk')", "OSError: no disk"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("", "has no attribute 'TWO'"),
        ("TWO = 'two'", "must be of type int and have that name"),
        ("class TWO(int): pass", "must be of type int and have that name"),
        ("class TWO: pass", "must be of type int and have that name"),
        ("class Int(int): name = 'three'\nTWO = Int(2)", "must be of type int and have that name"),
    ],
)
def test_a_broken_one_costs_one_line(install: Install, module: str, reason: str) -> None:
    install("tal-two", "[tal.numbers]\ntwo = two_module:TWO\n", {"two_module.py": module})
    install("tal-three", "[tal.numbers]\nthree = three_module:THREE\n", {"three_module.py": "THREE = 3"})
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        assert NUMBERS.usable() == NUMBERS.usable() == {"one": 1, "three": 3}
    (warning,) = found
    assert warning.category is PluginWarning and "\n" not in str(warning.message)
    assert "left out: tal.numbers two (tal-two 1.0)" in str(warning.message) and reason in str(warning.message)
    with pytest.raises(PluginError, match=r"^tal\.numbers two \(tal-two 1\.0\)"):
        NUMBERS["two"]


def test_a_name_in_two_packages_is_an_error(install: Install) -> None:
    install("tal-two", "[tal.numbers]\ntwo = two_module:TWO\n")
    install("tal-two-again", "[tal.numbers]\ntwo = other_module:TWO\n", version="3.1")
    install("tal-zero", "[tal.numbers]\none = zero:ZERO\n")
    assert list(NUMBERS) == ["one", "two"]
    with pytest.raises(PluginError, match=r" two is in tal-two\S* \S+ and in tal-two\S* \S+$") as caught:
        NUMBERS["two"]
    assert caught.value.remedy == "uninstall one of them"
    with pytest.raises(TalError, match=r"^tal\.numbers one is in tal-cli and in tal-zero 1\.0$"):
        NUMBERS["one"]
    with pytest.warns(PluginWarning, match="uninstall one of them"):
        assert NUMBERS.usable() == {}


def test_the_first_copy_of_a_package_counts(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from plugin_packages import write_package

    write_package(tmp_path / "old", "tal-two", "[tal.numbers]\ntwo = old:TWO\n", {}, version="0.1")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "old")])
    install("tal-two", "[tal.numbers]\ntwo = two_module:TWO\n", {"two_module.py": "TWO = 2\n"})
    assert NUMBERS["two"] == 2


def test_metadata_that_cannot_be_read(install: Install) -> None:
    install("tal-two", "[tal.numbers]\ntwo = two_module:TWO\n", {"two_module.py": "TWO = 2\n"})
    install("tal-odd", "[tal.numbers]\nwhat is this\n")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert NUMBERS.usable() == {"one": 1, "two": 2}
    assert [str(warning.message).partition(":")[0] for warning in found] in ([], ["left out"])


def test_an_address_of_our_own_fails_as_it_is() -> None:
    assert load_object("tal_cli.extractors.plugins:Registry") is Registry
    with pytest.raises(AttributeError):
        load_object("tal_cli.extractors.plugins:nothing")
