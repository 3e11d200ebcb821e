"""The checkpoint inside an archive of training results, as some authors publish theirs."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from tal_cli.extractors.errors import CheckpointError
from tal_cli.extractors.files.bounds import check_size

SUFFIX = ".pth.tar"
MOST_MEMBERS = 10_000


def open_checkpoint(path: Path) -> BinaryIO:
    """The file itself, or the last epoch's checkpoint in a `.tar`, `.tar.gz` or `.zip` of results, unpacked in memory.

    Raises CheckpointError for an archive without a checkpoint or that unpacks to far more than it is long; OSError.
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
            members = islice(archive, MOST_MEMBERS)
            sizes = {entry.name: entry.size for entry in members if entry.isfile()}
            member = archive.extractfile(_latest(sizes, path))
            assert member is not None  # a regular file
            return io.BytesIO(member.read())
    return path.open("rb")


def _latest(sizes: dict[str, int], path: Path) -> str:
    checkpoints = [name for name in sizes if name.endswith(SUFFIX)]
    if not checkpoints:
        raise CheckpointError(f"{path}: an archive without a checkpoint (NAME{SUFFIX})")
    latest = max(checkpoints, key=lambda name: [int(digits) for digits in re.findall(r"\d+", name.rpartition("/")[2])])
    try:
        check_size(sizes[latest], path.stat().st_size)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return latest
