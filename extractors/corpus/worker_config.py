"""Configuration of a worker, and errors sent between processes. Loads no torch."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tal_cli.extractors import errors
from tal_cli.extractors.backbones import create_backbone, resolve
from tal_cli.extractors.errors import SettingsError, TalError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.video.stream import TIMEOUT

if TYPE_CHECKING:
    from tal_cli.extractors.extraction.extractor import Extractor


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Configuration of a run.

    extractor, weights, settings: see `create_backbone`. batch_size: windows per forward pass, None: by memory.
    precision, compiled: see `Extractor`. decoder, timeout, time_limit: see `read_frames`. seed: of all random numbers.
    """

    extractor: str
    weights: tuple[str, ...] = ()
    settings: tuple[tuple[str, object], ...] = ()
    batch_size: int | None = None
    precision: str = "auto"
    compiled: bool = False
    decoder: str = "auto"
    timeout: float = TIMEOUT
    time_limit: float | None = None
    seed: int = 0

    def contract(self) -> FeatureContract:
        """The contract of the features, without building the backbone; reads the weights files for their hash.

        Raises UnknownExtractor, SettingsError, WeightsMissing.
        """
        return resolve(self.extractor, self.weights or None, dict(self.settings)).contract

    def extractor_on(self, device: str) -> Extractor:
        """The backbone on a device, ready for any number of videos at a time.

        Raises SettingsError for settings that the network rejects, and the errors of `create_backbone`.
        """
        try:
            return self._extractor_on(device)
        except ValueError as error:
            raise SettingsError(str(error)) from error

    def _extractor_on(self, device: str) -> Extractor:
        import torch

        from tal_cli.extractors.extraction.extractor import Extractor
        from tal_cli.extractors.extraction.precision import cast_weights

        torch.manual_seed(self.seed)
        backbone = create_backbone(self.extractor, self.weights or None, dict(self.settings))
        cast_weights(backbone, self.precision)
        return Extractor(
            backbone,
            device=device,
            batch_size=self.batch_size or "auto",
            precision=self.precision,
            compiled=self.compiled,
        )


class WorkerError(Exception):
    """An internal error inside a worker. trace: where it happened, shown with this error's own."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.__cause__ = Exception(f"in the worker:\n{trace}") if trace else None


def pack(error: Exception) -> dict[str, Any]:
    """An error as JSON: the parts of a `TalError`, else an internal error with its traceback."""
    if isinstance(error, TalError):
        return {"kind": type(error).__name__, "parts": [error.reason, error.remedy, error.path]}
    if isinstance(error, ValueError):
        return {"kind": "ValueError", "parts": [str(error)]}
    if isinstance(error, OSError):
        return {"kind": "OSError", "parts": [error.errno, error.strerror or str(error), error.filename]}
    trace = "".join(traceback.format_exception(error))
    return {"kind": "WorkerError", "parts": [f"{type(error).__name__}: {error}", trace]}


def unpack(packed: dict[str, Any]) -> Exception:
    """The error that was packed."""
    kind, parts = packed["kind"], packed["parts"]
    plain: dict[str, type[Exception]] = {"ValueError": ValueError, "OSError": OSError, "WorkerError": WorkerError}
    return plain[kind](*parts) if kind in plain else errors.remake(getattr(errors, kind), *parts)
