"""A recipe's settings of inference: from predictions to segments. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tal_cli.models.recipe.strict import Length, NonNegative, Positive, Share, Strict, with_new_names


class InferenceConfig(Strict):
    """From predictions to segments. Durations and lengths in grid cells, scores and overlaps in [0, 1]."""

    pre_nms_threshold: Share = 0.001
    pre_nms_top_k: Positive = 2000  # per pyramid level
    min_score: Share = 0.001
    max_segments: Positive = 2000
    nms: Literal["soft", "hard", "none"] = "soft"
    sigma: Annotated[float, Field(gt=0)] = 0.5
    iou_threshold: Share = 0.1  # of hard NMS
    min_duration: NonNegative = 0.05
    multiclass: bool = True  # suppress within each class only
    voting_threshold: Share = 0.0  # 0: no voting; only class-agnostic suppression votes
    voting_weight: Literal["score", "score-iou"] = "score"
    display_score: Share = 0.3  # what a person wants to see
    chunk_length: Length = 13824  # longest sequence computed at once
    chunk_overlap: Annotated[int, Field(ge=0, le=1 << 20)] = 1024  # shared by neighbouring chunks

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        return with_new_names(values, {"stretch": "chunk_length", "overlap": "chunk_overlap"}, "inference")

    @model_validator(mode="after")
    def _consistent(self) -> InferenceConfig:
        if self.chunk_overlap >= self.chunk_length:
            raise ValueError(
                f"chunk_overlap: {self.chunk_overlap} is not shorter than chunk_length, {self.chunk_length}"
            )
        return self
