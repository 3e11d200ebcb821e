"""What a file may hold, by how long it is: archives unpack, and tensors and arrays claim sizes, without limit.

Features and weights hardly compress, so that a bound far above what they do leaves no honest file out.
"""

from __future__ import annotations

import pickletools
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import torch

FREE = 64 << 20  # bytes that any file may hold
RATIO = 50  # bytes that each of its own may stand for beyond that
MOST_OBJECTS = 5_000_000  # of a pickle, by its instructions; features of 20,000 videos take a million
LONGEST_HEADER = 16 << 20  # bytes of JSON, each of which costs 25


def check_size(claimed: int, stored: int) -> None:
    """Raises ValueError if a file with `stored` bytes claims to hold many more."""
    if claimed > FREE + RATIO * stored:
        raise ValueError(f"it claims to hold {claimed:,} bytes, and stores {stored:,}")


def check_archive(path: Path | BinaryIO) -> None:
    """Raises ValueError if the members of a zip archive unpack to far more than it is long."""
    with zipfile.ZipFile(path) as archive:
        check_size(sum(entry.file_size for entry in archive.infolist()), size_of(path))


def check_safetensors(path: Path) -> None:
    """Raises ValueError if the header of a safetensors file is too long to be one."""
    with path.open("rb") as file:
        if int.from_bytes(file.read(8), "little") > LONGEST_HEADER:
            raise ValueError("its header is damaged, or longer than 16 MiB")


def size_of(file: Path | BinaryIO) -> int:
    """The length of a file in bytes. The position in an open one is kept."""
    if isinstance(file, Path):
        return file.stat().st_size
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return size


def load_tensors(source: Path | BinaryIO, *, mmap: bool = False) -> Any:
    """What torch.save wrote, on the CPU; nothing in it is executed.

    mmap: leave the values in the file, where its format allows. Raises ValueError for tensors and archives that claim
    far more than the file stores, and whatever torch raises for a file that is none of its own.
    """
    import torch

    packed = zipfile.is_zipfile(source)
    if packed:
        check_archive(source)
    check_instructions(source, packed)
    if not isinstance(source, Path):
        source.seek(0)
    # Files of PyTorch before 1.6 are not archives and cannot be memory-mapped.
    content = torch.load(source, map_location="cpu", weights_only=True, mmap=mmap and packed)
    check_tensors(content, size_of(source))
    return content


def check_instructions(source: Path | BinaryIO, packed: bool) -> None:
    """Raises ValueError if the pickles in a file make more objects than belong to tensors, or buffers of any length."""
    if packed:
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    with archive.open(name) as file:
                        count_instructions(file, 1)
        return
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        file.seek(0)
        count_instructions(file, 5)  # as old versions of torch wrote: a mark, a version, a system, objects, keys


def count_instructions(file: Any, pickles: int) -> None:
    """Raises ValueError as `check_instructions` does; a file that ends or is none is left to the reader."""
    left = MOST_OBJECTS
    for _ in range(pickles):
        instructions = pickletools.genops(file)
        while True:
            try:
                _, argument, _ = next(instructions)
            except StopIteration:
                break
            except Exception:  # damaged in any way
                return
            left -= 1
            if left < 0:
                raise ValueError(f"it holds more than {MOST_OBJECTS:,} objects")
            if isinstance(argument, str) and argument.endswith("bytearray"):
                raise ValueError("it holds something other than tensors")


def check_tensors(content: Any, stored: int) -> None:
    """Raises ValueError if the tensors in nested containers claim far more than the file's `stored` bytes."""
    import torch

    seen: set[int] = set()
    storages: dict[int, int] = {}
    left = [content]
    while left:
        item = left.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list | tuple | set):
            left.extend(item)
        elif isinstance(item, torch.TypedStorage | torch.UntypedStorage):
            storages[item.data_ptr()] = item.nbytes()
        elif isinstance(item, torch.Tensor):
            check_tensor(item)
            if item.layout == torch.strided:
                storage = item.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    check_size(sum(storages.values()), stored)


def check_tensor(tensor: torch.Tensor) -> None:
    """Raises ValueError if a tensor has no values, or repeats those of its storage without limit."""
    import torch

    if tensor.is_meta:
        raise ValueError("a tensor without values")
    if tensor.layout == torch.strided:
        check_size(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
