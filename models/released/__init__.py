"""Checkpoints and settings of the released code bases in this package's names.

A code base is a table of its parameters (`cltdr.py`, ...) and its options (`options.py`).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import CheckpointError
from models.released import actionformer, actionmamba, cltdr, temporalmaxer, tridet
from models.released.keys import KeyTable, Translation
from models.released.options import translate_options

__all__ = ["FAMILIES", "Translation", "find_family", "read_released", "translate_options", "translate_state"]

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


def translate_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A released state dictionary in our names and layout. Raises CheckpointError for foreign keys."""
    state = {key.removeprefix("module."): value for key, value in state.items()}
    return find_family(list(state)).translate_state(state)


def read_released(path: str | Path) -> dict[str, Tensor]:
    """Averaged weights (`state_dict_ema`, else `state_dict`) of a released `.pth.tar`, in our names and layout.

    Nothing in the file is executed. Raises CheckpointError for a file that holds more than tensors or other keys.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for broken or hostile files, none of which is ours to fix
        raise CheckpointError(f"{path}: not a plain PyTorch checkpoint: {str(error).splitlines()[0][:200]}") from error
    state = content.get("state_dict_ema", content.get("state_dict")) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no state_dict_ema or state_dict")
    return translate_state(state)
