"""The videos of the training run that a model comes from: which it was trained on, and which were held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tal_cli import console
from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.json_files import read_json

RUN_RECORD = "run.json"  # in the run folder; `tal_cli.training.run` writes it


@dataclass(frozen=True)
class RunVideos:
    """Names of a training run's videos, as in its annotations.

    Attributes:
        trained_on: by the run, and by the runs that its initial weights come from.
        held_out: evaluated on during training.
    """

    trained_on: tuple[str, ...]
    held_out: tuple[str, ...]

    def within(self, video: str) -> RunVideos:
        """The same for one video."""
        trained_on, held_out = ((video,) if video in names else () for names in (self.trained_on, self.held_out))
        return RunVideos(trained_on, held_out)

    def as_json(self) -> dict[str, list[str]]:
        """The entries of a results file, which `from_json` reads."""
        return {"trained_on": list(self.trained_on), "held_out": list(self.held_out)}

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> RunVideos | None:
        """From the entries of a results file; None if they are missing."""
        trained_on, held_out = _names(entries.get("trained_on")), _names(entries.get("held_out"))
        return None if trained_on is None or held_out is None else cls(trained_on, held_out)


def read_run_videos(folder: Path) -> RunVideos | None:
    """The videos of the run that made a model folder; None where the folder does not tell.

    A record that cannot be read is warned of: the model works without it; and so is a training that has not ended.
    """
    path = folder / RUN_RECORD
    if not path.is_file():
        return None
    try:
        record = read_json(path)
    except InputError as error:
        console.warn(f"{error}; results will not say which videos were trained on")
        return None
    if not isinstance(record, dict):
        return None
    if record.get("finished") is False:
        console.warn(f"{folder}: its training has not ended; the same command with --resume continues it")
    training, held_out = _names(record.get("training")), _names(record.get("validation"))
    if training is None or held_out is None:
        return None
    return RunVideos(tuple(dict.fromkeys((*training, *(_names(record.get("trained_before")) or ())))), held_out)


def is_finished(folder: Path) -> bool:
    """Whether the training of a run folder has ended; True where the folder does not tell."""
    try:
        record = read_json(folder / RUN_RECORD)
    except InputError:
        return True
    return not isinstance(record, dict) or record.get("finished") is not False


def _names(value: Any) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else None
