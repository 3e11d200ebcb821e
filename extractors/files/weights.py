"""Weights files of backbones: where they are published and stored, and how they are loaded into a network.

Declaring and finding files imports no torch. Downloading is the application's (`tal_cli.model_files.download`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from tal_cli.extractors.errors import InputError, WeightsError
from tal_cli.extractors.files.bounds import check_archive, check_safetensors, load_tensors
from tal_cli.extractors.files.error_text import unreadable
from tal_cli.extractors.files.json_files import read_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Keys of the state dict in published files, in order of preference.
WRAPPERS = ("model", "module", "state_dict", "model_state", "ema_encoder", "target_encoder")
# Blobs of Caffe2's optimiser, by name and by suffix.
CAFFE2_TRAINING, CAFFE2_MOMENTUM = ("lr", "model_iter"), "_momentum"

DIGITS = 64  # of a complete SHA-256
INDEX = ".safetensors.index.json"  # suffix of the index of weights in parts


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """A file of weights inside a Python package, which pip's index serves: it is read there, never built or imported.

    project, version: as on the index. archive: name of the distribution's file, sha256: of that file, hexadecimal,
    size: its bytes. member: the path of the weights in the archive, member_size: their bytes. convert: turns the
    extracted file into tensors under released names, as `MODULE:FUNCTION` from a Path to a dict.
    """

    project: str
    version: str
    archive: str
    sha256: str
    size: int
    member: str
    member_size: int
    convert: str


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """A published weights file.

    file: its name on this machine. url: `https://...`, `hf://OWNER/REPOSITORY/PATH` (Hugging Face), `gdrive://ID`
    (Google Drive); None if there is no public link. page: its description, and how to request it.
    licence: as stated by its publishers. sha256: known hexadecimal digits, all 64 or the first few as in PyTorch's
    file names; None: pinned at the first download. size: bytes, None if unknown. package: where it comes from if it is
    converted from a file in a Python package; url is then None.
    """

    file: str
    url: str | None
    page: str
    licence: str
    sha256: str | None = None
    size: int | None = None
    package: PackagedFile | None = None

    @property
    def is_public(self) -> bool:
        """Whether it can be downloaded without asking anybody."""
        return self.url is not None or self.package is not None


def home() -> Path:
    """The folder for downloaded weights: TAL_HOME, or the platform's cache folder."""
    return Path(os.environ.get("TAL_HOME") or platformdirs.user_cache_dir("tal"))


def weights_path(source: WeightsSource) -> Path:
    """The local path of a published file; backbones that share a file share the path."""
    return home() / "extractors" / source.file


def locate(source: WeightsSource) -> Path | None:
    """The local copy of a published file, None if there is none."""
    path = weights_path(source)
    return path if path.is_file() else None


def pin_path(path: Path) -> Path:
    """The file that stores the SHA-256 pinned at the first download of a file under `home()`."""
    relative = path.relative_to(home()) if path.is_relative_to(home()) else Path(path.name)
    return home() / "pins" / relative.with_name(f"{relative.name}.sha256")


def pinned(path: Path) -> str | None:
    """The SHA-256 pinned for a file under `home()`, None if there is none."""
    try:
        digits = pin_path(path).read_text(encoding="utf8")[:DIGITS]
    except (OSError, ValueError):
        return None
    return digits if re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", digits) else None


def weights_sha256(path: Path, source: WeightsSource | None = None) -> str:
    """SHA-256 of weights, hexadecimal; for weights in parts that of all files' digests, one per line, index first.

    source: the expected published file; raises WeightsError if the digest of the file or of a part does not match.
    """
    digests = []
    for file in (path, *(parts_of(path) if path.name.endswith(INDEX) else ())):
        digests.append(file_sha256(file))
        if source is not None:
            check_digest(source.sha256 if file == path else None, file, digests[-1])
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def check_digest(published: str | None, path: Path, digest: str) -> None:
    """Raises WeightsError if a file under `home()` is not the published one, or not the one first downloaded."""
    for wanted, whose in ((published, "the published file's"), (pinned(path), "the first download's")):
        if wanted is not None and not digest.startswith(wanted.lower()):
            raise WeightsError(f"{path}: its SHA-256 is {digest}, {whose} is {wanted}; remove it and pull it again")


