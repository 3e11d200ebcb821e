"""Finds the recipe of a released checkpoint, from the shapes of its tensors and its future name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from tal_cli.extractors.errors import CheckpointError
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.conversion import differences


def find_recipe(
    tensors: Mapping[str, Tensor],
    name: str,
    recipes: Sequence[Recipe],
    origin: str,
    also: Callable[[Mapping[str, Tensor], Recipe], list[str]] = lambda tensors, recipe: [],
) -> Recipe:
    """The recipe whose detector has exactly these tensors; when several have, the one that `name` means.

    also: differences of what else is in the file, for a recipe whose detector fits.

    Raises CheckpointError if none fits (listing the differences from the closest), or if several do and the name is
    ambiguous.
    """
    closest: tuple[int, Recipe, str] | None = None
    fitting = []
    for recipe in recipes:
        try:
            problems = differences(tensors, recipe)
            problems = problems or also(tensors, recipe)
        except CheckpointError:  # an architecture of ours alone
            continue
        if not problems:
            fitting.append(recipe)
        elif closest is None or len(problems) < closest[0]:
            closest = (len(problems), recipe, problems[0])
    if not fitting:
        hint = f"; closest is {closest[1].name}, but {closest[2]}" if closest else ""
        more = f" (and {closest[0] - 1} more)" if closest and closest[0] > 1 else ""
        raise CheckpointError(f"{origin}: the weights fit no recipe{hint}{more}; name theirs with --recipe")
    meant = _meant(fitting, name)
    if len(meant) != 1:
        names = ", ".join(recipe.name for recipe in fitting)
        raise CheckpointError(f"{origin}: the weights fit several recipes: {names}; name one with --recipe")
    return meant[0]


def _meant(fitting: list[Recipe], name: str) -> list[Recipe]:
    """The recipes that a name may refer to: of that name, else of that data set, else containing all of its words."""
    if len(fitting) == 1:
        return fitting
    words = set(name.lower().split("-"))
    exact = [recipe for recipe in fitting if recipe.name == name]
    of_dataset = [recipe for recipe in fitting if recipe.dataset == name]
    alike = [recipe for recipe in fitting if words <= set(recipe.name.split("-"))]
    return exact or of_dataset or alike
