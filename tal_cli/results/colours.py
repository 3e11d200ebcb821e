"""Colours of labels: the same in every output, and distinguishable with every type of colour vision.

Twelve hues that also differ in lightness, one set each for light and dark backgrounds (contrast at least 3 : 1 against
white and near-black). A label's colour depends on its name alone unless another label already has it; beyond twelve
labels, colours are reused with stripes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

# Maximise the smallest OKLab distance under protanopia, deuteranopia and tritanopia (Machado 2009).
ON_LIGHT = (
    "#973350 #936425 #4d3b00 #9d9410 #0f9978 #086884 #003c80 #9383fe #7c56c2 #6a05b9 #db6db9 #6d0252".split()  # noqa: SIM905
)
ON_DARK = (
    "#fcacba #c16d01 #afa918 #b0da18 #8fffb2 #23bcfe #538afb #e6e4ff #754ee2 #a368b6 #c42572 #fc70a3".split()  # noqa: SIM905
)
COUNT = len(ON_LIGHT)


@dataclass(frozen=True)
class Colour:
    """Colour of a label. light, dark: `#rrggbb` on such a background; round: 0 plain, from 1 on striped."""

    light: str
    dark: str
    round: int


def colour_index(label: str) -> int:
    """Index of a label among the COUNT colours, from its name alone."""
    return int.from_bytes(hashlib.sha256(label.encode(errors="surrogatepass")).digest()[:4], "big") % COUNT


def colours_shown(known: Collection[str], shown: Collection[str]) -> dict[str, Colour]:
    """Colours of a model's labels and of those shown.

    A model with more labels than colours gives the shown ones colours as if there were no others, so that they differ.
    """
    if len(known) <= COUNT:
        return colours((*known, *shown))
    return colours(known) | colours(shown)


def colours(labels: Iterable[str]) -> dict[str, Colour]:
    """A colour for every label, different as long as there are no more labels than colours."""
    taken: set[int] = set()
    chosen: dict[str, Colour] = {}
    for label in sorted(set(labels)):
        round = len(taken) // COUNT
        place = colour_index(label)
        while round * COUNT + place in taken:
            place = (
                place + 5
            ) % COUNT  # coprime to COUNT, so that every colour is reached; neighbouring ones look similar
        taken.add(round * COUNT + place)
        chosen[label] = Colour(ON_LIGHT[place], ON_DARK[place], round)
    return chosen
