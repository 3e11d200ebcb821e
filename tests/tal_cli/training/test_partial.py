"""Training and validation on partly reviewed videos, from the annotation file to the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import short_run, write_small_data

from tal_cli.datasets.annotations import GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.models.store.checkpoint import load_model
from tal_cli.training.trainer import train

SEEN = 0.6  # share of each video


def labelled(folder: Path, *, outside: str | None) -> Path:
    """Small data of which the first part of each video is reviewed; in the rest everything has the label `outside`."""
    write_small_data(folder)
    path = folder / "annotations.json"
    annotations = load_annotations(path)
    videos = {name: partly(video, outside) for name, video in annotations.videos.items()}
    save_annotations(replace(annotations, videos=videos), path)
    return folder


def partly(video: VideoAnnotation, outside: str | None) -> VideoAnnotation:
    end = SEEN * video.duration
    kept = tuple(item for item in video.segments if item.end <= end)
    wrong = () if outside is None else (GroundTruth(outside, end + 0.2, video.duration),)
    return replace(video, segments=kept + wrong, reviewed=((0.0, end),))


@pytest.mark.slow
def test_what_was_not_looked_at_changes_no_bit(tmp_path: Path) -> None:
    weights = []
    for outside in (None, "jump"):
        data = labelled(tmp_path / str(outside), outside=outside)
        run = short_run(data, tmp_path / f"run-{outside}")
        assert all(video.reviewed is not None for video in run.videos)
        result = train(run)
        assert result.average is not None
        weights.append(load_model(str(run.out)).detector.state_dict())
    first, second = weights
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_points_train_and_are_evaluated(tmp_path: Path) -> None:
    write_small_data(tmp_path / "data")
    path = tmp_path / "data" / "annotations.json"
    annotations = load_annotations(path)
    videos = {
        name: replace(
            video,
            segments=tuple(
                replace(item, kind="point", start=item.start, end=item.start) if item.label == "hop" else item
                for item in video.segments
            ),
        )
        for name, video in annotations.videos.items()
    }
    save_annotations(replace(annotations, videos=videos), path)
    result = train(short_run(tmp_path / "data", tmp_path / "run"))
    assert result.average is not None and 0 <= result.average <= 1
