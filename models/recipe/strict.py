"""Base of all sections of a recipe: strictness, and kinds of numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticKnownError

from tal_cli.extractors.errors import OldName
from tal_cli.extractors.features.contract import FASTEST, SLOWEST
from tal_cli.extractors.plugins import Registry

# Bounds far above any real training, and low enough that no file can exhaust a machine.
Positive = Annotated[int, Field(ge=1, le=1 << 24)]  # lengths, numbers of segments, steps
Width = Annotated[int, Field(ge=1, le=1 << 16)]  # channels, classes
Length = Annotated[int, Field(ge=1, le=1 << 20)]  # of a padded sequence
Layers = Annotated[int, Field(ge=1, le=64)]
Count = Annotated[int, Field(ge=0, le=64)]  # of blocks, of which there may be none
OddKernel = Annotated[int, Field(ge=1, le=255)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(ge=SLOWEST, le=FASTEST)]  # frames per second
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Strict(BaseModel):
    """Base of every section: unknown keys are rejected and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def by_name(value: Any) -> Any:
    """A bare name stands for the part with its default settings."""
    return {"name": value} if isinstance(value, str) else value


def with_new_names(values: Any, renamed: Mapping[str, str], section: str) -> Any:
    """A section's values with old keys under their new names, and a warning `OldName` for each.

    An old key wins over the new one: `--set` adds it to a section that already has all keys.
    """
    if not isinstance(values, dict):
        return values
    for old, new in renamed.items():
        if old in values:
            warnings.warn(f"recipe: {section}.{old} is now called {section}.{new}", OldName, stacklevel=2)
            values = {key: value for key, value in values.items() if key != old} | {new: values[old]}
    return values


Part = TypeVar("Part", bound=Strict)


def named(*parts: type[Part]) -> dict[str, type[Part]]:
    """Settings classes by name."""
    return {part.model_fields["name"].default: part for part in parts}


def chosen_from(parts: Registry[type[Part]]) -> WrapValidator:
    """Extends a union of settings, discriminated by `name`, with those of installed packages."""

    def choose(value: Any, built_in: ValidatorFunctionWrapHandler) -> Any:
        value = by_name(value)
        name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
        if not isinstance(name, str):
            return built_in(value)
        if name not in parts:
            names = f"{', '.join(parts)}; a package may add others"
            context = {"discriminator": "name", "tag": name, "expected_tags": names}
            raise PydanticKnownError("union_tag_invalid", context)
        chosen = parts[name]
        return built_in(value) if name in parts.built_in else chosen.model_validate(value, strict=True)

    return WrapValidator(choose)
