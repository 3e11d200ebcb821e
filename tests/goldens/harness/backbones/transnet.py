"""TransNet V2: both classifiers of every frame, in passes as a video is computed."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from harness.backbones.case import Case
from tal_cli.extractors.backbones.transnet.network import DENSE, HEADS, TransNet
from tal_cli.extractors.catalog import find
from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks, with_context
from tal_cli.extractors.extraction.forward import ForwardPasses


def check(case: Case) -> None:
    """Input, and class scores of all frames, which depend on how passes overlap and on what stands beyond both ends."""
    state = case.state()
    network = case.load(TransNet, state=state, ignored=DENSE.ignored)
    passes = ForwardPasses(DENSE.assemble(find("transnetv2").contract, (network,)), case.device)
    frames = case.clip()
    prepared = PreparedFrames(passes.backbone.prepare(frames), np.arange(len(frames)) / 25)
    case.compare_input(prepared.frames.transpose(0, 1)[None])
    halves = [prepared[: len(frames) // 2], prepared[len(frames) // 2 :]]
    blocks = window_blocks(with_context(halves, passes.context), passes.grid, passes.windows_per_block)
    features = torch.cat([torch.from_numpy(passes.forward(block).wait()) for block in blocks])
    for name, head in zip(("one", "many"), HEADS, strict=True):
        case.compare(name, F.linear(features, state[f"{head}.weight"], state[f"{head}.bias"])[:, 0])
