"""Samples of other programs' files, each with the reading that is expected of it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from tal_cli.datasets.annotations import GroundTruth, VideoAnnotation
from tal_cli.datasets.formats import read_annotations
from tal_cli.datasets.formats.values import Facts, How, stem
from tal_cli.extractors.errors import InputError

FOLDER = Path(os.environ.get("TAL_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "behaviour"
SAMPLES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.expected.json"))
OLDEST = ("boris/mice_v0", "boris/mice_v1")  # they have no categories, and no names of modifier sets
FRAMES = ("frame_index", "frames", "rows")
TO_MILLISECONDS, TO_MICROSECONDS = 5e-4, 1e-6


def facts(expected: dict[str, Any]) -> dict[str, Facts]:
    """What the reader is told because the file does not say it."""
    untold = expected.get("fps_not_in_the_file")
    if untold is None:
        return {}
    rates = untold if isinstance(untold, dict) else {video["name"]: untold for video in expected["videos"]}
    frames = {video["name"]: video.get("frames") for video in expected["videos"]}
    return {stem(name): Facts(rate, frames.get(name)) for name, rate in rates.items()}


def as_expected(item: GroundTruth, video: VideoAnnotation, keys: set[str], has_file: bool) -> dict[str, Any]:
    """An instance under the names of the expected readings, of those keys that are told there."""
    said: dict[str, Any] = {
        "video": (video.path.replace("\\", "/") or video.name) if has_file else None,
        "observation": video.observation,
        "subject": item.subject,
        "label": item.label,
        "kind": item.kind,
        "start": None if math.isnan(item.start) else item.start,
        "end": None if math.isnan(item.end) else item.end,
        "modifiers": [list(values) for values in item.modifiers],
        "comment": item.comment,
        "comment_end": item.comment_end if item.kind == "state" else None,
        "part": list(item.part) if item.part else None,
        "score": item.score,
        "status": item.status,
        "visibility": item.comment,
        **{key: list(item.frames) if item.frames else None for key in FRAMES},
        **dict(zip(("image_start", "image_end"), item.frames or (None, None), strict=True)),
    }
    return {key: value for key, value in said.items() if key in keys}


def same(told: dict[str, Any], found: dict[str, Any], tolerance: float) -> bool:
    if told.get("video") and found.get("video"):
        is_file = told["video"] == found["video"] or found["video"].endswith("/" + told["video"])
        told, found = told | {"video": is_file}, found | {"video": True}
    return all(
        found[key] == pytest.approx(value, abs=tolerance) if isinstance(value, float) else found[key] == value
        for key, value in told.items()
        if key not in ("channel", "attributes")
    )


@pytest.mark.skipif(not SAMPLES, reason=f"the shared folder is absent: {FOLDER} (set TAL_SHARED to where it is)")
@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_is_read_as_expected(sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((FOLDER / sample).read_text())
    path = FOLDER / sample.removesuffix(".expected.json")
    how = How(label_attribute=expected.get("label_attribute"), facts=facts(expected))
    if "error" in expected:
        with pytest.raises(InputError) as caught:
            read_annotations(path, how)
        assert expected["error"].removesuffix(" file") in str(caught.value)
        return
    found = read_annotations(path, how)
    said = capsys.readouterr().err
    items = [
        (item, video)
        for video in found.videos.values()
        for item in (*video.segments, *(item for item in video.suggestions if item.status == "pending"))
    ]
    left = list(items)
    lost = []
    tolerance = TO_MILLISECONDS if "boris/exports" in sample or "_v7" in sample else TO_MICROSECONDS
    for told in expected["annotations"]:
        match = next(
            (pair for pair in left if same(told, as_expected(*pair, set(told), told["video"] is not None), tolerance)),
            None,
        )
        if match is None:
            lost.append(told)
        else:
            left.remove(match)
    assert not lost and not left
    for told in expected["videos"]:
        video = next(
            v
            for v in found.videos.values()
            if told["name"] in (v.name, v.path) or stem(v.path or v.name) == stem(told["name"])
        )
        if "_v7" not in sample or told["player"] == 1:  # version 7 tells nothing of other cameras
            assert told.get("duration") in (None, pytest.approx(video.duration, abs=TO_MILLISECONDS))
            assert told.get("fps") in (None, pytest.approx(video.fps)) and told.get("frames") in (None, video.frames)
    for event in expected.get("unpaired", ()):
        (line,) = (
            line for line in said.splitlines()
            if event["label"] in line and event["subject"] in line and f"{event['start']:g} s" in line
        )  # fmt: skip
        assert event.get("observation", "") in line and "no stop" in line
    for warning in expected.get("warnings", ()):
        assert any(f"{warning['at']:g} s" in line and "warning" in line for line in said.splitlines())
    for ignored in (*expected.get("ignored", ()),):
        assert any(ignored["id"] in line and ignored["why"].split()[-1] in line for line in said.splitlines())
    assert len(expected.get("rejected", ())) == sum(
        item.status == "rejected" for video in found.videos.values() for item in video.suggestions
    )
    if expected.get("reviewed"):
        for name, ranges in expected["reviewed"].items():
            (video,) = found.videos.values() if len(found.videos) == 1 else [found.videos[stem(name)]]
            whole = ((0.0, video.duration),)
            assert (video.reviewed or whole) == tuple(tuple(map(pytest.approx, each)) for each in ranges)
    for label, by_video in expected.get("reviewed_by_label", {}).items():
        (video,) = found.videos.values()
        (ranges,) = by_video.values()
        told = video.reviewed_of(label)
        assert [list(each) for each in (((0.0, video.duration),) if told is None else told)] == ranges
    if expected["labels"] and isinstance(expected["labels"][0], dict) and not sample.startswith(OLDEST):
        sets = [[list(each.values()) for each in label["modifier_sets"]] for label in expected["labels"]]
        assert sets == [[[m.name, m.kind, list(m.values)] for m in each.modifiers] for each in found.definitions]
        about = [[d[key] or "" for key in ("label", "kind", "category", "key", "excludes")] for d in expected["labels"]]
        assert about == [[d.name, d.kind, d.category, d.key, list(d.excludes) or ""] for d in found.definitions]
    elif expected["labels"]:
        names = [label["label"] if isinstance(label, dict) else label for label in expected["labels"]]
        listed = [item.name for item in found.definitions] or list(found.labels)
        assert sorted(names) == sorted(listed) and set(found.labels) <= set(names)
    if expected["subjects"]:
        assert list(found.subjects) == expected["subjects"]
