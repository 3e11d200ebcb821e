"""Results as BORIS projects, as a row per frame, and with frame numbers in CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tal_cli.datasets.formats import load_annotations
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS, RunInfo

RUN = RunInfo("0", "camera", "0" * 64, ("run", "bark"))
VIDEO = Detections("a", "v/a.mp4", 2.0, 25.0, 50, (
    Segment("run", 0.5, 1.0, 0.9), Segment("run", 1.0, 1.2, 0.8), Segment("bark", 1.5, 1.5, 0.7, "point", "Rex"),
    Segment("bark", 1.999, 2.0, 0.1),
))  # fmt: skip
OTHER = Detections("b", "v/b.mp4", 1.0, 29.97, 30, ())


def written(name: str, *videos: Detections, run: RunInfo = RUN) -> bytes:
    file = io.BytesIO()
    FORMATS[name].writer()(videos, file, run)
    return file.getvalue()


def test_frames_has_a_row_for_each_frame() -> None:
    rows = list(csv.DictReader(io.StringIO(written("frames", VIDEO, OTHER).decode())))
    assert [row["frame"] for row in rows] == [*map(str, range(50)), *map(str, range(30))]
    assert [row["video"] for row in rows] == ["a"] * 50 + ["b"] * 30
    held = [n for n, row in enumerate(rows) if row["run"] == "1"]
    assert held == [*range(13, 25), *range(25, 30)], "0.5 s lies within frame 12, whose time is 0.48 s"
    assert [n for n, row in enumerate(rows) if row["bark"] == "1"] == [37, 49]
    without = written("frames", VIDEO, run=RunInfo("0", "", "")).decode()
    assert without.splitlines()[0] == "video,frame,bark,run"


def test_boris_reviews_what_was_detected(tmp_path: Path) -> None:
    (tmp_path / "x.boris").write_bytes(written("boris", VIDEO, OTHER))
    found = load_annotations(tmp_path / "x.boris")
    assert [(i.label, i.start, i.end, i.kind, i.subject, i.comment) for i in found.videos["a"].segments] == [
        ("run", 0.5, 1.0, "state", None, "score 0.90"), ("run", 1.0, 1.2, "state", None, "score 0.80"),
        ("bark", 1.5, 1.5, "state", "Rex", "score 0.70"), ("bark", 1.999, 2.0, "state", None, "score 0.10"),
    ]  # fmt: skip
    assert found.videos["b"].path == "v/b.mp4" and [item.name for item in found.definitions] == ["run", "bark"]


@pytest.mark.parametrize("frames", [False, True])
def test_csv_has_frames_beside_seconds(frames: bool) -> None:
    run = RunInfo("0", "", "", frames=frames)
    header, first, *_ = written("csv", VIDEO, run=run).decode().splitlines()
    assert header == "video,label,start,end,score" + (",start_frame,end_frame" if frames else "")
    assert first == "a,run,0.5,1.0,0.9" + (",13,25" if frames else "")
