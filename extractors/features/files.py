"""Feature files: one array, and beside it VIDEO.json with the contract it was made under.

The array is written first and its JSON last, each atomically. So a killed run leaves no partial file under a final
name, and an array without JSON is not finished.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.errors import FeatureError, InputError, MissingError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.formats import FORMATS, WRITTEN, suffix_of
from tal_cli.extractors.features.identity import VideoIdentity
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.extractors.files.atomic import unwritable, write_atomically
from tal_cli.extractors.files.error_text import unreadable
from tal_cli.extractors.files.json_files import read_json
from tal_cli.extractors.files.remote import name_of, sibling
from tal_cli.extractors.video.clock import FileClock

CHECKED_WINDOWS = 1 << 14  # looked through at once: the marks of ten hours would fill hundreds of megabytes


def description_path(path: str | os.PathLike[str]) -> Path:
    """VIDEO.json beside a feature file."""
    return Path(path).with_suffix(".json")


def description_of(path_or_url: str) -> str:
    """The same for a feature file that may be a URL."""
    return sibling(path_or_url, Path(name_of(path_or_url)).with_suffix(".json").name)


def save_features(sequence: FeatureSequence, path: str | os.PathLike[str]) -> None:
    """Writes features and description atomically; folders are made.

    Args:
        sequence: the features, with their contract.
        path: the file; its suffix is the format, npy, npz, safetensors or pt.

    Raises:
        FeatureError: another suffix, or features without a contract.
        InputError: the disk is full, or the path cannot be written to.
    """
    target = Path(path)
    write = FORMATS[suffix_of(target)].write if suffix_of(target) in FORMATS else None
    if write is None:
        raise FeatureError(target, f"features are written as {', '.join(WRITTEN)}")
    if sequence.contract is None:
        raise FeatureError(target, "features without a contract are not written")
    description = description_path(target)
    try:
        description.unlink(missing_ok=True)  # an old description must not stand beside new features
    except OSError as error:
        raise unwritable(description, error) from error
    features = np.ascontiguousarray(sequence.features, np.float32)
    write_atomically(target, lambda file: write(features, file))
    write_atomically(description, json.dumps(describe(sequence), indent=1, ensure_ascii=False).encode())


def load_features(path: str | os.PathLike[str], key: str | None = None, *, mapped: bool = False) -> FeatureSequence:
    """Reads what `save_features` wrote, or features of other origin (contract None, fps, frames and duration 0).

    Nothing in a file is executed.

    Args:
        path: a file in any format that features come in: npy, npz, safetensors, pt, pkl, h5, hdf5.
        key: the video's name in a file that holds many.
        mapped: leave the values in the file and map them into memory, where the format can be mapped.

    Raises:
        FeatureError: the file is missing or damaged, or holds something else than finite numbers [T, C].
        MissingError: a package that reads the format is not installed.
    """
    source = Path(path)
    return with_description(read_array(source, key, mapped=mapped), source, key)


def with_description(features: NDArray[np.float32], path: Path, key: str | None) -> FeatureSequence:
    """Features [T, C] with what stands beside their file. Raises FeatureError where that does not fit."""
    description = description_path(path)
    if key is None and description.exists():
        return parse_description(description, features)
    return FeatureSequence(features=features, contract=None, fps=0.0, frames=0, duration=0.0)


def describe(sequence: FeatureSequence) -> dict[str, Any]:
    """The JSON beside a feature file."""
    assert sequence.contract is not None
    times = sequence.window_times
    return {
        "contract": asdict(sequence.contract),
        "video": {
            "fps": sequence.fps,
            "frames": sequence.frames,
            "duration": sequence.duration,
            "start": sequence.start,
            "file_clock": asdict(sequence.file_clock),
            "source": None if sequence.source is None else asdict(sequence.source),
            "warnings": list(sequence.warnings),
        },
        "feature_fps": sequence.feature_fps,
        "window_times": None if times is None else [round(float(time), 6) for time in times],
        "shape": list(sequence.features.shape),
        "version": version(),
    }


def version() -> str:
    """The installed version of the distribution this package is part of."""
    try:
        return metadata.version("tal-cli")
    except metadata.PackageNotFoundError:
        return "unknown"


def parse_source(content: dict[str, Any]) -> VideoIdentity | None:
    """The video that a description's features were extracted from; None where it does not say."""
    video = content.get("video")
    source = video.get("source") if isinstance(video, dict) else None
    if not isinstance(source, dict):
        return None
    size, sha256, path = source.get("size"), source.get("sha256"), source.get("path", "")
    if isinstance(size, int) and isinstance(sha256, str) and isinstance(path, str):
        return VideoIdentity(size, sha256, path)
    return None


