"""Non-maximum suppression where the candidates lie on a GPU, without a trip to the processor.

Same arithmetic as `nms.py`, operation by operation in float32, so that both keep the same segments with the same
scores: one selection per step, in all classes at once. A step is a dozen kernels whatever the number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tal_cli.models.inference.nms import Candidates, suppress
from tal_cli.models.recipe.inference import InferenceConfig

STEPS_BETWEEN_CHECKS = 64  # asking whether all is done waits for the device
VOTERS_AT_ONCE = 1 << 24  # pairs of segments compared at once: bounds the memory of voting


@dataclass(frozen=True)
class DeviceCandidates:
    """n segments on one device: labels int64 [n], starts and ends float32 [n] in grid cells, scores float32 [n]."""

    labels: Tensor
    starts: Tensor
    ends: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> DeviceCandidates:
        """Those at an index tensor or mask."""
        return DeviceCandidates(self.labels[index], self.starts[index], self.ends[index], self.scores[index])

    def shift(self, cells: int) -> DeviceCandidates:
        """The same segments, later by a number of grid cells."""
        return DeviceCandidates(self.labels, self.starts + cells, self.ends + cells, self.scores)

    def to_host(self) -> Candidates:
        """The same in NumPy arrays."""
        return Candidates(
            *(values.cpu().numpy() for values in (self.labels, self.starts, self.ends, self.scores)),
        )


@dataclass(frozen=True)
class _Groups:
    """Segments of G classes side by side, float32 [G, M]: M is the largest class, the rest has score -inf."""

    index: Tensor  # int64 [G, M], which candidate
    starts: Tensor
    ends: Tensor
    lengths: Tensor
    scores: Tensor


def concatenate_on_device(parts: Sequence[DeviceCandidates]) -> DeviceCandidates:
    """All of one or more parts, one after the other."""
    return DeviceCandidates(
        labels=torch.cat([part.labels for part in parts]),
        starts=torch.cat([part.starts for part in parts]),
        ends=torch.cat([part.ends for part in parts]),
        scores=torch.cat([part.scores for part in parts]),
    )


def suppress_in_place(candidates: DeviceCandidates, config: InferenceConfig) -> Candidates:
    """`nms.suppress` wherever the candidates lie: compiled on a processor, in torch on a GPU."""
    if candidates.labels.device.type == "cpu":
        return suppress(candidates.to_host(), config)
    return suppress_on_device(candidates, config).to_host()


def suppress_on_device(candidates: DeviceCandidates, config: InferenceConfig) -> DeviceCandidates:
    """What `nms.suppress` keeps, in the same order; voted boundaries may differ in their last digit."""
    if config.nms == "none" or not len(candidates):
        return candidates
    voters = candidates
    if config.nms == "hard":
        candidates = candidates.take(candidates.scores > config.min_score)
        if not len(candidates):
            return candidates
    labels = candidates.labels if config.multiclass else torch.zeros_like(candidates.labels)
    index, scores = _select(_group(candidates, labels), config)
    kept = candidates.take(index)
    kept = DeviceCandidates(kept.labels, kept.starts, kept.ends, scores)
    if not config.multiclass and config.voting_threshold > 0:
        kept = _vote(kept, voters, config.voting_threshold, by_overlap=config.voting_weight == "score-iou")
    return kept.take(kept.scores.argsort(descending=True, stable=True)[: config.max_segments])


def _group(candidates: DeviceCandidates, labels: Tensor) -> _Groups:
    order = labels.argsort(stable=True)
    groups, counts = labels[order].unique_consecutive(return_inverse=True, return_counts=True)[1:]
    place = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[groups]
    shape = (len(counts), int(counts.max()))
    index = order.new_zeros(shape)
    index[groups, place] = order
    scores = candidates.scores.new_full(shape, -torch.inf)
    scores[groups, place] = candidates.scores[order]
    starts, ends = candidates.starts[index], candidates.ends[index]
    return _Groups(index=index, starts=starts, ends=ends, lengths=ends - starts + 1e-6, scores=scores)


def _select(groups: _Groups, config: InferenceConfig) -> tuple[Tensor, Tensor]:
    """Indices and scores of what is kept, group after group in order of selection."""
    # On the device as numbers of their own: divided by a Python number, a GPU multiplies by its rounded reciprocal.
    sigma, least, threshold = groups.scores.new_tensor([config.sigma, config.min_score, config.iou_threshold])
    scores, gone = groups.scores, groups.scores.new_tensor(-torch.inf)
    chosen, values = [], []
    for step in range(min(scores.shape[1], config.max_segments)):
        best = scores.argmax(dim=1, keepdim=True)  # the first one of several
        value = scores.gather(1, best)
        if step % STEPS_BETWEEN_CHECKS == 0 and not bool((value > gone).any()):
            break
        chosen.append(groups.index.gather(1, best))
        values.append(value)
        scores = scores.scatter(1, best, -torch.inf)
        start, end, length = (x.gather(1, best) for x in (groups.starts, groups.ends, groups.lengths))
        inner = torch.minimum(end, groups.ends) - torch.maximum(start, groups.starts)
        if config.nms == "hard":
            overlap = inner.clamp(min=0) / (length + groups.lengths - inner.clamp(min=0))
            scores = torch.where(overlap >= threshold, gone, scores)
        else:
            overlap = inner / (length + groups.lengths - inner)
            weight = (-(overlap * overlap) / sigma).double().exp().float()
            scores = torch.where((inner > 0) & (scores > gone), scores * weight, scores)
            scores = torch.where(scores < least, gone, scores)
    index, value = torch.cat(chosen, 1), torch.cat(values, 1)
    kept = value > gone
    return index[kept], value[kept]


def _vote(
    kept: DeviceCandidates, everyone: DeviceCandidates, threshold: float, *, by_overlap: bool
) -> DeviceCandidates:
    """Kept segments moved to the weighted mean of all that overlap them (see `tal_cli.models.inference.nms.vote`)."""
    starts: list[Tensor] = []
    ends: list[Tensor] = []
    least = kept.scores.new_tensor(threshold)
    lengths = everyone.ends - everyone.starts
    for part in range(0, len(kept), max(VOTERS_AT_ONCE // len(everyone), 1)):
        chunk = slice(part, part + max(VOTERS_AT_ONCE // len(everyone), 1))
        start, end = kept.starts[chunk, None], kept.ends[chunk, None]
        inner = torch.minimum(end, everyone.ends) - torch.maximum(start, everyone.starts)
        overlap = inner / ((end - start) + lengths - inner)
        weight = everyone.scores * overlap if by_overlap else everyone.scores.expand_as(overlap)
        weight = torch.where((inner > 0) & (overlap >= least), weight, torch.zeros_like(weight))
        total = weight.double().sum(1)
        for edges, own, moved in ((everyone.starts, start, starts), (everyone.ends, end, ends)):
            mean = (weight * edges).double().sum(1) / total
            moved.append(torch.where(total > 0, mean.float(), own[:, 0]))
    return DeviceCandidates(kept.labels, torch.cat(starts), torch.cat(ends), kept.scores)
