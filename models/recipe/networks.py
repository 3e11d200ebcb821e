"""Models that need no training: bundled recipes, and one rule for all networks of the catalog that classify actions.

Imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from tal_cli.extractors import catalog
from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.models.recipe.classifier import ClassifierRecipe, EvidenceConfig
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.inference import InferenceConfig

CLASSIFIERS = Path(__file__).parent / "classifiers"
COUNTS = {"kinetics-400": 400, "kinetics-710": 710}
SEEN = 2.9  # seconds over which class scores are averaged, as chosen for `kinetics`
USUAL_RATE = 25.0

NETWORKS: dict[str, BackboneEntry] = {
    entry.name: entry for entry in catalog.ENTRIES if entry.classifier is not None and entry.classifier.classes
}


def list_classifiers() -> list[str]:
    """Names of the models that need no training: of bundled recipes, and of NETWORKS."""
    return sorted([*(path.stem for path in CLASSIFIERS.glob("*.yaml")), *NETWORKS])


def classifier_card(name: str) -> str:
    """The model card of one of them."""
    return network_card(name) if name in NETWORKS else (CLASSIFIERS / f"{name}.md").read_text(encoding="utf-8")


def network_recipe(name: str) -> ClassifierRecipe:
    """The recipe of one of NETWORKS: its classes, on windows as it was trained on."""
    entry = NETWORKS[name]
    classifier = entry.classifier
    assert classifier is not None and classifier.classes is not None
    contract = entry.contract_with(classifier.settings)
    step = contract.stride / (contract.sampling_rate or USUAL_RATE)
    return ClassifierRecipe(
        name=name,
        description=f"the {COUNTS[classifier.classes]} actions of {classifier.classes.capitalize()}, by {name}",
        dataset=classifier.classes,
        source=entry.description,
        licence=entry.weights[0].licence,
        features=FeatureSpec.of(contract),
        classifier=EvidenceConfig(
            classes=COUNTS[classifier.classes],
            class_names=classifier.classes,
            smoothing=1 + 2 * round((SEEN / step - 1) / 2) if step < SEEN else 1,
            evidence=None,
        ),
        inference=InferenceConfig(min_score=0.01, display_score=0.7),
    )


def network_card(name: str) -> str:
    """The model card of one of NETWORKS."""
    recipe = network_recipe(name)
    rate = f"{recipe.features.sampling_rate:g} frames per second"
    return f"""# {name}

{recipe.description[0].upper()}{recipe.description[1:]}, as segments of any length, without training of its own.
{recipe.source} gives class scores of {recipe.features.window} frames at {rate}; segments are where a class is
probable, and more so than beside it.

Not measured: its weights could not be had where tal is made. Segments are found as `kinetics` finds them, whose figures
say what to expect; but what this network's class scores reach in scenes that hold none of its actions is not known, so
that more of those are reported. Prefer `kinetics` or `people` for videos that may hold nothing.

Cannot:

- find walking, running, sitting down, standing up or falling: they are not among Kinetics' classes.
- tell several people apart, or say where in the picture something happens.
- place boundaries more closely than its windows allow.
"""
