"""The colours of labels can be told apart, by people with each kind of colour blindness as well."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from tal_cli.labelling.project.document import COLOURS, completed, parse_labels

# What is seen, in linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
SEEN = {
    "all": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ.sum(axis=1)
NOTICED = 10.0  # difference in CIELAB that is seen at a glance


def lab(colour: str, kind: str) -> NDArray[np.float64]:
    """CIELAB of a colour as somebody sees it."""
    values = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    relative = XYZ @ np.clip(np.asarray(SEEN[kind]) @ linear, 0, 1) / WHITE
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", list(SEEN))
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_told_apart(kind: str, theme: str) -> None:
    shown = [colour if (colour, theme) != ("#000000", "dark") else "#C8C8C8" for colour in COLOURS]  # see bars.js
    for one, other in combinations(shown, 2):
        assert np.linalg.norm(lab(one, kind) - lab(other, kind)) > NOTICED, (one, other)


def test_what_has_the_same_colour_has_another_pattern() -> None:
    labels = completed(parse_labels(",".join(f"label{number}" for number in range(16))))
    assert len({(label.color, label.pattern) for label in labels}) == 16
