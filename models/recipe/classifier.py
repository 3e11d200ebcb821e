"""The recipe of a model without a detector: a classifier of windows, whose scores over time give segments.

Imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.strict import NonNegative, Share, Strict, Width

Rows = Annotated[int, Field(ge=1, le=1 << 12)]
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class EvidenceConfig(Strict):
    """From class scores over time to segments. Rows are the windows of the features, `stride` frames apart.

    classes: number of the classifier's classes. class_names: the list that names them. groups: labels, and the classes
    that each stands for; empty: every class is a label.
    smoothing: rows over whose mean probabilities are computed. thresholds: probabilities above which neighbouring rows
    become a candidate. shortest: rows of a candidate at least, if the video has as many. beside: rows on either side of
    a candidate, as a share of its length, with which it is compared; contrast: how much of the mean probability there
    is subtracted.
    evidence, evidence_scale: the class score (before the softmax) at which a candidate is as likely to be right as
    wrong, and how fast that changes: a softmax is certain of some class in every scene, its inputs are not. evidence
    None: not known of this network, and left out.
    """

    name: Literal["evidence"] = "evidence"
    classes: Width
    class_names: str
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    smoothing: Rows = 9
    thresholds: Annotated[tuple[Share, ...], Field(min_length=1, max_length=100)] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    shortest: Rows = 2
    beside: Share = 0.25
    contrast: NonNegative = 0.75
    evidence: Annotated[float, Field(allow_inf_nan=False)] | None = 16.0
    evidence_scale: Scale = 1.5

    @model_validator(mode="after")
    def _consistent(self) -> EvidenceConfig:
        if self.smoothing % 2 == 0:
            raise ValueError("smoothing must be odd")
        for label, names in self.groups.items():
            if not label.strip() or label.splitlines() != [label] or not names:
                raise ValueError(f"groups: {label!r} must be one line of text and stand for at least one class")
        return self


class TransitionConfig(Strict):
    """From two scores of each frame to transitions between shots. Rows are frames.

    classes: 2. class_names: the list that names both kinds. middle: score of being the middle of a transition above
    which there may be one. part: score of being part of a transition above which neighbouring frames belong to one.
    longest_cut: frames of a transition up to which it is a cut. cut_length: frames that a cut is told as.
    """

    name: Literal["transitions"] = "transitions"
    classes: Literal[2]
    class_names: str
    middle: Share = 0.1
    part: Share = 0.5
    longest_cut: Rows = 3
    cut_length: Rows = 5


def with_name(value: Any) -> Any:
    """A classifier's settings that name no kind are of evidence."""
    return {"name": "evidence", **value} if isinstance(value, dict) else value


AnyClassifier = Annotated[EvidenceConfig | TransitionConfig, Field(discriminator="name"), BeforeValidator(with_name)]


class ClassifierRecipe(Strict):
    """Everything that defines a model of this kind but its weights."""

    name: str
    description: str = ""
    dataset: str = ""
    source: str = ""
    licence: str = ""  # of the weights
    published: None = None
    features: FeatureSpec
    classifier: AnyClassifier
    inference: InferenceConfig = InferenceConfig()

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Labels that stand for several classes, with those; empty where every class is a label."""
        return self.classifier.groups if isinstance(self.classifier, EvidenceConfig) else {}

    def labels(self, class_names: tuple[str, ...]) -> tuple[str, ...]:
        """The labels of its segments. Raises ValueError for a group of a class that is not among `class_names`."""
        known = set(class_names)
        for label, names in self.groups.items():
            if unknown := [name for name in names if name not in known]:
                raise ValueError(f"classifier.groups: {label}: there is no class {unknown[0]}")
        return tuple(self.groups) or class_names
