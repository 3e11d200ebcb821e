"""The backbone of a recipe that trains it, with or without what was trained."""

from __future__ import annotations

from typing import Literal, cast

from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.tuning.adapters import TunedNetwork
from tal_cli.extractors.tuning.backbone import TunedBackbone, Tuning, outline, tuned_backbone
from tal_cli.models.recipe.features import UNSAID
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import TunedWeights

NETWORK = "network."  # names of the network itself in what a model has of its backbone, if it has it
SPARE = "spare."  # of what an imported checkpoint holds and nothing reads


def backbone_of(recipe: Recipe, weights: TunedWeights | None = None, origin: str = "") -> TunedBackbone:
    """The backbone that a recipe trains; weights: what was trained, read from `origin`.

    Where they hold the complete network, as imported checkpoints do, no published weights are needed.

    Raises errors as `tuned_backbone`, and WeightsError for weights of something else.
    """
    name, settings, tuning = recipe.features.extractor, base_settings(recipe), tuning_of(recipe)
    if weights is None:
        return tuned_backbone(name, settings, tuning)
    state = {key: value for key, value in weights.state.items() if not key.startswith(SPARE)}
    given = {key.removeprefix(NETWORK): value for key, value in state.items() if key.startswith(NETWORK)}
    tuned = outline(name, settings, tuning)[0] if given else None
    if tuned is None or not tuned.network.state_dict().keys() <= given.keys():
        return tuned_backbone(name, settings, tuning).load(state, weights.sha256, origin)
    trained = {key: value for key, value in state.items() if key in tuned.tuned() or not key.startswith(NETWORK)}
    return tuned_backbone(name, settings, tuning, given).load(trained, weights.sha256, origin)


def outline_of(recipe: Recipe) -> tuple[TunedNetwork, FeatureContract]:
    """The network that a recipe trains, without values, and the contract of its rows; raises as `outline`."""
    return outline(recipe.features.extractor, base_settings(recipe), tuning_of(recipe))


def tuning_of(recipe: Recipe) -> Tuning:
    """What a recipe trains of its backbone."""
    config = recipe.backbone
    return Tuning(
        kind=cast("Literal['side', 'adapter', 'full']", config.tuning),
        blocks=config.blocks,
        reduction=config.reduction,
        window=config.window,
        overlap=config.overlap,
        checkpointed=config.checkpointing,
        drop_path=config.drop_path,
    )


def base_settings(recipe: Recipe) -> dict[str, object]:
    """Settings of the extractor whose network is trained: the recipe's, but for the length of passes."""
    spec, config = recipe.features, recipe.backbone
    settings = {name: value for name, value in spec.framing().items() if name not in ("chunk", "overlap")}
    said = {name: getattr(spec, name) for name in ("layer", "pooling")}
    settings |= {name: value for name, value in said.items() if value not in UNSAID}
    return settings if config.chunk is None else {**settings, "chunk": config.chunk}
