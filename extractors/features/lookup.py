"""Where a video's features are: a file of its own, or one entry of a file that holds many videos; and reading them.

Published features come as `.npy`, `.npz`, `.pt`, `.safetensors`, `.pkl` and `.h5`; `feature_forms` reads what
`tal_cli.extractors.features.files` does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.errors import FeatureError, MissingError
from tal_cli.extractors.features.archives import FORMS, h5_shape
from tal_cli.extractors.features.files import FORMATS, as_features, description_path, load_features, parse_description
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.extractors.files.error_text import reason_of

ALONE = (*FORMATS, *(suffix for suffix in FORMS if suffix not in FORMATS))
PREFIX = "v_"  # of ActivityNet's video files, which its annotations leave out


@dataclass(frozen=True)
class FeatureFile:
    """One video's features: a file, and where that holds many videos, the video's entry."""

    path: Path
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.path}" if self.key is None else f"{self.path}[{self.key}]"

    def outline(self) -> FeatureSequence:
        """The same as `load`, without reading values where the form allows it: all features are then zero.

        Raises:
            FeatureError, MissingError: as `load` does.
        """
        suffix = self.path.suffix[1:].lower()
        shape = self._shape(suffix)
        if len(shape) != 2 or 0 in shape:
            return self.load()
        return self._sequence(np.broadcast_to(np.float32(0), shape))

    def _shape(self, suffix: str) -> tuple[int, ...]:
        """The array's shape, empty where only reading it tells."""
        try:
            if suffix == "npy":
                array = np.load(self.path, mmap_mode="r", allow_pickle=False)
                return tuple(array.shape) if array.dtype.kind in "iuf" else ()
            return h5_shape(self.path, self.key) if suffix in ("h5", "hdf5") else ()
        except Exception:  # whatever is wrong, reading says it
            return ()

    def load(self) -> FeatureSequence:
        """Read them; the contract is None where nothing beside the file tells it.

        Raises:
            FeatureError: missing, damaged, or no finite numbers [T, C].
            MissingError: a package that reads this form is not installed.
        """
        suffix = self.path.suffix[1:].lower()
        if self.key is None and suffix in FORMATS:
            return load_features(self.path)
        return self._sequence(as_features(self._array(suffix), self.path))

    def _sequence(self, features: NDArray[np.float32]) -> FeatureSequence:
        description = description_path(self.path)
        if self.key is None and description.exists():
            return parse_description(description, features)
        return FeatureSequence(features=features, contract=None, fps=0.0, frames=0, duration=0.0)

    def _array(self, suffix: str) -> NDArray[Any]:
        try:
            return FORMS[suffix].read(self.path, self.key)
        except (MissingError, FeatureError):
            raise
        except FileNotFoundError:
            raise FeatureError(self.path, "no such file") from None
        except Exception as error:  # each reader has its own kinds; a hostile file can raise any of them
            raise FeatureError(self.path, f"it holds no features that can be read ({reason_of(error)})") from None


def find_features(place: Path, name: str, subset: str | None = None) -> FeatureFile | None:
    """A video's features, whatever their format; no name leads out of the folder.

    Args:
        place: a folder of files VIDEO.npy (or v_VIDEO.npy, SUBSET/VIDEO.npy, SUBSET.h5), or a file that holds all.
        name: the video's.
        subset: the video's, for data sets that keep subsets apart.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return None
    if place.is_file():
        return _entry(place, name)
    folders = [place] if subset is None else [place, place / subset]
    for folder in folders:
        for stem in (name, PREFIX + name):
            for suffix in ALONE:
                path = folder / f"{stem}.{suffix}"
                if path.is_file():
                    return FeatureFile(path)
    files = (place / f"{subset}.{suffix}" for suffix in FORMS) if subset is not None else ()
    return next((found for path in files if path.is_file() and (found := _entry(path, name))), None)


def usual_place(root: Path) -> Path:
    """`features/` in a data set's folder, or the file features.h5 (.pkl, .npz, ...) there that holds all videos."""
    files = (root / f"features.{suffix}" for suffix in FORMS)
    folder = root / "features"
    return folder if folder.is_dir() else next((path for path in files if path.is_file()), folder)


def _entry(path: Path, name: str) -> FeatureFile | None:
    keys = keys_of(path, path.stat().st_mtime_ns)
    key = next((key for key in (name, PREFIX + name) if key in keys), None)
    return None if key is None else FeatureFile(path, key)


@lru_cache(maxsize=4)
def keys_of(path: Path, changed: int) -> frozenset[str]:
    """Names of the videos in a file that holds many; `changed` is the file's time, so that a new file is read anew.

    Raises:
        FeatureError: the file cannot be read, or holds no videos by name.
        MissingError: a package that reads this form is not installed.
    """
    form = FORMS.get(path.suffix[1:].lower())
    if form is None:
        raise FeatureError(path, f"features of many videos are read from {', '.join(FORMS)}")
    try:
        return frozenset(form.keys(path))
    except (MissingError, FeatureError):
        raise
    except Exception as error:
        raise FeatureError(path, f"it holds no features that can be read ({reason_of(error)})") from None
