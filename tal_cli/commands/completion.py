"""Names that the shell completes: read from names of files and packages, without torch."""

from __future__ import annotations

import os

import typer

from tal_cli.extractors.errors import TalError


def extractor_names() -> list[str]:
    """Extractors, including those of installed packages."""
    from tal_cli.extractors.catalog import BACKBONES

    return list(BACKBONES)


def model_names() -> list[str]:
    """Models of `tal models list`, and short names."""
    from tal_cli.models.store.zoo import known_names

    return known_names()


def model_and_extractor_names() -> list[str]:
    """Whatever has weights."""
    return list(dict.fromkeys([*model_names(), *extractor_names()]))


def recipe_names() -> list[str]:
    """Bundled recipes, and short names."""
    from tal_cli.models.recipe.loading import SHORT_NAMES, list_recipes

    return [*list_recipes(), *SHORT_NAMES]


def dataset_names() -> list[str]:
    """Built-in data sets."""
    from tal_cli.datasets.catalog import BENCHMARKS

    return list(BENCHMARKS)


def label_names(context: typer.Context) -> list[str]:
    """Labels of the models that the command line has named so far, or of the default one; none without a model."""
    from tal_cli.models.recipe.classifier import ClassifierRecipe
    from tal_cli.models.recipe.loading import load_model_recipe
    from tal_cli.models.store.zoo import resolve_model

    labels: list[str] = []
    for name in context.params.get("model") or [os.environ.get("TAL_MODEL") or "camera"]:
        try:
            folder = resolve_model(name)
            names = (folder / "labels.txt").read_text(encoding="utf-8", errors="replace").splitlines()
            recipe = load_model_recipe(folder / "recipe.yaml")
            labels += recipe.labels(tuple(names)) if isinstance(recipe, ClassifierRecipe) else names
        except (TalError, OSError, ValueError):
            continue
    return labels