def parse_file_clock(values: Any) -> FileClock:
    """A file's clock as a description has it. Raises TypeError, ValueError."""
    timecode = values.get("timecode") if isinstance(values, dict) else None
    offset = float(values.get("offset", 0.0)) if isinstance(values, dict) else 0.0
    if not math.isfinite(offset) or not isinstance(timecode, str | None):
        raise ValueError("not a clock")
    return FileClock(offset, timecode)


def parse_description(path: Path, features: NDArray[np.float32]) -> FeatureSequence:
    """VIDEO.json and its features as a sequence. Raises FeatureError where they do not fit each other."""
    content = read_description(path)
    contract = parse_contract(path, content)
    try:
        video, times = content["video"], content["window_times"]
        sequence = FeatureSequence(
            features=features,
            contract=contract,
            fps=float(video["fps"]),
            frames=int(video["frames"]),
            duration=float(video["duration"]),
            start=float(video["start"]),
            source=parse_source(content),
            file_clock=parse_file_clock(video.get("file_clock", {})),
            warnings=tuple(map(str, video.get("warnings", ()))),
            feature_fps=None if content["feature_fps"] is None else float(content["feature_fps"]),
            window_times=None if times is None else np.asarray(times, np.float64),
        )
        shape = tuple(content["shape"])
    except KeyError as error:
        raise FeatureError(path, f"it does not describe features: it lacks {error.args[0]}") from None
    except (TypeError, ValueError, OverflowError):
        raise FeatureError(path, "it does not describe features: a value in it is of the wrong kind") from None
    if shape != features.shape or (sequence.window_times is not None and sequence.window_times.shape != shape[:1]):
        raise FeatureError(
            path, f"it describes features {list(shape)}, the file beside it holds {list(features.shape)}"
        )
    if features.shape[1] != contract.channels:
        raise FeatureError(path, f"its contract says {contract.channels} channels, not {features.shape[1]}")
    return sequence


def read_description(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises FeatureError."""
    try:
        content = read_json(path)
    except InputError as error:
        raise FeatureError(path, f"it cannot be read as JSON ({error.reason})") from None
    if not isinstance(content, dict):
        raise FeatureError(path, "it does not describe features")
    return content


def parse_contract(path: Path, content: dict[str, Any]) -> FeatureContract:
    """The contract in VIDEO.json. Raises FeatureError, naming unknown and missing fields."""
    values = content.get("contract")
    names = {field.name for field in fields(FeatureContract)}
    needed = {field.name for field in fields(FeatureContract) if field.default is MISSING}
    if not isinstance(values, dict) or not needed <= set(values) <= names:
        odd = sorted((needed - set(values)) | (set(values) - names)) if isinstance(values, dict) else sorted(names)
        raise FeatureError(path, f"its feature contract lacks or does not know: {', '.join(map(str, odd))}")
    try:
        return FeatureContract(**values)
    except ValueError as error:
        raise FeatureError(path, f"its feature contract makes no sense ({error})") from None
    except TypeError:
        raise FeatureError(path, "its feature contract makes no sense (a value in it is of the wrong kind)") from None


def read_array(path: Path, key: str | None = None, *, mapped: bool = False) -> NDArray[np.float32]:
    """float32 [T, C] from a feature file. Raises FeatureError, MissingError."""
    if suffix_of(path) not in FORMATS:
        raise FeatureError(path, f"features are read from {', '.join(FORMATS)}")
    format = FORMATS[suffix_of(path)]
    with reading(path):
        array = format.map(path) if mapped and format.map is not None else format.read(path, key)
    return as_features(array, path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises FeatureError, naming path, in place of whatever a format's library raises."""
    try:
        yield
    except (MissingError, FeatureError):
        raise
    except FileNotFoundError:
        raise FeatureError(path, "no such file") from None
    except Exception as error:  # each library has its own kinds; a hostile file can raise any of them
        raise FeatureError(path, f"no features can be read from it ({unreadable(path, error)})") from None


def as_features(array: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """An array as float32 [T, C]. Raises FeatureError, naming path, where it is none or holds what is not finite."""
    while array.ndim > 2 and 1 in array.shape:
        array = array.squeeze(array.shape.index(1))
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "iuf":
        raise FeatureError(path, f"it holds {array.dtype} {list(array.shape)} instead of numbers [windows, channels]")
    with np.errstate(over="ignore"):  # what is too large for float32 is not finite then
        features = array.astype(np.float32, copy=False)
    for first in range(0, len(features), CHECKED_WINDOWS):
        finite = np.isfinite(features[first : first + CHECKED_WINDOWS]).all(axis=1)
        if not finite.all():
            raise FeatureError(path, f"window {first + int(finite.argmin())} holds values that are not finite numbers")
    return features
