"""ReAct's first stage (Shi et al. 2022, loss "ACE-enc"): the embedding alone learns to tell an instance from those of
other classes and from parts of itself.

As released, but that partners and others are looked for among the videos of the batch, not of the whole set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.deformable import pool_regions
from tal_cli.models.layers.pyramid import level_masks
from tal_cli.models.recipe.decoders import RelationalSettings
from tal_cli.models.training.loss_terms import Losses
from tal_cli.models.training.query_loss import known_segments

TEMPERATURE = 0.07
# A part has this share of its instance: of one that is longer than LONG of the sequence, less.
LONG = 0.75
PART, PART_OF_LONG = (0.2, 0.5), (0.1, 0.4)


@dataclass(frozen=True)
class Contrasts:
    """N instances, each with what it is compared with: its partner of the same class, one of another class, and parts
    of itself. Videos int64 [N, 3 + parts], segments float32 [N, 3 + parts, 2] in cells from the sequence's start."""

    videos: Tensor
    segments: Tensor


def contrast_loss(
    detector: TemporalDetector,
    rows_BTC: Tensor,
    mask_BT: Tensor,
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    reviewed_BTK: Tensor | None = None,
) -> Losses:
    """The loss of the embedding of a padded batch; shapes as in `batch_loss`. `positives` counts the instances that
    have a partner in the batch; without any the loss is 0."""
    settings = detector.config.decoder
    assert isinstance(settings, RelationalSettings)
    segments, labels = known_segments(segments, labels, reviewed_BTK)
    chosen = choose([segment + settings.edge for segment in segments], labels, mask_BT.sum(1), settings.contrast_parts)
    embedded = detector.embedding(rows_BTC, level_masks(mask_BT, detector.config)[0])
    found = pooled(embedded, chosen)
    total = settings.contrast_weight * contrast(found) if len(found) else 0 * embedded.sum()
    return Losses.of_one(total, total, torch.zeros_like(total).detach(), len(found))


def choose(segments: Sequence[Tensor], labels: Sequence[Tensor], lengths: Tensor, parts: int) -> Contrasts:
    """An instance of each video that has one, a random one, with a partner and one of another class in other videos;
    left out where there are none. Segments [n, 2] in cells from the start, lengths [B] of the videos."""
    video = torch.cat([torch.full((len(own),), number) for number, own in enumerate(labels)])
    label, segment = torch.cat(list(labels)).cpu(), torch.cat(list(segments)).float().cpu()
    videos, found = [], []
    for number, length in enumerate(lengths.tolist()):
        own = _any(video == number)
        if own is None:
            continue
        elsewhere, same = video != number, label == label[own]
        partner, other = _any(elsewhere & same), _any(elsewhere & ~same)
        if partner is None or other is None:
            continue
        videos.append(torch.stack([video[own], video[partner], video[other], *[video[own]] * parts]))
        pieces = random_parts(segment[own], float(length), parts)
        found.append(torch.cat((segment[[own, partner, other]], pieces)))
    if not videos:
        return Contrasts(torch.zeros(0, 3 + parts, dtype=torch.long), torch.zeros(0, 3 + parts, 2))
    return Contrasts(torch.stack(videos), torch.stack(found))


def random_parts(segment: Tensor, length: float, parts: int) -> Tensor:
    """Random parts [parts, 2] of a segment [2] in a sequence of that length."""
    start, end = segment.tolist()
    low, high = PART_OF_LONG if end - start > LONG * length else PART
    size = (low + (high - low) * torch.rand(parts)) * (end - start)
    first = start + torch.rand(parts) * (end - start - size)
    return torch.stack((first, first + size), -1)


def _any(among: Tensor) -> int | None:
    """The index of a random one of those that are True; None: there is none."""
    index = among.nonzero()[:, 0]
    return int(index[torch.randint(len(index), ())]) if len(index) else None


def pooled(embedded: Tensor, chosen: Contrasts) -> Tensor:
    """Mean features [N, 3 + parts, D] of the chosen segments, from embedded rows [B, T, D]."""
    videos, regions = (item.to(embedded.device) for item in (chosen.videos, chosen.segments))
    regions = regions.clamp(0, embedded.shape[1])
    rows = embedded[videos.flatten()]
    return pool_regions(rows, regions.flatten(0, 1)[:, None])[:, 0].mean(-1).unflatten(0, videos.shape)


def contrast(features: Tensor) -> Tensor:
    """The mean cross entropy of finding an instance's partner, by cosine, among all that it is compared with; no
    gradient reaches those that are not the partner. Features [N, 3 + parts, D] in the order of `Contrasts`."""
    own, partner, others = F.normalize(features.float(), dim=-1).split((1, 1, features.shape[1] - 2), 1)
    likeness = own @ torch.cat((partner, others.detach()), 1).transpose(1, 2)
    first = torch.zeros(len(features), dtype=torch.long, device=features.device)
    return F.cross_entropy(likeness[:, 0] / TEMPERATURE, first)
