"""The tree of errors: every error that a user can act on is a `TalError`.

    TalError
    ├── UsageError (exit code 2)      UnknownExtractor, SettingsError, WeightsError, RecipeError, CheckpointError,
    │                                 UnknownModel, FeatureMismatch, PluginError
    ├── InputError (exit code 3)      VideoError, FeatureError, RemoteError, AnnotationError
    └── MissingError (exit code 4)    DecoderUnavailable, PackageMissing, WeightsMissing, ModelMissing, DownloadError

Any other exception is an internal error (a bug in tal, exit code 1). Imports nothing of this project.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import ClassVar

EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_MISSING = 4
EXIT_INTERRUPTED = 130


class TalError(Exception):
    """An error that a user can act on.

    Attributes:
        reason: what is wrong, without the path.
        remedy: how to fix it, or how to get a missing file or package; may be empty.
        path: the file, folder or URL concerned; None if there is none.
    """

    exit_code: ClassVar[int] = EXIT_INTERNAL

    def __init__(self, reason: str, remedy: str = "", *, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.path = None if path is None else os.fspath(path)

    def __str__(self) -> str:
        return self.reason if self.path is None else f"{self.path}: {self.reason}"

    def __reduce__(self) -> tuple[object, ...]:
        return remake, (type(self), self.reason, self.remedy, self.path)


def remake(kind: type[TalError], reason: str, remedy: str, path: str | None) -> TalError:
    """An error from its parts, without calling its class's constructor: errors are sent between processes."""
    error = kind.__new__(kind)
    TalError.__init__(error, reason, remedy, path=path)
    return error


class OldName(FutureWarning):
    """A deprecated name that still works; the message gives the new one."""


class PluginWarning(UserWarning):
    """A plugin that is skipped, with the reason."""


class UsageError(TalError):
    """Wrong usage: an unknown name or value (exit code 2)."""

    exit_code = EXIT_USAGE


class InputError(TalError):
    """An input that cannot be processed (exit code 3); the others go on."""

    exit_code = EXIT_INPUT
    path: str

    def __init__(self, path: str | os.PathLike[str], reason: object, remedy: str = "") -> None:
        super().__init__(str(reason), remedy, path=path)


class MissingError(TalError):
    """Weights, a data set or an optional package is absent (exit code 4); the remedy says how to get it."""

    exit_code = EXIT_MISSING


class UnknownExtractor(UsageError, ValueError):
    """No backbone of that name; the reason lists the available ones."""


class SettingsError(UsageError, ValueError):
    """Settings that a backbone does not support."""


class WeightsError(UsageError):
    """A file that does not hold the weights of this backbone."""


class RecipeError(UsageError):
    """A recipe that cannot be read or breaks the schema; the reason names the dotted path of each bad value."""


class CheckpointError(UsageError):
    """A model folder or checkpoint file that cannot be used; the reason names the file."""


class UnknownModel(UsageError):
    """Neither a model nor a recipe nor a model folder; the reason lists the known names."""


class FeatureMismatch(UsageError):
    """Features that differ in kind from those the detector was trained on."""


class PluginError(UsageError):
    """A plugin that cannot be used, or a name registered by several packages; the reason names the packages."""


class VideoError(InputError):
    """A video that cannot be decoded."""


class FeatureError(InputError):
    """A feature file that cannot be used."""


class RemoteError(InputError):
    """A path or URL that cannot be read, listed or written."""


class AnnotationError(InputError):
    """An annotation file that cannot be parsed; the reason names the video."""


class DecoderUnavailable(MissingError):
    """A decoder requested by name that is not installed."""

    def __init__(self, decoder: str, reason: str) -> None:
        super().__init__(reason, f"pip install {decoder}, or leave --decoder out")


class PackageMissing(MissingError):
    """An optional package that is not installed; extra: the extra of tal-cli that includes it, or None."""

    def __init__(self, package: str, extra: str | None) -> None:
        remedy = f"pip install {package}" if extra is None else f"pip install 'tal-cli[{extra}]'"
        super().__init__(f"the package {package} is not installed", remedy)


class WeightsMissing(MissingError):
    """A backbone needs trained weights that were not given."""

    def __init__(self, backbone: str, remedy: str) -> None:
        super().__init__(f"the backbone {backbone} needs trained weights", remedy)


class ModelMissing(MissingError):
    """No weights for a model's name."""


class DownloadError(MissingError):
    """A published file that could not be downloaded."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint with the known name closest to an unknown one, or `otherwise` if none is close."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]}?" if close else otherwise
