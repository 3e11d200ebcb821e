"""The arithmetic that forward passes run in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

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


def hold_factors(backbone: object, precision: str) -> None:
    """Keep the weights that products are made with in a lower precision's type, for a backbone that is to run in no
    other: autocast would make the same copies of them at every pass. Halves their memory and changes no result.

    precision: as of `arithmetic`, which has refused others.
    """
    dtype = PRECISIONS.get(precision)
    if dtype is None or not isinstance(backbone, nn.Module):
        return
    for module in backbone.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            module.to(dtype)
