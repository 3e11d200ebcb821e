"""Every ablation of the paper is a plain override that changes what it should and only that."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.extractors.errors import RecipeError
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.encoders.gmg import GmgBlock
from tal_cli.models.predictions import BinnedBoundaries, Predictions
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.training.loss import LossNormalizer, batch_loss

SMALL = [
    "model.width=32",
    "model.head_width=32",
    "model.encoder.mlp_width=32",
    "model.encoder.windows=3",
    "model.classes=3",
    "model.pad_length=128",
    "model.decoder.bins=4",
    "features.channels=8",
    "training.drop_path=0",
]
VARIANTS = ("released", "paper")
BRANCHES = ("instant", "local", "global")
SUBSETS = [subset for count in (1, 2, 3) for subset in itertools.combinations(BRANCHES, count)]
MODULES = {"instant": "instant", "local": "local", "global": "filter"}


def small(*assignments: str, variant: str = "released") -> Recipe:
    overrides = parse_overrides([*SMALL, f"model.variant={variant}"]) | parse_overrides(assignments)
    return override(load_recipe("thumos-internvideo2"), overrides)


def build(recipe: Recipe, source: TemporalDetector | None = None) -> TemporalDetector:
    """A detector with every parameter sampled again, so that no path is zero; shared ones are taken from `source`."""
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in detector.parameters():
        nn.init.normal_(parameter, 0.1, 0.2, generator=generator)
    if source is not None:
        known = source.state_dict()
        mine = {k: v for k, v in known.items() if detector.state_dict().get(k, v[..., None]).shape == v.shape}
        detector.load_state_dict(mine, strict=False)
    return detector


def inputs(length: int = 100) -> tuple[Tensor, Tensor]:
    rows = torch.randn(2, 128, 8, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(128) < torch.tensor([[length], [128]])
    return rows * mask[..., None], mask


def run(detector: TemporalDetector) -> Predictions:
    with torch.no_grad():
        predictions: Predictions = detector(*inputs())
    return predictions


def encoded(detector: TemporalDetector) -> list[Tensor]:
    with torch.no_grad():
        return detector.encode(*inputs())


def names(detector: TemporalDetector) -> set[str]:
    """Parameters, with the number of the block left out."""
    return {re.sub(r"(stem|branch)\.\d+", r"\1", name) for name, _ in detector.named_parameters()}


def offsets(predictions: Predictions) -> Tensor:
    assert isinstance(predictions.boundaries, BinnedBoundaries)
    return predictions.boundaries.offsets


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def base(variant: str) -> TemporalDetector:
    return build(small(variant=variant))


def same_decoder(one: TemporalDetector, other: TemporalDetector) -> bool:
    """Whether both decoders find the same in the same pyramid, to the last bit."""
    mask = inputs()[1][..., None]
    valid = [mask[:, :: 1 << level] for level in range(one.config.levels)]
    levels = encoded(one)
    with torch.no_grad():
        first, second = (detector.decoder(detector.mix(levels, valid), valid, valid) for detector in (one, other))
    return torch.equal(first.refined, second.refined) and torch.equal(offsets(first), offsets(second))


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_branches(base: TemporalDetector, variant: str, subset: tuple[str, ...]) -> None:
    """Table 6."""
    ablated = build(small(f"model.encoder.branches=[{', '.join(subset)}]", variant=variant), base)
    gone = tuple(f".{MODULES[branch]}." for branch in BRANCHES if branch not in subset)
    assert names(ablated) == {name for name in names(base) if not any(part in name for part in gone)}
    changes = len(subset) < 3
    assert all(torch.equal(a, b) != changes for a, b in zip(encoded(base), encoded(ablated), strict=True))
    assert same_decoder(base, ablated)


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_branches_are_gated_by_the_next_coarser_one_there_is(variant: str, subset: tuple[str, ...], gate: bool) -> None:
    """Equation 4 and what the released code makes of it, written out."""
    config = small(f"model.encoder.branches=[{', '.join(subset)}]", f"model.encoder.gate={gate}", variant=variant).model
    torch.manual_seed(0)
    block = GmgBlock(config, config.encoder, window=3, downsample=False, drop_path=0.0).eval()  # type: ignore[arg-type]
    for parameter in block.parameters():
        nn.init.normal_(parameter, 0.1, 0.2)
    x = torch.randn(1, 32, 40)
    activation = F.relu if variant == "paper" else nn.Identity()
    with torch.no_grad():
        n = block.norm(x)
        parts = {name: getattr(block, MODULES[name])(n) for name in subset}
        total = torch.zeros_like(n) if variant == "paper" else n
        coarser = None
        for name in ("global", "local", "instant"):
            if name in parts:
                own = parts[name] if coarser is None or not gate else activation(coarser) * parts[name]
                total, coarser = total + own, own
        hidden = x + total
        expected = hidden + block.ffn_out(F.gelu(block.ffn_in(block.ffn_norm(hidden))))
        torch.testing.assert_close(block(x, None), expected, rtol=1e-5, atol=1e-5)


def test_gate(base: TemporalDetector, variant: str) -> None:
    """Table 7: without gates nothing is learnt less, and every level changes."""
    ablated = build(small("model.encoder.gate=false", variant=variant), base)
    assert names(ablated) == names(base)
    assert not any(torch.equal(a, b) for a, b in zip(encoded(base), encoded(ablated), strict=True))
    assert same_decoder(base, ablated)


def test_attention_as_global_branch(base: TemporalDetector, variant: str) -> None:
    """Table 8: the filter goes, attention comes; padding is not attended to."""
    ablated = build(small("model.encoder.global_branch=attention", variant=variant), base)
    gone = {name for name in names(base) if ".filter." in name}
    come = {name for name in names(ablated) if ".filter." in name}
    assert gone and come and names(ablated) - come == names(base) - gone
    assert {name.split("filter.")[1].split(".")[0] for name in come} == {"project_in", "project_out"}
    assert not any(torch.equal(a, b) for a, b in zip(encoded(base), encoded(ablated), strict=True))
    assert same_decoder(base, ablated)
    block = ablated.encoder.stem[0]
    x, mask = torch.randn(1, 32, 128), torch.arange(128)[None, None] < 70
    with torch.no_grad():
        other = torch.where(mask, x, torch.randn(1, 32, 128))
        torch.testing.assert_close(block.filter(x, mask)[..., :70], block.filter(other, mask)[..., :70])
        assert not torch.allclose(block.filter(x, None)[..., :70], block.filter(other, None)[..., :70])


NEIGHBOURS = ["[]", "[above]", "[below]", "[above, below]"]


@pytest.mark.parametrize("levels", NEIGHBOURS)
def test_levels_that_feed_classification(base: TemporalDetector, variant: str, levels: str) -> None:
    """Table 9, left half: only coarse and, through them, refined class logits change."""
    ablated = build(small(f"model.decoder.class_levels={levels}", variant=variant), base)
    extra = {"up_gate", "class_gate"} if "above" not in levels else set()
    come = {"class_down", "class_down_gate"} if "below" in levels else set()
    assert cross_modules(base) - cross_modules(ablated) == extra
    assert cross_modules(ablated) - cross_modules(base) == come
    first, second = run(base), run(ablated)
    assert all(torch.equal(a, b) for a, b in zip(encoded(base), encoded(ablated), strict=True))
    assert torch.allclose(first.coarse, second.coarse, atol=1e-5) == (levels == "[above]")
    assert close(offsets(first), offsets(second)) and close(first.factor, second.factor)


@pytest.mark.parametrize("levels", NEIGHBOURS)
def test_levels_that_feed_regression(base: TemporalDetector, variant: str, levels: str) -> None:
    """Table 9, right half: only what regression reads changes."""
    ablated = build(small(f"model.decoder.regression_levels={levels}", variant=variant), base)
    extra = {"down_gate", "regression_gate"} if "below" not in levels else set()
    come = {"regression_up", "regression_up_gate"} if "above" in levels else set()
    assert cross_modules(base) - cross_modules(ablated) == extra
    assert cross_modules(ablated) - cross_modules(base) == come
    first, second = run(base), run(ablated)
    assert torch.allclose(offsets(first), offsets(second), atol=1e-5) == (levels == "[below]")
    assert close(first.coarse, second.coarse) and close(first.refined, second.refined)


@pytest.mark.parametrize("refine", ["neither", "class", "boundaries", "both"])
def test_refinement(base: TemporalDetector, variant: str, refine: str) -> None:
    """Table 10: coarse predictions stay; what is not refined is what is predicted."""
    ablated = build(small(f"model.decoder.refine={refine}", variant=variant), base)
    first, second = run(base), run(ablated)
    assert close(first.coarse, second.coarse) and close(offsets(first), offsets(second))
    assert (second.factor is not None) == (refine in ("class", "both"))
    assert (second.shift is not None) == (refine in ("boundaries", "both"))
    if refine in ("class", "both"):
        assert close(first.refined, second.refined)
    else:
        assert second.refined is second.coarse
    gone = {name for name in names(base) if ".refine.start" in name or ".refine.end" in name}
    gone = gone if refine in ("neither", "class") else set()
    gone |= {name for name in names(base) if ".refine.factor" in name} if refine in ("neither", "boundaries") else set()
    if refine == "neither":
        gone |= {name for name in names(base) if "decoder.refine." in name or "_fusion." in name}
    assert names(ablated) == names(base) - gone


def test_start_of_the_refinement() -> None:
    """As published every score starts at one half, whatever the prior; a factor of 1 leaves the prior as it is."""
    scores = []
    for start in (0, 1):
        torch.manual_seed(0)
        detector = TemporalDetector.from_recipe(small(f"model.decoder.factor_start={start}")).eval()
        predictions = run(detector)
        scores.append(torch.sigmoid(predictions.refined[predictions.valid]).mean())
    assert scores[0] == pytest.approx(0.5, abs=0.1) and scores[1] < 0.05


@pytest.mark.parametrize("fusion", ["attention", "addition", "concatenation"])
def test_fusion(base: TemporalDetector, variant: str, fusion: str) -> None:
    """Table 11: class and regression features change, the refinement's do not."""
    ablated = build(small(f"model.decoder.fusion={fusion}", variant=variant), base)
    gates = {"class_gate", "regression_gate"}
    assert cross_modules(base) - cross_modules(ablated) == (gates if fusion == "addition" else set())
    first, second = run(base), run(ablated)
    same = fusion == "attention"
    assert torch.equal(first.coarse, second.coarse) == same
    assert torch.equal(offsets(first), offsets(second)) == same
    assert close(first.factor, second.factor)


