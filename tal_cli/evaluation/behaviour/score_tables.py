"""Scores of frames, as programs write them that judge every frame: tables with a row per frame, and FERAL's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tal_cli.datasets.annotations import VideoAnnotation
from tal_cli.datasets.formats.behaviour.feral import BACKGROUND
from tal_cli.datasets.formats.behaviour.frames import FRAMES, UNNAMED
from tal_cli.datasets.formats.sheets import first_row, read_sheet
from tal_cli.datasets.formats.values import named_after, stem
from tal_cli.evaluation.behaviour.frame_scores import runs, smoothed
from tal_cli.evaluation.matching import Floats
from tal_cli.evaluation.predictions import Predictions
from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.json_files import parse_json, read_text

TABLES = ("*.csv", "*.tsv", "*.csv.gz")
PREDICTED = '"preds"'


@dataclass(frozen=True)
class ScoreTables:
    """Scores of the frames of some videos, [frames, labels] each; `labels` is empty where the file names none."""

    path: Path
    labels: tuple[str, ...]
    videos: Mapping[str, Floats]

    def of(self, video: VideoAnnotation, labels: Sequence[str], frames: int) -> Floats:
        """The scores of a video's frames, [frames, labels]; 0 of labels that have none, and of videos that are absent.

        Raises:
            InputError: there are other frames, or columns that have no name.
        """
        name = self._name_of(video)
        if name is None:
            return np.zeros((frames, len(labels)))
        scores = self.videos[name]
        if len(scores) != frames:
            raise InputError(self.path, f"{name}: scores of {len(scores)} frames, but the video has {frames}")
        places = {label: place for place, label in enumerate(self.labels)}
        known = [scores[:, places[label]] if label in places else np.zeros(frames) for label in labels]
        return np.column_stack(known)

    def named(self, labels: Sequence[str]) -> ScoreTables:
        """With the names of its columns; FERAL's file has none: they are the annotations', after `other` if there is
        one column more. Raises InputError where numbers differ."""
        if self.labels:
            return self
        columns = next((scores.shape[1] for scores in self.videos.values()), len(labels))
        names = (BACKGROUND, *labels) if columns == len(labels) + 1 else tuple(labels)
        if len(names) != columns:
            raise InputError(self.path, f"scores of {columns} classes, but the annotations have {len(labels)} labels")
        return replace(self, labels=names)

    def _name_of(self, video: VideoAnnotation) -> str | None:
        """The table of a video: of its name, that of its file, or one that ends or begins with it."""
        wanted = {video.name, stem(video.path), stem(video.name)} - {""}
        exact = (name for name in self.videos if name in wanted or stem(name) in wanted)
        longer = (n for n in self.videos for w in wanted if n.endswith(f"_{w}") or n.startswith(f"{w}_"))
        return next(exact, None) or next(longer, None)

    def annotated(self, videos: Sequence[VideoAnnotation]) -> list[VideoAnnotation]:
        """Those of the videos that have scores."""
        return [video for video in videos if self._name_of(video) is not None]

    def smoothed(self, frames: int) -> ScoreTables:
        """With means over `frames` frames around each."""
        return replace(self, videos={name: smoothed(scores, frames) for name, scores in self.videos.items()})

    def segments(self, videos: Sequence[VideoAnnotation], least: Mapping[str, float]) -> Predictions:
        """Runs of frames whose scores are above `least`, with their means as scores."""
        rows = []
        labels = sorted(least)
        for video in self.annotated(videos):
            scores = self.of(video, labels, len(self.videos[self._name_of(video) or ""]))
            fps = video.fps or 1.0
            rows += [
                (video.name, label, first / fps, (last + 1) / fps, float(scores[first : last + 1, place].mean()))
                for place, label in enumerate(labels)
                for first, last in runs(scores[:, place] > least[label])
            ]
        return Predictions.from_rows(rows)


def load_score_tables(path: Path) -> ScoreTables | None:
    """The scores of frames in a file, or in the tables of a folder, named by video; None if it holds something else.

    Raises:
        InputError: it cannot be read, or a cell is no number; the message names the line.
    """
    if path.is_dir():
        files = sorted(file for pattern in TABLES for file in path.glob(pattern))
        parts = [part for file in files if (part := load_score_tables(file)) is not None]
        if not parts:
            raise InputError(path, "no table in it has a row per frame", "name a file of results, or such a folder")
        if other := next((part for part in parts if part.labels != parts[0].labels), None):
            raise InputError(other.path, f"its columns are not those of {parts[0].path.name}")
        return ScoreTables(path, parts[0].labels, {name: v for part in parts for name, v in part.videos.items()})
    text = read_text(path)
    if text.lstrip().startswith("{"):
        return _of_feral(path, text) if PREDICTED in text else None
    names = [name.lower() for name in first_row(text)]
    has_videos = names[:2] == ["video", "frame"]
    if not has_videos and (len(names) < 2 or names[0] not in (*FRAMES, *UNNAMED)):
        return None
    sheet = read_sheet(path, text, names)
    first = 2 if has_videos else 1
    videos: dict[str, list[list[float]]] = {}
    for line, row in sheet.rows:
        numbers = [sheet.number(cell) for cell in row[first:]]
        if None in numbers or len(row) != len(names):
            raise InputError(path, f"line {line}: expected a score for each of {len(names) - first} labels")
        name = row[0] if has_videos else named_after(path)
        videos.setdefault(name, []).append([number for number in numbers if number is not None])
    return ScoreTables(path, sheet.header[first:], {name: np.asarray(rows) for name, rows in videos.items()})


def _of_feral(path: Path, text: str) -> ScoreTables:
    content = parse_json(path, text)
    classes, told = content.get("class_names"), content.get("preds")
    named = classes.values() if isinstance(classes, dict) else classes or ()
    try:
        videos = {str(name): np.asarray(rows, dtype=np.float64) for name, rows in told.items()}
        if any(rows.ndim != 2 for rows in videos.values()):
            raise ValueError
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(path, "preds: expected a list of probabilities for each frame of each video") from error
    return ScoreTables(path, tuple(map(str, named)), videos)
