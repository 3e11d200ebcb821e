"""Annotation files of every form that is read: one module per form, one line here.

A module has `NAME`, `recognises(head)`, which tells its files by how they begin, and `read(path, text, how)`, which
makes `Annotations` of one. Nothing in a file is executed, and no other file is opened because a file says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from tal_cli import console
from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.formats.values import How
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import read_text

MODULES = ("activitynet", "labelstudio", "elan", "epic", "thumos", "table")
HEAD = 1 << 16  # characters by which a form is told


class Reader(Protocol):
    """What a module of this package has."""

    NAME: str

    def recognises(self, head: str) -> bool: ...

    def read(self, path: Path, text: str, how: How) -> Annotations: ...


def readers() -> list[Reader]:
    """All of them, in the order in which they are asked."""
    return [cast(Reader, import_module(f"{__name__}.{module}")) for module in MODULES]


def load_annotations(path: str | Path, label_key: str = "label", fps: float | None = None) -> Annotations:
    """Read an annotation file in whichever form it is, gzipped or not.

    Args:
        path: the file.
        label_key: which entry of an annotation is its label; EPIC-KITCHENS has `verb`, `noun` and `action`.
        fps: the rate of frame numbers, where the file does not tell it.

    Raises:
        AnnotationError: it is in no known form, or something in it is wrong; the reason names the video.
        InputError: the file cannot be read.
    """
    text = read_text(path)
    head = text[:HEAD].lstrip()
    if not head:
        raise AnnotationError(path, "the file is empty")
    for reader in readers():
        if reader.recognises(head):
            found = reader.read(Path(path), text, How(label_key, fps))
            for names in look_alikes(found.labels):
                console.warn(f"{path}: labels that look alike: {', '.join(map(repr, names))}; are they one?")
            return found
    known = "; ".join(reader.NAME for reader in readers())
    raise AnnotationError(path, f"not an annotation file of any known form ({known})")


def look_alikes(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ in nothing but case, spaces, hyphens or underscores."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(re.sub(r"[\s_-]+", " ", label).strip().casefold(), []).append(label)
    return [names for names in groups.values() if len(names) > 1]