@pytest.mark.parametrize("levels", range(1, 9))
def test_number_of_levels(base: TemporalDetector, variant: str, levels: int) -> None:
    """Table 14: the levels below stay as they are, and each level brings one block, one norm, one scale."""
    recipe = small(f"model.levels={levels}", variant=variant)
    ranges = recipe.model.level_ranges
    assert len(ranges) == levels and ranges[0][0] == 0 and ranges[-1][1] == 10000
    assert all(upper[0] == lower[1] for lower, upper in itertools.pairwise(ranges))
    ablated = build(recipe, base)
    assert len(ablated.encoder.branch) == levels - 1 and len(ablated.norms) == levels
    assert ablated.decoder.offsets.level_scale.shape == (levels,)
    assert run(ablated).layout.lengths == tuple(128 >> level for level in range(levels))
    assert all(torch.equal(a, b) for a, b in zip(encoded(base), encoded(ablated), strict=False))


ALL = [
    *(f"model.encoder.branches=[{', '.join(subset)}]" for subset in SUBSETS),
    "model.encoder.gate=false",
    "model.encoder.global_branch=attention",
    *(f"model.decoder.{task}_levels={levels}" for task in ("class", "regression") for levels in NEIGHBOURS),
    *(f"model.decoder.refine={refine}" for refine in ("neither", "class", "boundaries")),
    *(f"model.decoder.fusion={fusion}" for fusion in ("addition", "concatenation")),
    *(f"model.levels={levels}" for levels in (1, 2, 3, 8)),
]


