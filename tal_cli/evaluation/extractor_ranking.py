"""Which extractor's features separate the labels of some videos, on excerpts of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import Annotations, VideoAnnotation
from tal_cli.evaluation.probe import separation
from tal_cli.extractors.errors import InputError
from tal_cli.extractors.extraction.excerpt import Excerpt
from tal_cli.extractors.extraction.extractor import Extractor
from tal_cli.extractors.video.stream import read_frames
from tal_cli.labelling.ranking import Stretch, choose

SECONDS = 4.0  # of an excerpt: many short ones tell more than a few long ones
STEP = 0.4  # seconds between the moments that are compared
MOST_EXCERPTS = 60

Floats = NDArray[np.float64]


@dataclass
class Standing:
    """What is known of one extractor.

    Attributes:
        extractor: its name.
        rows: features at each moment so far, [moments, channels] each excerpt.
        seconds: computing them.
        score: mean average precision of linear probes, see `separation`; nan where too little is known.
    """

    extractor: str
    rows: list[Floats] = field(default_factory=list)
    seconds: float = 0.0
    score: float = float("nan")


@dataclass(frozen=True)
class Ranking:
    """Extractors, best first, and the excerpts that they were compared on."""

    standings: tuple[Standing, ...]
    excerpts: tuple[Stretch, ...]
    moments: int
    labels: tuple[str, ...]


def choose_excerpts(annotations: Annotations, videos: Mapping[str, Path]) -> list[Stretch]:
    """Excerpts of the videos, those first that add most to what each label has so far, none of them, and each video."""
    stretches, expected = [], []
    for number, name in enumerate(videos):
        video = annotations.videos[name]
        end = video.duration or max((item.end for item in video.segments), default=0.0)
        for start in np.arange(0.0, max(end - SECONDS / 2, 0.1), SECONDS / 2).tolist():
            stretch = Stretch(name, start, min(start + SECONDS, end))
            held = labels_at(video, _moments(stretch), annotations.labels)
            stretches.append(stretch)
            of_video = np.eye(len(videos))[number] * len(held)
            expected.append([*held.sum(axis=0), float((~held.any(axis=1)).sum()), *of_video])
    if not stretches:
        return []
    table = np.asarray(expected, dtype=np.float64)
    kinds = table.shape[1]
    return [stretches[n] for n, _ in choose(stretches, table, np.zeros(kinds), np.ones(kinds), MOST_EXCERPTS)]


def labels_at(video: VideoAnnotation, times: Floats, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Which labels hold at each time, [times, labels]; points hold half a second around them."""
    held = np.zeros((len(times), len(labels)), dtype=bool)
    for item in video.settled:
        slack = 0.5 if item.end <= item.start else 0.0
        held[(times >= item.start - slack) & (times < item.end + slack), labels.index(item.label)] = True
    return held


def _moments(stretch: Stretch) -> Floats:
    return np.arange(stretch.start + STEP / 2, stretch.end, STEP)


def rank(
    annotations: Annotations,
    videos: Mapping[str, Path],
    extractors: Mapping[str, Extractor],
    limit: float,
    progress: Callable[[float, float], None] | None = None,
) -> Ranking:
    """Compare extractors on the same excerpts, one after the other, until `limit` seconds have passed.

    Raises:
        InputError: no video can be read far enough.
    """
    begun = time.monotonic()
    standings = {name: Standing(name) for name in extractors}
    labels: list[NDArray[np.bool_]] = []
    groups: list[str] = []
    used: list[Stretch] = []
    excerpts = choose_excerpts(annotations, videos)
    for stretch in excerpts:
        path, video = videos[stretch.video], annotations.videos[stretch.video]
        moments = _moments(stretch)
        known = _reviewed(video, moments)
        for name, extractor in extractors.items():
            started = time.monotonic()
            rows = rows_at(extractor, path, stretch, moments)
            standings[name].seconds += time.monotonic() - started
            standings[name].rows.append(rows[known])
        labels.append(labels_at(video, moments, annotations.labels)[known])
        groups += [stretch.video] * int(known.sum())
        used.append(stretch)
        passed = time.monotonic() - begun
        if progress is not None:
            progress(min(passed, limit), limit)
        if passed >= limit:
            break
    if not groups:
        raise InputError(next(iter(videos.values()), ""), "nothing of the videos is annotated")
    held = np.concatenate(labels)
    for standing in standings.values():
        standing.score = separation(np.concatenate(standing.rows), held, groups)
    order = sorted(standings.values(), key=lambda each: -np.nan_to_num(each.score, nan=-1.0))
    return Ranking(tuple(order), tuple(used), len(held), annotations.labels)


def rows_at(extractor: Extractor, path: Path, stretch: Stretch, moments: Floats) -> Floats:
    """The features of the windows nearest to moments of an excerpt, [moments, channels].

    Raises:
        VideoError: the video cannot be decoded.
    """
    contract = extractor.backbone.contract
    rate = contract.sampling_rate
    stream = read_frames(path, frame_size=extractor.backbone.frame_size, sampling_rate=rate, max_rate=contract.max_rate)
    with stream:
        sequence = extractor.extract_frames(Excerpt(stream, stretch.start, stretch.end), path)
    assert sequence.window_times is not None
    nearest = np.abs(sequence.window_times[None] - moments[:, None]).argmin(axis=1)
    return sequence.features[nearest].astype(np.float64)


def _reviewed(video: VideoAnnotation, moments: Floats) -> NDArray[np.bool_]:
    ranges = video.reviewed
    if ranges is None:
        return np.ones(len(moments), dtype=bool)
    inside: NDArray[np.bool_] = np.zeros(len(moments), dtype=bool)
    for start, end in ranges:
        inside |= (moments >= start) & (moments < end)
    return inside
