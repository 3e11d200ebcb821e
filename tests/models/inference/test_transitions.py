"""From scores of single frames to cuts and gradual transitions: values computed by hand, and what holds for any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tal_cli.extractors.errors import RecipeError
from tal_cli.models.classifier import WindowClassifier
from tal_cli.models.inference.nms import ScoredSegments
from tal_cli.models.inference.transitions import span_around, transitions
from tal_cli.models.recipe.classifier import ClassifierRecipe, EvidenceConfig, TransitionConfig
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.loading import load_model_recipe, override, override_trained
from tal_cli.models.store.checkpoint import load_any_model, save_classifier

RECIPE = load_model_recipe("transnetv2")
CONFIG = TransitionConfig(classes=2, class_names="transitions")


def found(middle: list[float], part: list[float]) -> ScoredSegments:
    """Transitions of frames with these probabilities."""
    identity = WindowClassifier(2, 2)
    identity.load_state_dict({"linear.weight": torch.eye(2), "linear.bias": torch.zeros(2)})
    scores = torch.tensor([middle, part], dtype=torch.float32).T.clamp(1e-6, 1 - 1e-6)
    return transitions(identity, torch.logit(scores), CONFIG, InferenceConfig())


def test_a_cut_lies_behind_its_frame() -> None:
    some = found([0, 0, 0.9, 0.3, 0, 0, 0], [0, 0, 0.8, 0, 0, 0, 0])
    assert some.labels.tolist() == [0] and some.scores.tolist() == pytest.approx([0.9])
    # Row 2 stands for the frame from 1.5 to 2.5, after which the next shot begins: 5 frames around that.
    assert (some.starts.tolist(), some.ends.tolist()) == ([0.0], [5.0])


def test_a_gradual_transition_is_as_long_as_its_frames() -> None:
    some = found([0, 0, 0.2, 0.7, 0.2, 0, 0, 0], [0, 0.6, 0.9, 0.9, 0.9, 0.6, 0.4, 0])
    assert some.labels.tolist() == [1] and some.scores.tolist() == pytest.approx([0.7])
    assert (some.starts.tolist(), some.ends.tolist()) == ([0.5], [5.5])
    assert len(found([0.05] * 9, [0.9] * 9)) == 0  # no middle, no transition
    assert len(found([0.9], [0.0])) == 1


def test_two_middles_of_one_transition_are_told_once() -> None:
    some = found([0, 0.6, 0, 0, 0.9, 0], [0.9] * 6)
    assert some.scores[0] == pytest.approx(0.9) and some.scores[1:].max() < 0.15


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), max_size=40))
def test_any_scores_give_sorted_segments_that_are_not_empty(scores: list[tuple[float, float]]) -> None:
    some = found([one for one, _ in scores], [many for _, many in scores])
    assert np.all(some.ends > some.starts) and np.all(np.diff(some.scores) <= 0)
    assert set(some.labels.tolist()) <= {0, 1} and np.all((some.scores >= 0) & (some.scores <= 1))


def test_the_span_around_a_row() -> None:
    spans = [(2, 5), (7, 8)]
    assert [span_around(spans, row) for row in (0, 2, 4, 5, 7, 9)] == [(0, 1), (2, 5), (2, 5), (5, 6), (7, 8), (9, 10)]
    assert span_around([], 3) == (3, 4)


def test_recipes_of_both_kinds(tmp_path: Path) -> None:
    assert isinstance(RECIPE, ClassifierRecipe) and isinstance(RECIPE.classifier, TransitionConfig)
    assert RECIPE.labels(("cut", "gradual")) == ("cut", "gradual")
    kinetics = load_model_recipe("kinetics")  # which names no kind
    assert isinstance(kinetics, ClassifierRecipe) and isinstance(kinetics.classifier, EvidenceConfig)
    with pytest.raises(RecipeError, match=r"classifier\.smoothing: unknown key"):
        override(RECIPE, {"classifier.smoothing": 3})
    with pytest.raises(RecipeError, match=r"there is no scenes; there are evidence, transitions"):
        override(RECIPE, {"classifier.name": "scenes"})
    assert override_trained(RECIPE, {"classifier.longest_cut": 1}, "transnetv2").classifier != RECIPE.classifier
    small = override(RECIPE, {"features.channels": 2})
    save_classifier(tmp_path, small, ("cut", "gradual"), torch.eye(2), torch.zeros(2))
    loaded = load_any_model(tmp_path)
    assert loaded.recipe == small and loaded.labels == ("cut", "gradual")
    assert loaded.find(torch.tensor([[-9.0, -9], [9, 9], [-9, -9]])).labels.tolist() == [0]
