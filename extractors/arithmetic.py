"""The arithmetic that forward passes run in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """A context in which forward passes run at a precision: one of PRECISIONS, or `auto`, which leaves it as it is.

    Lower precisions are torch's autocast: products in 16 bits, sums and norms in 32. Raises ValueError.
    """
    if precision == "auto":
        return nullcontext()
    if precision not in PRECISIONS:
        raise ValueError(f"no precision named {precision!r}; there are auto, {', '.join(PRECISIONS)}")
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
