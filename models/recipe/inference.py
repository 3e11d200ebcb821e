"""A recipe's settings of inference: from predictions to segments. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tal_cli.models.recipe.strict import Length, NonNegative, Positive, Share, Strict, with_new_names

DISPLAY_SCORE = 0.3
Label = Annotated[str, Field(min_length=1, max_length=1000)]
ScorePerLabel = Annotated[dict[Label, Share], Field(min_length=1, max_length=1 << 16)]


class Boundary(Strict):
    """Segments of `label` with `min_score` or more end those of other labels: no camera move goes on across a cut."""

    label: Label
    min_score: Share = DISPLAY_SCORE
    ends: Annotated[tuple[Label, ...], Field(min_length=1, max_length=1 << 16)]

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels that it names."""
        return (self.label, *self.ends)


class InferenceConfig(Strict):
    """From predictions to segments. Durations and lengths in grid cells, scores and overlaps in [0, 1]."""

    pre_nms_threshold: Share = 0.001
    pre_nms_top_k: Positive = 2000
    top_k_of: Literal["level", "pyramid"] = "level"  # what the best ones are kept of: each level, or all together
    classes_per_point: Positive | None = None  # only so many of the best classes of each point; None: all
    min_score: Share = 0.001
    max_segments: Positive = 2000
    nms: Literal["soft", "hard", "overlaps", "none"] = "soft"  # overlaps: hard, only where two chunks overlap
    sigma: Annotated[float, Field(gt=0)] = 0.5
    iou_threshold: Share = 0.1  # of hard NMS
    min_duration: NonNegative = 0.05  # longer than this; 0: of any length
    multiclass: bool = True  # suppress within each class only
    voting_threshold: Share = 0.0  # 0: no voting; only class-agnostic suppression votes
    voting_weight: Literal["score", "score-iou"] = "score"
    display_score: Share | ScorePerLabel = DISPLAY_SCORE  # what a person wants to see; labels not named: 0.3
    boundary: Boundary | None = None  # what ends other segments
    points: Annotated[tuple[Label, ...], Field(max_length=1 << 16)] = ()  # labels that are moments, not segments
    chunk_length: Length = 13824  # longest sequence computed at once
    chunk_overlap: Annotated[int, Field(ge=0, le=1 << 20)] = 1024  # shared by neighbouring chunks
    last_chunk: Literal["short", "whole"] = "short"  # whole: it begins earlier, where it is as long as the others

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

    def bounded_by(self, labels: Sequence[str]) -> InferenceConfig:
        """The same settings for a model of these labels: without `boundary` where they lack what it names."""
        if self.boundary is None or set(self.boundary.labels) <= set(labels):
            return self
        return self.model_copy(update={"boundary": None})

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raises ValueError where settings name a label that is not among a model's."""
        scored = self.display_score if isinstance(self.display_score, dict) else ()
        bounded = () if self.boundary is None else self.boundary.labels
        for key, named in (("display_score", scored), ("boundary", bounded), ("points", self.points)):
            if unknown := [label for label in named if label not in labels]:
                raise ValueError(f"inference.{key}: the model has no label {unknown[0]!r}")

    def display_scores(self, labels: Sequence[str]) -> dict[str, float]:
        """The score from which segments of each of a model's labels are shown."""
        if not isinstance(self.display_score, dict):
            return dict.fromkeys(labels, self.display_score)
        return {label: self.display_score.get(label, DISPLAY_SCORE) for label in labels}
