"""Training on one's own videos: what is derived, what is rejected, and the three commands from videos to segments."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import spec_of

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.datasets.splits import HELD_OUT, split_own
from tal_cli.extractors.errors import InputError, MissingError
from tal_cli.models.recipe.loading import dump_recipe, load_recipe, override, parse_overrides
from tal_cli.training.auto_recipe import (
    DataShape,
    derive_recipe,
    dropped_for,
    length_for,
    levels_for,
    summary,
    visits_for,
)
from tal_cli.training.data import feature_spec, find_data
from tal_cli.training.options import TrainingOptions
from tal_cli.training.prepare import choose_recipe

FPS, FRAMES = 25.0, 125
SPEC = spec_of(8, stride=4)
TINY = ["model.width=16", "model.head_width=16", "model.encoder.mlp_width=16", "training.crops=1"]


def own(subsets: dict[str, str], labels: dict[str, str] | None = None) -> Annotations:
    """Videos by name and subset, with one instance each."""
    names = labels or {}
    videos = {
        name: VideoAnnotation(name, subset, 9.0, 30.0, (GroundTruth(names.get(name, "hop"), 1.0, 3.0),))
        for name, subset in subsets.items()
    }
    return Annotations("", videos, tuple(sorted({"hop", *names.values()})))


def many(count: int, subset: str) -> dict[str, str]:
    return {f"video{number}": subset for number in range(count)}


def test_usual_subsets_are_taken_as_they_are() -> None:
    annotations = own({**many(20, "training"), "last": "validation"})
    split = split_own(annotations, "x.json")
    assert (split.annotations, split.train, split.test, split.note) == (annotations, "training", "validation", "")


@pytest.mark.parametrize("subset", ["training", "mine"])
def test_a_fifth_of_many_videos_is_kept_back(subset: str) -> None:
    annotations = own(many(20, subset), {"video3": "skip"})
    split = split_own(annotations, "x.json")
    assert (split.train, split.test) == ("training", HELD_OUT) and "4 videos are held out" in split.note
    kept = {video.name for video in split.annotations.of(HELD_OUT)}
    assert len(kept) == 4 and "video3" not in kept, "the only instance of a label is needed to learn from"
    assert len(split.annotations.of("training")) == 16
    assert split_own(annotations, "x.json") == split
    assert ("mine" in split.note) == (subset == "mine")


def test_of_few_videos_all_are_trained_on() -> None:
    assert split_own(own(many(5, "training")), "x.json").test is None
    split = split_own(own({**many(4, "one"), "b": "two"}), "x.json")
    assert (split.train, split.test) == ("all", None) and "(one, two)" in split.note


def test_a_video_without_a_subset_is_one_to_train_on(tmp_path: Path) -> None:
    video = {"duration": 9, "annotations": [{"label": "hop", "segment": [1, 3]}]}
    (tmp_path / "a.json").write_text(json.dumps({"database": {"a": video}}))
    assert load_annotations(tmp_path / "a.json").subsets == {"training": 1}


def shape(videos: int, length: float, duration: float, instances: int, seed: int = 0) -> DataShape:
    rng = np.random.default_rng(seed)
    lengths = np.maximum(rng.uniform(0.5, 1.5, videos) * length, 1).astype(int)
    return DataShape(tuple(rng.uniform(0.5, 1.5, videos * instances) * duration), tuple(lengths.tolist()))


@given(
    videos=st.integers(1, 6000),
    length=st.floats(1, 50_000),
    duration=st.floats(0.05, 5000),
    instances=st.integers(0, 5),
    classes=st.integers(1, 300),
)
def test_any_data_gives_a_recipe(videos: int, length: float, duration: float, instances: int, classes: int) -> None:
    data = shape(videos, length, duration, instances)
    recipe = derive_recipe("mine", SPEC, data, classes)
    training, top = recipe.training, 1 << (recipe.model.levels - 1)
    assert recipe.model.classes == classes and recipe.model.pad_length == training.max_length
    assert training.max_length % top == 0 and training.max_length <= max(2304, 2 * max(data.durations, default=0)) + top
    longest = float(np.quantile(data.durations, 0.98)) if data.durations else 0.0
    assert training.max_length >= min(2 * longest, float(np.quantile(data.lengths, 0.95)), 16_384)
    assert recipe.model.level_ranges[-1][0] <= 256 and 0.9 <= training.ema_decay <= 0.999
    steps = (training.epochs + training.warmup_epochs) * (videos * training.crops // min(training.batch_size, videos))
    assert 250 <= steps <= 30_000
    assert training.epochs >= training.warmup_epochs >= 1
    lines = summary(recipe, data)
    assert f"{steps} steps" in "\n".join(lines) and (instances == 0 or len(lines) >= 3)


def test_what_is_derived_follows_the_data() -> None:
    few, thousands = visits_for(shape(5, 200, 20, 4), 200), visits_for(shape(5000, 200, 20, 4), 200)
    assert (few.batch, thousands.batch) == (2, 16) and few.crops > 1 == thousands.crops
    assert few.steps(5) < thousands.steps(5000)
    hours = shape(8, 30_000, 10, 50)
    assert length_for(hours, 4) == 240, "crops of long videos follow the instances, not the videos"
    assert visits_for(hours, 240).crops > 50
    blink = derive_recipe("mine", SPEC, shape(40, 300, 0.6, 3), 1)
    assert blink.model.levels == 3 and blink.model.encoder.windows == 3
    assert "smaller --stride" in summary(blink, shape(40, 300, 0.6, 3))[-1]
    lecture = shape(8, 200_000, 3000, 3)
    assert length_for(lecture, 8) > 6000, "an instance fits into a sequence"
    endless = shape(8, 300_000, 40_000, 3)
    assert "larger --stride" in summary(derive_recipe("mine", SPEC, endless, 1), endless)[-1]
    assert derive_recipe("mine", SPEC, shape(40, 300, 150, 1), 1).model.levels == 7
    rich = derive_recipe("mine", spec_of(300, stride=4), shape(40, 300, 20, 5), 1)
    assert rich.training.input_dropout == 0.5
    assert "50% of the channels dropped" in "\n".join(summary(rich, shape(40, 300, 20, 5)))
    assert derive_recipe("mine", spec_of(100, stride=4), shape(40, 300, 20, 5), 1).training.input_dropout == 0.0


def test_visits_and_notes_count_what_was_reviewed() -> None:
    whole, part = (DataShape((5.0,) * 40, (30_000,) * 8, known=known) for known in ((), (3000,) * 8))
    assert part.views(240) == pytest.approx(whole.views(240) / 10)
    assert visits_for(part, 240).steps(8) < visits_for(whole, 240).steps(8)
    assert "10% of them reviewed" in summary(derive_recipe("mine", SPEC, part, 1), part)[0]
    assert "reviewed" not in summary(derive_recipe("mine", SPEC, whole, 1), whole)[0]


@pytest.mark.parametrize(("instances", "steps"), [(0, 300), (20, 300), (60, 600), (500, 1200)])
def test_steps_follow_the_instances_where_there_is_little_video(instances: int, steps: int) -> None:
    few = DataShape((5.0,) * instances, (100,) * 8)
    assert visits_for(few, 100).steps(8) == pytest.approx(steps, rel=0.1)


@pytest.mark.parametrize(
    ("channels", "instances", "share"),
    [
        (100, 100, 0.0),
        (101, 100, 0.5),
        (512, 100, 0.5),
        (768, 100, 0.67),
        (1024, 100, 0.75),
        (2048, 100, 0.75),
        (2048, 3000, 0.0),
    ],
)
def test_channels_are_dropped_where_they_outnumber_instances(channels: int, instances: int, share: float) -> None:
    assert dropped_for(channels, instances) == share


def test_levels_follow_the_longest_instances() -> None:
    assert [levels_for([length]) for length in (1, 16, 40, 100, 400, 100_000)] == [3, 3, 5, 6, 8, 8]
    shape = DataShape((5.0, 30.0, 120.0), (300, 500))
    recipe = derive_recipe("mine", SPEC, shape, 2)
    top = 1 << (recipe.model.levels - 1)
    assert recipe.training.max_length == recipe.model.pad_length >= 490 and recipe.model.pad_length % top == 0
    assert recipe.model.level_ranges[-1][0] <= 64 and recipe.training.batch_size == 2


@pytest.fixture(scope="module")
def moving_squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short videos of a pattern that stands still except for two seconds; annotations.json is beside the folder."""
    folder = tmp_path_factory.mktemp("moving_squares")
    videos = {}
    for number in range(5):
        name, start = f"video{number}", 1 + 0.4 * number
        write_moving(folder / "videos" / f"{name}.mp4", round(start * FPS), round((start + 2) * FPS))
        truth = (GroundTruth("moves", start, start + 2),)
        videos[name] = VideoAnnotation(name, "validation" if number == 4 else "training", FRAMES / FPS, FPS, truth)
    save_annotations(Annotations("moving_squares", videos, ("moves",)), folder / "annotations.json")
    assert app.run(["extract-features", str(folder / "videos"), "-x", "tiny", "--out", str(folder / "features")]) == 0
    return folder


