"""The data sets that `tal` knows by name: what they are, how they are split and measured, and where their files lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tal_cli.errors import Missing, UsageProblem

LAYOUT = """\
{root}/annotations.json      ActivityNet-style JSON (or annotations.json.gz)
{root}/features/VIDEO.npy    one array [windows, channels] per video (or .npz, .safetensors, .pt)"""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One data set.

    Attributes:
        name: as `--dataset` takes it.
        title: its full name.
        labels: how many there are.
        train, test: names of the subsets to train on and to evaluate on, with their numbers of videos.
        tiou: thresholds of its metric, as `--tiou` takes them.
        label_key: which entry of an annotation is its label.
        recipe: its usual setting; None: levels and lengths are derived from the annotations.
        features: what the published settings use.
        source: who publishes annotations and videos.
        note: what one has to know.
    """

    name: str
    title: str
    labels: int
    train: tuple[str, int]
    test: tuple[str, int]
    tiou: str
    label_key: str = "label"
    recipe: str | None = None
    features: str
    source: str
    note: str = ""

    @property
    def root(self) -> Path:
        """Where its files are looked for: `$TAL_DATA/NAME`, by default `data/NAME`."""
        return Path(os.environ.get("TAL_DATA") or "data") / self.name

    @property
    def layout(self) -> str:
        """The files that are expected, as text."""
        return LAYOUT.format(root=self.root)

    @property
    def features_folder(self) -> Path:
        """The folder of feature files."""
        return self.root / "features"

    def annotations_file(self, root: Path | None = None) -> Path:
        """The annotation file that is there, in a folder or in the usual one.

        Raises:
            Missing: there is none.
        """
        candidates = [(root or self.root) / name for name in ("annotations.json", "annotations.json.gz")]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            reason = f"no annotations of {self.title} at {candidates[0]}"
            remedy = f"get them from {self.source}, or make them; `tal datasets info {self.name}` shows the layout"
            raise Missing(reason, remedy)
        return found


THUMOS_SOURCE = "crcv.ucf.edu/THUMOS14"
EPIC_SOURCE = "epic-kitchens.github.io"
EPIC_FEATURES = "SlowFast, 2304 channels, window 32, stride 16, 30 frames/s"

BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            name="camera",
            title="camera",
            labels=14,
            train=("training", 0),
            test=("validation", 0),
            tiou="0.3:0.1:0.7",
            recipe="camera",
            features="tiny, window 16, stride 4",
            source="`tal datasets make camera --out data/camera`",
            note="Rendered videos of camera motion and edits with exact labels; as many as one asks for.",
        ),
        Benchmark(
            name="thumos",
            title="THUMOS14",
            labels=20,
            train=("validation", 200),
            test=("test", 213),
            tiou="0.3:0.1:0.7",
            recipe="thumos-i3d",
            features="I3D, 2048 channels, window 16, stride 4",
            source=THUMOS_SOURCE,
            note="Training uses the validation subset. The segments of video_test_0000270 go beyond its end.",
        ),
        Benchmark(
            name="multithumos",
            title="MultiTHUMOS",
            labels=65,
            train=("validation", 200),
            test=("test", 212),
            tiou="0.1:0.1:0.9",
            recipe="multithumos-i3d",
            features="I3D, 1024 or 2048 channels, window 16, stride 4",
            source="ai.stanford.edu/~syyeung/everymoment.html",
            note="THUMOS14's videos with dense labels; 30 segments end before they start.",
        ),
        Benchmark(
            name="epic-verb",
            title="EPIC-KITCHENS-100, verbs",
            labels=97,
            train=("training", 495),
            test=("validation", 138),
            tiou="0.1:0.1:0.5",
            label_key="verb",
            recipe="epic-verb",
            features=EPIC_FEATURES,
            source=EPIC_SOURCE,
        ),
        Benchmark(
            name="epic-noun",
            title="EPIC-KITCHENS-100, nouns",
            labels=300,
            train=("training", 495),
            test=("validation", 138),
            tiou="0.1:0.1:0.5",
            label_key="noun",
            recipe="epic-noun",
            features=EPIC_FEATURES,
            source=EPIC_SOURCE,
        ),
        Benchmark(
            name="activitynet",
            title="ActivityNet 1.3",
            labels=200,
            train=("training", 10024),
            test=("validation", 4926),
            tiou="0.5:0.05:0.95",
            features="TSP, 512 channels, window 16, stride 16, 15 frames/s",
            source="activity-net.org",
            note="Published settings find class-agnostic proposals and label them by a video-level classifier.",
        ),
        Benchmark(
            name="hacs",
            title="HACS Segments",
            labels=200,
            train=("training", 37613),
            test=("validation", 5981),
            tiou="0.5:0.05:0.95",
            features="I3D, 2048 channels, 2 vectors/s; or SlowFast, 2304 channels, window 32, stride 8, 15 frames/s",
            source="github.com/hangzhaomit/HACS-dataset (HACS_segments_v1.1.1.json)",
            note="Durations are strings in its file.",
        ),
    )
}


def find_benchmark(name: str) -> Benchmark:
    """A data set by its name.

    Raises:
        UsageProblem: there is none of that name.
    """
    if name not in BENCHMARKS:
        raise UsageProblem(f"no data set named {name!r}", f"there are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
