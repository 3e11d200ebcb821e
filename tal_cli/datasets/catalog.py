"""The built-in data sets: descriptions, splits, metrics, and the expected layout of their files.

Nothing is downloaded: annotations, videos and features are available from their owners, on their terms.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

from tal_cli.extractors.errors import MissingError, UsageError
from tal_cli.extractors.features.lookup import default_source

LAYOUT = (
    ("annotations.json", ("ActivityNet-style JSON (or .json.gz)",)),
    (
        "features/VIDEO.npy",
        (
            "one array [windows, channels] per video (or .npz, .pt, .safetensors, .pkl, .h5);",
            "also v_VIDEO.npy, SUBSET/VIDEO.npy,",
            "or one file features.h5 (.pkl, .npz, ...) with one entry per video",
        ),
    ),
    ("videos/VIDEO.mp4", ("only needed to extract features",)),
)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One data set.

    Attributes:
        name: name for `--dataset`.
        title: full name.
        labels: number of labels.
        label_file: bundled list of the labels, if there is one.
        train, test: names of the subsets to train on and to evaluate on, with their numbers of videos.
        tiou: tIoU thresholds of its metric, in the syntax of `--tiou`.
        label_key: entry of an annotation that is its label.
        recipe: name of the default recipe; None: levels and lengths are derived from the annotations.
        features: features of the published settings, and their sources.
        source: source of annotations and videos.
        official: name of the published annotation file, if `tal` reads it directly.
        preparation: how to obtain the expected annotation file.
        note: further remarks.
    """

    name: str
    title: str
    labels: int
    label_file: str | None = None
    train: tuple[str, int]
    test: tuple[str, int]
    tiou: str
    label_key: str = "label"
    recipe: str | None = None
    features: tuple[str, ...]
    source: str
    official: str | None = None
    preparation: str
    note: str = ""

    @property
    def root(self) -> Path:
        """Folder of its files: `$TAL_DATA/NAME`, by default `data/NAME`."""
        return Path(os.environ.get("TAL_DATA") or "data") / self.name

    @property
    def layout(self) -> str:
        """The expected files, as text."""
        files = dict(LAYOUT)
        if self.official:
            files["annotations.json"] += (f"or the published {self.official}",)
        width = max(len(str(self.root / name)) for name in files) + 4
        return "\n".join(
            f"{str(self.root / name) if number == 0 else '':{width}}{line}"
            for name, lines in files.items()
            for number, line in enumerate(lines)
        )

    @property
    def features_folder(self) -> Path:
        """Folder of feature files, or one file with all features."""
        return default_source(self.root)

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """Its labels in their usual order; empty if their list is not bundled."""
        if self.label_file is None:
            return ()
        text = (resources.files("tal_cli.datasets") / "labels" / self.label_file).read_text(encoding="utf-8")
        return tuple(text.splitlines())

    def annotations_file(self, root: Path | None = None) -> Path:
        """The existing annotation file in a folder, by default in `root`.

        Raises:
            MissingError: there is no annotation file.
        """
        names = ["annotations.json", "annotations.json.gz", *([self.official] if self.official else [])]
        candidates = [(root or self.root) / name for name in names]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            reason = f"no annotations of {self.title} at {candidates[0]}"
            remedy = f"get them from {self.source}; `tal datasets info {self.name}` shows the expected files"
            raise MissingError(reason, remedy)
        return found


THUMOS_SOURCE = "crcv.ucf.edu/THUMOS14"
THUMOS_FEATURES = (
    "I3D, two streams, 2048 channels, window 16, stride 4: github.com/happyharrycn/actionformer_release",
    "VideoMAE V2 giant, 1408 channels, window 16, stride 4: github.com/OpenGVLab/VideoMAEv2 (docs/TAD.md)",
)
EPIC_SOURCE = "github.com/epic-kitchens/epic-kitchens-100-annotations"
EPIC_FEATURES = (
    "SlowFast, 2304 channels, window 32, stride 16, 30 frames/s: github.com/happyharrycn/actionformer_release",
)
EPIC_NOTE = (
    "Videos: epic-kitchens.github.io. 78 of the verbs and 211 of the nouns occur in validation. Actions combine both: "
    "`tal combine actions`."
)


