"""Recipes: one strict schema for features, model, training and inference (`schema.py`), one YAML file per
published setting.

Imports no torch, so that listing and checking recipes stays quick.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tal_cli.extractors.errors import PluginError, PluginWarning, RecipeError, did_you_mean
from tal_cli.models.recipe.classifier import ClassifierRecipe
from tal_cli.models.recipe.networks import CLASSIFIERS, NETWORKS, list_classifiers, network_recipe
from tal_cli.models.recipe.schema import Recipe

RECIPES = Path(__file__).parent / "published"
NO_DETECTOR = "a classifier of windows is no detector: it is neither trained, nor timed, nor exported"
AnyRecipe = TypeVar("AnyRecipe", Recipe, ClassifierRecipe)
LARGEST_RECIPE = 1 << 20  # bytes; a recipe is a page of text, anything larger is not one


# Short names of data sets' usual settings, accepted wherever a recipe is named.
SHORT_NAMES = {
    "thumos": "thumos-i3d",
    "multithumos": "multithumos-i3d",
    "activitynet": "activitynet-tsp",
    "hacs": "hacs-slowfast",
}


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, not a string as in YAML 1.1."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """A mapping whose keys are all different: of two equal ones YAML would keep the last without a word."""
    seen: set[str] = set()
    for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)

# Descriptions of expected values that replace the schema's programmers' terms; and how much of a value is shown.
WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "a name, or keys and values",
}
LONGEST_VALUE = 60

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def list_recipes() -> list[str]:
    """Names of the bundled recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def usable_recipes() -> dict[str, Recipe]:
    """The bundled recipes by name, without those whose parts cannot be used; a PluginWarning names each such part."""
    recipes: dict[str, Recipe] = {}
    reasons = set()
    for name in list_recipes():
        try:
            recipes[name] = load_recipe(name)
        except PluginError as error:
            reasons.add(f"recipes left out: {error}; {error.remedy}")
    for reason in sorted(reasons):
        warnings.warn(reason, PluginWarning, stacklevel=2)
    return recipes


def full_name(name: str) -> str:
    """The recipe that a short name stands for; any other name as it is."""
    return SHORT_NAMES.get(name, name)


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a bundled recipe by its name, or any file by its path.

    Raises RecipeError for an unknown name, an unreadable file, a classifier or a value outside the schema.
    """
    recipe = load_model_recipe(name_or_path)
    if isinstance(recipe, ClassifierRecipe):
        raise RecipeError(f"{name_or_path}: {NO_DETECTOR}")
    return recipe


def load_model_recipe(name_or_path: str | Path) -> Recipe | ClassifierRecipe:
    """Read the recipe of a model of either kind, as `load_recipe`."""
    if name_or_path in NETWORKS:
        return network_recipe(str(name_or_path))
    path = _recipe_path(str(name_or_path))
    data = read_yaml(path)
    if "classifier" in data:
        return _validated(data, str(path), ClassifierRecipe)
    return _validated(data, str(path), Recipe)


def _recipe_path(text: str) -> Path:
    """The file of a bundled recipe, or the file itself. Raises RecipeError for an unknown name."""
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or "/" in text or path.is_file():
        return path
    name = full_name(text)
    for folder in (RECIPES, CLASSIFIERS):
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = [*list_recipes(), *list_classifiers(), *SHORT_NAMES]
    hint = did_you_mean(text, known, "they are named as the models of `tal models list`")
    raise RecipeError(f"no recipe named {name}; {hint}")


def parse_recipe(content: str, origin: str) -> Recipe:
    """Check YAML text against the schema; `origin` names it in errors. Raises RecipeError."""
    return _validated(_parse_yaml(content, origin), origin, Recipe)


def read_yaml(path: Path) -> dict[str, Any]:
    """Keys and values of a YAML file; nothing in it is executed. Raises RecipeError."""
    try:
        if path.stat().st_size > LARGEST_RECIPE:
            raise RecipeError(f"{path}: larger than {LARGEST_RECIPE} bytes")
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text") from error
    return _parse_yaml(content, str(path))


def _parse_yaml(content: str, origin: str) -> dict[str, Any]:
    try:
        # Aliases can blow a small file up into an enormous one, and no recipe needs them.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(content, Loader=yaml.SafeLoader)):
            raise RecipeError(f"{origin}: YAML aliases are not allowed")
        data = yaml.load(content, _Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{origin}: not YAML: {_yaml_reason(error)}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{origin}: expected keys and values at the top")
    return data


def _yaml_reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]


def dump_recipe(recipe: Recipe | ClassifierRecipe) -> str:
    """YAML text that is read back to an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def parse_overrides(texts: Iterable[str]) -> dict[str, object]:
    """Values by dotted path from texts `PATH=VALUE`, as `--set` takes them; a value is YAML.

    Raises RecipeError for a text without `=`, a value that is not YAML, and a path given twice.
    """
    overrides: dict[str, object] = {}
    for text in texts:
        path, separator, value = (part.strip() for part in text.partition("="))
        if not separator:
            raise RecipeError(f"--set {text}: expected KEY=VALUE")
        if path in overrides:
            raise RecipeError(f"--set {text}: {path} is given twice")
        try:
            overrides[path] = yaml.load(value, _Loader)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise RecipeError(f"--set {text}: {value!r} is not a value") from error
    return overrides


