"""docs/reference/extractors.md: the catalog of backbones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from tal_cli.extractors.catalog import ENTRIES
from tal_cli.extractors.catalog.entry import BackboneEntry

from .markdown import page, table

INTRO = """\
What makes features. Each has a contract, which is written beside every feature file and compared before a detector
runs ([why](../explanation/contracts.md)). Weights are pulled with `tal extractors pull NAME`, or given with
`--weights FILE`. Any image model of timm is an extractor as well, as `timm:NAME`: frame by frame, the mean over the
window."""


def write() -> str:
    """The page."""
    lines = [*table(("name", "description", "channels", "window / stride"), map(row, ENTRIES)), ""]
    for entry in ENTRIES:
        lines += card(entry)
    return page("Extractors", INTRO, lines)


def row(entry: BackboneEntry) -> tuple[str, ...]:
    """One line of the overview."""
    contract = entry.contract
    link = f"[{entry.name}](#{entry.name.replace('.', '')})"
    return link, entry.description, str(contract.channels), f"{contract.window} / {contract.stride}"


def card(entry: BackboneEntry) -> Iterator[str]:
    """The section of one extractor."""
    yield from (f"## {entry.name}", "", f"{entry.description[:1].upper()}{entry.description[1:]}.", "")
    rows = [(field.name, f"`{getattr(entry.contract, field.name)}`") for field in fields(entry.contract)]
    rows = [(name, value) for name, value in rows if value != "`None`"]
    rows += [(f"other {name}", "; ".join(f"`{choice}`" for choice in known)) for name, known in entry.choices.items()]
    yield from (*table(("contract", ""), rows), "")
    for source in entry.weights:
        how = "by request" if source.url is None else f"`tal extractors pull {entry.name}`"
        yield from (f"Weights: `{source.file}`, {how}; <{source.page}>; licence: {source.licence}.", "")
    if entry.extra:
        yield from (f"Needs `pip install 'tal-cli[{entry.extra}]'`.", "")
    for note in entry.notes:
        yield f"- {note}"
    yield ""
