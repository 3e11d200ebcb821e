"""Names of weights in each published code base: a table per code base, used in both directions."""

from __future__ import annotations

from tal_cli.extractors.errors import CheckpointError
from tal_cli.models.released.code_bases import (
    actionformer,
    actionmamba,
    cltdr,
    opentad,
    pointtad,
    react,
    tadtr,
    temporalmaxer,
    tfformer,
    transgmc,
    tridet,
)
from tal_cli.models.released.keys import KeyTable

# The first table with all names is used: TemporalMaxer's parameters are also ActionFormer's and TriDet's.
FAMILIES: dict[str, KeyTable] = {
    "temporalmaxer": temporalmaxer.TABLE,
    "cltdr-gmg": cltdr.TABLE,
    "tridet": tridet.TABLE,
    "actionformer": actionformer.TABLE,
    "actionmamba": actionmamba.TABLE,
    "transgmc": transgmc.TABLE,
    "tfformer": tfformer.TABLE,
    "opentad-actionformer": opentad.ACTIONFORMER,
    "causaltad": opentad.CAUSALTAD,
    "dyfadet": opentad.DYFADET,
    "pointtad": pointtad.TABLE,
    "react": react.TABLE,
    "tadtr": tadtr.TABLE,
    "tadtr-plain": tadtr.PLAIN,
}


def find_family(keys: list[str]) -> KeyTable:
    """The table that knows all of these released names.

    Raises CheckpointError naming the first key that the closest table lacks.
    """
    closest: tuple[int, str] | None = None
    for table in FAMILIES.values():
        foreign = [key for key in keys if not table.knows(key)]
        if not foreign:
            return table
        if closest is None or len(foreign) < closest[0]:
            closest = (len(foreign), foreign[0])
    assert closest is not None
    raise CheckpointError(f"{closest[1]} is not a parameter of {' or '.join(FAMILIES)}")
