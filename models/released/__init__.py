"""Checkpoints and settings of the released code bases in this package's names.

A code base is a table of its parameters (`cltdr.py`, ...) and its options (`options.py`). Files are read by
`reading.py`, matched to a recipe by `matching.py`, and converted there and back by `conversion.py`.
"""

from __future__ import annotations

from models.checkpoint import CheckpointError
from models.released import actionformer, actionmamba, cltdr, temporalmaxer, tridet
from models.released.keys import KeyTable, Translation
from models.released.options import translate_options

__all__ = ["FAMILIES", "Translation", "find_family", "translate_options"]

# The first table that knows all names is taken: TemporalMaxer's parameters are also ActionFormer's and TriDet's.
FAMILIES: dict[str, KeyTable] = {
    "temporalmaxer": temporalmaxer.TABLE,
    "cltdr-gmg": cltdr.TABLE,
    "tridet": tridet.TABLE,
    "actionformer": actionformer.TABLE,
    "actionmamba": actionmamba.TABLE,
}


def find_family(keys: list[str]) -> KeyTable:
    """The table that knows all of these released names.

    Raises CheckpointError naming the first key that the closest table does not know.
    """
    closest: tuple[int, str] | None = None
    for table in FAMILIES.values():
        foreign = [key for key in keys if not table.knows(key)]
        if not foreign:
            return table
        if closest is None or len(foreign) < closest[0]:
            closest = (len(foreign), foreign[0])
    assert closest is not None
    raise CheckpointError(f"{closest[1]} is no parameter of {' or '.join(FAMILIES)}")
