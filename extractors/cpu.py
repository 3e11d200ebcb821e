"""What there is to compute on: the number of cores, and functions compiled for them."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import cache
from typing import Any


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def collect_garbage_rarely() -> None:
    """For processes that load torch or numba: the million objects that these bring stay, and Python searches them for
    garbage many times while they load unless told otherwise, which takes a tenth of a command's start."""
    gc.set_threshold(10_000)


@cache
def compiled(function: Callable[..., Any], *, fused: bool = False, reorder: bool = False) -> Callable[..., Any]:
    """A function compiled by numba at its first call and cached on disk, without Python's lock while it runs.

    fused: products are rounded only once they are added to something. reorder: that too, sums run in any order, and
    division by zero gives infinity or no number, so that loops become vector operations.
    """
    import numba  # imported here because it is slow to import

    liberties = {"contract", "reassoc", "nsz"} if reorder else {"contract"} if fused else False
    options: dict[str, Any] = {
        "nogil": True,
        "fastmath": liberties,
        "error_model": "numpy" if reorder or fused else "python",
    }
    result: Callable[..., Any]
    try:
        result = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no writable cache folder: compile in every run
        result = numba.njit(**options)(function)
    return result
