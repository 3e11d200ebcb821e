"""Checkpoint files of the released code bases, read without executing anything that is in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tal_cli.extractors.errors import CheckpointError
from tal_cli.extractors.files.bounds import check_safetensors, load_tensors
from tal_cli.extractors.files.error_text import unreadable
from tal_cli.models.released.archives import open_checkpoint

STATES = ("state_dict_ema", "state_dict")  # averaged weights, which were evaluated, come first
QUERY_STATE = "model"  # where code of query decoders has them
OURS = "tal"  # what `tal models export-released` adds, for reading the file back


class Ignored(dict[Any, Any]):
    """Placeholder for unused objects in a loaded file that are not tensors; accepts any content and does nothing."""

    def __new__(cls, *content: object) -> Ignored:
        """Accepts any constructor arguments of the original."""
        return super().__new__(cls)

    def __init__(self, *content: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Accepts any state of the original."""


# Harmless classes that training scripts leave in their checkpoints. None of them is imported or called: each name is
# read as `Ignored`, which is all that `weights_only=True` then needs to go on.
_HARMLESS = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")),
    "numpy.float64",
    "numpy.float32",
    "numpy.int64",
    "argparse.Namespace",
    "addict.addict.Dict",
    "easydict.EasyDict",
    "yacs.config.CfgNode",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
)


@dataclass(frozen=True)
class ReleasedState:
    """Parameters under their released names, without a wrapper's `module.`; which state of the file it is.

    recipe, labels: YAML and labels in class order, in files of `tal models export-released`; else empty.
    """

    tensors: dict[str, Tensor]
    kind: str
    epoch: int | None
    recipe: str = ""
    labels: tuple[str, ...] = ()


def read_state(path: str | Path) -> ReleasedState:
    """The averaged weights of a released `.pth.tar` (else the plain ones), also where it lies in an archive of a
    training run's results; or a `.safetensors` of the same names.

    Raises CheckpointError for a file that cannot be read, that holds more than tensors, numbers, text and settings, or
    that holds no weights.
    """
    path = Path(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: contains neither {' nor '.join(STATES)}")
    kind = next((name for name in (*STATES, QUERY_STATE) if name in content), "tensors")
    state = content.get(kind, content)
    if not isinstance(state, dict) or not state or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{path}: contains neither {' nor '.join(STATES)}")
    foreign = [key for key, value in state.items() if not isinstance(value, Tensor) or value.layout != torch.strided]
    if foreign:
        where = f"contains neither {' nor '.join(STATES)}, and" if kind == "tensors" else f"{kind}:"
        raise CheckpointError(f"{path}: {where} {foreign[0]} is not a tensor")
    epoch = content.get("epoch")
    about = content.get(OURS)
    about = about if isinstance(about, dict) else {}
    recipe, labels = about.get("recipe"), about.get("labels")
    return ReleasedState(
        tensors={_unwrapped(key): value.detach() for key, value in state.items()},
        kind=kind,
        epoch=epoch if isinstance(epoch, int) and not isinstance(epoch, bool) else None,
        recipe=recipe if isinstance(recipe, str) else "",
        labels=tuple(map(str, labels)) if isinstance(labels, list) else (),
    )


def _unwrapped(key: str) -> str:
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return key


def _read_safetensors(path: Path) -> object:
    try:
        path.stat()
        check_safetensors(path)
        return load_file(path)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: not a safetensors file: {unreadable(path, error)}") from error


def _read_pickle(path: Path) -> object:
    try:
        with open_checkpoint(path) as file, torch.serialization.safe_globals([(Ignored, name) for name in _HARMLESS]):
            return load_tensors(file)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # torch raises many kinds of exceptions for broken or hostile files
        raise CheckpointError(f"{path}: no checkpoint can be read from it ({unreadable(path, error)})") from error
