"""The backbone of a recipe that trains it, with or without what was trained."""

from __future__ import annotations

from typing import Literal, cast

from tal_cli.extractors.tuning.backbone import TunedBackbone, Tuning, tuned_backbone
from tal_cli.models.recipe.features import UNSAID
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import TunedWeights


def backbone_of(recipe: Recipe, weights: TunedWeights | None = None, origin: str = "") -> TunedBackbone:
    """The backbone that a recipe trains; weights: what was trained, read from `origin`.

    Raises errors as `tuned_backbone`, and WeightsError for weights of something else.
    """
    config = recipe.backbone
    backbone = tuned_backbone(
        recipe.features.extractor,
        base_settings(recipe),
        Tuning(
            kind=cast("Literal['side', 'adapter', 'full']", config.tuning),
            blocks=config.blocks,
            reduction=config.reduction,
            window=config.window,
            overlap=config.overlap,
            checkpointed=config.checkpointing,
            drop_path=config.drop_path,
        ),
    )
    return backbone if weights is None else backbone.load(weights.state, weights.sha256, origin)


def base_settings(recipe: Recipe) -> dict[str, object]:
    """Settings of the extractor whose network is trained: the recipe's, but for the length of passes."""
    spec, config = recipe.features, recipe.backbone
    settings = {name: value for name, value in spec.framing().items() if name not in ("chunk", "overlap")}
    said = {name: getattr(spec, name) for name in ("layer", "pooling")}
    settings |= {name: value for name, value in said.items() if value not in UNSAID}
    return settings if config.chunk is None else {**settings, "chunk": config.chunk}
