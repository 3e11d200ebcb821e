"""Which extractor's features separate the labels of some videos, on excerpts of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import Annotations, VideoAnnotation
from tal_cli.evaluation.probe import separation, standard_error, without_each
from tal_cli.extractors.errors import InputError, VideoError
from tal_cli.extractors.extraction.excerpt import Excerpt, TimeUp
from tal_cli.extractors.extraction.extractor import Extractor
from tal_cli.extractors.video.stream import read_frames
from tal_cli.labelling.ranking import Stretch, choose

SECONDS, SHORTEST = 4.0, 2.0  # of an excerpt: many short ones tell more than a few long ones
STEP = 0.4  # seconds between the moments that are compared
MOST_EXCERPTS, FEWEST_EXCERPTS = 60, 30  # fewer tell little: see docs/explanation/learning.md
SURE = 1.64  # standard errors: chance puts one of two equal extractors so far ahead in one case of ten
MOST_VIDEOS = 200  # that excerpts are chosen from

Floats = NDArray[np.float64]
Load = Callable[[], Extractor]


@dataclass
class Standing:
    """What is known of one extractor.

    Attributes:
        extractor: its name.
        network: loaded, on its device.
        pace: seconds of computing per second of video, of the last excerpt.
        rows: features at each moment so far, [moments, channels] each excerpt.
        seconds: computing them.
        score: mean average precision of linear probes, see `separation`; nan where too little is known.
        error: standard error of how far it is behind the first; inf where that cannot be told, 0 for the first.
    """

    extractor: str
    network: Extractor
    pace: float
    rows: list[Floats] = field(default_factory=list)
    seconds: float = 0.0
    score: float = float("nan")
    error: float = 0.0


@dataclass(frozen=True)
class Ranking:
    """Extractors, best first, and the excerpts that they were compared on.

    too_slow: extractors that were left out, and why. failures: of the videos that could not be read.
    """

    standings: tuple[Standing, ...]
    excerpts: tuple[Stretch, ...]
    moments: int
    labels: tuple[str, ...]
    too_slow: Mapping[str, str]
    failures: tuple[VideoError, ...]

    @property
    def tied(self) -> tuple[Standing, ...]:
        """The first, and those of which chance alone might tell that they are behind it."""
        first = self.standings[0]
        return tuple(each for each in self.standings if not first.score - each.score > SURE * each.error)


def choose_excerpts(annotations: Annotations, videos: Sequence[str], seconds: float) -> list[Stretch]:
    """Excerpts of the videos, those first that add most to what each label has so far, none of them, and each video."""
    step = -(-len(videos) // MOST_VIDEOS)
    names = videos[::step]
    stretches, expected = [], []
    for number, name in enumerate(names):
        video = annotations.videos[name]
        end = video.duration or max((item.end for item in video.settled), default=0.0)
        moments = np.arange(STEP / 2, end, STEP)
        held = labels_at(video, moments, annotations.labels)
        held = np.hstack([held, ~held.any(axis=1, keepdims=True)]) & _reviewed(video, moments)[:, None]
        sums = np.concatenate([np.zeros((1, held.shape[1])), np.cumsum(held, axis=0)])
        for start in np.arange(0.0, max(end - seconds / 2, 0.1), seconds / 2).tolist():
            stretch = Stretch(name, start, min(start + seconds, end))
            first, last = np.searchsorted(moments, [stretch.start, stretch.end]).tolist()
            of_video = np.eye(1, len(names), number)[0] * (last - first)
            told = sums[last] - sums[first]
            if told.any():
                stretches.append(stretch)
                expected.append(np.concatenate([told, of_video]))
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
    extractors: Mapping[str, Load],
    limit: float,
    progress: Callable[[float, float], None] | None = None,
) -> Ranking:
    """Compare extractors on the same excerpts in about `limit` seconds, loading them included.

    A first excerpt of each extractor tells what it takes; excerpts are as short as it needs to have MOST_EXCERPTS of
    them, down to SHORTEST. Extractors that take too long are left out. Only a network that is being loaded, and one of
    its forward passes, are waited for.

    Raises:
        InputError: nothing is annotated, or no video can be read.
    """
    begun = time.monotonic()
    end = begun + limit
    failures: dict[str, VideoError] = {}
    excerpts = choose_excerpts(annotations, list(videos), SHORTEST)
    if not excerpts:
        raise InputError(next(iter(videos.values()), ""), "nothing of the videos is annotated")
    standings, too_slow = _paces(excerpts, videos, extractors, end, failures)
    if not standings:
        raise (
            next(iter(failures.values()))
            if len(failures) == len({each.video for each in excerpts})
            else InputError(
                next(iter(videos.values())),
                f"no extractor computes features of {SHORTEST:g} s of it in {limit:g} s: {', '.join(extractors)}",
                "give more --seconds, or another --extractor",
            )
        )
    left = max(end - time.monotonic(), 0.0)
    while len(standings) > 2 and left < FEWEST_EXCERPTS * SHORTEST * sum(each.pace for each in standings):
        slowest = max(standings, key=lambda each: each.pace)
        standings.remove(slowest)
        too_slow[slowest.extractor] = f"a second of video takes {slowest.pace:.3g} s"
    pace = sum(each.pace for each in standings)
    seconds = float(np.clip(left / max(MOST_EXCERPTS * pace, 1e-9), SHORTEST, SECONDS))
    labels: list[NDArray[np.bool_]] = []
    groups: list[str] = []
    used: list[Stretch] = []
    for stretch in choose_excerpts(annotations, list(videos), seconds):
        now = time.monotonic()
        if progress is not None:
            progress(min(now - begun, limit), limit)
        if used and now + (stretch.end - stretch.start) * sum(each.pace for each in standings) > end:
            break
        if stretch.video in failures:
            continue
        video, moments = annotations.videos[stretch.video], _moments(stretch)
        known = _reviewed(video, moments)
        try:
            rows = [_timed(each, videos[stretch.video], stretch, moments, end) for each in standings]
        except VideoError as error:
            failures[stretch.video] = error
            continue
        except TimeUp:
            break
        for standing, features in zip(standings, rows, strict=True):
            standing.rows.append(features[known])
            standing.seconds += standing.pace * (stretch.end - stretch.start)
        labels.append(labels_at(video, moments, annotations.labels)[known])
        groups += [stretch.video] * int(known.sum())
        used.append(stretch)
    if not used:
        raise next(iter(failures.values()), None) or InputError(
            next(iter(videos.values())), f"no excerpt was done in {limit:g} s", "give more --seconds"
        )
    held = np.concatenate(labels)
    for standing in standings:
        standing.score = separation(np.concatenate(standing.rows), held, groups)
    order = sorted(standings, key=lambda each: -np.nan_to_num(each.score, nan=-1.0))
    if len(order) > 1:
        parts = [without_each(np.concatenate(each.rows), held, groups) for each in order]
        for standing, own in zip(order[1:], parts[1:], strict=True):
            standing.error = standard_error(parts[0], own)
    return Ranking(tuple(order), tuple(used), len(held), annotations.labels, too_slow, tuple(failures.values()))


def _paces(
    excerpts: Sequence[Stretch],
    videos: Mapping[str, Path],
    extractors: Mapping[str, Load],
    end: float,
    failures: dict[str, VideoError],
) -> tuple[list[Standing], dict[str, str]]:
    """The extractors that have done a first excerpt, each in its part of half of the time; and why others have not."""
    standings: list[Standing] = []
    too_slow: dict[str, str] = {}
    for number, (name, load) in enumerate(extractors.items()):
        now = time.monotonic()
        until = now + (end - now) / (1 + len(extractors) - number)
        standing = Standing(name, load(), math.nan)
        for stretch in excerpts:
            if stretch.video in failures:
                continue
            try:
                _timed(standing, videos[stretch.video], stretch, _moments(stretch), until)
            except VideoError as error:
                failures[stretch.video] = error
                continue
            except TimeUp:
                too_slow[name] = f"{stretch.end - stretch.start:.3g} s of video were not done in {until - now:.0f} s"
            else:
                standings.append(standing)
            break
    return standings, too_slow


def _timed(standing: Standing, path: Path, stretch: Stretch, moments: Floats, until: float) -> Floats:
    """`rows_at`, and its pace."""
    begun = time.monotonic()
    rows = rows_at(standing.network, path, stretch, moments, until)
    standing.pace = (time.monotonic() - begun) / (stretch.end - stretch.start)
    return rows


def rows_at(extractor: Extractor, path: Path, stretch: Stretch, moments: Floats, until: float = math.inf) -> Floats:
    """The features of the windows nearest to moments of an excerpt, [moments, channels].

    Raises:
        VideoError: the video cannot be decoded.
        TimeUp: the clock `time.monotonic` is past `until`.
    """

    def check(done: int, expected: int | None) -> None:
        if time.monotonic() > until:
            raise TimeUp

    contract = extractor.backbone.contract
    left = max(until - time.monotonic(), 0.0)
    try:
        with read_frames(
            path,
            frame_size=extractor.backbone.frame_size,
            sampling_rate=contract.sampling_rate,
            max_rate=contract.max_rate,
            time_limit=None if math.isinf(left) else left,
            start=stretch.start,
        ) as stream:
            excerpt = Excerpt(stream, stretch.start, stretch.end, until)
            sequence = extractor.extract_frames(excerpt, path, check)
    except VideoError:
        check(0, None)  # the decoder was stopped
        raise
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