@pytest.mark.slow
@pytest.mark.parametrize("assignment", ALL)
def test_every_parameter_learns(variant: str, assignment: str) -> None:
    recipe = small(assignment, variant=variant)
    detector = build(recipe).train()
    features, mask = inputs()
    segments = [torch.tensor([[10.0, 13.0], [20.0, 30.0], [40.0, 100.0]])] * 2
    labels = [torch.tensor([0, 1, 2])] * 2
    losses = batch_loss(detector, features, mask, segments, labels, LossNormalizer(10.0), recipe.training)
    losses.total.backward()
    silent = {name for name, parameter in detector.named_parameters() if parameter.grad is None}
    assert not silent
    assert all(
        bool(parameter.grad.isfinite().all()) for parameter in detector.parameters() if parameter.grad is not None
    )


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.encoder.branches=[]", "model.encoder.branches: "),
        ("model.encoder.branches=[local, local]", "encoder.branches contains a branch twice"),
        ("model.encoder.branches=[local, lokal]", "model.encoder.branches.1: "),
        ("model.encoder={name: gmg, branches: [local], global_branch: attention}", "does not contain global"),
        ("model.encoder.global_branch={name: attention, heads: 5}", "does not divide the width 32"),
        ("model.encoder.global_branch={name: fft, heads: 4}", "model.encoder.global_branch.heads: unknown key"),
        ("model.encoder.global_branch=wavelet", "there is no wavelet; there are fft, attention"),
        ("model.decoder.class_levels=[above, above]", "decoder.class_levels contains a neighbour twice"),
        ("model.decoder.regression_levels=[sideways]", "model.decoder.regression_levels.0: "),
        ("model.decoder.refine=all", "model.decoder.refine: "),
        ("model.decoder.fusion=sum", "model.decoder.fusion: "),
        ("model.levels=9", "pad_length: 128 is not a multiple of 256"),
    ],
)
def test_what_cannot_be_is_rejected(assignment: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        small(assignment)
    assert message in str(caught.value)


def cross_modules(detector: TemporalDetector) -> set[str]:
    return {name.split(".")[2] for name, _ in detector.named_parameters() if name.startswith("decoder.cross.")}


def close(first: Tensor | None, second: Tensor | None) -> bool:
    """Equal but for the rounding of matrix products that are computed side by side with others."""
    assert first is not None and second is not None
    return torch.allclose(first, second, rtol=1e-5, atol=1e-5)
