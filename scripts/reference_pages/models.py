"""docs/reference/models.md: a card for every model, from its recipe, its sources and its bundled files."""

from __future__ import annotations

from collections.abc import Iterator

from tal_cli.models.recipe.classifier import ClassifierRecipe
from tal_cli.models.recipe.loading import (
    SHORT_NAMES,
    list_recipes,
    load_model_recipe,
    load_recipe,
)
from tal_cli.models.recipe.networks import classifier_card, list_classifiers
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.weight_sources import SOURCES
from tal_cli.models.store.zoo import SHIPPED

from .markdown import page, table

INTRO = """\
All models of `tal`. `camera` is bundled with its weights; the others are bundled as recipes, whose weights have to be
downloaded or imported ([how](../how-to/released-checkpoints.md)) or trained. Published figures are the authors' own,
for their weights and features. `tal models info NAME` shows the model card."""


def write() -> str:
    """The page."""
    recipes = [load_recipe(name) for name in list_recipes()]
    rows = [*map(row, recipes), *map(classifier_row, list_classifiers())]
    lines = [*table(("name", "finds", "architecture", "mAP, published", "weights"), rows), ""]
    for recipe in recipes:
        lines += card(recipe)
    for name in list_classifiers():
        lines += classifier_section(name)
    return page("Models", INTRO, lines)


def row(recipe: Recipe) -> tuple[str, ...]:
    """One line of the overview."""
    average = f"{recipe.published.average} %" if recipe.published else ""
    return (f"[{recipe.name}](#{recipe.name})", recipe.description, architecture(recipe), average, weights(recipe)[0])


def classifier_row(name: str) -> tuple[str, ...]:
    """One line of the overview, of a model that needs no training."""
    return f"[{name}](#{name})", load_model_recipe(name).description, "classifier of windows", "", "to pull"


def classifier_section(name: str) -> Iterator[str]:
    """The section of a model that needs no training: its card, and what its labels stand for."""
    recipe = load_model_recipe(name)
    assert isinstance(recipe, ClassifierRecipe)
    yield from (f"## {name}", "")
    yield from shipped_card(classifier_card(name))
    if groups := recipe.groups:
        yield from (*table(("label", "classes of Kinetics-400"), [(k, ", ".join(v)) for k, v in groups.items()]), "")


def architecture(recipe: Recipe) -> str:
    """Encoder and decoder."""
    return f"{recipe.model.encoder.name} + {recipe.model.decoder.name}"


def weights(recipe: Recipe) -> tuple[str, str]:
    """Where the weights are, in a word and in a sentence."""
    source = SOURCES.get(recipe.name)
    if is_shipped(recipe.name):
        return "bundled", "They are part of the package."
    if source is None and recipe.published is None:
        return (
            "to train",
            f"There are none: a setting of our own, to be trained with `tal train --recipe {recipe.name}`.",
        )
    if source is None:
        return "none public", "The authors publish none; train it, or import a checkpoint of your own."
    code = f"Licence of the code that they come with: {source.licence}."
    if source.url:
        return "to pull", f"`tal models pull {recipe.name}` downloads them ({source.page}). {code}"
    add = f"`tal models add {recipe.name} --checkpoint FILE`"
    return "to import", f"Get the checkpoint from <{source.page}>, then {add}. {code}"


def is_shipped(name: str) -> bool:
    """Whether a model's weights are bundled."""
    return (SHIPPED / name / "card.md").is_file()


def card(recipe: Recipe) -> Iterator[str]:
    """The section of one model."""
    yield from (f"## {recipe.name}", "")
    if is_shipped(recipe.name):
        yield from shipped_card((SHIPPED / recipe.name / "card.md").read_text("utf-8"))
        return
    yield from (f"{recipe.description[:1].upper()}{recipe.description[1:]}.", "")
    yield from (*table(("", ""), facts(recipe)), "")
    if recipe.published and recipe.published.by_tiou:
        by = recipe.published.by_tiou
        yield from (*table(["tIoU", *by], [["mAP, %", *(str(value) for value in by.values())]]), "")


def facts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What is known of a model: name and value."""
    model, features = recipe.model, recipe.features
    short = [name for name, full in SHORT_NAMES.items() if full == recipe.name]
    if short:
        yield "short name", f"`{short[0]}`"
    classes = "" if recipe.training.class_agnostic else f", {model.classes} labels"
    yield "data set", f"`{recipe.dataset}`{classes}"
    yield "features", f"`{features.extractor}`, {features.channels} channels, {described_windows(recipe)}"
    yield "detector", f"{architecture(recipe)}, width {model.width}, {model.levels} levels, `variant: {model.variant}`"
    if recipe.training.class_agnostic:
        yield "finds", "proposals without labels; `tal combine video-scores` labels them"
    if recipe.published:
        yield "published", f"{recipe.published.average} % {recipe.published.metric}"
    yield "source", recipe.source
    yield "weights", weights(recipe)[1]


def described_windows(recipe: Recipe) -> str:
    """Window, stride and rate of the features."""
    features = recipe.features
    rate = "" if features.sampling_rate is None else f", at {features.sampling_rate:g} frames/s"
    return f"{features.window} frames every {features.stride}{rate}"


def shipped_card(text: str) -> Iterator[str]:
    """A bundled model's card, its headings one level lower."""
    _, *lines = text.splitlines()
    for line in lines:
        yield f"#{line}" if line.startswith("#") else line
    yield ""