def _epic(kind: str, labels: int) -> Benchmark:
    files = "EPIC_100_train.csv EPIC_100_validation.csv"
    return Benchmark(
        name=f"epic-{kind}",
        title=f"EPIC-KITCHENS-100, {kind}s",
        labels=labels,
        train=("training", 495),
        test=("validation", 138),
        tiou="0.1:0.1:0.5",
        label_key=kind,
        recipe=f"epic-{kind}",
        features=EPIC_FEATURES,
        source=EPIC_SOURCE,
        preparation=f"tal datasets convert {files} data/epic-{kind}/annotations.json --label-key {kind} "
        f"(EPIC_100_{kind}_classes.csv and EPIC_100_video_info.csv beside them)",
        note=EPIC_NOTE,
    )


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            name="camera",
            title="camera",
            labels=14,
            label_file="camera.txt",
            train=("training", 0),
            test=("validation", 0),
            tiou="0.3:0.1:0.7",
            recipe="camera",
            features=("tiny, window 16, stride 4: tal extract-features data/camera/videos -o data/camera/features",),
            source="`tal datasets make camera -o data/camera`",
            preparation="tal datasets make camera -o data/camera",
            note="Rendered videos of camera motion and edits, with exact labels, in any number.",
        ),
        Benchmark(
            name="thumos",
            title="THUMOS14",
            labels=20,
            label_file="thumos.txt",
            train=("validation", 200),
            test=("test", 213),
            tiou="0.3:0.1:0.7",
            recipe="thumos-i3d",
            features=THUMOS_FEATURES,
            source=THUMOS_SOURCE,
            official="thumos14.json",
            preparation="tal datasets convert *_val.txt *_test.txt data/thumos/annotations.json "
            "--videos data/thumos/videos (the official text files, one per label); "
            "or thumos14.json of ActionFormer's feature archive, unchanged",
            note="Training uses the validation subset. The segments of video_test_0000270 extend beyond its end; some "
            "papers exclude that video. The label Ambiguous of the original annotation is ignored.",
        ),
        Benchmark(
            name="multithumos",
            title="MultiTHUMOS",
            labels=65,
            label_file="multithumos.txt",
            train=("validation", 200),
            test=("test", 212),
            tiou="0.1:0.1:0.9",
            recipe="multithumos-i3d",
            features=THUMOS_FEATURES,
            source="ai.stanford.edu/~syyeung/everymoment.html",
            official="multithumos.json",
            preparation="tal datasets convert *.txt data/multithumos/annotations.json --videos data/thumos/videos "
            "(the official text files, one per label); or data/multithumos.json of github.com/dingfengshi/tridetplus",
            note="THUMOS14's videos with dense labels; 30 segments end before they start, 7 are empty.",
        ),
        _epic("verb", 97),
        _epic("noun", 300),
        Benchmark(
            name="activitynet",
            title="ActivityNet 1.3",
            labels=200,
            label_file="activitynet.txt",
            train=("training", 10024),
            test=("validation", 4926),
            tiou="0.5:0.05:0.95",
            recipe="activitynet-tsp",
            features=(
                "TSP (R(2+1)D-34), 512 channels, window 16, stride 16, 15 frames/s: github.com/HumamAlwassel/TSP",
                "I3D, 2048 channels, window 16, stride 16, 25 frames/s: github.com/happyharrycn/actionformer_release",
            ),
            source="activity-net.org",
            official="activity_net.v1-3.min.json",
            preparation="the official file is read directly",
            note="Published settings detect segments without labels and label them with a video-level classifier: "
            "`tal combine video-scores`. Many of the videos are no longer on YouTube.",
        ),
        Benchmark(
            name="hacs",
            title="HACS Segments",
            labels=200,
            label_file="activitynet.txt",
            train=("training", 37613),
            test=("validation", 5981),
            tiou="0.5:0.05:0.95",
            recipe="hacs-slowfast",
            features=(
                "SlowFast, 2304 channels, window 32, stride 8, 15 frames/s (SUBSET/VIDEO.pkl): "
                "github.com/qinzhi-0110/Temporal-Context-Aggregation-Network-Pytorch",
                "I3D, 2048 channels, 2 vectors/s (SUBSET/VIDEO.npy): hacs.csail.mit.edu/hacs_segments_features.zip",
            ),
            source="github.com/hangzhaomit/HACS-dataset",
            official="HACS_segments_v1.1.1.json",
            preparation="the file in HACS_v1.1.1.zip of the repository is read directly",
            note="The labels are those of ActivityNet 1.3. Durations are strings in the file.",
        ),
    )
}


def find_benchmark(name: str) -> Benchmark:
    """A data set by its name.

    Raises:
        UsageError: an unknown name.
    """
    if name not in BENCHMARKS:
        raise UsageError(f"no data set named {name!r}", f"use one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def own_annotations(dataset: str) -> Path | None:
    """The user's annotation file if `dataset` names one; None if it is the name of a built-in data set.

    Raises:
        MissingError: it looks like a path, and there is no such file.
        UsageError: neither a file nor the name of a data set.
    """
    path = Path(dataset)
    if dataset in BENCHMARKS:
        return None
    if path.is_file():
        return path
    if not path.suffix and path.name == dataset and not path.is_dir():
        raise UsageError(
            f"no data set named {dataset!r}, and no file of that name in {Path.cwd()}",
            f"give an annotation file, or one of {', '.join(BENCHMARKS)}",
        )
    if path.is_dir():
        from tal_cli.datasets.formats import FOLDER, files_of

        raise MissingError(f"{dataset}: {FOLDER}", files_of(path))
    what = f"no such annotation file: {path.absolute()}"
    raise MissingError(f"{dataset}: {what}", "give a file, or a data set from `tal datasets list`")
