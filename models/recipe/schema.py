"""The schema of a recipe: features, backbone, model, training, inference. Imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.backbone import BackboneConfig
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.strict import Strict
from tal_cli.models.recipe.training import TrainingConfig


class Published(Strict):
    """Figures of the paper for this setting, in percent, for comparison."""

    metric: str
    average: float
    by_tiou: dict[str, float] = Field(default_factory=dict)


class Recipe(Strict):
    """Everything that defines a detector but its weights."""

    name: str
    description: str = ""
    dataset: str = ""
    source: str = ""
    licence: str = ""  # of the weights
    published: Published | None = None
    features: FeatureSpec
    backbone: BackboneConfig = BackboneConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        streams = sum(channels for channels, _ in self.model.streams)
        if streams and streams != self.features.channels:
            raise ValueError(f"model.streams: {streams} channels, but features.channels is {self.features.channels}")
        return self
