"""Reading and writing ground truth, and the data sets that have a name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations, split_names
from tal_cli.datasets.catalog import BENCHMARKS, find_benchmark
from tal_cli.datasets.formats import load_annotations
from tal_cli.extractors.errors import AnnotationError, MissingError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.sequence import FeatureSequence


def write(path: Path, **database: object) -> Path:
    path.write_text(json.dumps({"version": "1", "database": database}))
    return path


def video(subset: str = "Training", duration: object = 10, annotations: object = ()) -> dict[str, object]:
    return {"subset": subset, "duration": duration, "annotations": annotations}


def test_reads_what_published_files_hold(tmp_path: Path) -> None:
    items = [{"label": "b", "label_id": 0, "segment": [1, 2.5]}, {"label": "a", "label_id": 1, "segment": [3, 1]}]
    path = write(
        tmp_path / "x.json", v=video(duration="12.5", annotations=items), w={"subset": "testing", "duration": 3}
    )
    found = load_annotations(path)
    assert found.videos["v"] == VideoAnnotation(
        "v", "training", 12.5, None, (GroundTruth("b", 1.0, 2.5), GroundTruth("a", 3.0, 1.0))
    )
    assert found.videos["w"].segments == () and found.labels == ("b", "a")
    assert found.subsets == {"training": 1, "testing": 1}


def test_labels_without_consistent_ids_are_alphabetical(tmp_path: Path) -> None:
    items = [{"label": "b", "label_id": 0, "segment": [1, 2]}, {"label": "a", "label_id": 0, "segment": [1, 2]}]
    assert load_annotations(write(tmp_path / "x.json", v=video(annotations=items))).labels == ("a", "b")


def test_a_duration_that_nothing_tells_is_the_last_segments_end(tmp_path: Path) -> None:
    items = [{"label": "a", "segment": [1, 7.5]}, {"label": "a", "segment": [2, 3]}]
    path = write(tmp_path / "x.json", v={"annotations": items}, w=video(duration=None), u=video(duration=9))
    found = load_annotations(path).videos
    assert [(item.duration, item.subset) for item in found.values()] == [
        (7.5, "training"),
        (0, "training"),
        (9, "training"),
    ]


@pytest.mark.parametrize(
    ("listed", "labels", "unlisted"),
    [
        (["b", "c", "a", "b"], ("b", "c", "a"), ()),
        (["b", "c"], ("a", "b"), ("a",)),
        ([], ("a", "b"), ()),
        ({"b": 0}, ("a", "b"), ()),
        ([3, "b"], ("a", "b"), ()),
    ],
)
def test_a_files_own_list_of_labels(
    tmp_path: Path, listed: object, labels: tuple[str, ...], unlisted: tuple[str, ...]
) -> None:
    items = [{"label": label, "verb_id": 7, "segment": [1, 2]} for label in "ba"]
    document = {"labels": listed, "database": {"v": video(annotations=items)}}
    (tmp_path / "x.json").write_text(json.dumps(document))
    found = load_annotations(tmp_path / "x.json")
    assert (found.labels, found.unlisted) == (labels, unlisted)
    other = load_annotations(tmp_path / "x.json", "verb_id")
    assert (other.labels, other.unlisted) == (("7",), ()), "a list of labels says nothing of other entries"


@pytest.mark.parametrize(
    "entry",
    [
        3,
        {"subset": 5, "duration": 3},
        video(duration="long"),
        video(duration=float("nan")),
        video(duration=-1),
        video(annotations=3),
        video(annotations=[3]),
        video(annotations=[{"segment": [1, 2]}]),
        video(annotations=[{"label": "a", "segment": [1]}]),
        video(annotations=[{"label": "a", "segment": [1, None]}]),
        video(annotations=[{"label": "a", "segment": [1, float("inf")]}]),
        {**video(), "fps": 0},
    ],
)
def test_errors_name_file_and_video(tmp_path: Path, entry: object) -> None:
    with pytest.raises(AnnotationError, match=r"x\.json: video holiday: "):
        load_annotations(write(tmp_path / "x.json", **{"holiday": entry}))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"\x1f\x8b\x08nonsense", b"\xff\xfe", b"[" * 100_000, b'{"database": {"\\ud800": {}}}'],
)
def test_other_files_are_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert app.run(["eval", str(path), "--annotations", str(path)]) == 3


numbers = st.floats(-1e6, 1e6)
segments = st.builds(GroundTruth, st.sampled_from(["jump", "pan-left", "ä\n"]), numbers, numbers)
videos = st.lists(
    st.builds(
        VideoAnnotation,
        st.text(min_size=1, max_size=8),
        st.sampled_from(["training", "test"]),
        st.floats(0, 1e5),
        st.none() | st.floats(1, 120),
        st.lists(segments, max_size=4).map(tuple),
    ),
    max_size=5,
    unique_by=lambda video: video.name,
)


@given(videos=videos)
@pytest.mark.slow
def test_written_files_read_back_equal(tmp_path_factory: pytest.TempPathFactory, videos: list[VideoAnnotation]) -> None:
    path = tmp_path_factory.mktemp("written") / "annotations.json"
    labels = tuple(sorted({item.label for video in videos for item in video.segments}, reverse=True))
    annotations = Annotations("7", {video.name: video for video in videos}, labels)
    save_annotations(annotations, path)
    assert load_annotations(path) == annotations.rounded()
    assert [item.name for item in path.parent.iterdir()] == ["annotations.json"]


@pytest.mark.parametrize(
    ("subsets", "names"),
    [
        (("training", "validation", "test"), ("training", "validation")),
        (("validation", "test"), ("validation", "test")),
        (("train", "val"), ("train", "val")),
        (("training", "test"), ("training", "test")),
        (("training",), ("training", None)),
        (("test",), ("test", None)),
    ],
)
def test_subsets_are_found_by_their_usual_names(subsets: tuple[str, ...], names: tuple[str, str | None]) -> None:
    one = (GroundTruth("a", 0.0, 1.0),)
    videos = {name: VideoAnnotation(name, name, 1.0, None, one) for name in subsets}
    assert split_names(Annotations("", videos, ("a",)), "x.json") == names


def test_no_usual_subset_is_an_error() -> None:
    with pytest.raises(AnnotationError, match="no subset"):
        split_names(Annotations("", {}, ()), "x.json")


@pytest.mark.slow
def test_published_files_have_the_published_sizes(shared: Path) -> None:
    thumos = load_annotations(shared / "data/thumos14.json.gz")
    assert thumos.subsets == {"validation": BENCHMARKS["thumos"].train[1], "test": BENCHMARKS["thumos"].test[1]}
    assert sum(len(video.segments) for video in thumos.of("test")) == 3358
    assert list(thumos.labels) == (shared / "data/labels/thumos14_20.txt").read_text().split()
    assert len(load_annotations(shared / "data/multithumos.json.gz").labels) == BENCHMARKS["multithumos"].labels
    assert len(load_annotations(shared / "data/activitynet13_val.json.gz").labels) == BENCHMARKS["activitynet"].labels
    verbs = load_annotations(shared / "data/epic100_val.json.gz", BENCHMARKS["epic-verb"].label_key)
    assert len(verbs.labels) == 78 and verbs.labels[0] == "take"


def test_check_finds_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [{"label": "a", "segment": [3, 9]}, {"label": "a", "segment": [2, 1]}]
    path = write(tmp_path / "x.json", v=video(annotations=items), w=video(duration=5), u=video(), t=video())
    contract = {
        "extractor": "x", "weights_sha256": None, "sampling_rate": None, "max_rate": None, "window": 16, "stride": 4,
        "alignment": "center", "resize": "", "crop": "", "value_range": "", "layer": "", "pooling": "", "channels": 2,
    }  # fmt: skip
    (tmp_path / "features").mkdir()
    for name, windows in (("v", 72), ("w", 72)):
        frames = 16 + 4 * (windows - 1)
        sequence = FeatureSequence(
            features=np.zeros((windows, 2), np.float32),
            contract=FeatureContract(**contract),
            fps=30.0,
            frames=frames,
            duration=frames / 30,
        )
        save_features(sequence, tmp_path / "features" / f"{name}.npy")
    (tmp_path / "features" / "u.npy").write_bytes(b"nothing")
    assert app.run(["datasets", "check", str(path)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "empty segment", "no features", "wrong duration", "features that cannot be used",
    ]  # fmt: skip
    for name, line in zip("vtwu", lines, strict=True):
        assert f" {name}" in line


def test_data_sets_are_looked_for_where_info_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAL_DATA", str(tmp_path))
    item = find_benchmark("thumos")
    with pytest.raises(MissingError, match="THUMOS14"):
        item.annotations_file()
    (tmp_path / "thumos").mkdir()
    path = write(tmp_path / "thumos" / "annotations.json", v=video())
    assert item.annotations_file() == path
    assert app.run(["datasets", "info", "thumos"]) == 0
    assert str(path) in capsys.readouterr().out
    assert app.run(["datasets", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in BENCHMARKS)
    assert app.run(["datasets", "info", "thumosss"]) == 2
    assert app.run(["datasets", "make", "hacs"]) == 2
