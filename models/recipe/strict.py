"""What all sections of a recipe share: strictness, and the kinds of numbers there are."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
OddKernel = Annotated[int, Field(ge=1, le=255)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Strict(BaseModel):
    """Base of every section: unknown keys are refused and values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def by_name(value: Any) -> Any:
    """A bare name stands for the part with its default settings."""
    return {"name": value} if isinstance(value, str) else value
