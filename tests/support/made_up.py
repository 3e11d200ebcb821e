"""Videos of made-up features, annotated, to train on in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.recipe.features import FeatureSpec

FPS, WINDOW = 30.0, 16


def spec_of(channels: int, stride: int) -> FeatureSpec:
    """What a recipe says of such features."""
    return FeatureSpec(extractor="made-up", channels=channels, window=WINDOW, stride=stride)


def contract_of(channels: int, stride: int) -> FeatureContract:
    """What the files say of themselves."""
    return FeatureContract(
        extractor="made-up", weights_sha256=None, sampling_rate=None, max_rate=None, window=WINDOW, stride=stride,
        alignment="center", resize="none", crop="none", value_range="none", layer="none", pooling="none",
        channels=channels,
    )  # fmt: skip


def frames_of(windows: int, stride: int) -> int:
    """Frames of a video that so many windows cover."""
    return (windows - 1) * stride + WINDOW


def write_video(
    folder: Path, name: str, subset: str, features: np.ndarray, segments: Iterable[GroundTruth], *, stride: int = 4
) -> VideoAnnotation:
    """Write a video's features, windows x channels, to `features/NAME.npy` in the folder."""
    windows, channels = features.shape
    frames = frames_of(windows, stride)
    sequence = FeatureSequence(
        features=features.astype(np.float32),
        contract=contract_of(channels, stride),
        fps=FPS,
        frames=frames,
        duration=frames / FPS,
    )
    save_features(sequence, folder / "features" / f"{name}.npy")
    return VideoAnnotation(name, subset, frames / FPS, FPS, tuple(segments))


def write_annotations(folder: Path, videos: Iterable[VideoAnnotation], labels: tuple[str, ...]) -> Path:
    """Write annotations.json beside the features."""
    path = folder / "annotations.json"
    save_annotations(Annotations("made up", {video.name: video for video in videos}, labels), path)
    return path
