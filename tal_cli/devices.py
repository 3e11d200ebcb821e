"""From what a user asks for to what torch understands: device and precision."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager

import torch

from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.extraction.precision import arithmetic as arithmetic_of
from tal_cli.safe_text import counted


def resolve_device(name: str) -> torch.device:
    """The device that a name means; `auto` is the best there is.

    Raises:
        UsageError: no such device, or not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"no device named {name!r}", "use auto, cpu, cuda, cuda:N or mps (--device, or TAL_DEVICE)")
    device = torch.device(name)
    found = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= found:
        raise UsageError(f"device {name}: torch can use {counted(found, 'CUDA device')} here", "use --device auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device mps: not available on this machine", "use --device auto")
    return device


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """A context in which forward passes run at a precision; `auto` is fp32, which is what weights are made for.

    Raises:
        UsageError: an unknown precision.
    """
    try:
        return arithmetic_of(device, precision)
    except ValueError as error:
        raise UsageError(str(error)) from None


def seed_everything(seed: int) -> None:
    """Seed what may draw random numbers."""
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
