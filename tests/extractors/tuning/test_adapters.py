"""Adapters in networks of every kind: they begin as nothing, reach across chunks, and leave the network frozen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.i3d.network import InceptionI3d
from tal_cli.extractors.backbones.vit.videomae import DenseVideoMAE, VideoMAEShape
from tal_cli.extractors.backbones.vit.videoprism import SPATIAL, VideoPrism, VideoPrismShape
from tal_cli.extractors.backbones.vit.vjepa import VJepa2, VJepa21, VJepaShape
from tal_cli.extractors.tuning.adapters import Adapter, AdapterNetwork, FullNetwork, SideNetwork, TunedNetwork
from tal_cli.selftest.formula import filled

PRISM = VideoPrismShape(16, 2, 1, 2, 32, frames=4, places=4)
SHAPE = VJepaShape(24, 12, 2, 48)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "videomae": lambda: DenseVideoMAE(VideoMAEShape(16, 3, 2, 32), size=(32, 32), normed=True),
    "vjepa2": lambda: VJepa2(SHAPE),
    "vjepa2.1": lambda: VJepa21(SHAPE),
    "videoprism": lambda: VideoPrism(PRISM),
    "videoprism, spatial": lambda: VideoPrism(PRISM, layer=SPATIAL),
}
KINDS = (AdapterNetwork, SideNetwork, FullNetwork)


def network(name: str) -> nn.Module:
    made = NETWORKS[name]()
    made.load_state_dict(filled(made))
    return made.eval()


def chunks_of(name: str, count: int = 3) -> Tensor:
    side = 36 if "prism" in name else 32
    return torch.rand(count, 3, 16, side, side, generator=torch.Generator().manual_seed(1))


def stirred(tuned: TunedNetwork) -> TunedNetwork:
    """With adapters that add something."""
    for name, value in tuned.named_parameters():
        if "up_proj" in name:
            nn.init.normal_(value, std=0.5, generator=torch.Generator().manual_seed(2))
    return tuned


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fresh_one_gives_the_frozen_network_s_tokens(name: str, kind: type[TunedNetwork]) -> None:
    frozen, chunks = network(name), chunks_of(name)
    last = len(frozen.widths) - 1  # type: ignore[arg-type]
    with torch.inference_mode():
        wanted = frozen(chunks)
        found = kind(frozen, [last - 1, last])(chunks)  # type: ignore[call-arg]
    torch.testing.assert_close(found, wanted)
    assert found.shape == wanted.shape


@pytest.mark.parametrize("kind", [AdapterNetwork, SideNetwork])
@pytest.mark.parametrize("name", NETWORKS)
def test_adapters_reach_the_chunks_beside(name: str, kind: type[TunedNetwork]) -> None:
    frozen, chunks = network(name), chunks_of(name)
    last = len(frozen.widths) - 1  # type: ignore[arg-type]
    other = chunks.clone()
    other[1] = 1 - other[1]
    with torch.inference_mode():
        fresh = kind(frozen, [last])  # type: ignore[call-arg]
        assert torch.equal(fresh(chunks)[[0, 2]], fresh(other)[[0, 2]])
        tuned = stirred(fresh)
        before, after = tuned(chunks), tuned(other)
    changed = (before != after).flatten(2).any(2)
    assert changed[1].all()
    assert changed[0].tolist() == [False] * (changed.shape[1] - 1) + [
        True
    ]  # one adapter sees a time step on either side
    assert changed[2].tolist() == [True] + [False] * (changed.shape[1] - 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["videomae", "vjepa2.1", "videoprism"])
def test_checkpoints_change_no_gradient_and_the_rest_stays_frozen(name: str, kind: type[TunedNetwork]) -> None:
    gradients = []
    for checkpointed in (True, False):
        torch.manual_seed(0)
        frozen = network(name)
        last = len(frozen.widths) - 1  # type: ignore[arg-type]
        tuned = stirred(kind(frozen, [last - 1, last], checkpointed=checkpointed))  # type: ignore[call-arg]
        tuned.train()
        assert not frozen.training
        tuned(chunks_of(name, 10)).square().mean().backward()  # more chunks than a block computes at once
        assert {key for key, value in tuned.named_parameters() if value.grad is not None} == tuned.tuned().keys()
        gradients.append({key: value.grad for key, value in tuned.tuned().items()})
    for key, value in gradients[0].items():
        assert value is not None and value.abs().max() > 0, key
        torch.testing.assert_close(value, gradients[1][key])


def test_a_side_network_sends_no_gradient_through_the_backbone() -> None:
    inputs = []
    for kind, learning in ((SideNetwork, [False] * 3), (AdapterNetwork, [False, False, True])):
        frozen = network("videomae")
        for block in frozen.blocks:  # type: ignore[union-attr]
            block.register_forward_pre_hook(lambda _, given: inputs.append(given[0].requires_grad))
        stirred(kind(frozen, [1, 2], checkpointed=False))(chunks_of("videomae")).sum().backward()  # type: ignore[call-arg]
        assert inputs == learning
        inputs.clear()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_the_frozen_part_gives_can_be_kept(name: str, kind: type[TunedNetwork]) -> None:
    frozen = network(name)
    tuned = stirred(kind(frozen, [1, 2] if name.startswith("videomae") else [len(frozen.widths) - 1]))  # type: ignore
    chunks = chunks_of(name)
    kept = tuned.begin(chunks)
    assert not any(state.requires_grad for state in kept.states)
    calls = []
    blocks = tuned.steps.block_modules
    for index, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda *_, index=index: calls.append(index))
    again = tuned.finish(kept)
    assert set(calls) == ({*range(tuned.depth, len(blocks))} if kind is not SideNetwork else set())
    assert torch.equal(again, tuned(chunks))


def test_branches_are_dropped_in_training_more_often_in_later_blocks() -> None:
    frozen = network("videomae")
    tuned = AdapterNetwork(frozen, [2], checkpointed=False, drop_path=0.5)
    seen: list[list[float]] = [[] for _ in range(3)]
    for index, block in enumerate(frozen.blocks):  # type: ignore[arg-type]
        block.mlp.register_forward_hook(
            lambda _, __, made, index=index: seen[index].append(float((made.flatten(1) == 0).all(1).float().mean()))
        )
    chunks = chunks_of("videomae", 400).view(400, 3, 16, 32, 32)
    with torch.no_grad():
        assert torch.equal(tuned.eval()(chunks[:3]), network("videomae")(chunks[:3]))
        assert max(map(max, seen)) == 0
        torch.manual_seed(0)
        tuned.train()(chunks)
    last = [sum(each[1:]) / len(each[1:]) for each in seen]
    assert last == pytest.approx([0, 0.25, 0.5], abs=0.08)


@pytest.mark.parametrize("kind", [AdapterNetwork, SideNetwork, FullNetwork])
def test_i3d_is_tuned_over_one_long_chunk(kind: type[TunedNetwork]) -> None:
    frozen = InceptionI3d(3)
    frozen.load_state_dict(filled(frozen))
    blocks = [10, 11]
    frames = torch.rand(1, 3, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    if kind is SideNetwork:
        with pytest.raises(ValueError, match="one width"):
            SideNetwork(frozen, blocks)
        blocks = [11]
    tuned = kind(frozen, blocks)  # type: ignore[call-arg]
    with torch.inference_mode():
        state = frozen.eval().embed(frames)
        for step in frozen.passage(frames.shape[2:]).blocks:
            state = step(state)
        found = tuned(frames)
    assert found.shape == (1, 2, 4, 1024)
    torch.testing.assert_close(found, state.flatten(3).permute(0, 2, 3, 1))
    tuned.train()
    stirred(tuned)(frames).sum().backward()
    assert {key for key, value in tuned.named_parameters() if value.grad is not None} == tuned.tuned().keys()


def test_the_published_start() -> None:
    torch.manual_seed(0)
    adapter = Adapter(384, 96)
    assert sum(value.numel() for value in adapter.parameters()) == 83_905
    assert adapter.up_proj.weight.eq(0).all() and adapter.gamma.item() == 1
    deviations = [float(layer.weight.detach().std()) for layer in (adapter.dwconv, adapter.conv, adapter.down_proj)]
    assert deviations == pytest.approx([(2 / 3) ** 0.5, (2 / 96) ** 0.5, 0.02], rel=0.1)
    tokens = torch.rand(5, 3, 384)
    assert adapter(tokens).eq(0).all()
    assert all(layer.bias.eq(0).all() for layer in (adapter.dwconv, adapter.conv, adapter.down_proj, adapter.up_proj))  # type: ignore


def test_blocks_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="the network has 3"):
        AdapterNetwork(network("videomae"), [1, 3])
    with pytest.raises(ValueError, match="the last block"):
        SideNetwork(network("videomae"), [0, 1])
