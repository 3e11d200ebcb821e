"""Arrays from a pickle that nobody vouches for.

A pickle is a program that names callables and calls them. Here every name leads to a stand-in of this module or
nowhere: arrays are rebuilt from their bytes, of numbers alone, and nothing else can be made, called or changed. The
tensors in published features are read by torch's own safe reader. Plain containers, numbers and texts need no names.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

NUMERIC = re.compile(r"[<>=|]?([biuf?]\d*)")
NUMBERING = ("PUT", "BINPUT", "LONG_BINPUT")
LARGEST = 8 << 30  # bytes of one file


def load_arrays(path: Path) -> Any:
    """What a pickle holds: an array, or containers of arrays.

    Raises:
        pickle.UnpicklingError: it names anything but arrays and tensors; nothing has been executed.
        OSError, ValueError and others: the file cannot be read or is damaged.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"larger than {LARGEST >> 30} GiB")
    with path.open("rb") as file:
        _check_memo(file)
        file.seek(0)
        return _finished(_Unpickler(file).load())


def _check_memo(file: IO[bytes]) -> None:
    """Refuse a pickle that numbers its values otherwise than one after the other: one that begins with the number
    2,147,483,647 would make the reader reserve a table of that length."""
    for count, (operation, argument, _) in enumerate(pickletools.genops(file), start=1):
        if operation.name in NUMBERING and argument is not None and argument > count:
            raise pickle.UnpicklingError("its values are numbered strangely")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stand_in = STAND_INS.get((module, name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only arrays are read from a pickle"[:200])
        return stand_in


class _Array:
    """An array on its way: made empty, filled by its state as numpy writes it."""

    __slots__ = ("values",)

    def __init__(self, values: NDArray[Any] | None = None) -> None:
        self.values = values

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        self.values = _from_bytes(data, kind, shape, "F" if is_fortran else "C")


class _Kind:
    """A type of numbers on its way: a code such as f4, and its byte order, which comes as state."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("an unknown byte order")
        self.order = order


# Instances without attributes: a pickle can also assign to what it names, and these take no assignment.
class _MakeArray:
    __slots__ = ()

    def __call__(self, *what: Any) -> _Array:
        return _Array()


class _MakeKind:
    __slots__ = ()

    def __call__(self, code: Any, *flags: Any) -> _Kind:
        match = NUMERIC.fullmatch(code) if isinstance(code, str) else None
        if match is None:
            raise pickle.UnpicklingError(f"an array of {code!r}; only numbers are read from a pickle"[:200])
        return _Kind(match[1])


class _FromBuffer:
    __slots__ = ()

    def __call__(self, data: Any, kind: Any, shape: Any, order: Any) -> _Array:
        return _Array(_from_bytes(data, kind, shape, "F" if order == "F" else "C"))


class _Latin1:
    """How old pickles write bytes."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any = "latin1") -> bytes:
        return str(text).encode("latin1")


class _NoBytes:
    """How old pickles write no bytes at all."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


class _NoType:
    """What numpy names as an array's type; it can be neither called nor changed."""

    __slots__ = ()


class _MakeDict:
    __slots__ = ()

    def __call__(self, pairs: Any = ()) -> dict[Any, Any]:
        return dict(pairs)


class _LoadStorage:
    """The bytes of a tensor, which are a file of torch's own."""

    __slots__ = ()

    def __call__(self, data: Any) -> Any:
        import torch

        return torch.load(io.BytesIO(bytes(data)), map_location="cpu", weights_only=True)


class _MakeTensor:
    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> _Array:
        import torch

        if not isinstance(storage, torch.storage.TypedStorage):
            raise pickle.UnpicklingError("a tensor without its bytes")
        tensor = torch.empty(0, dtype=storage.dtype).set_(storage, int(offset), tuple(size), tuple(stride))
        return _Array(tensor.float().numpy())


STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _MakeArray(),
    ("numpy._core.multiarray", "_reconstruct"): _MakeArray(),
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer(),
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer(),
    ("numpy", "ndarray"): _NoType(),
    ("numpy", "dtype"): _MakeKind(),
    ("_codecs", "encode"): _Latin1(),
    ("builtins", "bytes"): _NoBytes(),
    ("__builtin__", "bytes"): _NoBytes(),
    ("collections", "OrderedDict"): _MakeDict(),
    ("torch._utils", "_rebuild_tensor_v2"): _MakeTensor(),
    ("torch.storage", "_load_from_bytes"): _LoadStorage(),
}


def _from_bytes(data: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(kind, _Kind) or not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
        raise pickle.UnpicklingError("an array without shape or type")
    if isinstance(data, str):  # Python 2 wrote bytes as text
        data = data.encode("latin1")
    values = np.frombuffer(data, np.dtype(f"{kind.order}{kind.code}"))
    return values.reshape(shape, order="F" if order == "F" else "C")


def _finished(content: Any) -> Any:
    """Arrays in place of what made them: the content itself, or one or two levels down in dictionaries."""
    if isinstance(content, dict):
        return {key: _finished_entry(value) for key, value in content.items()}
    return _finished_entry(content)


def _finished_entry(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item.values if isinstance(item, _Array) else item for key, item in value.items()}
    return value.values if isinstance(value, _Array) else value
