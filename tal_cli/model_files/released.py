"""Import, removal and export of released checkpoints: `tal models add`, `remove` and `export-released`."""

from __future__ import annotations

import csv
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tal_cli.datasets.catalog import BENCHMARKS
from tal_cli.extractors.errors import InputError, MissingError, UsageError
from tal_cli.extractors.files.atomic import folder_written_atomically, write_atomically
from tal_cli.extractors.files.weights import file_sha256

if TYPE_CHECKING:
    from tal_cli.models.recipe.schema import Recipe
    from tal_cli.models.released.reading import ReleasedState

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
LARGEST_LABELS = 1 << 22  # bytes
PROPOSALS = ("action",)  # the one label of detectors whose classes a video-level classifier adds


@dataclass(frozen=True)
class Imported:
    """An imported model: its folder, its recipe, and the assumed label order (None if labels were given)."""

    folder: Path
    recipe: Recipe
    assumed_labels: str | None


def install(
    name: str, checkpoint: Path, *, recipe: str | None = None, labels: Path | None = None, overwrite: bool = False
) -> Imported:
    """Import a released checkpoint under a name.

    `recipe` is a recipe's name or file, by default the one in a file of `export_released`, else inferred from the
    weights' shapes and the name; `labels` is a file with one label per line in class order (or EPIC-KITCHENS' table of
    classes), by default those in the file, else the data set's list.

    Raises:
        UsageError: an invalid name, or the name of a bundled or existing model.
        MissingError: the data set's labels are not bundled.
        InputError: a file of labels that cannot be read.
        CheckpointError: not a checkpoint, or its weights fit no recipe, or not the given one.
        RecipeError: no such recipe.
    """
    from tal_cli.model_files import adatad
    from tal_cli.models.recipe.loading import load_recipe
    from tal_cli.models.released.conversion import to_ours
    from tal_cli.models.released.reading import read_state
    from tal_cli.models.store.checkpoint import build_detector, save_backbone, save_model

    folder = _free_folder(name, overwrite)
    state = read_state(checkpoint)
    found = load_recipe(recipe) if recipe else _find_recipe(state, name, checkpoint)
    names, assumed = (read_labels(labels) if labels else state.labels), None
    if len(names) != found.model.classes and not labels:
        names, assumed = _usual_labels(found)
    detector = build_detector(found, to_ours(state.tensors, found, str(checkpoint)), str(checkpoint))
    tuned = found.backbone.tunes or adatad.has_backbone(state.tensors)
    backbone = adatad.to_ours(state.tensors, found, str(checkpoint)) if tuned else None
    installed = found.model_copy(update={"name": name})
    card = _card(found, checkpoint, file_sha256(checkpoint), state, assumed)
    with folder_written_atomically(folder) as partial:
        if backbone is not None:
            installed = adatad.finished(installed, save_backbone(partial, backbone))
        save_model(partial, detector, installed, names)
        write_atomically(partial / "card.md", card.encode())
    return Imported(folder, found, assumed)


def uninstall(name: str) -> Path:
    """Remove the folder of an imported or downloaded model and return its path.

    Raises:
        UsageError: a bundled model, or no model of that name under TAL_HOME.
    """
    folder = removable_folder(name)
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)
    return folder


