"""Files of other programs on the page: one bout is edited, and in whatever is exported all others are as they were."""

from __future__ import annotations

import json
import math
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from numbered_videos import write_numbered_video

from tal_cli.datasets.annotations import STATE, Annotations, GroundTruth, VideoAnnotation
from tal_cli.datasets.formats import load_annotations
from tal_cli.datasets.video_facts import VideoFacts
from tal_cli.datasets.writers import write_annotations
from tal_cli.labelling.frames import FrameTimes
from tal_cli.labelling.project.document import Document
from tal_cli.labelling.project.files import AnnotationFile, Journal
from tal_cli.labelling.project.importing import imported, read_suggestions, unknown_labels
from tal_cli.labelling.project.store import Store

FOLDER = Path(os.environ.get("TAL_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "behaviour"
NO_ANNOTATIONS = ("predictions.json", "video_info.csv", "project_config.ini", "mice_sequences.txt",
                  "mice_truncated.boris", "mice_zero_bytes.boris")  # fmt: skip
SAMPLES = [
    path
    for folder in ("vtrace", "boris", "perframe")
    for path in sorted((FOLDER / folder).rglob("*"))
    if path.is_file() and path.name not in NO_ANNOTATIONS and not path.name.endswith((".expected.json", ".md"))
]
# 25 frames per second, an hour.
TIMES = FrameTimes((1, 25), 0, (1,) * 90_000, 64, 48, 25.0, 0.0, "mov", "h264", "yuv420p", False, 12, 0.5)


def facts(annotations: Annotations) -> list[str]:
    """All that is said of each instance that has times, and of its video."""
    return sorted(
        repr((video.name, video.subset, video.fps, video.frames, video.path, video.observation, video.reviewed,
              video.reviewed_labels, *(getattr(item, each.name) for each in fields(item) if each.name != "id")))
        for video in annotations.videos.values()
        for item in (*video.segments, *video.suggestions)
        if not math.isnan(item.start)
    )  # fmt: skip


def edited(source: Path, file: Path) -> tuple[VideoAnnotation, GroundTruth, str] | None:
    """Import a file, move the end of its first bout by an op of the page, and save; the bout as it was, and its id."""
    store = Store(AnnotationFile(file), Journal(file), imported(source), "me", lambda event: None)
    for name, video in store.document.videos.items():
        for item in video.annotations.values():
            if item.kind == STATE:
                told = next(v for v in load_annotations(source).videos.values() if v.name == name)
                bout = next(i for i in told.segments if (i.label, i.start, i.end) == (item.label, item.start, item.end))
                moved = {"op": "update", "id": item.id, "segment": [item.start, item.start + 0.04]}
                store.change(name, [moved], "page", None, "", False, lambda: TIMES)
                assert store.close()
                return told, bout, item.id
    store.touch()
    assert store.close()
    return None


@pytest.mark.skipif(not SAMPLES, reason=f"the shared folder is absent: {FOLDER}")
@pytest.mark.parametrize("source", SAMPLES, ids=lambda path: path.name)
def test_others_are_unchanged(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    told, done = load_annotations(source), edited(source, file)
    found = load_annotations(file)
    if done is None:
        assert facts(found) == facts(told)
        return
    video, bout, identity = done
    videos = {
        name: replace(v, segments=tuple(i for i in v.segments if not math.isnan(i.start)))
        for name, v in told.videos.items()  # the page has no place for what has no times
    }
    rest = list(videos[video.name].segments)
    rest.remove(bout)
    videos[video.name] = replace(video, segments=tuple(rest))
    (mine,) = [i for v in found.videos.values() for i in v.segments if i.id == identity]
    others = {
        name: replace(v, segments=tuple(i for i in v.segments if i.id != identity)) for name, v in found.videos.items()
    }
    assert (mine.label, mine.subject, mine.modifiers, mine.comment, mine.comment_end, mine.frames) == (
        bout.label, bout.subject, bout.modifiers, bout.comment, bout.comment_end, None
    )  # fmt: skip
    assert facts(replace(found, videos=others)) == facts(replace(told, videos=videos))
    assert {item.name: item.kind for item in told.definitions}.items() <= {
        item.name: item.kind for item in found.definitions
    }.items()
    # In a form of BORIS, too.
    for name, each in (("told", replace(told, videos=videos)), ("found", replace(found, videos=others))):
        write_annotations(each, tmp_path / f"{name}.csv", "boris-aggregated")
    assert rows(tmp_path / "found.csv") == rows(tmp_path / "told.csv")


def rows(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines())


def test_what_the_page_has_no_place_for_stays(tmp_path: Path) -> None:
    item = GroundTruth("dig", 1.0, 2.0, comment_end="ends", frames=(25, 49), part=(1, 2))
    video = VideoAnnotation("a", "training", 9.0, 25.0, (item,), reviewed_labels=(("dig", ()),), observation="day")
    write_annotations(Annotations("", {"a": video}, ("dig",)), tmp_path / "a.json", "activitynet")
    (tmp_path / "b.json").write_text(json.dumps([json.loads((tmp_path / "a.json").read_text())])[1:-1])
    document = imported(tmp_path / "b.json")
    assert document.videos["a"].facts["observation"] == "day"
    (found,) = document.videos["a"].annotations.values()
    assert dict(found.extra) == {"comment_end": "ends", "frames": [25, 49], "part": [1, 2]}


def test_frames_have_the_times_of_the_videos_at_hand(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "m.mp4", 5, stamps=[0, 40, 80, 500, 1000], sound=None)
    (tmp_path / "m_labels.csv").write_text(",background,dig\n0,1,0\n1,0,1\n2,0,1\n3,0,1\n4,1,0\n")
    assert not imported(tmp_path / "m_labels.csv").videos["m"].annotations
    document = imported(tmp_path / "m_labels.csv", VideoFacts([tmp_path / "m.mp4"]))
    assert [(i.label, i.start, i.end) for i in document.videos["m"].annotations.values()] == [("dig", 0.04, 1.0)]


@pytest.mark.parametrize(
    "head",
    ["labelId, timestamp ,endTimestamp,score,predictionId,type", "labelId,timestamp,endTimestamp,score,note,type"],
)
def test_predictions_of_vtrace_are_suggestions(tmp_path: Path, head: str) -> None:
    rows = '\ufeff# trace-meta: {{"fps": 25}}\r\n{}\r\n"dig, deep",1,2,0.9,a::0,\r\ncall,3,,0.4,a::1,point\r\nshort\r\n'
    (tmp_path / "a.pred.csv").write_text(rows.format(head))
    found = read_suggestions(tmp_path / "a.pred.csv", {"a": "day/a"}).segments["day/a"]
    assert [(i.label, i.start, i.end, i.score, i.kind, i.status) for i in found] == [
        ("dig, deep", 1.0, 2.0, 0.9, "state", "pending"), ("call", 3.0, 3.0, 0.4, "point", "pending")
    ]  # fmt: skip
    assert [(i.name, i.kind) for i in unknown_labels(Document(), found)] == [("dig, deep", "state"), ("call", "point")]
