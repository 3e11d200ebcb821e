"""What the frozen part of a backbone made of passes over videos, on disk in half precision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from tal_cli import __version__
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.tuning.adapters import Kept

LARGEST = 6e4  # of float16, roughly; what has larger values loses three more bits, as bfloat16


@dataclass(frozen=True)
class KeptPasses:
    """One file per pass in a folder, made when it is first asked for."""

    folder: Path

    def get(self, key: object, make: Callable[[], Kept], device: torch.device) -> Kept:
        """The pass of a key, which says all that it depends on, by its repr; the same whether it was there or not.

        A file that is damaged is made again, as is one that another version of this program made. Raises InputError
        where it cannot be written.
        """
        said = repr((__version__, key))
        path = self.folder / f"{hashlib.sha256(said.encode()).hexdigest()[:24]}.safetensors"
        try:
            tensors = load_file(path)
        except (FileNotFoundError, SafetensorError):
            made = make()
            tensors = {str(index): halved(state) for index, state in enumerate(made.states)}
            tensors["size"] = torch.tensor(made.size)
            write_atomically(path, save(tensors))
        frames, height, width = tensors.pop("size").tolist()
        states = tuple(tensors[str(index)].to(device).float() for index in range(len(tensors)))
        return Kept(states, (frames, height, width))


def halved(state: Tensor) -> Tensor:
    """In 16 bits, on the CPU."""
    small = float(state.abs().max()) < LARGEST
    return state.detach().to("cpu", torch.float16 if small else torch.bfloat16).contiguous()
