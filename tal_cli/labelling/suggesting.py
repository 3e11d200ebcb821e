"""What to label next in a set of videos, from their features and, where there is a model, from what it finds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import STATE, Ranges, VideoAnnotation
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.labelling.next_up import Item
from tal_cli.labelling.project.ranges import without
from tal_cli.labelling.ranking import Floats, Stretch, choose
from tal_cli.results.segments import Segment
from tal_cli.safe_text import counted

SECONDS = 8.0  # of a stretch, where nothing is labelled
RELATIVE, LEAST, MOST = 2.0, 4.0, 20.0  # length of a stretch: times the median instance, and bounds in seconds
FEWEST = 5  # instances, from which on their length is known
SHORTEST = 0.5  # seconds left between reviewed ranges that are worth a look
LEAST_SCORE = 0.05  # of detections that are counted
SHOWN, EDGE = 0.2, 0.25  # score of detections that stretches are laid around, and what is seen before and after of them
SMOOTHED = 1.0  # seconds over which features are averaged before they are compared
DIMENSIONS, SAMPLE, ROUNDS = 24, 3000, 15  # of features, rows from which these are found, rounds of clustering
FEWEST_KINDS, MOST_KINDS = 16, 64  # clusters of features
UNLIKE = 0.3  # weight of a cluster of features relative to a label, once there is a model


@dataclass(frozen=True)
class Watched:
    """A video that could be labelled.

    Attributes:
        name: its name.
        sequence: its features and clock.
        annotation: what is labelled and reviewed; None: nothing.
        found: what each of the models finds; without a model empty.
    """

    name: str
    sequence: FeatureSequence
    annotation: VideoAnnotation | None = None
    found: tuple[tuple[Segment, ...], ...] = ()

    @property
    def reviewed(self) -> Ranges:
        """Seconds that were reviewed."""
        if self.annotation is None:
            return ()
        return ((0.0, self.sequence.duration),) if self.annotation.reviewed is None else self.annotation.reviewed


def stretch_length(videos: Sequence[Watched]) -> float:
    """Seconds of a stretch that holds an instance with what is around it."""
    lengths = [
        item.end - item.start
        for video in videos
        if video.annotation
        for item in video.annotation.settled
        if item.kind == STATE
    ]
    return float(np.clip(RELATIVE * np.median(lengths), LEAST, MOST)) if len(lengths) >= FEWEST else SECONDS


def suggest(videos: Sequence[Watched], most: int, seconds: float | None = None) -> list[Item]:
    """The stretches that teach most per second of labelling, best first; scores are relative to the best one.

    Args:
        videos: of features of the same kind.
        most: number of stretches.
        seconds: length of a stretch; None: that of `stretch_length`.
    """
    seconds = seconds or stretch_length(videos)
    stretches = [each for video in videos for each in (*cut(video, seconds), *around(video))]
    if not stretches:
        return []
    labels = sorted(
        {item.label for video in videos if video.annotation for item in video.annotation.settled}
        | {segment.label for video in videos for found in video.found for segment in found}
    )
    likely, examples = _labels(videos, stretches, labels)
    inside, seen = _kinds(videos, stretches, min(max(2 * len(labels), FEWEST_KINDS), MOST_KINDS))
    of_video = np.asarray([[float(stretch.video == video.name) for video in videos] for stretch in stretches])
    looked_at = [sum(end - start for start, end in video.reviewed) / seconds for video in videos]
    inside, seen = np.hstack([inside, of_video]), np.concatenate([seen, looked_at])
    has_model = any(video.found for video in videos)
    weights = np.concatenate(
        [np.full(len(labels), float(has_model)), np.full(inside.shape[1], UNLIKE if has_model else 1.0)]
    )
    chosen = choose(stretches, np.hstack([likely, inside]), np.concatenate([examples, seen]), weights, most)
    items: list[Item] = []
    best = 0.0
    for index, added in chosen:
        stretch = stretches[index]
        worth = float(added.sum()) / stretch.effort
        best = best or worth
        why = _why(labels, likely[index], examples, added)
        items.append(Item(stretch.video, stretch.start, stretch.end, why, round(worth / best, 6) if best else 0.0))
    return items


def cut(video: Watched, seconds: float) -> list[Stretch]:
    """Stretches of what was not reviewed, each half a stretch after the one before."""
    found = []
    for start, end in without(((0.0, video.sequence.duration),), video.reviewed):
        if end - start < min(SHORTEST, video.sequence.duration):
            continue
        begins = [*np.arange(start, end - seconds, seconds / 2).tolist(), max(start, end - seconds)]
        found += [Stretch(video.name, begin, min(begin + seconds, end)) for begin in begins]
    return found


def around(video: Watched) -> Iterator[Stretch]:
    """Stretches around what models find, as far as it was not reviewed: mostly shorter than those of `cut`, so that
    less time goes into what is between."""
    parts = without(((0.0, video.sequence.duration),), video.reviewed)
    for segment in (each for found in video.found for each in found if each.score >= SHOWN):
        edge = EDGE * (segment.end - segment.start)
        for start, end in parts:
            first, last = max(start, segment.start - edge), min(end, segment.end + edge)
            if last - first >= max(SHORTEST, segment.end - segment.start):
                yield Stretch(video.name, first, last)


def _labels(videos: Sequence[Watched], stretches: Sequence[Stretch], labels: Sequence[str]) -> tuple[Floats, Floats]:
    """How many instances of each label the models expect in each stretch, [stretches, labels], the mean over models;
    and how many are labelled, [labels]."""
    places = {label: number for number, label in enumerate(labels)}
    count = Counter(item.label for video in videos if video.annotation for item in video.annotation.settled)
    by_video = Places.of(stretches)
    likely = np.zeros((len(stretches), len(labels)))
    for video in videos:
        for segment in (each for found in video.found for each in found if each.score >= LEAST_SCORE):
            holding = by_video[video.name].at((segment.start + segment.end) / 2)
            likely[holding, places[segment.label]] += segment.score / len(video.found)
    return likely, np.asarray([float(count[label]) for label in labels])


def _kinds(videos: Sequence[Watched], stretches: Sequence[Stretch], kinds: int) -> tuple[Floats, Floats]:
    """How often each kind of content begins in each stretch, [stretches, kinds], and in what was reviewed, [kinds]."""
    by_video = Places.of(stretches)
    inside, seen = np.zeros((len(stretches), kinds)), np.zeros(kinds)
    for video, of_rows in zip(videos, clusters([video.sequence for video in videos], kinds), strict=True):
        edges = np.concatenate([[0], np.flatnonzero(np.diff(of_rows)) + 1, [len(of_rows)]])
        times = video.sequence.seconds((edges[:-1] + edges[1:] - 1) / 2).tolist()
        for kind, time in zip(of_rows[edges[:-1]].tolist(), times, strict=True):
            if any(start <= time < end for start, end in video.reviewed):
                seen[kind] += 1
            inside[by_video[video.name].at(time), kind] += 1
    return inside, seen


def clusters(sequences: Sequence[FeatureSequence], kinds: int, seed: int = 0) -> list[NDArray[np.int64]]:
    """The kind of content of each row of features: k-means on their principal components, averaged over a second."""
    rng = np.random.default_rng(seed)
    rows = [np.asarray(sequence.features, dtype=np.float64) for sequence in sequences]
    everything = np.concatenate(rows)
    mean, spread = everything.mean(axis=0), everything.std(axis=0) + 1e-6
    sample = (everything[rng.permutation(len(everything))[:SAMPLE]] - mean) / spread
    _, axes = np.linalg.eigh(sample.T @ sample)
    smooth = []
    for sequence, each in zip(sequences, rows, strict=True):
        cells = max(1, round(SMOOTHED * float(np.diff(sequence.grid([0.0, 1.0]))[0])))
        smooth.append(_averaged((each - mean) / spread @ axes[:, -DIMENSIONS:], cells))
    of_rows = _nearest_means(np.concatenate(smooth), kinds, rng)
    return np.split(of_rows, np.cumsum([len(each) for each in rows])[:-1])


def _averaged(rows: Floats, cells: int) -> Floats:
    """Moving averages over `cells` rows, cut at the ends."""
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    first = np.maximum(np.arange(len(rows)) - cells // 2, 0)
    last = np.minimum(first + cells, len(rows))
    mean: Floats = (sums[last] - sums[first]) / (last - first)[:, None]
    return mean


def _nearest_means(rows: Floats, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """k-means, seeded by distance (k-means++); fewer clusters where there are fewer different rows."""
    centres = rows[[int(rng.integers(len(rows)))]]
    far = ((rows - centres[0]) ** 2).sum(axis=1)
    while len(centres) < count and far.sum() > 0:
        new = rows[int(rng.choice(len(rows), p=far / far.sum()))]
        centres = np.vstack([centres, new])
        far = np.minimum(far, ((rows - new) ** 2).sum(axis=1))
    for _ in range(ROUNDS):
        nearest = np.argmin((centres**2).sum(axis=1) - 2 * rows @ centres.T, axis=1)
        for number in np.unique(nearest).tolist():
            centres[number] = rows[nearest == number].mean(axis=0)
    return nearest.astype(np.int64)


@dataclass(frozen=True)
class Places:
    """The stretches of one video: their indices, [n], and starts and ends, [n, 2]."""

    indices: NDArray[np.int64]
    spans: Floats

    @classmethod
    def of(cls, stretches: Sequence[Stretch]) -> defaultdict[str, Places]:
        """Those of each video."""
        numbers: dict[str, list[int]] = {}
        for number, stretch in enumerate(stretches):
            numbers.setdefault(stretch.video, []).append(number)
        found = defaultdict(lambda: cls(np.empty(0, dtype=np.int64), np.empty((0, 2))))
        for video, own in numbers.items():
            spans = [(stretches[number].start, stretches[number].end) for number in own]
            found[video] = cls(np.asarray(own, dtype=np.int64), np.asarray(spans))
        return found

    def at(self, seconds: float) -> NDArray[np.int64]:
        """Indices of the stretches that hold a time."""
        return self.indices[(self.spans[:, 0] <= seconds) & (seconds < self.spans[:, 1])]


def _why(labels: Sequence[str], likely: Floats, examples: Floats, added: Floats) -> str:
    """What a stretch is expected to teach most."""
    by_label = added[: len(labels)]
    told = []
    for number in np.argsort(-by_label)[:2].tolist():
        if by_label[number] > 0 and by_label[number] >= 0.5 * by_label.max():
            known = counted(int(examples[number]), "example")
            told.append(f"{labels[number]}? {likely[number]:.1f} expected, {known} so far")
    if added[len(labels) :].sum() > by_label.sum():
        told.append("unlike what is labelled" if examples.any() else "unlike the others")
    return "; ".join(told) or "not looked at yet"
