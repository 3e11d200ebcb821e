"""Recipes: one strict schema for features, model, training and inference settings, one YAML file per published setting.

Imports no torch, so that listing and checking recipes stays quick.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

RECIPES = Path(__file__).parent / "recipes"
LARGEST_RECIPE = 1 << 20  # bytes; a recipe is a page of text, anything larger is not one
NORM_GROUPS = 16  # groups of the group normalisation in every GMG block

Positive = Annotated[int, Field(ge=1)]
OddKernel = Annotated[int, Field(ge=1, le=255)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class RecipeError(Exception):
    """A recipe that cannot be read or breaks the schema; the message names the dotted path of each bad value."""


class Strict(BaseModel):
    """Base of every section: unknown keys are refused and values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class ModelConfig(Strict):
    """Architecture and initialisation of a detector. Lengths and windows are in grid cells of the level they act on."""

    variant: Literal["released", "paper"] = "released"
    encoder: str = "gmg"
    decoder: str = "cltdr"
    classes: Positive
    width: Positive = 512
    levels: Annotated[int, Field(ge=1, le=12)] = 6
    embedding_layers: Positive = 2
    embedding_kernel: OddKernel = 3
    position_table: bool = False
    pad_length: Positive = 2304  # every sequence is padded to this; a longer one to a multiple of `length_multiple`
    stem_blocks: Annotated[int, Field(ge=0)] = 2
    windows: Positive | tuple[Positive, ...] = 1  # kernel of the local branch, one for all levels or one each
    mlp_width: Positive = 768
    branch_scale: float | None = 1e-4  # start of the residual branches' per-channel scales; None: no scales
    conv_init_std: NonNegative = 0.0  # instant and local convolutions start as normal noise of this deviation
    head_width: Positive = 512
    head_layers: Positive = 3  # counting the output layer
    head_kernel: OddKernel = 3
    boundary_kernel: OddKernel = 3
    bins: Positive = 16
    class_prior: Annotated[float, Field(gt=0, lt=1)] = 0.01
    regression_ranges: tuple[tuple[float, float], ...] = ()  # grid units per level; empty: (0, 4), (4, 8), (8, 16), ...

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        top = 1 << (self.levels - 1)
        if isinstance(self.windows, tuple) and len(self.windows) != self.levels:
            raise ValueError(f"windows: {len(self.windows)} values for {self.levels} levels")
        if self.regression_ranges and len(self.regression_ranges) != self.levels:
            raise ValueError(f"regression_ranges: {len(self.regression_ranges)} ranges for {self.levels} levels")
        if any(low > high for low, high in self.regression_ranges):
            raise ValueError("regression_ranges: a range ends before it starts")
        kernels = (self.embedding_kernel, self.head_kernel, self.boundary_kernel, *self.level_windows)
        if any(kernel % 2 == 0 for kernel in kernels):
            raise ValueError("embedding_kernel, head_kernel, boundary_kernel and windows must be odd")
        if self.width % NORM_GROUPS:
            raise ValueError(f"width: {self.width} is not a multiple of {NORM_GROUPS}")
        if self.pad_length % top:
            raise ValueError(f"pad_length: {self.pad_length} is not a multiple of {top}, as {self.levels} levels need")
        return self

    @property
    def level_windows(self) -> tuple[int, ...]:
        """Window of the local branch per level; the stem (level 0) of the released code always uses 1."""
        return self.windows if isinstance(self.windows, tuple) else (self.windows,) * self.levels

    @property
    def level_ranges(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest boundary distance (level-0 grid units) that each level regresses."""
        if self.regression_ranges:
            return self.regression_ranges
        edges = [0.0, *(4.0 * 2**level for level in range(self.levels - 1)), 10000.0]
        return tuple(itertools.pairwise(edges))

    @property
    def length_multiple(self) -> int:
        """What the length of a sequence longer than `pad_length` is rounded up to: the published rule, the largest
        window in level-0 cells, made a multiple of the coarsest stride."""
        top = 1 << (self.levels - 1)
        widest = max(window << level for level, window in enumerate(self.level_windows))
        return -(-widest // top) * top


class TrainingConfig(Strict):
    """How a detector is trained. Epochs total `warmup_epochs + epochs`; lengths in grid cells."""

    epochs: Annotated[int, Field(ge=0)] = 30
    warmup_epochs: Annotated[int, Field(ge=0)] = 5
    batch_size: Positive = 2
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
    center_sample_radius: Annotated[float, Field(gt=0)] | None = 1.5  # strides; None: every point inside the segment
    objective: Literal["released", "paper"] | None = None  # whose loss; None: that of the model's variant
    refined_weight: NonNegative = 0.7
    coarse_weight: NonNegative = 0.3
    regression_weight: NonNegative = 1.0
    class_loss: Literal["varifocal", "focal"] = "varifocal"
    iou_weight_power: NonNegative = 1.0
    select: Literal["last", "best-test"] = "last"
    seed: int = 0


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
    by_tiou: dict[str, float] = {}


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


def list_recipes() -> list[str]:
    """Names of the recipes that travel with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a shipped recipe by its name, or any file by its path.

    Raises RecipeError for an unknown name, an unreadable file or a value outside the schema.
    """
    text = str(name_or_path)
    path = Path(text)
    if path.suffix not in (".yaml", ".yml") and "/" not in text and not path.is_file():
        if text not in list_recipes():
            close = difflib.get_close_matches(text, list_recipes(), 1)
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
        data = yaml.safe_load(content)
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
            section[leaf] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"{path}: {value!r} is not a value") from error
    return _validated(data, "override")


def _validated(data: Any, origin: str) -> Recipe:
    if not isinstance(data, dict):
        raise RecipeError(f"{origin}: not a recipe (expected keys and values at the top)")
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError("\n".join(f"{origin}: {_explain(item)}" for item in error.errors())) from error


def _explain(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _known_keys(item["loc"][:-1])
        close = difflib.get_close_matches(str(item["loc"][-1]), known, 1)
        return f"{path}: unknown key" + (f"; did you mean {close[0]}?" if close else "")
    message = item["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    schema: type[BaseModel] = Recipe
    for part in location:
        field = schema.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        schema = field.annotation
    return list(schema.model_fields)