def removable_folder(name: str) -> Path:
    """The folder that `uninstall` would remove. Raises as `uninstall`."""
    from tal_cli.extractors.files.weights import home
    from tal_cli.models.store.zoo import SHIPPED, installed_folder

    if (SHIPPED / name).is_dir() and NAME.fullmatch(name):
        raise UsageError(f"{name} is bundled with tal and cannot be removed")
    if not NAME.fullmatch(name) or not installed_folder(name).is_dir():
        parent = home() / "models"
        there = sorted(path.name for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []
        raise UsageError(
            f"no model named {name!r} under {parent}", f"there are {', '.join(there)}" if there else "there are none"
        )
    return installed_folder(name)


def export_released(model: str, target: Path, *, overwrite: bool = False) -> None:
    """Write a model in the checkpoint format of its authors' code.

    The file contains the same weights as `state_dict` and `state_dict_ema`, with the key prefix of `DataParallel`; and
    recipe and labels, so that `install` reads it back.

    Raises:
        UsageError: the file exists.
        CheckpointError: no released code has this architecture.
        UnknownModel, ModelMissing: no such model, or not on this machine.
    """
    import io

    import torch

    from tal_cli.model_files import adatad
    from tal_cli.models.recipe.decoders import QueriesSettings
    from tal_cli.models.recipe.loading import dump_recipe
    from tal_cli.models.released.conversion import to_released
    from tal_cli.models.released.reading import OURS, QUERY_STATE
    from tal_cli.models.store.checkpoint import load_model
    from tal_cli.models.store.zoo import resolve_model

    if target.exists() and not overwrite:
        raise UsageError(f"{target} already exists", "use --overwrite to replace it")
    loaded = load_model(resolve_model(model))
    state = to_released(loaded.detector.state_dict(), loaded.recipe.model)
    if loaded.recipe.backbone.tunes:
        state |= adatad.to_released(loaded)
    wrapped = {f"module.{key}": value for key, value in state.items()}
    training = loaded.recipe.training
    content = {
        "epoch": training.epochs + training.warmup_epochs,
        "state_dict": wrapped,
        "state_dict_ema": wrapped,
        OURS: {"recipe": dump_recipe(loaded.recipe), "labels": list(loaded.labels)},
    }
    if isinstance(loaded.recipe.model.decoder, QueriesSettings):
        content[QUERY_STATE] = state
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(target, buffer.getvalue())


def read_labels(path: Path) -> tuple[str, ...]:
    """Labels in class order: lines of a text file, or the `key` column of EPIC-KITCHENS' table of classes by `id`.

    Raises:
        InputError: not such a file.
    """
    try:
        if path.stat().st_size > LARGEST_LABELS:
            raise InputError(path, "too large for a list of labels")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise InputError(path, "not UTF-8 text") from error
    if path.suffix.lower() != ".csv":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or not {"id", "key"} <= rows[0].keys() or not all((row["id"] or "").isdecimal() for row in rows):
        raise InputError(path, "a CSV of labels needs the columns id (0, 1, ...) and key")
    return tuple(row["key"] for row in sorted(rows, key=lambda row: int(row["id"])))


def _free_folder(name: str, overwrite: bool) -> Path:
    from tal_cli.models.store.zoo import SHIPPED, installed_folder

    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a model's name", "use letters, digits and . _ + -")
    if (SHIPPED / name).is_dir():
        raise UsageError(f"{name} is the name of a bundled model", "choose another name")
    folder = installed_folder(name)
    if folder.exists() and not overwrite:
        raise UsageError(f"a model named {name} already exists", "use --overwrite, or remove it first")
    return folder


def _find_recipe(state: ReleasedState, name: str, checkpoint: Path) -> Recipe:
    from tal_cli.model_files import adatad
    from tal_cli.models.recipe.loading import parse_recipe, usable_recipes
    from tal_cli.models.released.matching import find_recipe

    if state.recipe:
        return parse_recipe(state.recipe, str(checkpoint))
    recipes = list(usable_recipes().values())
    if adatad.has_backbone(state.tensors):
        return find_recipe(state.tensors, name, recipes, str(checkpoint), adatad.differences)
    return find_recipe(state.tensors, name, [each for each in recipes if not each.backbone.tunes], str(checkpoint))


def _usual_labels(recipe: Recipe) -> tuple[tuple[str, ...], str]:
    """The data set's labels and a description of their order."""
    if recipe.model.classes == 1:
        return PROPOSALS, "one class of proposals"
    benchmark = BENCHMARKS.get(recipe.dataset)
    names = benchmark.label_names if benchmark else ()
    if benchmark is None or len(names) != recipe.model.classes:
        title = benchmark.title if benchmark else recipe.dataset or recipe.name
        raise MissingError(
            f"the {recipe.model.classes} labels of {title} are not bundled with tal",
            "give --labels FILE, one label per line in class order (for EPIC-KITCHENS its EPIC_100_verb_classes.csv or "
            f"EPIC_100_noun_classes.csv{f', from {benchmark.source}' if benchmark else ''})",
        )
    return names, f"the usual order of {benchmark.title} ({names[0]}, {names[1]}, ... {names[-1]})"


def _card(recipe: Recipe, checkpoint: Path, sha256: str, state: ReleasedState, assumed: str | None) -> str:
    epoch = f" of epoch {state.epoch}" if state.epoch is not None else ""
    order = f"assumed: {assumed}" if assumed else "as given"
    return f"""\
# Imported from {checkpoint.name}

SHA-256 of the file: {sha256}
Weights taken: {state.kind}{epoch}. Recipe: {recipe.name} ({recipe.source or "no source stated"}).
Class order: {order}. Checkpoints do not contain class names; if all labels are wrong, give their list with `--labels`.
"""
