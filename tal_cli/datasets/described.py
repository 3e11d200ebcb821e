"""Features whose contract and clock are known: their own, or those that a recipe and the annotations say."""

from __future__ import annotations

from dataclasses import replace

from tal_cli.datasets.annotations import VideoAnnotation
from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.features.lookup import FeatureFile
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.recipe.features import FeatureSpec


def described(
    sequence: FeatureSequence, spec: FeatureSpec, video: VideoAnnotation, file: FeatureFile
) -> FeatureSequence:
    """A sequence that has a contract and a clock, checked against what a recipe asks for.

    Raises:
        UsageError: features that are not what `spec` asks for, or whose frame rate nothing tells.
    """
    remedy = "make them with `tal extract-features`, or change the recipe's `features` with --set"
    channels = sequence.features.shape[1]
    if channels != spec.channels:
        hint = transposed(sequence.features.shape, spec.channels)
        raise UsageError(f"{file}: {channels} channels, the recipe has {spec.channels}{hint}", remedy)
    if sequence.contract is not None:
        found = spec.differences(sequence.contract)
        if found:
            raise UsageError(f"{file}: not the features of the recipe: {'; '.join(found)}", remedy)
        return sequence
    fps = spec.sampling_rate or video.fps
    if fps is None:
        reason = f"{file}: neither a description beside it nor the annotations say the video's frames per second"
        raise UsageError(reason, "add fps to the annotations, or --set features.sampling_rate=FPS")
    frames = round(video.duration * fps)
    return replace(sequence, contract=spec.contract(), fps=fps, frames=frames, duration=video.duration)


def transposed(shape: tuple[int, ...], channels: int) -> str:
    """What to say of features [channels, windows] where [windows, channels] are expected; nothing of others."""
    return f"; it is [{shape[0]}, {shape[1]}], transposed?" if shape[0] == channels else ""
