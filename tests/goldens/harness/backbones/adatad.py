"""AdaTAD: adapters between blocks and beside them, in windows of several chunks, with gradients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.backbones.case import Case
from tal_cli.extractors.backbones.vit import videomae
from tal_cli.extractors.backbones.vit.tokens import MEAN, TokenRows
from tal_cli.extractors.backbones.vit.videomae import FRAMES, TUBELET, DenseVideoMAE, VideoMAEShape
from tal_cli.extractors.files.weights import load_state
from tal_cli.extractors.tuning.adapters import AdapterNetwork, SideNetwork, TunedNetwork
from tal_cli.selftest.formula import fill, unit

PREFIX = "module.backbone.model.backbone."
MEANS, DEVIATIONS = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SHAPES = {
    "S": videomae.SHAPES["S"],
    "B": videomae.SHAPES["B"],
    "L": videomae.SHAPES["L"],
    "H": videomae.SHAPES["H"],
    "g": videomae.SHAPES["G"],
}


@torch.inference_mode(False)
def check(case: Case) -> None:
    """Rows, feature map, gradients of every adapter with and without checkpoints, reach, and the position table."""
    config = case.facts["config"]
    frames = case.clip()
    network = tuned(case, checkpointed=True).to(case.device)
    case.compare("pos_table.resized", network.network.positions, recorded="pos_table.resized")  # type: ignore[arg-type]
    clip = prepared(frames)
    with torch.no_grad():
        features = rows_of(network, clip, config["rows_out"])
        tokens = network(clip[0].unflatten(1, (-1, FRAMES)).transpose(0, 1))
    case.compare("features", features)
    case.compare("feature_map_mean_by_chunk", tokens.mean((1, 2)))
    numbers = re.search(r"tubelets ([\d, ]+) of", case.facts["feature_map_sample"])
    assert numbers is not None
    case.compare("feature_map_sample", tokens[:, [int(number) for number in numbers[1].split(",")]])
    for checkpointed in (True, False):
        network.checkpointed = checkpointed
        compare_gradients(case, network, clip, checkpointed)
    other = torch.cat([frames[:FRAMES], case.made_clip(other_clip(case))[FRAMES : 2 * FRAMES], frames[2 * FRAMES :]])
    with torch.no_grad():
        changed = rows_of(network, prepared(other), config["rows_out"])
    change = (changed - features)[0].norm(dim=0) / features[0].norm(dim=0)
    case.compare("reach", change, recorded="reach.relative_change_by_row")
    reached = [row for row, value in enumerate(change.tolist()) if value > 0]
    same = set(reached) >= set(case.facts["reach"]["rows_changed"])
    case.compare_with("rows reached", torch.tensor(float(same)), torch.tensor(1.0), limit=0.0)


def compare_gradients(case: Case, network: TunedNetwork, clip: Tensor, checkpointed: bool) -> None:
    """The gradients of a weighted sum of the rows, of all adapters, and of nothing else."""
    network.zero_grad(set_to_none=True)
    network.train()
    features = rows_of(network, clip, case.facts["config"]["rows_out"])
    weights = torch.from_numpy(unit(0, features.numel(), crc("loss weight", case.seed))).float().view(features.shape)
    (features * weights.to(features.device)).sum().backward()
    names = names_of(case)
    found = {names[name]: value.grad for name, value in network.named_parameters() if value.grad is not None}
    wanted = {key.removeprefix("grad."): value for key, value in case.tensors.items() if key.startswith("grad.")}
    same = found.keys() == wanted.keys() == set(case.facts["training_mode"]["parameters_with_gradient"])
    case.compare_with("parameters with gradient", torch.tensor(float(same)), torch.tensor(1.0), limit=0.0)
    kind = "checkpointed" if checkpointed else "whole"
    for name, value in wanted.items():
        case.compare_with(f"grad/{kind}/{name}", found.get(name, torch.zeros(())), value)


def crc(name: str, seed: int) -> int:
    """The key of a name's sequence."""
    import zlib

    return zlib.crc32(name.encode()) + seed


def prepared(frames: Tensor) -> Tensor:
    """uint8 [F, H, W, 3] -> [1, 3, F, H, W], normalised as the wrapper does."""
    mean, deviation = (frames.new_tensor(values, dtype=torch.float32) for values in (MEANS, DEVIATIONS))
    return ((frames.float() - mean) / deviation).permute(3, 0, 1, 2)[None]


