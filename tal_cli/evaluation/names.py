"""Comparison of video names in two files, and the warning if they do not match."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from tal_cli.inputs import VIDEO_SUFFIXES
from tal_cli.safe_text import counted, printable


def unmatched(predicted: Iterable[str], annotated: Iterable[str]) -> str:
    """Warning about predicted videos that are not annotated; empty if all are.

    Names must match exactly. If some match except for suffix, folder, case or ActivityNet's `v_`, both are shown.
    """
    known = list(dict.fromkeys(annotated))
    there = set(known)
    names = list(dict.fromkeys(predicted))
    strangers = [name for name in names if name not in there]
    if not strangers or not known:
        return ""
    matched = len(names) - len(strangers)
    said = (
        f"{matched or 'none'} of {counted(len(names), 'predicted video')} {'is' if matched == 1 else 'are'} annotated"
    )
    alike = {plain(name): name for name in known}
    pair = next(((name, alike[plain(name)]) for name in strangers if plain(name) in alike), None)
    if pair is not None:
        return f"{said}: predicted {printable(pair[0])!r}, annotated {printable(pair[1])!r}; spell the names alike"
    return f"{said}: predicted for example {printable(strangers[0])!r}, annotated {printable(known[0])!r}"


def plain(name: str) -> str:
    """A video's name in lower case, without folder, suffix and ActivityNet's `v_`."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    return stem.casefold().removeprefix("v_")
