"""Whether the names of videos in two files belong together, and what to tell a user where they do not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from tal_cli.inputs import VIDEO_SUFFIXES
from tal_cli.safe_text import counted, printable


def unmatched(predicted: Iterable[str], annotated: Iterable[str]) -> str:
    """What to tell of predicted videos that are not annotated; empty where all are.

    Names are compared as they stand. Where some match but for suffix, folder, case or ActivityNet's `v_`, both
    spellings are shown.
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
    """A video's name without folder, suffix, case and ActivityNet's `v_`."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    return stem.casefold().removeprefix("v_")
