"""Every encoder with every decoder: what holds for one detector holds for all."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import cast

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from tal_cli.extractors.errors import RecipeError
from tal_cli.models.decoders.dynamic import GatedShifts, MixedShifts
from tal_cli.models.decoders.heads import OffsetHead
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.encoders.sgp import AveragePool
from tal_cli.models.inference.chunks import detect
from tal_cli.models.layers.neck import NECKS
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.predictions import Predictions, decode_everywhere
from tal_cli.models.recipe.architecture import DECODERS, ENCODERS, AnyDecoder, AnyEncoder, AnyNeck
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import load_model, save_model
from tal_cli.models.training.loss import LossNormalizer, batch_loss

LENGTH, CHANNELS = 32, 8
COMBINATIONS = list(itertools.product(ENCODERS, DECODERS))
each_combination = pytest.mark.parametrize(("encoder", "decoder"), COMBINATIONS)
PARTS = dict.fromkeys([*((name, "actionformer") for name in ENCODERS), *(("max_pool", name) for name in DECODERS)])
each_part_once = pytest.mark.parametrize(("encoder", "decoder"), PARTS)


def small(encoder: str, decoder: str, *assignments: str) -> Recipe:
    shape = ["model.width=32", "model.head_width=32", "model.classes=3", "model.levels=4", "features.channels=8"]
    parts = [f"model.encoder={encoder}", f"model.decoder={decoder}", f"model.pad_length={LENGTH}"]
    return override(
        load_recipe("thumos-i3d"),
        parse_overrides([*shape, *parts, "training.drop_path=0"]) | parse_overrides(assignments),
    )


def build(recipe: Recipe) -> TemporalDetector:
    """A detector all of whose parameters matter: none starts at 0 or near it."""
    detector = TemporalDetector.from_recipe(recipe).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in detector.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            matrix = parameter.ndim > 1
            parameter.copy_(0.3 * noise / parameter[0].numel() ** 0.5 if matrix else 0.3 * noise + 0.5)
        for module in detector.modules():
            # What is cut off at 0 everywhere lets no gradient pass.
            if isinstance(module, MixedShifts | GatedShifts):
                nn.init.ones_(cast(Tensor, module.gate.bias))
            if isinstance(module, OffsetHead):
                nn.init.ones_(module.level_scale)
    return detector


def features(length: int, seed: int = 0) -> Tensor:
    return torch.randn(length, CHANNELS, generator=torch.Generator().manual_seed(seed))


def outputs(predictions: Predictions) -> list[Tensor]:
    """Class logits and distances of all cells, without what stands in padding."""
    distances = decode_everywhere(predictions).refined
    inside = predictions.valid.view(*distances.shape[:2], *[1] * (distances.ndim - 2))
    return [predictions.refined * predictions.valid[..., None], torch.where(inside, distances, 0.0)]


def test_settings_and_modules_go_together() -> None:
    for union, registry in ((AnyEncoder, ENCODERS), (AnyDecoder, DECODERS), (AnyNeck, NECKS)):
        adapter: TypeAdapter[object] = TypeAdapter(union)
        assert set(adapter.json_schema()["discriminator"]["mapping"]) == set(registry)
        for name in registry:
            assert adapter.validate_python(name) == adapter.validate_python({"name": name})
    with pytest.raises(RecipeError, match="there is no oracle; there are gmg, "):
        small("oracle", "cltdr")


@each_combination
@pytest.mark.slow
def test_a_step_reaches_every_parameter(encoder: str, decoder: str) -> None:
    recipe = small(encoder, decoder)
    detector = build(recipe).train()
    batch, mask = pad_batch([features(LENGTH), features(21, 1)], LENGTH)
    segments = [torch.tensor([[1.0, 4.0], [5.0, 21.0], [9.0, 30.0]]), torch.tensor([[2.0, 20.0]])]
    labels = [torch.tensor([0, 1, 2]), torch.tensor([2])]
    losses = batch_loss(detector, batch, mask, segments, labels, LossNormalizer(5.0), recipe.training)
    losses.total.backward()
    assert torch.isfinite(losses.total) and losses.positives > 0
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # A softmax does not see what is added to all keys alike.
        assert parameter.grad.any() or ("key" in name and name.endswith("bias")), name


@pytest.mark.parametrize(
    "encoder",
    [
        "{name: sgp, downsample: avg, k: 3, windows: 5}",
        "{name: sgp, stem_blocks: 0, windows: [1, 3, 5, 7], branch_scale: null}",
        "{name: transformer, windows: -1, branch_scale: null}",
        "{name: transformer, windows: [3, 5, -1, -1], relative_positions: true, heads: 8}",
        "{name: conv, stem_blocks: 0}",
    ],
)
def test_other_settings_of_an_encoder(encoder: str) -> None:
    test_a_step_reaches_every_parameter(encoder, "trident")
    test_any_length(encoder, "trident")
    test_a_video_does_not_see_its_neighbours_in_the_batch(encoder, "trident")


def test_average_pooling_is_means_of_two_and_a_linear_map() -> None:
    pool = AveragePool(8)
    x = torch.randn(2, 6, 8)
    expected = nn.functional.avg_pool1d(x.transpose(1, 2), 2).transpose(1, 2) @ pool.linear.weight.T
    torch.testing.assert_close(pool(x), expected)


@each_combination
def test_any_length(encoder: str, decoder: str) -> None:
    recipe = small(encoder, decoder, "inference.min_score=0", "inference.pre_nms_threshold=0")
    detector = build(recipe)
    for length in (1, 2, 7, 31, LENGTH, LENGTH + 1, 77):
        found = detect(detector, features(length), recipe)
        assert len(found), length
        assert (found.ends > found.starts).all() and ((found.scores >= 0) & (found.scores <= 1)).all()


@each_combination
def test_a_video_does_not_see_its_neighbours_in_the_batch(encoder: str, decoder: str) -> None:
    detector = build(small(encoder, decoder))
    with torch.inference_mode():
        alone = outputs(detector(*pad_batch([features(19)], LENGTH)))
        whole = outputs(detector(*pad_batch([features(LENGTH, 1)], LENGTH)))
        together = outputs(detector(*pad_batch([features(LENGTH, 1), features(19), features(5, 2)], LENGTH)))
    for ours, first, second in zip(together, whole, alone, strict=True):
        torch.testing.assert_close(ours[:1], first, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours[1:2], second, rtol=1e-4, atol=1e-5)


@each_combination
def test_training_computes_what_evaluation_computes(encoder: str, decoder: str) -> None:
    detector = build(small(encoder, decoder))
    batch, mask = pad_batch([features(LENGTH), features(19, 1)], LENGTH)
    with torch.inference_mode():
        quick = outputs(detector(batch, mask))
    for ours, expected in zip(outputs(detector.train()(batch, mask)), quick, strict=True):
        torch.testing.assert_close(ours.detach(), expected, rtol=1e-4, atol=1e-5)


@each_combination
def test_saved_and_loaded_it_is_the_same(encoder: str, decoder: str, tmp_path: Path) -> None:
    recipe = small(encoder, decoder)
    detector = build(recipe)
    save_model(tmp_path, detector, recipe, ["a", "b", "c"])
    loaded = load_model(tmp_path)
    assert loaded.recipe == recipe
    with torch.inference_mode():
        for ours, expected in zip(
            outputs(loaded.detector(*pad_batch([features(19)], LENGTH))),
            outputs(detector(*pad_batch([features(19)], LENGTH))),
            strict=True,
        ):
            assert torch.equal(ours, expected)


@each_combination
def test_bfloat16_stays_close(encoder: str, decoder: str) -> None:
    detector = build(small(encoder, decoder))
    batch, mask = pad_batch([features(LENGTH), features(19, 1)], LENGTH)
    with torch.inference_mode():
        exact, exact_distances = outputs(detector(batch, mask))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough, rough_distances = outputs(detector(batch, mask))
    assert (torch.sigmoid(exact) - torch.sigmoid(rough.float())).abs().max() < 0.05
    assert (exact_distances - rough_distances).abs().max() < 0.1 * max(1.0, float(exact_distances.max()))


@each_part_once
@pytest.mark.slow
def test_compiled_it_gives_the_same(encoder: str, decoder: str) -> None:
    """Traced as one graph, without falling back to Python anywhere."""
    torch._dynamo.reset()  # it gives up on code that it has compiled for eight other detectors
    detector = build(small(encoder, decoder, "model.levels=2"))
    compiled = torch.compile(detector, backend="aot_eager", fullgraph=True)
    check_compiled(detector, compiled)


@pytest.mark.slow
def test_compiled_to_machine_code_it_gives_the_same() -> None:
    thin = [
        "model.levels=1",
        "model.embedding_layers=1",
        "model.head_layers=1",
        "model.neck={name: identity, norm: none}",
    ]
    detector = build(small("max_pool", "actionformer", *thin))
    check_compiled(detector, torch.compile(detector))


def check_compiled(detector: TemporalDetector, compiled: nn.Module) -> None:
    batch, mask = pad_batch([features(LENGTH), features(19, 1)], LENGTH)
    with torch.no_grad():
        for ours, expected in zip(outputs(compiled(batch, mask)), outputs(detector(batch, mask)), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("norm", ["layer", "shared", "group", "none"])
def test_necks_and_norms(neck: str, norm: str) -> None:
    detector = build(small("max_pool", "actionformer", f"model.neck={{name: {neck}, norm: {norm}}}"))
    assert len(detector.norms) == (1 if norm == "shared" else 4)
    levels = [2.0 + 3.0 * torch.randn(2, LENGTH >> level, 32) for level in range(4)]
    mixed = detector.mix(levels, [None] * 4)
    assert [level.shape for level in mixed] == [level.shape for level in levels]
    if neck == "identity" and norm == "none":
        assert all(torch.equal(ours, level) for ours, level in zip(mixed, levels, strict=True))
    if neck == "identity" and norm == "group":
        expected = nn.functional.group_norm(levels[1].transpose(1, 2), 4).transpose(1, 2)
        torch.testing.assert_close(mixed[1], expected)
