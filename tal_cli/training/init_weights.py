"""Weights to begin with: `tal train --init`."""

from __future__ import annotations

from torch import Tensor

from tal_cli import console
from tal_cli.extractors.errors import UsageError
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.store.checkpoint import load_model
from tal_cli.models.store.zoo import resolve_model


def initial_weights(name: str | None) -> dict[str, Tensor] | None:
    """Weights of a model in the zoo or in a folder, by parameter name."""
    return None if name is None else load_model(resolve_model(name)).detector.state_dict()


def load_matching(detector: TemporalDetector, weights: dict[str, Tensor]) -> None:
    """Take over the tensors that fit by name and shape, and say how many do not.

    Raises:
        UsageError: none fits.
    """
    own = detector.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise UsageError("--init: no tensor of these weights fits the model")
    detector.load_state_dict(fitting, strict=False)
    if len(fitting) < len(own):
        console.note(f"--init: {len(own) - len(fitting)} of {len(own)} tensors do not fit and start anew")
