"""How much of the label time `tal suggest` saves: a detector trained on what it ranks first, against random stretches.

One set after another: a part of the training videos is "labelled" stretch by stretch (the truth is read where a person
would look; a stretch is extended to the ends of instances that cross its edges), in rounds, with a small detector
trained after each. Label time is the video time that was looked at. Prints, for each share of it, mAP relative to that
of a detector trained on everything, in the order of `tal suggest`, in random order, and in one that cannot be known:
instance by instance, the labels with the fewest first, with a margin on either side (`informed`).

    python benchmarks/suggest.py --set camera data/camera/annotations.json data/camera/features --seeds 2

`--learner linear` replaces the detector between rounds by ridge regressions of each row of features and its neighbours,
`--judge linear` the one that is evaluated, and mAP by that of rows: seconds instead of minutes, to compare orders.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tal_cli import console
from tal_cli.datasets.annotations import Annotations, Ranges, VideoAnnotation
from tal_cli.datasets.formats import load_annotations
from tal_cli.datasets.training_data import FeatureVideo, load_videos
from tal_cli.evaluation.behaviour.frame_scores import average_precision, runs
from tal_cli.evaluation.extractor_ranking import labels_at
from tal_cli.extractors.features.lookup import find_features
from tal_cli.labelling.ranking import Stretch
from tal_cli.labelling.suggesting import Watched, cut, stretch_length, suggest
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.loading import override
from tal_cli.models.recipe.schema import Recipe
from tal_cli.results.segments import Segment
from tal_cli.training.auto_recipe import data_shape, derive_recipe
from tal_cli.training.options import TrainingOptions
from tal_cli.training.run import TrainingRun
from tal_cli.training.trainer import Trainer
from tal_cli.training.validation.videos import validate

TIOU = (0.3, 0.4, 0.5, 0.6, 0.7)
WIDTH, CELLS, BATCH = 64, 256, 4
SMALL = {"model.width": WIDTH, "model.head_width": WIDTH, "model.encoder.mlp_width": 2 * WIDTH}
Reviewed = Mapping[str, Ranges]
Order = Literal["suggested", "random", "informed"]
ORDERS: tuple[Order, ...] = ("suggested", "random", "informed")
MARGIN = 0.5  # seconds on either side of an instance
Learn = Callable[[Sequence[VideoAnnotation], int], "Detector | Linear"]
Floats = NDArray[np.float64]
SHOWN, MANY = 0.15, 256


@dataclass(frozen=True)
class Pool:
    """A set: videos that could be labelled, with their truth, and videos to evaluate on."""

    pool: tuple[VideoAnnotation, ...]
    test: tuple[FeatureVideo, ...]
    videos: tuple[FeatureVideo, ...]
    labels: tuple[str, ...]
    spec: FeatureSpec
    features: Path
    steps: int

    @classmethod
    def read(cls, annotations: Path, features: Path, steps: int) -> Pool:
        """A set whose annotations have the subsets training and validation."""
        known: Annotations = load_annotations(annotations)
        pool = tuple(known.of("training"))
        labels = tuple(sorted({item.label for video in pool for item in video.segments}))
        file = find_features(features, pool[0].name, "training")
        assert file is not None
        contract = file.contract()
        assert contract is not None
        spec = FeatureSpec.of(contract)
        test = [
            replace(video, segments=tuple(item for item in video.segments if item.label in labels))
            for video in known.of("validation")
        ]
        loaded = [tuple(load_videos(each, features, labels, spec)[0]) for each in (pool, test)]
        return cls(pool, loaded[1], loaded[0], labels, spec, features, steps)

    @property
    def seconds(self) -> float:
        """Length of the videos that could be labelled."""
        return sum(video.sequence.duration for video in self.videos)

    def known(self, reviewed: Reviewed) -> list[VideoAnnotation]:
        """The truth of what was reviewed."""
        return [replace(video, reviewed=reviewed.get(video.name, ())) for video in self.pool]

    def detector(self, known: Sequence[VideoAnnotation], seed: int) -> Detector:
        """A small detector, trained for the same number of steps whatever it is trained on."""
        seen = [video for video in known if not video.is_unseen]
        videos = [video for video in load_videos(seen, self.features, self.labels, self.spec)[0] if len(video.labels)]
        derived = derive_recipe("small", self.spec, data_shape(self.videos), len(self.labels))
        cells = max(min(derived.training.max_length, CELLS), 1 << (derived.model.levels - 1))
        batch = min(BATCH, len(videos))
        crops = max(1, round(5 * BATCH / len(videos)))
        epochs = max(2, round(self.steps / (len(videos) * crops // batch)))
        settings = {
            "training.max_length": cells, "model.pad_length": cells, "training.batch_size": batch,
            "training.crops": crops, "training.epochs": epochs - 1, "training.warmup_epochs": 1,
            "training.ema_decay": 0.97, "training.select": "last", "training.seed": seed,
            "inference.chunk_length": 2 * cells, "inference.chunk_overlap": cells // 2,
        }  # fmt: skip
        recipe = override(derived, SMALL | settings)
        with tempfile.TemporaryDirectory() as folder:
            run = TrainingRun(
                recipe=recipe, labels=self.labels, videos=videos, validation=(), out=Path(folder), tiou=TIOU,
                device=torch.device("cpu"), evaluate_every=1, precision="fp32", threads=1, resume=False,
                options=TrainingOptions(dataset=""),
            )  # fmt: skip
            trainer = Trainer(run)
            trainer.fit()
            trainer.close()
        return Detector(self, trainer.average, recipe)

    def linear(self, known: Sequence[VideoAnnotation], seed: int) -> Linear:
        """Ridge regressions of rows on labels."""
        rows, truth = [], []
        for video, told in zip(self.videos, known, strict=True):
            times = video.sequence.seconds(np.arange(video.length))
            ranges = ((0.0, np.inf),) if told.reviewed is None else told.reviewed
            seen = np.zeros(video.length, dtype=bool)
            for start, end in ranges:
                seen |= (times >= start) & (times < end)
            rows.append(with_neighbours(video)[seen])
            truth.append(labels_at(told, times[seen], self.labels))
        known_rows, targets = np.concatenate(rows), np.concatenate(truth).astype(np.float64)
        mean, spread = known_rows.mean(axis=0), known_rows.std(axis=0) + 1e-6
        scaled, base = (known_rows - mean) / spread, targets.mean(axis=0)
        gram = scaled.T @ scaled + 0.3 * len(scaled) * np.eye(scaled.shape[1])
        return Linear(self, mean, spread, np.linalg.solve(gram, scaled.T @ (targets - base)), base)


@dataclass(frozen=True)
class Detector:
    """A trained detector, and how good it is."""

    pool: Pool
    network: TemporalDetector
    recipe: Recipe

    def found(self) -> dict[str, tuple[Segment, ...]]:
        """What it finds in the videos that could be labelled."""
        same = [replace(video, annotation=replace(video.annotation, subset="any")) for video in self.pool.videos]
        with torch.inference_mode():
            told = validate(self.network, self.recipe, self.pool.labels, same, TIOU)
        return {each.video: each.segments for each in told.found}

    def score(self) -> float:
        """Average mAP on the test videos."""
        with torch.inference_mode():
            return validate(self.network, self.recipe, self.pool.labels, self.pool.test, TIOU).evaluation.average


@dataclass(frozen=True)
class Linear:
    """Ridge regressions: weights [channels, labels]."""

    pool: Pool
    mean: Floats
    spread: Floats
    weights: Floats
    base: Floats

    def rows(self, video: FeatureVideo) -> Floats:
        """The score of each label at each row, [T, labels]."""
        scores: Floats = (with_neighbours(video) - self.mean) / self.spread @ self.weights + self.base
        return scores.clip(0, 1)

    def found(self) -> dict[str, tuple[Segment, ...]]:
        """Rows of a score above SHOWN, joined."""
        found = {}
        for video in self.pool.videos:
            scores, times = self.rows(video), video.sequence.seconds(np.arange(video.length))
            found[video.annotation.name] = tuple(
                Segment(label, times[first], times[last], float(scores[first : last + 1, place].mean()))
                for place, label in enumerate(self.pool.labels)
                for first, last in runs(scores[:, place] > SHOWN)
            )
        return found

    def score(self) -> float:
        """mAP of the rows of the test videos."""
        scores = np.concatenate([self.rows(video) for video in self.pool.test])
        truth = np.concatenate(
            [
                labels_at(video.annotation, video.sequence.seconds(np.arange(video.length)), self.pool.labels)
                for video in self.pool.test
            ]
        )
        there = np.flatnonzero(truth.any(axis=0)).tolist()
        return float(np.mean([average_precision(truth[:, place], scores[:, place]) for place in there]))


def with_neighbours(video: FeatureVideo) -> Floats:
    """Means of features over a second around each row, and of the seconds before and after, [T, 3 * channels]; of many
    channels only the first, [T, channels]."""
    rows = video.load().numpy().astype(np.float64)
    cells = max(1, round(float(np.diff(video.sequence.grid([0.0, 1.0]))[0])))
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])

    def mean(shift: int) -> Floats:
        first = (np.arange(len(rows)) + shift - cells // 2).clip(0, len(rows) - 1)
        after = (first + cells).clip(1, len(rows))
        part: Floats = (sums[after] - sums[first]) / (after - first)[:, None]
        return part

    return mean(0) if rows.shape[1] > MANY else np.hstack([mean(0), mean(-cells), mean(cells)])


def look(pool: Pool, reviewed: Reviewed, stretch: Stretch) -> dict[str, Ranges]:
    """What is reviewed after a stretch was, to the ends of the instances that cross its edges."""
    video = next(video for video in pool.pool if video.name == stretch.video)
    start, end = stretch.start, stretch.end
    start = min([start, *(item.start for item in video.segments if item.start < start < item.end)])
    end = max([end, *(item.end for item in video.segments if item.start < end < item.end)])
    joined: list[tuple[float, float]] = []
    for first, last in sorted([*reviewed.get(video.name, ()), (start, end)]):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return {**reviewed, video.name: tuple(joined)}


def spent(reviewed: Reviewed) -> float:
    """Seconds that were looked at."""
    return sum(end - start for ranges in reviewed.values() for start, end in ranges)


def informed(pool: Pool, share: float, rng: np.random.Generator) -> Reviewed:
    """What somebody reviews who knows where everything is, and looks at labels with the fewest instances first."""
    left = [(video.name, item) for video in pool.pool for item in video.settled]
    left = [left[number] for number in rng.permutation(len(left)).tolist()]
    count = Counter[str]()
    reviewed: Reviewed = {}
    while left and spent(reviewed) < share * pool.seconds:
        name, item = min(left, key=lambda each: count[each[1].label])
        left.remove((name, item))
        count[item.label] += 1
        reviewed = look(pool, reviewed, Stretch(name, max(0.0, item.start - MARGIN), item.end + MARGIN))
    return reviewed


def simulate(pool: Pool, learn: Learn, shares: Sequence[float], seed: int, order: Order) -> list[Reviewed]:
    """What is reviewed after each round."""
    rng = np.random.default_rng(seed)
    if order == "informed":
        return [informed(pool, share, np.random.default_rng(seed)) for share in shares]
    reviewed: Reviewed = {}
    rounds: list[Reviewed] = []
    for share in shares:
        known = pool.known(reviewed)
        found = learn(known, seed).found() if order == "suggested" and reviewed else {}
        videos = [
            Watched(video.annotation.name, video.sequence, truth, (found[truth.name],) if found else ())
            for video, truth in zip(pool.videos, known, strict=True)
        ]
        length = stretch_length(videos)
        if order == "suggested":
            chosen = [Stretch(item.video, item.start, item.end) for item in suggest(videos, 100_000, length)]
        else:
            every = [each for video in videos for each in cut(video, length)]
            chosen = [every[number] for number in rng.permutation(len(every)).tolist()]
        for stretch in chosen:
            if spent(reviewed) >= share * pool.seconds:
                break
            reviewed = look(pool, reviewed, stretch)
        rounds.append(reviewed)
    return rounds


def main() -> None:
    """Print the figures of each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs=3, action="append", required=True, metavar=("NAME", "ANNOTATIONS", "FEATURES"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--learner", choices=("detector", "linear"), default="detector")
    parser.add_argument("--judge", choices=("detector", "linear"), default="detector")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--shares", default="0.1,0.2,0.3,0.4")
    parser.add_argument("--judged", default="0.4", help="shares after which the judge is trained")
    parser.add_argument("--orders", default=",".join(ORDERS))
    told = parser.parse_args()
    shares, judged = ([float(share) for share in each.split(",")] for each in (told.shares, told.judged))
    torch.set_num_threads(1)
    console.set_quiet(True)
    for name, truth, features in told.set:
        begun = time.monotonic()
        pool = Pool.read(Path(truth), Path(features), told.steps)
        learn, judge = (pool.linear if each == "linear" else pool.detector for each in (told.learner, told.judge))
        for seed in range(told.seeds):
            whole = judge(pool.pool, seed).score()
            print(f"{name} seed {seed}: everything ({pool.seconds:.0f} s), mAP {whole:.4f}", flush=True)
            for order in told.orders.split(","):
                for share, reviewed in zip(shares, simulate(pool, learn, shares, seed, order), strict=True):
                    if share not in judged:
                        continue
                    known = pool.known(reviewed)
                    score, used = judge(known, seed).score(), spent(reviewed) / pool.seconds
                    print(
                        f"{name} seed {seed} {order} {share:.0%}: mAP {score:.4f}, {score / whole:.1%} of that, "
                        f"with {used:.1%} of the time and {sum(len(video.settled) for video in known)} instances "
                        f"({time.monotonic() - begun:.0f} s)",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
