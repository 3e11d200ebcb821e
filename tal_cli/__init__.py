"""Temporal action localization on raw video: the application.

>>> from tal_cli import VideoDetector                        # doctest: +SKIP
>>> VideoDetector.load("camera").detect("holiday.mp4")       # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tal_cli.api import VideoDetector
    from tal_cli.extractors.errors import (
        AnnotationError,
        CheckpointError,
        DecoderUnavailable,
        DownloadError,
        FeatureError,
        FeatureMismatch,
        InputError,
        MissingError,
        ModelMissing,
        PackageMissing,
        PluginError,
        RecipeError,
        RemoteError,
        SettingsError,
        TalError,
        UnknownExtractor,
        UnknownModel,
        UsageError,
        VideoError,
        WeightsError,
        WeightsMissing,
    )
    from tal_cli.results.segments import Detections, Segment

__version__ = "0.1.0"
__all__ = [
    "AnnotationError",
    "CheckpointError",
    "DecoderUnavailable",
    "Detections",
    "DownloadError",
    "FeatureError",
    "FeatureMismatch",
    "InputError",
    "MissingError",
    "ModelMissing",
    "PackageMissing",
    "PluginError",
    "RecipeError",
    "RemoteError",
    "Segment",
    "SettingsError",
    "TalError",
    "UnknownExtractor",
    "UnknownModel",
    "UsageError",
    "VideoDetector",
    "VideoError",
    "WeightsError",
    "WeightsMissing",
    "__version__",
]

HOMES = {"VideoDetector": "api", "Detections": "results.segments", "Segment": "results.segments"}


def __getattr__(name: str) -> Any:
    # The command line prints its help without waiting for torch, so the public names load when first asked for.
    if name not in __all__:
        raise AttributeError(f"module 'tal_cli' has no attribute {name!r}")
    return getattr(import_module(f"tal_cli.{HOMES.get(name, 'extractors.errors')}"), name)
