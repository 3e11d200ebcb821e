"""Model folders: `model.safetensors`, `recipe.yaml`, `labels.txt`; written atomically, read without executing them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tal_cli.extractors.errors import CheckpointError, RecipeError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.files.error_text import unreadable
from tal_cli.models.classifier import WindowClassifier
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.chunks import detect
from tal_cli.models.inference.evidence import segments_of_evidence
from tal_cli.models.inference.nms import ScoredSegments
from tal_cli.models.inference.transitions import transitions
from tal_cli.models.recipe.classifier import ClassifierRecipe, EvidenceConfig
from tal_cli.models.recipe.loading import NO_DETECTOR, dump_recipe, load_model_recipe
from tal_cli.models.recipe.schema import Recipe

WEIGHTS, RECIPE, LABELS = "model.safetensors", "recipe.yaml", "labels.txt"
BACKBONE = "backbone.safetensors"  # of a model with a tuned backbone: what was trained of it


@dataclass(frozen=True)
class TunedWeights:
    """What was trained of a backbone, by name, and the SHA-256 of its file."""

    state: Mapping[str, Tensor]
    sha256: str


@dataclass(frozen=True)
class LoadedModel:
    """A detector ready to run: evaluation mode, on its device; labels in class order; SHA-256 of the weights file.

    backbone: what was trained of its backbone; None for one that is used as published.
    """

    detector: TemporalDetector
    recipe: Recipe
    labels: tuple[str, ...]
    sha256: str
    name: str
    backbone: TunedWeights | None = None

    def find(self, features: Tensor) -> ScoredSegments:
        """Segments in features [T, C], see `detect`."""
        return detect(self.detector, features, self.recipe)


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier of windows ready to run: on its device; labels of its segments; SHA-256 of the weights file.

    class_names: those of the classifier, which groups of the recipe turn into labels.
    """

    classifier: WindowClassifier
    recipe: ClassifierRecipe
    class_names: tuple[str, ...]
    labels: tuple[str, ...]
    sha256: str
    name: str

    def find(self, features: Tensor) -> ScoredSegments:
        """Segments in features [T, C], see `segments_of_evidence` and `transitions`."""
        spec, config, inference = self.recipe.features, self.recipe.classifier, self.recipe.inference
        if isinstance(config, EvidenceConfig):
            return segments_of_evidence(self.classifier, features, spec, config, inference, self.class_names)
        return transitions(self.classifier, features, config, inference)


def save_model(folder: str | Path, detector: TemporalDetector, recipe: Recipe, labels: Sequence[str]) -> None:
    """Writes the three files atomically, the weights last.

    Raises CheckpointError when labels are not one line each, one per class; InputError where the folder cannot be
    written to.
    """
    check_labels(labels, recipe.model.classes, str(folder))
    folder = Path(folder)
    state = {key: value.detach().cpu().contiguous() for key, value in detector.state_dict().items()}
    write_atomically(folder / RECIPE, dump_recipe(recipe).encode())
    write_atomically(folder / LABELS, "".join(f"{label}\n" for label in labels).encode())
    write_atomically(folder / WEIGHTS, save_tensors(state))


def load_any_model(folder: str | Path, device: str | torch.device = "cpu") -> LoadedModel | LoadedClassifier:
    """Read a model folder of either kind. Raises CheckpointError for anything missing, foreign or inconsistent."""
    folder = Path(folder)
    try:
        recipe = load_model_recipe(folder / RECIPE)
    except RecipeError as error:
        raise CheckpointError(str(error)) from error
    content = _read(folder / WEIGHTS)
    names = tuple(_read(folder / LABELS).decode("utf-8", errors="replace").splitlines())
    classes = recipe.model.classes if isinstance(recipe, Recipe) else recipe.classifier.classes
    check_labels(names, classes, str(folder / LABELS))
    try:
        state = load_tensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{folder / WEIGHTS}: not a safetensors file: {unreadable(folder / WEIGHTS, error)}"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        labels = names if isinstance(recipe, Recipe) else recipe.labels(names)
        recipe.inference.check_labels(labels)
    except ValueError as error:
        raise CheckpointError(f"{folder / RECIPE}: {error}") from error
    if isinstance(recipe, Recipe):
        detector = build_detector(recipe, state, str(folder / WEIGHTS)).to(device).eval()
        backbone = load_backbone(folder / BACKBONE) if recipe.backbone.tunes else None
        return LoadedModel(detector, recipe, labels, sha256, recipe.name, backbone)
    classifier = build_classifier(recipe, state, str(folder / WEIGHTS)).to(device).eval()
    return LoadedClassifier(classifier, recipe, names, labels, sha256, recipe.name)


