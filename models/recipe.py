"""Recipes: one strict schema for features, model, training and inference settings, one YAML file per published setting.

Imports no torch, so that listing and checking recipes stays quick.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from models.architectures import ModelConfig, NonNegative, Positive, Share, Strict, by_name

__all__ = [
    "SHORT_NAMES",
    "CenterAssignment",
    "CostAssignment",
    "FeatureSpec",
    "InferenceConfig",
    "ModelConfig",
    "Published",
    "Recipe",
    "RecipeError",
    "TrainingConfig",
    "dump_recipe",
    "full_name",
    "list_recipes",
    "load_recipe",
    "override",
    "parse_recipe",
]

RECIPES = Path(__file__).parent / "recipes"
LARGEST_RECIPE = 1 << 20  # bytes; a recipe is a page of text, anything larger is not one


# What a data set's usual setting is called for short, wherever a name of a recipe is taken.
SHORT_NAMES = {
    "thumos": "thumos-i3d",
    "multithumos": "multithumos-i3d",
    "activitynet": "activitynet-tsp",
    "hacs": "hacs-slowfast",
}


class RecipeError(Exception):
    """A recipe that cannot be read or breaks the schema; the message names the dotted path of each bad value."""


class FeatureSpec(Strict):
    """What the feature sequence must be: one vector of `channels` per `stride` frames, each seeing `window` frames.

    The fields of a feature contract; those from `alignment` on may be left unsaid (None) and are then not compared.
    """

    extractor: str
    channels: Positive
    window: Positive
    stride: Positive
    sampling_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # frames/s resampled to first
    max_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # frames/s, decimated to at most this
    alignment: str | None = None
    resize: str | None = None
    crop: str | None = None
    value_range: str | None = None
    layer: str | None = None
    pooling: str | None = None
    weights_sha256: str | None = None


class CenterAssignment(Strict):
    """A point learns the shortest segment that it lies in, near the segment's centre (center sampling)."""

    name: Literal["center"] = "center"
    radius: Annotated[float, Field(gt=0)] | None = 1.5  # strides; None: every point inside the segment


class CostAssignment(Strict):
    """Center sampling's points learn the boundaries that suit their predictions best (TemporalMaxer).

    Of the points inside a segment, the share `keep` of least cost counts fully, the others by `confuse_weight`; cost =
    class_weight * focal loss + iou_weight * DIoU loss.
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

    epochs: Annotated[int, Field(ge=0)] = 30
    warmup_epochs: Annotated[int, Field(ge=0)] = 5
    batch_size: Positive = 2
    accumulate: Positive = 1  # passes that a process's share of a batch is split into
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    min_learning_rate: NonNegative = 1e-8
    weight_decay: NonNegative = 0.05
    clip_grad_norm: NonNegative | None = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    max_length: Positive = 2304
    crop_ratio: tuple[Share, Share] | None = (0.9, 1.0)
    truncate_threshold: Share = 0.5
    input_noise: NonNegative = 0.0
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    initial_loss_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    assignment: AnyAssignment = CenterAssignment()
    objective: Literal["released", "paper"] | None = None  # whose loss; None: that of the model's variant
    class_loss: Literal["varifocal", "focal"] = "varifocal"
    regression_loss: Literal["diou", "giou"] = "diou"
    iou_weight_power: NonNegative = 1.0  # a positive's class loss counts by IoU to this power; 0: fully
    regression_weight: NonNegative = 1.0
    refined_weight: NonNegative = 0.7  # of refined and coarse predictions where a decoder has both
    coarse_weight: NonNegative = 0.3
    class_agnostic: bool = False  # all labels are learnt as one: proposals, for `tal combine video-scores` to label
    select: Literal["last", "best-test"] = "last"
    seed: int = 0

    @model_validator(mode="after")
    def _splittable(self) -> TrainingConfig:
        if self.accumulate > 1 and not isinstance(self.assignment, CenterAssignment):
            raise ValueError("accumulate: who is positive under the cost assignment is not known before the passes")
        return self


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
    stretch: Positive = 13824  # longest sequence computed at once
    overlap: Annotated[int, Field(ge=0)] = 1024  # shared by neighbouring stretches

    @model_validator(mode="after")
    def _consistent(self) -> InferenceConfig:
        if self.overlap >= self.stretch:
            raise ValueError(f"overlap: {self.overlap} is not shorter than stretch, {self.stretch}")
        return self


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
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, as people expect, and not a text, as in YAML 1.1."""