def write_moving(path: Path, start: int, end: int) -> None:
    path.parent.mkdir(exist_ok=True)
    pattern = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=int(FPS))
        stream.width, stream.height, stream.pix_fmt = pattern.shape[1], pattern.shape[0], "yuv420p"
        for index in range(FRAMES):
            shift = 3 * (min(max(index, start), end) - start)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(pattern, shift, axis=1), format="rgb24")))
        container.mux(stream.encode())


def train(folder: Path, out: Path, *more: str) -> int:
    sets = [word for value in TINY for word in ("--set", value)]
    annotations = str(folder / "annotations.json")
    return app.run(["train", "--dataset", annotations, "--out", str(out), "--device", "cpu", *sets, *more])


@pytest.mark.slow
def test_three_commands_lead_from_videos_to_segments(
    moving_squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(moving_squares, run, "--epochs", "2") == 0
    said = capsys.readouterr().err
    assert "4 videos of 4.48 to 4.48 s (median 4.48), a row of features every 0.16 s; 4 instances of 2 to 2 s" in said
    assert "derived model: 3 levels, boundaries 0-0.64, 0.64-1.28, 1.28+ s away" in said
    assert "derived training: sequences of" in said and "the remaining epochs take about" in said
    assert "with the highest mAP on validation, chosen by looking at it: average mAP" in said
    assert load_recipe(run / "recipe.yaml").name == run.name
    out = tmp_path / "found.json"
    assert app.run(["detect", str(moving_squares / "videos"), "-m", str(run), "-o", str(out), "--min-score", "0"]) == 0
    results = json.loads(out.read_text())["results"]
    assert set(results) == {f"video{number}" for number in range(5)}
    assert all(found and {item["label"] for item in found} == {"moves"} for found in results.values())
    assert (
        app.run(["eval", str(out), "--annotations", str(moving_squares / "annotations.json"), "--format", "json"]) == 0
    )


def changed(folder: Path, target: Path, change: Callable[[VideoAnnotation], VideoAnnotation]) -> Path:
    """The same data with other annotations; features lie beside them all in one file."""
    annotations = load_annotations(folder / "annotations.json")
    videos = {name: change(video) for name, video in annotations.videos.items()}
    labels = sorted({item.label for video in videos.values() for item in video.segments})
    save_annotations(Annotations("", videos, tuple(labels)), target / "annotations.json")
    shutil.copytree(folder / "features", target / "features")
    return target


def relabelled(video: VideoAnnotation) -> VideoAnnotation:
    """The validation video's label is another."""
    if video.subset == "training":
        return video
    return replace(video, segments=tuple(replace(item, label="moved") for item in video.segments))


def emptied(video: VideoAnnotation) -> VideoAnnotation:
    """The training videos hold nothing."""
    return video if video.subset == "validation" else replace(video, segments=())


def late(video: VideoAnnotation) -> VideoAnnotation:
    """Instances end after the video."""
    return replace(video, segments=tuple(replace(item, end=item.end + 20) for item in video.segments))


@pytest.mark.parametrize(
    ("dataset", "code", "reason"),
    [
        ("labels.csv", 4, "no such annotation file: {here}/labels.csv"),
        ("labels.json.gz", 4, "no such annotation file: {here}/labels.json.gz"),
        ("mine/labels", 4, "no such annotation file: {here}/mine/labels"),
        (".", 4, "a folder, not an annotation file"),
        ("labels", 2, "no data set named 'labels', and no file of that name in {here}"),
    ],
)
@pytest.mark.parametrize("command", ["train --dataset", "datasets check"])
def test_a_missing_file_is_no_unknown_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, dataset: str, code: int, reason: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert app.run([*command.split(), dataset]) == code
    assert reason.format(here=tmp_path) in capsys.readouterr().err


def test_an_unknown_label_ends_the_run(
    moving_squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = changed(moving_squares, tmp_path, relabelled)
    assert train(data, tmp_path / "run") == 3
    assert "label missing from the training subset: 1: validation (moved)" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("label", ["two\nlines", " ", "two\u2028lines"])
def test_a_label_that_cannot_be_kept_ends_the_run(
    moving_squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], label: str
) -> None:
    def call_it(video: VideoAnnotation) -> VideoAnnotation:
        return replace(video, segments=tuple(replace(item, label=label) for item in video.segments))

    assert train(changed(moving_squares, tmp_path, call_it), tmp_path / "run") == 2
    assert "a label must be one line that is not empty" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_empty_split_ends_the_run(moving_squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = changed(moving_squares, tmp_path, emptied)
    assert train(data, tmp_path / "run", "--train-subset", "training", "--test-subset", "validation") == 3
    assert "subset without instances: 1: training" in capsys.readouterr().err


def test_a_value_that_is_no_number_ends_the_run(
    moving_squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = changed(moving_squares, tmp_path, lambda video: video)
    array = np.load(data / "features" / "video2.npy")
    array[3, 5] = np.nan
    np.save(data / "features" / "video2.npy", array)
    assert train(data, tmp_path / "run") == 3
    assert "video2 (window 3 holds values that are not finite numbers)" in capsys.readouterr().err


@pytest.mark.slow
def test_what_looks_wrong_but_can_be_trained_on_is_said(
    moving_squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = changed(moving_squares, tmp_path, late)
    assert train(data, tmp_path / "run", "--epochs", "0", "-q") == 0
    assert "warning: segment outside the video: 5: video0 (moves 1-23 of 5 s)" in capsys.readouterr().err


@pytest.mark.slow
def test_features_that_nothing_describes_are_what_the_options_say(
    moving_squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = changed(moving_squares, tmp_path, lambda video: video)
    for path in (data / "features").glob("*.json"):
        path.unlink()
    assert train(data, tmp_path / "run") == 4
    assert "--set features.window=16 --set features.stride=4" in capsys.readouterr().err
    said = ("--set", "features.window=16", "--set", "features.stride=4")
    assert train(data, tmp_path / "run", *said, "--epochs", "0") == 0
    features = load_recipe(tmp_path / "run" / "recipe.yaml").features
    assert (features.extractor, features.window, features.stride) == ("unknown", 16, 4)
    feature_file, found = data / "features" / "video4.npy", tmp_path / "found.json"
    assert app.run(["detect", str(feature_file), "-m", str(tmp_path / "run"), "--fps", "25", "-o", str(found)]) == 0
    assert train(data, tmp_path / "other", "--set", "features.window=16", "--set", "features.stride=no") == 2
    assert train(moving_squares, tmp_path / "third", *said[:2], "--set", "features.stride=8") == 2


def test_labels_are_learnt_as_one_by_recipe_only(
    moving_squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(moving_squares, tmp_path / "run", "--set", "training.class_agnostic=true") == 2
    assert "a derived recipe has one class per label" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_features_of_all_videos_in_one_file_beside_the_annotations(moving_squares: Path, tmp_path: Path) -> None:
    small = ["model.width=16", "model.head_width=16", "model.encoder.mlp_width=16", "training.warmup_epochs=1"]
    (tmp_path / "small.yaml").write_text(dump_recipe(override(load_recipe("camera"), parse_overrides(small))))
    annotations = moving_squares / "annotations.json"
    (tmp_path / "annotations.json").write_bytes(annotations.read_bytes())
    arrays = {path.stem: np.load(path) for path in (moving_squares / "features").glob("*.npy")}
    np.savez(tmp_path / "features.npz", **arrays)
    arguments = ["--recipe", str(tmp_path / "small.yaml"), "--epochs", "0", "--out", str(tmp_path / "run")]
    command = ["train", "--dataset", str(tmp_path / "annotations.json"), "--device", "cpu", *arguments]
    assert app.run(command) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["training"] == [f"video{i}" for i in range(4)]


@pytest.mark.parametrize("overrides", [{}, {"model.decoder.boundary_kernel": 5}], ids=str)
def test_a_recipes_boundary_is_for_its_own_labels(small_data: Path, overrides: dict[str, object]) -> None:
    file = str(small_data / "annotations.json")
    options = TrainingOptions(dataset=file, recipe="camera", overrides=overrides)
    chosen = choose_recipe(options, find_data(file, None, None, None))
    assert chosen is not None and load_recipe("camera").inference.boundary is not None
    assert chosen.inference.boundary is None


def test_videos_of_which_nothing_was_reviewed_are_named_so(tmp_path: Path) -> None:
    known = own({"a": "training", "b": "training"})
    videos = {name: replace(video, reviewed=()) for name, video in known.videos.items()}
    path = tmp_path / "annotations.json"
    save_annotations(replace(known, videos=videos), path)
    with pytest.raises(InputError, match="nothing of its videos was reviewed"):
        find_data(str(path), tmp_path, None, None)


def test_a_misspelt_video_is_told_with_the_name_that_is_near(small_data: Path, tmp_path: Path) -> None:
    text = (small_data / "annotations.json").read_text()
    (tmp_path / "annotations.json").write_text(text.replace('"video0"', '"vidoe0"'))
    data = find_data(str(tmp_path / "annotations.json"), small_data / "features", None, None)
    with pytest.raises(MissingError, match="no features of vidoe0") as caught:
        feature_spec(data, {})
    assert caught.value.remedy == "did you mean video0?"
