"""A recipe's settings of training. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from tal_cli.models.recipe.strict import NonNegative, Positive, Share, Strict, by_name


class CenterAssignment(Strict):
    """Assigns each point the shortest segment around it, near the segment's centre (center sampling)."""

    name: Literal["center"] = "center"
    radius: Annotated[float, Field(gt=0)] | None = 1.5  # strides; None: every point inside the segment
    labels: Literal["shortest", "all"] = "shortest"  # of which segments around it a point learns the labels


class CostAssignment(Strict):
    """Assigns points of center sampling boundaries that match their predictions best (TemporalMaxer).

    Of the points inside a segment, the fraction `keep` of least cost counts fully, the others by `confuse_weight`;
    cost = class_weight * focal loss + iou_weight * DIoU loss.
    """

    name: Literal["cost"] = "cost"
    radius: Annotated[float, Field(gt=0)] = 1.5
    iou_weight: NonNegative = 2.0
    class_weight: NonNegative = 1.0
    keep: Share = 1.0
    confuse_weight: NonNegative = 0.0


AnyAssignment = Annotated[CenterAssignment | CostAssignment, Field(discriminator="name"), BeforeValidator(by_name)]


class TrainingConfig(Strict):
    """How a detector is trained. Epochs total `warmup_epochs + epochs`; lengths in grid cells."""

    epochs: Annotated[int, Field(ge=0, le=1 << 20)] = 30
    warmup_epochs: Annotated[int, Field(ge=0, le=1 << 20)] = 5
    crops: Positive = 1  # of each video in an epoch
    batch_size: Positive = 2
    accumulate: Positive = 1  # forward passes that a process's part of a batch is split into
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    min_learning_rate: NonNegative = 1e-8
    decay_epochs: tuple[Positive, ...] = ()  # after each the rate is multiplied by `decay_factor`; none: cosine decay
    decay_factor: Share = 0.1
    weight_decay: NonNegative = 0.05
    clip_grad_norm: NonNegative | None = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    max_length: Positive = 2304
    crop_ratio: tuple[Share, Share] | None = (0.9, 1.0)
    truncate_threshold: Share = 0.5
    input_noise: NonNegative = 0.0
    input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of a video's channels, the others scaled up
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    initial_loss_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    assignment: AnyAssignment = CenterAssignment()
    objective: Literal["released", "paper"] | None = None  # whose loss; None: that of the model's variant
    class_loss: Literal["varifocal", "focal"] = "varifocal"
    regression_loss: Literal["diou", "giou", "ciou"] = "diou"
    iou_weight_power: NonNegative = 1.0  # a positive's class loss counts by IoU to this power; 0: fully
    regression_weight: NonNegative = 1.0
    refined_weight: NonNegative = 0.7  # of refined and coarse predictions where a decoder has both
    coarse_weight: NonNegative = 0.3
    class_agnostic: bool = False  # all labels are learned as one: proposals, for `tal combine video-scores` to label
    display_precision: Share | None = None  # display scores per label, chosen on validation, reach it
    select: Literal["last", "best-test"] = "last"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if not self.epochs + self.warmup_epochs:
            raise ValueError("epochs and warmup_epochs: at least one of them must be above 0")
        if self.accumulate > 1 and not isinstance(self.assignment, CenterAssignment):
            raise ValueError("accumulate: must be 1 with the cost assignment, which compares all points of a batch")
        return self