_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def list_recipes() -> list[str]:
    """Names of the recipes that travel with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def full_name(name: str) -> str:
    """The recipe that a short name stands for; any other name as it is."""
    return SHORT_NAMES.get(name, name)


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a shipped recipe by its name, or any file by its path.

    Raises RecipeError for an unknown name, an unreadable file or a value outside the schema.
    """
    text = str(name_or_path)
    path = Path(text)
    if path.suffix not in (".yaml", ".yml") and "/" not in text and not path.is_file():
        text = full_name(text)
        if text not in list_recipes():
            close = difflib.get_close_matches(text, [*list_recipes(), *SHORT_NAMES], 1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(list_recipes())}"
            raise RecipeError(f"no recipe named {text}{hint}")
        path = RECIPES / f"{text}.yaml"
    try:
        if path.stat().st_size > LARGEST_RECIPE:
            raise RecipeError(f"{path}: larger than {LARGEST_RECIPE} bytes, not a recipe")
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    return parse_recipe(content, str(path))


def parse_recipe(content: str, origin: str) -> Recipe:
    """Check YAML text against the schema; `origin` names it in errors. Raises RecipeError."""
    try:
        # Aliases can blow a small file up into an enormous one, and no recipe needs them.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(content, Loader=yaml.SafeLoader)):
            raise RecipeError(f"{origin}: YAML aliases are not allowed")
        data = yaml.load(content, _Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{origin}: not YAML: {' '.join(str(error).split())[:200]}") from error
    return _validated(data, origin)


def dump_recipe(recipe: Recipe) -> str:
    """YAML text that `parse_recipe` reads back to an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def override(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """A copy with `dotted.path=value` assignments applied; values are YAML. Raises RecipeError naming the path."""
    data = recipe.model_dump(mode="json")
    for assignment in assignments:
        path, separator, value = assignment.partition("=")
        if not separator:
            raise RecipeError(f"{assignment}: expected KEY=VALUE, as in model.width=256")
        *parents, leaf = path.strip().split(".")
        section: Any = data
        for key in parents:
            section = section.get(key) if isinstance(section, dict) else None
            if not isinstance(section, dict):
                raise RecipeError(f"{path}: there is no section {key}")
        try:
            section[leaf] = yaml.load(value, _Loader)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise RecipeError(f"{path}: {value!r} is not a value") from error
    return _validated(data, "override")


def _validated(data: Any, origin: str) -> Recipe:
    if not isinstance(data, dict):
        raise RecipeError(f"{origin}: not a recipe (expected keys and values at the top)")
    try:
        # Strict: a text is no number and a number no truth value. Sequences of the schema are tuples.
        return Recipe.model_validate(_with_tuples(data), strict=True)
    except ValidationError as error:
        raise RecipeError("\n".join(f"{origin}: {_explain(item)}" for item in error.errors())) from error


def _with_tuples(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _with_tuples(value) for key, value in data.items()}
    return tuple(_with_tuples(value) for value in data) if isinstance(data, list) else data


def _explain(item: Any) -> str:
    path, schema = _locate(item["loc"])
    if item["type"] == "extra_forbidden":
        known = list(schema.model_fields) if schema else []
        close = difflib.get_close_matches(str(item["loc"][-1]), known, 1)
        return f"{path}: unknown key" + (f"; did you mean {close[0]}?" if close else "")
    if item["type"] == "union_tag_invalid":
        there_are = item["ctx"]["expected_tags"].replace("'", "")
        return f"{path}: there is no {item['ctx']['tag']}; there are {there_are}"
    if item["type"] == "union_tag_not_found":
        return f"{path}: expected a name, or settings with a `name`"
    message = item["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def _locate(location: tuple[Any, ...]) -> tuple[str, type[BaseModel] | None]:
    """An error's place as a dotted path, without the names that tell parts of a union apart, and the last section."""
    schema: type[BaseModel] | None = Recipe
    union: tuple[type[BaseModel], ...] = ()
    path = []
    for part in location:
        chosen = next((member for member in union if member.model_fields["name"].default == part), None)
        if chosen:
            schema, union = chosen, ()
            continue
        path.append(str(part))
        field = schema.model_fields.get(str(part)) if schema else None
        if field is None:
            continue
        members = get_args(field.annotation) or (field.annotation,)
        sections = tuple(m for m in members if isinstance(m, type) and issubclass(m, BaseModel))
        union = sections if field.discriminator else ()
        schema = sections[0] if len(sections) == 1 else None
    return ".".join(path), schema
