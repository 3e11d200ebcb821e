"""Arrays from pickles of unknown origin: published features, and weights written by Caffe2.

A pickle is a program that names callables and calls them. Here every name resolves to a stand-in of this module or to
an error: only numeric arrays are rebuilt, from their bytes, and nothing else can be created, called or changed. Plain
containers, numbers and strings need no names. The bytes of tensors are read by torch's own safe reader.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.files.bounds import FREE, MOST_OBJECTS, load_tensors, size_of

COPIES = 4  # of a file's bytes: as text, as bytes, in a state, and a tensor's own
NUMERIC = re.compile(r"[<>=|]?([biuf?]\d*)")
OBJECTS = "O8"  # an array of Python objects: read as None


def read_arrays(path: Path, allowed: Mapping[tuple[str, str], object], levels: int = 2) -> Any:
    """The content of a pickle: an array, or dictionaries with arrays, nested to so many levels.

    Args:
        path: the file.
        allowed: names that it may refer to, as (module, name), with a stand-in each: ARRAYS, or ARRAYS and TENSORS.
        levels: of nested dictionaries.

    Raises:
        pickle.UnpicklingError: it refers to anything else; nothing has been executed.
        OSError, ValueError and others: the file cannot be read or is damaged.
    """
    with path.open("rb") as file:
        return _finished(_Unpickler(file, allowed, FREE + COPIES * size_of(path)).load(), levels)


# The Python unpickler: the one in C allocates a memo table as long as the highest index in the pickle.
class _Unpickler(pickle._Unpickler):
    def __init__(self, file: BinaryIO, allowed: Mapping[tuple[str, str], object], most: int) -> None:
        """most: bytes that may be given to calls, which copy them."""
        super().__init__(file, encoding="latin1")  # Python 2 wrote bytes as text
        self._allowed = allowed
        self._bytes_left = most
        self.dispatch = _Counted(self.dispatch)  # type: ignore[misc]

    def charge(self) -> None:
        """Counts the bytes that the next call is given. Raises UnpicklingError if they are too many in all."""
        given = self.stack[-1] if self.stack else None  # type: ignore[attr-defined]
        if isinstance(given, tuple):
            self._bytes_left -= sum(len(item) for item in given if isinstance(item, str | bytes | bytearray))
        if self._bytes_left < 0:
            raise pickle.UnpicklingError("it repeats its content without end")

    def find_class(self, module: str, name: str) -> Any:
        stand_in = self._allowed.get((module, name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}; only arrays are read from a pickle"[:200])
        return stand_in


class _Counted(dict[int, Any]):
    """The instructions of pickles by their codes, each looked up when it is carried out: so many times in all."""

    def __init__(self, instructions: Mapping[int, Any]) -> None:
        super().__init__(instructions)
        self[pickle.REDUCE[0]] = _charged(instructions[pickle.REDUCE[0]])
        self[pickle.BUILD[0]] = _charged(instructions[pickle.BUILD[0]])
        self._left = MOST_OBJECTS

    def __getitem__(self, code: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise pickle.UnpicklingError(f"it holds more than {MOST_OBJECTS:,} objects")
        return super().__getitem__(code)


def _charged(instruction: Any) -> Any:
    def run(unpickler: _Unpickler) -> None:
        unpickler.charge()
        instruction(unpickler)

    return run


class _Array:
    """An array under construction: created empty, filled by its state as numpy writes it."""

    __slots__ = ("values",)

    def __init__(self, values: NDArray[Any] | None = None) -> None:
        self.values = values

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        self.values = _from_bytes(data, kind, shape, "F" if is_fortran else "C")


class _Kind:
    """A data type under construction: a code such as f4, and its byte order, which comes as state."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("an unknown byte order")
        self.order = order


class _Storage:
    """A tensor's bytes under construction."""

    __slots__ = ("content",)

    def __init__(self, content: Any) -> None:
        self.content = content

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("bytes with a state")


# Instances without attributes: a pickle can also assign to what it names, and these take no assignment.
class _MakeArray:
    __slots__ = ()

    def __call__(self, *what: Any) -> _Array:
        return _Array()


class _MakeKind:
    __slots__ = ()

    def __call__(self, code: Any, *flags: Any) -> _Kind:
        if code == OBJECTS:
            return _Kind(OBJECTS)
        match = NUMERIC.fullmatch(code) if isinstance(code, str) else None
        if match is None:
            raise pickle.UnpicklingError(f"an array of {code!r}; only numbers are read from a pickle"[:200])
        return _Kind(match[1])


class _FromBuffer:
    __slots__ = ()

    def __call__(self, data: Any, kind: Any, shape: Any, order: Any) -> _Array:
        return _Array(_from_bytes(data, kind, shape, "F" if order == "F" else "C"))


class _Latin1:
    """Stand-in for the call by which old pickles write bytes."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any = "latin1") -> bytes:
        return str(text).encode("latin1")


class _NoBytes:
    """Stand-in for the call by which old pickles write empty bytes."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


class _NoType:
    """Stand-in for the array type that numpy names; it can be neither called nor changed."""

    __slots__ = ()


class _MakeDict:
    __slots__ = ()

    def __call__(self, pairs: Any = ()) -> dict[Any, Any]:
        return dict(pairs)


class _LoadStorage:
    """The bytes of a tensor, which are a file of torch's own."""

    __slots__ = ()

    def __call__(self, data: Any) -> _Storage:
        return _Storage(load_tensors(io.BytesIO(bytes(data))))


class _MakeTensor:
    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> _Array:
        import torch

        content = storage.content if isinstance(storage, _Storage) else None
        if not isinstance(content, torch.storage.TypedStorage):
            raise pickle.UnpicklingError("a tensor without its bytes")
        whole = torch.empty(0, dtype=content.dtype).set_(content)
        tensor = whole.as_strided(
            tuple(size), tuple(stride), int(offset)
        )  # must lie within the storage: set_ would extend it
        if tensor.numel() > whole.numel():
            raise pickle.UnpicklingError("a tensor larger than its bytes")
        return _Array(tensor.float().numpy())


ARRAYS: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _MakeArray(),
    ("numpy._core.multiarray", "_reconstruct"): _MakeArray(),
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer(),
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer(),
    ("numpy", "ndarray"): _NoType(),
    ("numpy", "dtype"): _MakeKind(),
    ("_codecs", "encode"): _Latin1(),
    ("builtins", "bytes"): _NoBytes(),
    ("__builtin__", "bytes"): _NoBytes(),
}
TENSORS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): _MakeDict(),
    ("torch._utils", "_rebuild_tensor_v2"): _MakeTensor(),
    ("torch.storage", "_load_from_bytes"): _LoadStorage(),
}


def _from_bytes(data: Any, kind: Any, shape: Any, order: str) -> NDArray[Any] | None:
    if not isinstance(kind, _Kind) or not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
        raise pickle.UnpicklingError("an array without shape or type")
    if kind.code == OBJECTS:
        return None
    if isinstance(data, str):
        data = data.encode("latin1")
    values = np.frombuffer(data, np.dtype(f"{kind.order}{kind.code}"))
    return values.reshape(shape, order="F" if order == "F" else "C")


def _finished(content: Any, levels: int) -> Any:
    """The content with stand-ins replaced by arrays, at the top or within so many levels of dictionaries."""
    if isinstance(content, dict) and levels:
        return {key: _finished(value, levels - 1) for key, value in content.items()}
    return content.values if isinstance(content, _Array) else content