def save_backbone(folder: Path, state: Mapping[str, Tensor]) -> str:
    """Writes what was trained of a backbone, into a model folder; returns the file's SHA-256."""
    content = save_tensors({key: value.detach().cpu().contiguous() for key, value in state.items()})
    write_atomically(folder / BACKBONE, content)
    return hashlib.sha256(content).hexdigest()


def load_backbone(path: Path) -> TunedWeights:
    """What `save_backbone` wrote. Raises CheckpointError."""
    content = _read(path)
    try:
        return TunedWeights(load_tensors(content), hashlib.sha256(content).hexdigest())
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a safetensors file: {unreadable(path, error)}") from error


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Read a detector's folder. Raises CheckpointError as `load_any_model`, and for a classifier."""
    loaded = load_any_model(folder, device)
    if isinstance(loaded, LoadedClassifier):
        raise CheckpointError(f"{folder}: {NO_DETECTOR}")
    return loaded


def save_classifier(
    folder: Path, recipe: ClassifierRecipe, class_names: Sequence[str], weight: Tensor, bias: Tensor
) -> None:
    """Writes a classifier as a model folder, into an existing folder. weight: [classes, channels], bias: [classes].

    Raises CheckpointError when they are not of the recipe's classes and channels.
    """
    check_labels(class_names, recipe.classifier.classes, str(folder))
    state = {"linear.weight": weight.contiguous(), "linear.bias": bias.contiguous()}
    build_classifier(recipe, state, recipe.name)
    write_atomically(folder / RECIPE, dump_recipe(recipe).encode())
    write_atomically(folder / LABELS, "".join(f"{name}\n" for name in class_names).encode())
    write_atomically(folder / WEIGHTS, save_tensors(state))


def build_classifier(recipe: ClassifierRecipe, state: dict[str, Tensor], origin: str) -> WindowClassifier:
    """A classifier of the recipe's shape with the tensors of `state`. Raises CheckpointError, as `build_detector`."""
    with torch.device("meta"), WithoutInitialisation():
        classifier = WindowClassifier(recipe.features.channels, recipe.classifier.classes)
    check_state(classifier, state, origin)
    classifier.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return classifier.requires_grad_(False)


def build_detector(recipe: Recipe, state: dict[str, Tensor], origin: str) -> TemporalDetector:
    """A detector of the recipe's shape with the tensors of `state`, in evaluation mode.

    Raises CheckpointError naming the first tensors that are missing, unknown or of another shape.
    """
    try:
        with torch.device("meta"), WithoutInitialisation():  # compared before memory is allocated
            outline = TemporalDetector.from_recipe(recipe)
    except RecipeError as error:
        raise CheckpointError(f"{origin}: {error}") from error
    check_state(outline, state, origin)
    detector = TemporalDetector.from_recipe(recipe).eval()
    detector.load_state_dict(state)
    return detector


def check_state(outline: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Raises CheckpointError naming the first tensors that are missing, unknown or of another shape than a module's."""
    expected = {key: tuple(value.shape) for key, value in outline.state_dict().items()}
    problems = [f"{key} is missing" for key in expected.keys() - state.keys()]
    problems += [f"{key} is unknown" for key in state.keys() - expected.keys()]
    problems += [
        f"{key} is {list(state[key].shape)}, the recipe asks for {list(expected[key])}"
        for key in expected.keys() & state.keys()
        if tuple(state[key].shape) != expected[key]
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{origin}: weights do not fit the recipe: {'; '.join(sorted(problems)[:3])}{more}")


class WithoutInitialisation(TorchFunctionMode):
    """Leaves out random initialisation: on the meta device it sets nothing, and loads torch's compiler (1.5 s)."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if getattr(func, "__module__", "") == "torch.nn.init" or func.__name__ in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error


def check_labels(labels: Sequence[str], classes: int, origin: str) -> None:
    """Raises CheckpointError, naming `origin`, for invalid labels: there must be one distinct line per class."""
    if len(labels) != classes:
        raise CheckpointError(f"{origin}: {len(labels)} labels for {classes} classes")
    for label in labels:
        if not label.strip() or label.splitlines() != [label]:
            raise CheckpointError(f"{origin}: a label must be one line that is not empty: {label!r}")
    if len(set(labels)) != len(labels):
        raise CheckpointError(f"{origin}: two labels are the same")
