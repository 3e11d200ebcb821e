"""From class scores over time to segments: values computed by hand, and what must hold for any scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tal_cli.extractors.errors import CheckpointError, RecipeError
from tal_cli.models.classifier import WindowClassifier
from tal_cli.models.inference.evidence import candidates, runs, segments_of_evidence, smooth
from tal_cli.models.inference.nms import ScoredSegments
from tal_cli.models.recipe.classifier import ClassifierRecipe, EvidenceConfig
from tal_cli.models.recipe.loading import load_model_recipe, load_recipe, override
from tal_cli.models.recipe.networks import list_classifiers
from tal_cli.models.store.checkpoint import load_any_model, load_model, save_classifier

NAMES = ("run", "jump", "sit", "stand")
KINETICS = load_model_recipe("kinetics")


def recipe_of(**changes: object) -> ClassifierRecipe:
    """Four classes on four channels, whose values are the class scores; no smoothing unless it is asked for."""
    plain = {"features.channels": 4, "classifier.classes": 4, "classifier.smoothing": 1}
    assert isinstance(KINETICS, ClassifierRecipe)
    return override(KINETICS, plain | {f"classifier.{key}": value for key, value in changes.items()})


def found(scores: list[list[float]], recipe: ClassifierRecipe) -> ScoredSegments:
    classifier = WindowClassifier(4, 4)
    with torch.no_grad():
        classifier.linear.weight.copy_(torch.eye(4))
        classifier.linear.bias.zero_()
    assert isinstance(recipe.classifier, EvidenceConfig)
    return segments_of_evidence(
        classifier, torch.tensor(scores), recipe.features, recipe.classifier, recipe.inference, NAMES
    )


def test_a_score_by_hand() -> None:
    config = EvidenceConfig(classes=4, class_names="", thresholds=(0.5,), contrast=0.5, evidence=16, evidence_scale=2)
    probability = np.array([0.0, 0.2, 0.8, 1.0, 0.8, 0.6, 0.0, 0.0], np.float32)
    strongest = np.array([0, 0, 20, 16, 20, 12, 0, 0], np.float32)
    some = candidates(3, probability, strongest, config)
    assert (some.labels.tolist(), some.starts.tolist(), some.ends.tolist()) == ([3], [2], [6])
    # a quarter of 4 rows beside it on either side: 0.2 and 0.0; the stronger half of the class scores: 20, 20
    inside, beside, certain = 0.8, 0.1, 1 / (1 + np.exp(-2))
    assert some.scores[0] == pytest.approx((inside - 0.5 * beside) * certain)


def test_segments_lie_where_their_windows_do() -> None:
    strong, none = [30.0, 0, 0, 0], [0.0, 0, 0, 0]
    recipe = recipe_of(thresholds=(0.5,))
    inner = found([none] * 4 + [strong] * 6 + [none] * 5, recipe)
    assert (inner.labels.tolist(), inner.starts.tolist(), inner.ends.tolist()) == ([0], [3.5], [9.5])
    whole = found([strong] * 3, recipe)  # to the edges of the video: half a window before the first centre
    assert (whole.starts.tolist(), whole.ends.tolist()) == ([-2.5], [4.5])
    assert len(found([none] * 9, recipe)) == 0
    assert len(found([strong], recipe)) == 1  # a video of one window
    with pytest.raises(RecipeError, match="people: a classifier of windows is no detector"):
        load_recipe("people")
    assert len(found([strong[1:] + strong[:1]] * 9, recipe)) == 1


def test_what_looks_like_some_class_in_every_scene_scores_low() -> None:
    """The softmax of both is 1, the class scores differ."""
    sure, unsure = ([[level, 0.0, 0.0, 0.0]] * 9 for level in (25.0, 12.0))
    assert found(sure, recipe_of()).scores[0] > 0.9
    assert found(unsure, recipe_of()).scores[0] < 0.1


def test_a_group_is_as_probable_as_its_classes_together() -> None:
    both = [[20.0, 20.0, 0.0, 0.0]] * 9
    apart = found(both, recipe_of())
    together = found(both, recipe_of(groups={"move": ("run", "jump"), "rest": ("sit", "stand")}))
    assert together.labels.tolist() == [0] and together.scores[0] > 0.9 > 0.5 > max(apart.scores)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4), min_size=1), st.sampled_from([1, 3, 9]))
def test_any_scores_give_segments_within_the_video(scores: list[list[float]], smoothing: int) -> None:
    some = found(scores, recipe_of(smoothing=smoothing))
    edge = 0.5 * 40 / 8
    assert np.all(some.starts >= -edge) and np.all(some.ends <= len(scores) - 1 + edge)
    assert np.all(some.ends > some.starts) and np.all((some.scores >= 0) & (some.scores <= 1))
    assert np.all(np.diff(some.scores) <= 0)


@given(st.lists(st.booleans(), max_size=30))
def test_runs_are_the_true_values(values: list[bool]) -> None:
    marked = np.zeros(len(values), bool)
    for start, end in runs(np.array(values, bool)):
        assert start < end and not marked[start:end].any()
        marked[start:end] = True
    assert marked.tolist() == values


def test_smoothing_keeps_a_constant() -> None:
    torch.testing.assert_close(smooth(torch.full((3, 2), 5.0), 9), torch.full((3, 2), 5.0))


@pytest.mark.parametrize("name", list_classifiers())
def test_bundled_classifiers_name_classes_that_there_are(name: str) -> None:
    from tal_cli.model_files.classifiers import CLASS_NAMES

    recipe = load_model_recipe(name)
    assert isinstance(recipe, ClassifierRecipe) and recipe.name == name
    names = CLASS_NAMES[recipe.classifier.class_names]()
    assert len(names) == recipe.classifier.classes
    groups = recipe.groups
    grouped = [member for members in groups.values() for member in members]
    assert len(grouped) == len(set(grouped)), "a class in two groups would count twice"
    assert recipe.labels(names) == (tuple(groups) or names)
    assert not any("," in label for label in groups)  # lists of labels on the command line are separated by commas


def test_a_classifier_is_saved_and_read_back(tmp_path: Path) -> None:
    recipe = recipe_of(groups={"move": ("run", "jump")})
    save_classifier(tmp_path, recipe, NAMES, torch.eye(4), torch.zeros(4))
    loaded = load_any_model(tmp_path)
    assert loaded.recipe == recipe and loaded.labels == ("move",)
    assert loaded.find(torch.tensor([[30.0, 0, 0, 0]] * 9)).labels.tolist() == [0]
    with pytest.raises(CheckpointError, match="is no detector"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match=r"linear\.weight is"):
        save_classifier(tmp_path, recipe, NAMES, torch.ones(4, 5), torch.zeros(4))
    text = (tmp_path / "recipe.yaml").read_text().replace("- jump", "- fly")
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(CheckpointError, match="groups: move: there is no class fly"):
        load_any_model(tmp_path)
    (tmp_path / "recipe.yaml").write_text(text.replace("  contrast:", "  beside: 0.5\n  contrast:"))
    with pytest.raises(RecipeError, match=r"recipe\.yaml: not YAML: line \d+, column 3: beside is given twice"):
        load_model_recipe(tmp_path / "recipe.yaml")
    (tmp_path / "recipe.yaml").write_text(f"? [a, b]\n: 1\n{text}")
    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        load_model_recipe(tmp_path / "recipe.yaml")
    (tmp_path / "recipe.yaml").write_text(text.replace("contrast", "contrarst"))
    with pytest.raises(RecipeError, match=r"classifier\.contrarst: unknown key"):
        load_model_recipe(tmp_path / "recipe.yaml")
