"""Several models in one run give what each of them gives alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_runs import Tal

from tal_cli import VideoDetector
from tal_cli.results.segments import Segment
from tal_cli.several_models import SeveralModels


@pytest.fixture
def clip(clips: Path) -> Path:
    return clips / "first.mp4"


@pytest.fixture
def two(home: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two models that read the same features and share one label, `wave`."""
    folders = tmp_path / "first", tmp_path / "second"
    for folder, last in zip(folders, ("jump", "run"), strict=True):
        shutil.copytree(home / "models" / "small", folder)
        (folder / "labels.txt").write_text(f"wave\nsit\n{last}\n".replace("sit", f"sit {folder.name}"))
        recipe = (folder / "recipe.yaml").read_text().replace("name: small", f"name: {folder.name}", 1)
        (folder / "recipe.yaml").write_text(recipe)
    return folders


@pytest.mark.slow
def test_together_as_alone(two: tuple[Path, Path], clip: Path, monkeypatch: pytest.MonkeyPatch, run: Tal) -> None:
    alone = [VideoDetector.load(folder).detect(clip) for folder in two]
    expected = {
        (f"{folder.name}: wave" if s.label == "wave" else s.label, s.start, s.end, s.score)
        for folder, found in zip(two, alone, strict=True)
        for s in found.segments
    }
    extracted: list[str] = []
    extract = VideoDetector.extract

    def counted(self: VideoDetector, path: Path, **options: object) -> object:
        extracted.append(self.name)
        return extract(self, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(VideoDetector, "extract", counted)
    models = SeveralModels([VideoDetector.load(folder) for folder in two])
    found = models.detect(clip)
    assert {(s.label, s.start, s.end, s.score) for s in found.segments} == expected
    assert extracted == ["first"]
    assert models.labels == ("first: wave", "sit first", "jump", "second: wave", "sit second", "run")
    (best,) = models.detect(clip, labels=["second: wave"], top_k=1).segments
    waves = [s for s in alone[1].segments if s.label == "wave"]
    assert best == Segment("second: wave", waves[0].start, waves[0].end, waves[0].score)

    done = run("detect", clip, "-m", two[0], "-m", two[1], "--format", "json")
    assert done.code == 0
    document = json.loads(done.out)
    assert {entry["label"] for entry in document["results"]["first"]} <= set(models.labels)
    assert document["external_data"]["model"] == "first+second"


def test_mistakes_in_naming_several(two: tuple[Path, Path], clip: Path, run: Tal) -> None:
    twice = run("detect", clip, "-m", two[0], "-m", two[0])
    assert twice.code == 2 and "first is given twice" in twice.err
    unknown = run("detect", clip, "-m", two[0], "-m", two[1], "--label", "wave")
    assert unknown.code == 2 and "unknown label 'wave'" in unknown.err
