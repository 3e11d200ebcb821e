"""The precision of forward passes."""

from __future__ import annotations

import torch
from torch import nn

from tal_cli.extractors.errors import UsageError

# The data type of products at each precision; None: that of the weights.
PRODUCTS = {"auto": None, "fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def precision(device: torch.device, name: str) -> torch.autocast:
    """A context in which this thread's forward passes on the device run at a precision.

    Lower precisions are torch's autocast: products in 16 bits, sums and norms in 32. No state of the process changes.

    Args:
        device: where the forward passes run.
        name: `auto` (fp32, the precision of published weights), `fp32`, `bf16` or `fp16`.

    Raises:
        UsageError: an unknown precision.
    """
    check_precision(name)
    dtype = PRODUCTS[name]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def check_precision(name: str) -> None:
    """Raise UsageError for an unknown precision."""
    if name not in PRODUCTS:
        raise UsageError(f"no precision named {name!r}", f"use one of {', '.join(PRODUCTS)}")


def quickest(device: torch.device) -> str:
    """The name of the quickest precision that keeps float32's range: `bf16` where the device computes it, else `fp32`.

    For backbones whose scores are known to hardly depend on it.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        features = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return "bf16" if any(getattr(torch.cpu, feature, bool)() for feature in features) else "fp32"
    return "fp32"


def cast_weights(backbone: object, name: str) -> None:
    """Convert a backbone's weights to the data type of products at a precision, the only one it runs at from then on.

    Autocast would make the same copies at every forward pass: this halves their memory and changes no result.

    Raises:
        UsageError: an unknown precision.
    """
    check_precision(name)
    dtype = PRODUCTS[name]
    if dtype is None or not isinstance(backbone, nn.Module):
        return
    for module in backbone.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            module.to(dtype)