def remedy(backbone: str, sources: Sequence[WeightsSource]) -> str:
    """The three ways to get a backbone's weights files, in one line."""
    files = ", ".join(source.file for source in sources)
    folder, pages = home() / "extractors", ", ".join(dict.fromkeys(source.page for source in sources))
    own = f"give files of your own as --weights FILE; or put {files} from {pages} into {folder}"
    if not all(source.is_public for source in sources):
        return f"there is no public download (ask for it at {pages}): {own}"
    return f"`tal extractors pull {backbone}` downloads them; or {own}"


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_state(path: str | os.PathLike[str], *, prefixes: Iterable[str] = ()) -> dict[str, Tensor]:
    """The state dict in a file, memory-mapped if its format allows, so that values are read on first use.

    `.safetensors`, a `.safetensors.index.json` beside its parts, or anything that torch.save wrote (`.pth`, `.pt`,
    `.pth.tar`, `.pyth`), which is read with weights_only=True, so nothing in it is executed; or a `.pkl` or `.npz` of
    arrays (`read_caffe2`, `read_npz`). A dict under one of WRAPPERS is used as the state dict; each of `prefixes` is
    removed from the names that begin with it, in that order. Raises WeightsError.
    """
    name = os.fspath(path)
    try:
        content = next((read for suffix, read in READERS.items() if name.endswith(suffix)), read_pickle)(name)
    except Exception as error:  # each format raises its own exceptions, and a hostile file any of them
        raise WeightsError(f"{name}: no weights can be read from it ({unreadable(name, error)})") from None
    state = {key: value for key, value in unwrapped(content).items() if hasattr(value, "untyped_storage")}
    if not state:
        raise WeightsError(f"{name}: it contains no named tensors")
    for prefix in prefixes:
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def read_safetensors(name: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    check_safetensors(Path(name))
    return load_file(name)


def parts_of(index: Path) -> list[Path]:
    """The files listed in an index, all in its folder: names with a path are rejected. Raises WeightsError."""
    try:
        content = read_json(index)
        names = {os.path.basename(name) for name in content["weight_map"].values()}
        if not all(re.fullmatch(r"\w[\w.-]*\.safetensors", name) for name in names):
            raise ValueError("invalid file name of a part")
    except (InputError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index}: not an index of weights in parts ({type(error).__name__})") from None
    return [index.with_name(name) for name in sorted(names)]


def read_parts(name: str) -> dict[str, Any]:
    """The tensors of a file in parts, given its index."""
    state: dict[str, Any] = {}
    for part in parts_of(Path(name)):
        state.update(read_safetensors(str(part)))
    return state


def read_npz(name: str) -> dict[str, Any]:
    """The arrays of numbers in an archive of numpy's."""
    import numpy as np
    import torch

    check_archive(Path(name))
    with np.load(name, allow_pickle=False) as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


def read_pickle(name: str) -> Any:
    return load_tensors(Path(name), mmap=True)


def read_caffe2(name: str) -> dict[str, Any]:
    """The blobs of a file written by Caffe2, a pickled dict of arrays, without those used only in training."""
    import numpy as np
    import torch

    from tal_cli.extractors.files.pickles import ARRAYS, read_arrays

    content = read_arrays(Path(name), ARRAYS)
    blobs = content.get("blobs", content) if isinstance(content, dict) else {}
    return {
        str(key): torch.from_numpy(np.array(value, np.float32))
        for key, value in blobs.items()
        if isinstance(value, np.ndarray)
        and value.dtype.kind == "f"
        and key not in CAFFE2_TRAINING
        and not str(key).endswith(CAFFE2_MOMENTUM)
    }


READERS: dict[str, Callable[[str], Any]] = {
    ".safetensors": read_safetensors,
    INDEX: read_parts,
    ".pkl": read_caffe2,
    ".npz": read_npz,
}


def unwrapped(content: Any) -> dict[str, Any]:
    """The dict of names and tensors in a file's content; empty if there is none."""
    if not isinstance(content, Mapping):
        return {}
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return unwrapped(content[wrapper])
    return {str(key): value for key, value in content.items()}


def load_state(
    network: nn.Module,
    state: Mapping[str, Tensor],
    origin: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    ignored: Iterable[str] = (),
) -> None:
    """Loads the tensors of `state` into a network (possibly on the meta device), without a copy if the type matches.

    dtype: of floating-point tensors afterwards; None: float32. ignored: prefixes of names in the file that the
    network does not use, such as other heads. Counters of batches (`num_batches_tracked`) may be missing or extra.
    Raises WeightsError that names the first tensors that are missing, unknown or of another shape.
    """
    import torch

    wanted = network.state_dict()
    skip = tuple(ignored)
    given = {key: value for key, value in state.items() if key in wanted or not (skip and key.startswith(skip))}
    problems = [f"{key} is missing" for key in wanted.keys() - given.keys() if not is_counter(key)]
    problems += [f"{key} is unknown" for key in given.keys() - wanted.keys() if not is_counter(key)]
    problems += [
        f"{key} is {list(given[key].shape)}, not {list(wanted[key].shape)}"
        for key in wanted.keys() & given.keys()
        if given[key].shape != wanted[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(
            f"{os.fspath(origin)}: not the weights of this backbone: {'; '.join(sorted(problems)[:3])}{more}"
        )
    target = torch.float32 if dtype is None else dtype
    used = {key: given[key] for key in wanted.keys() & given.keys()}
    fitting = {key: value.to(target) if value.is_floating_point() else value for key, value in used.items()}
    for key in wanted.keys() - given.keys():
        fitting[key] = torch.zeros(wanted[key].shape, dtype=wanted[key].dtype)
    network.load_state_dict(fitting, assign=True)


def is_counter(key: str) -> bool:
    """Whether a name is that of a counter of training batches, which inference never reads."""
    return key.endswith("num_batches_tracked")
