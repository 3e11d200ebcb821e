"""The schema of a recipe: features, backbone, model, training, inference. Imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.backbone import BackboneConfig
from tal_cli.models.recipe.decoders import RelationalSettings
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
        contrast = self.contrast_epochs
        if contrast >= self.training.epochs + self.training.warmup_epochs:
            raise ValueError(f"model.decoder.contrast_epochs: {contrast}, which leaves no epoch to learn detection in")
        if contrast and self.training.accumulate > 1:
            raise ValueError("training.accumulate: must be 1 with contrast_epochs, which compare all videos of a batch")
        return self

    @property
    def contrast_epochs(self) -> int:
        """The first epochs, in which the embedding alone is trained, by contrast between instances."""
        return self.model.decoder.contrast_epochs if isinstance(self.model.decoder, RelationalSettings) else 0
