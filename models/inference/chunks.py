"""A complete feature sequence to segments, in overlapping chunks if it is too long for one forward pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.candidates import find_candidates
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.inference.overlaps import join_overlaps
from tal_cli.models.inference.resampling import Resampling
from tal_cli.models.layers.pyramid import pad_batch, padded_length
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import QueriesSettings
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.schema import Recipe

BATCH_CELLS = 1024  # grid cells computed at once when chunks are shorter than this
CHECKED_CELLS = 1 << 14  # cells checked at once: the boolean mask of ten hours would take hundreds of megabytes
NOTHING = ScoredSegments(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.float32))


@dataclass(frozen=True)
class Chunk:
    """Grid cells computed together, and the core of them whose points are kept."""

    cells: range
    core: range


def plan_chunks(length: int, config: InferenceConfig, *, multiple: int) -> list[Chunk]:
    """Chunks that cover `length` cells; one alone when it fits into `config.chunk_length`.

    Neighbours share `config.chunk_overlap` cells, split in the middle, so that every point belongs to exactly
    one core and a segment across a border is fully visible from both sides if it is shorter than half the overlap. All
    edges lie on multiples of `multiple`, the coarsest level's stride, so that points fall where they would fall in one
    piece. With `last_chunk: whole` the last one shares more with the one before it.
    """
    if length <= config.chunk_length:
        return [Chunk(range(length), range(length))]
    size = max(config.chunk_length // multiple, 2) * multiple
    half = min(config.chunk_overlap // 2 // multiple * multiple, (size - multiple) // 2 // multiple * multiple)
    chunks: list[Chunk] = []
    first = 0
    while True:
        end = min(first + size, length)
        core_first = first + half if first else 0
        if end == length:
            if config.last_chunk == "whole":
                first = -(-(length - size) // multiple) * multiple
            return [*chunks, Chunk(range(first, end), range(core_first, length))]
        chunks.append(Chunk(range(first, end), range(core_first, end - half)))
        first = end - 2 * half


@torch.inference_mode()
def detect(detector: TemporalDetector, features: Tensor, recipe: Recipe) -> ScoredSegments:
    """Segments in features float [T, C] after NMS, by falling score; none in an empty sequence.

    Runs on the detector's device and leaves it in evaluation mode. Features may lie elsewhere: they move chunk by
    chunk. Times, float64, are in the features' grid cells and may reach beyond the sequence. Raises ValueError for
    features of the wrong shape or with values that are not finite, naming the first bad window.
    """
    check_features(features, detector.channels)
    if not len(features):
        return NOTHING
    resampling = Resampling.of(recipe, len(features)) if recipe.model.resample else None
    cells = features if resampling is None else resampling.features(features)
    kept = suppress(collect_candidates(detector, cells, recipe.inference), recipe.inference)
    starts, ends = kept.starts.astype(np.float64), kept.ends.astype(np.float64)
    if resampling is not None:
        starts, ends = resampling.to_original(starts), resampling.to_original(ends)
    return replace(kept, starts=starts, ends=ends)


@torch.inference_mode()
def collect_candidates(detector: TemporalDetector, features: Tensor, config: InferenceConfig) -> ScoredSegments:
    """All candidates of one sequence [T, C], T >= 1, before NMS, in its grid cells.

    Queries stand for no point that lies in one chunk's core alone: all that a chunk's queries find is kept.
    """
    weights = next(detector.parameters())
    detector.eval()
    found = []
    multiple = 1 << (detector.config.levels - 1)
    chunks = plan_chunks(len(features), config, multiple=multiple)
    decoder = detector.config.decoder
    queries = isinstance(decoder, QueriesSettings)
    for group in _batches(chunks, detector.config):
        pieces = [features[chunk.cells.start : chunk.cells.stop].to(weights.device, weights.dtype) for chunk in group]
        padded = padded_length(detector.config, max(map(len, pieces)))
        predictions = detector(*pad_batch(pieces, padded))
        for video, chunk in enumerate(group):
            first = chunk.cells.start
            # Where masks are pooled, a coarse level's last point lies beyond the sequence.
            stop = padded if chunk.core.stop == len(features) else chunk.core.stop - first
            core = range(chunk.core.start - first, stop)
            candidates = find_candidates(predictions, config, None if queries else core, video)
            found.append(replace(candidates, starts=candidates.starts + first, ends=candidates.ends + first))
    if config.nms == "overlaps":
        edge = decoder.edge if isinstance(decoder, QueriesSettings) else 0.5
        return join_overlaps(found, [chunk.cells for chunk in chunks], config, edge)
    return ScoredSegments.join(found)


def _batches(chunks: list[Chunk], config: ModelConfig) -> Iterator[list[Chunk]]:
    """Neighbouring chunks of one padded length, as many at once as fill BATCH_CELLS."""
    for length, same in itertools.groupby(chunks, lambda chunk: padded_length(config, len(chunk.cells))):
        while batch := list(itertools.islice(same, max(1, BATCH_CELLS // length))):
            yield batch


def check_features(features: Tensor, channels: int) -> None:
    """Raises ValueError unless features are [T, channels] and finite, naming the first window that is not."""
    if features.ndim != 2:
        raise ValueError(f"features must be [windows, channels], not {list(features.shape)}")
    if features.shape[1] != channels:
        raise ValueError(f"features have {features.shape[1]} channels, the detector takes {channels}")
    for first in range(0, len(features), CHECKED_CELLS):
        finite = torch.isfinite(features[first : first + CHECKED_CELLS]).all(dim=1)
        if not bool(finite.all()):
            window = first + int((~finite).nonzero()[0, 0])
            raise ValueError(f"features of window {window} are not finite (NaN or infinite)")
