"""Names to model folders: bundled models, models under TAL_HOME, and published recipes.

Imports no torch, so that listing stays quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tal_cli.extractors.errors import ModelMissing, PluginError, RecipeError, UnknownModel, did_you_mean
from tal_cli.extractors.files.weights import WeightsSource, home
from tal_cli.models.recipe.classifier import ClassifierRecipe
from tal_cli.models.recipe.loading import (
    SHORT_NAMES,
    full_name,
    list_recipes,
    load_model_recipe,
    usable_recipes,
)
from tal_cli.models.recipe.networks import list_classifiers
from tal_cli.models.recipe.schema import Published, Recipe
from tal_cli.models.store.weight_sources import SOURCES

SHIPPED = Path(__file__).parents[1] / "weights"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class ModelEntry:
    """One line of `tal models list`."""

    name: str
    description: str
    dataset: str
    licence: str
    size: int | None  # bytes of the weights; None while they are missing
    runnable_now: bool
    published: Published | None
    recipe: Recipe | ClassifierRecipe
    folder: Path | None
    weights: WeightsSource | None  # source of the authors' weights, or of the classifier's


def installed_folder(name: str) -> Path:
    """Folder under TAL_HOME for a model of that name, whether or not it exists."""
    return home() / "models" / name


def available_models() -> tuple[list[ModelEntry], list[RecipeError]]:
    """Models that run now, then published settings whose weights are missing, each group by name; and the
    errors of folders whose recipe cannot be read."""
    entries = {name: _entry(name, recipe, None) for name, recipe in usable_recipes().items()}
    entries |= {name: _entry(name, load_model_recipe(name), None) for name in list_classifiers()}
    problems = []
    for folder in _model_folders():
        try:
            entries[folder.name] = _entry(folder.name, load_model_recipe(folder / "recipe.yaml"), folder)
        except RecipeError as error:
            problems.append(error)
        except PluginError as error:
            problems.append(RecipeError(f"{folder}: {error}"))
    return sorted(entries.values(), key=lambda entry: (not entry.runnable_now, entry.name)), problems


def known_names() -> list[str]:
    """Names of all models, and short names; reads no recipe."""
    return sorted({*(folder.name for folder in _model_folders()), *bundled_recipes(), *SHORT_NAMES})


def find_model(name: str) -> ModelEntry:
    """The entry of that name, of the recipe that a short name stands for, or of a model folder.

    Raises UnknownModel, RecipeError.
    """
    if _is_model(Path(name)):
        return _entry(name, load_model_recipe(Path(name) / "recipe.yaml"), Path(name))
    for known in (name, full_name(name)) if _is_name(name) else ():
        for folder in (installed_folder(known), SHIPPED / known):
            if _is_model(folder):
                return _entry(known, load_model_recipe(folder / "recipe.yaml"), folder)
        if known in bundled_recipes():
            return _entry(known, load_model_recipe(known), None)
    raise UnknownModel(f"no model named {name}; {_hint(name)}")


def bundled_recipes() -> list[str]:
    """Names of the recipes of models whose weights are not bundled."""
    return [*list_recipes(), *list_classifiers()]


def weights_source(name: str) -> WeightsSource | None:
    """The source of a recipe's weights: their authors', or that of the network whose classifier it is; None: there is
    none.
    """
    return SOURCES.get(full_name(name))


def resolve_model(name_or_path: str | Path) -> Path:
    """The model folder for a name or a path.

    Raises ModelMissing if the name is known but its weights are not on this machine, UnknownModel for unknown names.
    """
    text = str(name_or_path)
    if not text:
        raise UnknownModel("the name of the model is empty")
    if _is_model(Path(text)):
        return Path(text)
    if _is_name(text):
        for name in (text, full_name(text)):
            for folder in (SHIPPED / name, installed_folder(name)):
                if _is_model(folder):
                    return folder
        if full_name(text) in bundled_recipes():
            raise ModelMissing(f"the weights of {text} are not on this machine", _remedy(text))
    elif Path(text).is_dir():
        raise ModelMissing(f"{text} is not a model folder", f"a model folder has {WEIGHTS}, recipe.yaml and labels.txt")
    raise UnknownModel(f"no model named {text}; {_hint(text)}")


def _remedy(name: str) -> str:
    recipe, source = load_model_recipe(name), weights_source(name)
    if isinstance(recipe, ClassifierRecipe):
        return f"get them with `tal models pull {name}`"
    train = f"train it with `tal train --dataset {recipe.dataset} --recipe {recipe.name}`"
    if source is None:
        return f"import a checkpoint with `tal models add {name} --checkpoint FILE`, or {train}"
    if source.url:
        return f"get them with `tal models pull {name}`, or {train}"
    return f"get the checkpoint from {source.page} and `tal models add {name} --checkpoint FILE`, or {train}"


def _hint(name: str) -> str:
    if "/" in name or "\\" in name:
        return "there is no such folder"
    return did_you_mean(name, known_names(), "`tal models list` shows what there is")


def _model_folders() -> list[Path]:
    """Folders of the bundled models, then of those under TAL_HOME, each by name."""
    parents = [parent for parent in (SHIPPED, home() / "models") if parent.is_dir()]
    return [folder for parent in parents for folder in sorted(parent.iterdir()) if _is_model(folder)]


def _is_name(text: str) -> bool:
    return text not in ("", ".", "..") and not any(separator in text for separator in ("/", "\\"))


def _is_model(folder: Path) -> bool:
    """Whether a folder holds a model; hidden ones are leftovers of killed runs."""
    files = (WEIGHTS, "recipe.yaml", "labels.txt")
    return not folder.name.startswith(".") and all((folder / name).is_file() for name in files)


def _entry(name: str, recipe: Recipe | ClassifierRecipe, folder: Path | None) -> ModelEntry:
    return ModelEntry(
        name=name,
        description=recipe.description,
        dataset=recipe.dataset,
        licence=recipe.licence,
        size=None if folder is None else (folder / WEIGHTS).stat().st_size,
        runnable_now=folder is not None,
        published=recipe.published,
        recipe=recipe,
        folder=folder,
        weights=weights_source(name),
    )