def override(recipe: AnyRecipe, overrides: Mapping[str, object]) -> AnyRecipe:
    """A copy with other values, given by dotted path, one after the other: `{"model.width": 256}`.

    A part's name stands for the part with its default settings: `{"model.encoder": "sgp", "model.encoder.k": 2.0}`.
    Raises RecipeError naming the path.
    """
    data = recipe.model_dump(mode="json")
    for path, value in overrides.items():
        *parents, leaf = path.split(".")
        section = data
        for key in parents:
            if not isinstance(section.get(key), dict):
                there_are = [name for name, inner in section.items() if isinstance(inner, dict)]
                raise RecipeError(f"{path}: there is no section {key}; {did_you_mean(key, there_are)}".rstrip("; "))
            section = section[key]
        named = isinstance(value, str) and isinstance(section.get(leaf), dict)
        section[leaf] = {"name": value} if named else _with_tuples(value)
    return _validated(data, "", type(recipe))


def override_trained(recipe: AnyRecipe, overrides: Mapping[str, object], model: str) -> AnyRecipe:
    """As `override`, of a model with trained weights, which rule out another architecture, other classes and other
    features.

    Raises RecipeError.
    """
    changed = override(recipe, overrides)
    if _trained(changed) != _trained(recipe):
        raise RecipeError(
            f"{', '.join(overrides)}: {model} has trained weights, which fit only the model and features as they are",
            "change values under inference, or name a recipe, which has no weights",
        )
    return changed


def _trained(recipe: Recipe | ClassifierRecipe) -> tuple[object, ...]:
    """What the weights of a model fit, and nothing else."""
    if isinstance(recipe, Recipe):
        return recipe.model, recipe.features, recipe.backbone
    return recipe.classifier.classes, recipe.classifier.class_names, recipe.features


def _validated(data: dict[str, Any], origin: str, schema: type[AnyRecipe]) -> AnyRecipe:
    try:
        # Strict: no conversion of strings to numbers or of numbers to booleans. Sequences of the schema are tuples.
        return schema.model_validate(_with_tuples(data), strict=True)
    except ValidationError as error:
        problems = "; ".join(_explain(item, schema) for item in error.errors())
        raise RecipeError(f"{origin}: {problems}" if origin else problems) from error


def _with_tuples(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _with_tuples(value) for key, value in data.items()}
    return tuple(_with_tuples(value) for value in data) if isinstance(data, list) else data


def _explain(item: Any, root: type[BaseModel]) -> str:
    path, schema = _locate(item["loc"], root)
    if item["type"] == "extra_forbidden":
        known = did_you_mean(str(item["loc"][-1]), schema.model_fields if schema else ())
        return f"{path}: unknown key" + (f"; {known}" if known else "")
    if item["type"] == "union_tag_invalid":
        there_are = item["ctx"]["expected_tags"].replace("'", "")
        return f"{path}: there is no {item['ctx']['tag']}; there are {there_are}"
    if item["type"] == "union_tag_not_found":
        return f"{path}: expected a name, or settings with a `name`"
    return f"{path}: {_in_words(item)}" if path else _in_words(item)


def _in_words(item: Any) -> str:
    """The error of one value, quoting the value if it is short."""
    if item["type"] == "missing":
        return "is missing"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    if item["type"] == "too_long":
        return f"must have at most {item['ctx']['max_length']} entries, not {item['ctx']['actual_length']}"
    wanted = WANTED.get(item["type"]) or item["msg"].removeprefix("Input should be ")
    if wanted == item["msg"]:
        return wanted[:1].lower() + wanted[1:]
    value = item["input"]
    is_short = value is None or isinstance(value, (bool, int, float, str))
    return (
        f"must be {wanted}, not {json.dumps(value, ensure_ascii=False)[:LONGEST_VALUE]}"
        if is_short
        else f"must be {wanted}"
    )


def _locate(location: tuple[Any, ...], root: type[BaseModel]) -> tuple[str, type[BaseModel] | None]:
    """An error's location as a dotted path, without names of parts of a union, and the last section."""
    schema: type[BaseModel] | None = root
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