def rows_of(network: TunedNetwork, clip: Tensor, rows: int) -> Tensor:
    """[1, width, rows]: the mean over places per time step, interpolated to that many rows."""
    found = TokenRows(network, chunk=FRAMES, step=TUBELET, pooling=MEAN)(clip)
    return F.interpolate(found, rows, mode="linear", align_corners=False)


def tuned(case: Case, *, checkpointed: bool) -> TunedNetwork:
    """The network with its adapters, from the names of the published files."""
    config, shapes = case.facts["config"], case.facts["state_dict"]
    width = config["embed_dims"]
    patch = shapes[f"{PREFIX}patch_embed.projection.weight"][-1]
    size = patch * config["input_grid"][0], patch * config["input_grid"][1]
    hidden = round(width * config["mlp_ratio"])
    shape = VideoMAEShape(width, config["depth"], config["num_heads"], hidden, patch)
    made = DenseVideoMAE(shape, size=size, normed=False, trained=config["img_size_of_table"])
    state = {key.removeprefix(PREFIX): value for key, value in case.state().items()}
    load_state(made, videomae.released(state), case.name, ignored=("blocks.", "ladders.", "fc_norm."))
    kind = SideNetwork if any(key.startswith("ladders.") for key in state) else AdapterNetwork
    reduction = width // config["adapter_hidden"]
    network = kind(made, chosen(case), reduction=reduction, checkpointed=checkpointed)
    ours = {name: fill(theirs, tuple(shapes[theirs]), case.seed) for name, theirs in names_of(case).items()}
    missing, unknown = network.load_state_dict(ours, strict=False)
    assert not unknown and not [name for name in missing if not name.startswith("network.")]
    return network.eval()


def chosen(case: Case) -> list[int]:
    """The blocks that have an adapter."""
    between = {
        int(match[1]) for key in case.facts["state_dict"] if (match := re.search(r"blocks\.(\d+)\.adapter", key))
    }
    if between:
        return sorted(between)
    count = len(
        {match[1] for key in case.facts["state_dict"] if (match := re.search(r"ladders\.adapters\.(\d+)", key))}
    )
    blocks: list[int] = case.facts["config"]["adapter_blocks"]
    return blocks if len(blocks) == count else list(range(blocks[0], blocks[-1] + 1))


def names_of(case: Case) -> dict[str, str]:
    """Our name -> the published one, of every tensor of the adapters."""
    blocks = chosen(case)
    names = {}
    for key in case.facts["state_dict"]:
        if match := re.fullmatch(rf"{re.escape(PREFIX)}blocks\.(\d+)\.adapter\.(.+)", key):
            names[f"adapters.{match[1]}.{match[2]}"] = key
        elif match := re.fullmatch(rf"{re.escape(PREFIX)}ladders\.adapters\.(\d+)\.(.+)", key):
            names[f"adapters.{blocks[int(match[1])]}.{match[2]}"] = key
    return names


def other_clip(case: Case) -> Mapping[str, Any]:
    """The clip that a chunk is replaced from."""
    return {**case.facts["input"]["clip_call"], "seed": case.facts["reach"]["other_clip_seed"]}


def check_names(case: Case) -> None:
    """Numbers of parameters and names of a block with its adapter, of every published size."""
    for name, recorded in case.facts["sizes"].items():
        shape = SHAPES[name]
        first, last = recorded["adapter_blocks"]
        with torch.device("meta"):
            network = AdapterNetwork(
                DenseVideoMAE(shape, size=(14 * shape.patch,) * 2, normed=False), list(range(first, last + 1))
            )
        counts = [sum(value.numel() for value in network.tuned().values())]
        counts.append(sum(value.numel() for value in network.adapters[str(first)].parameters()))
        wanted = [recorded["adapter_parameters"], recorded["adapter_parameters_per_block"]]
        case.compare_with(f"parameters of {name}", torch.tensor(counts), torch.tensor(wanted), limit=0.0)
        block = {
            f"blocks.0.{key}": torch.empty(size, device="meta") for key, size in recorded["block_with_adapter"].items()
        }
        ours = {key: list(value.shape) for key, value in network.network.blocks[0].state_dict().items()}  # type: ignore
        ours |= {
            f"adapter.{key}": list(value.shape) for key, value in network.adapters[str(first)].state_dict().items()
        }
        theirs = {key.removeprefix("blocks.0."): list(value.shape) for key, value in videomae.released(block).items()}
        same = float(ours == theirs)
        case.compare_with(f"names of a block of {name}", torch.tensor(same), torch.tensor(1.0), limit=0.0)
