"""The checkpoint inside an archive of training results, as some authors publish theirs."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import IO

from tal_cli.extractors.errors import CheckpointError

SUFFIX = ".pth.tar"
LARGEST = 4 << 30  # bytes


def open_checkpoint(path: Path) -> IO[bytes]:
    """The file itself, or the last epoch's checkpoint in a `.tar`, `.tar.gz` or `.zip` of results, unpacked in memory.

    Raises CheckpointError for an archive without a checkpoint or with one of more than 4 GiB; OSError.
    """
    with path.open("rb") as file:
        packed = zipfile.is_zipfile(file)
    if packed:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if any(name.endswith("data.pkl") for name in sizes):  # PyTorch's own files are archives as well
                return path.open("rb")
            return io.BytesIO(archive.read(_latest(sizes, path)))
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            sizes = {entry.name: entry.size for entry in archive if entry.isfile()}
            member = archive.extractfile(_latest(sizes, path))
            assert member is not None  # a regular file
            return io.BytesIO(member.read())
    return path.open("rb")


def _latest(sizes: dict[str, int], path: Path) -> str:
    checkpoints = [name for name in sizes if name.endswith(SUFFIX) and sizes[name] <= LARGEST]
    if not checkpoints:
        raise CheckpointError(f"{path}: an archive without a checkpoint (NAME{SUFFIX})")
    return max(checkpoints, key=lambda name: [int(digits) for digits in re.findall(r"\d+", name.rpartition("/")[2])])
