"""Compute devices by name, and seeds."""

from __future__ import annotations

import re

import torch

from tal_cli.extractors.errors import UsageError
from tal_cli.safe_text import counted


def resolve_device(name: str) -> torch.device:
    """The torch device of a name; `auto` picks CUDA, then MPS, then CPU.

    Raises:
        UsageError: an unknown device, or one that this machine does not have.
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


def seed_everything(seed: int) -> None:
    """Seed all random number generators."""
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
