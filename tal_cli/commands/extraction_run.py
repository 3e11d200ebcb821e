"""`tal extract-features` over many videos: choice of backbone, choice of engine and workers, and progress messages."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tal_cli import __version__, console
from tal_cli.batch import Run, auto_workers
from tal_cli.error_report import exit_code_of
from tal_cli.extractors.catalog import find
from tal_cli.extractors.corpus.run import Engine, Job, Outcome, Summary, run_corpus
from tal_cli.extractors.corpus.worker_config import Setup
from tal_cli.extractors.errors import EXIT_MISSING, InputError, UsageError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.files.remote import is_url, join
from tal_cli.inputs import Inputs
from tal_cli.results.output_paths import check_folder, file_for
from tal_cli.safe_text import counted, one_line, printable

if TYPE_CHECKING:
    from tal_cli.models.recipe.features import FeatureSpec

# Cores that one worker process can keep busy; each further process loads the network again.
CORES_EACH = 8


@dataclass(frozen=True, kw_only=True)
class Where:
    """Device, engine and workers. workers: videos processed in parallel, None: by the cores. patience: seconds without
    progress after which a video counts as hung."""

    engine: str
    address: str | None
    device: str
    workers: int | None
    patience: float


def choose(extractor: str | None, model: str | None, asked: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The backbone's name and settings: those given, else those of the model."""
    settings = dict(asked)
    if extractor is None:
        spec = feature_spec(model or os.environ.get("TAL_MODEL") or "camera")
        extractor = spec.extractor
        settings = spec.framing() | settings
    return extractor, settings


def feature_spec(model: str) -> FeatureSpec:
    """The features that a model reads; a bundled recipe is enough, so features can be extracted without its weights."""
    from tal_cli.models.recipe.loading import full_name, load_model_recipe
    from tal_cli.models.recipe.schema import Recipe
    from tal_cli.models.store.zoo import bundled_recipes, resolve_model

    shipped = full_name(model) in bundled_recipes()
    recipe = load_model_recipe(model if shipped else resolve_model(model) / "recipe.yaml")
    if isinstance(recipe, Recipe) and recipe.backbone.tunes:
        raise UsageError(
            f"{model}: its backbone was trained with it, and its features serve no other model",
            "`tal detect` makes them; name an extractor with --extractor",
        )
    return recipe.features


class Corpus:
    """One run over a corpus.

    Raises:
        UsageError: settings that the backbone cannot have, a folder that cannot be written to.
        WeightsMissing: it needs weights that are not there.
    """

    def __init__(self, setup: Setup, where: Where, *, output: str, format: str, overwrite: bool) -> None:
        self._setup, self._where = setup, where
        self._output, self._format, self._overwrite = output, format, overwrite
        if output.startswith("memory://"):
            raise UsageError(f"--output {output}: memory is freed when this command ends")
        if not is_url(output):
            check_folder(Path(join(output)))
        self._contract = setup.contract()
        differences = self._contract.differences(find(setup.extractor).contract)
        differences = [line for line in differences if not line.startswith("weights_sha256")]
        if differences:
            console.note(f"not the contract of the published features: {'; '.join(differences)}")
        self._bars = _Bars()

    def extract(self, found: Inputs, summary: Path | None) -> int:
        """Extract the missing features, report the outcome, and return the exit code."""
        run, total = Run(found), Summary()
        jobs = {Job(source.path_or_url, self._target(source.name)): source for source in found.sources}
        outcomes = run_corpus(jobs, self._contract, lambda: self._engine(len(jobs)), overwrite=self._overwrite)
        try:
            with console.progress("videos", total=len(jobs), unit="videos") as progress, self._bars:
                for outcome in outcomes:
                    self._bars.end(outcome.job)
                    total.add(outcome)
                    self._tell(outcome, run)
                    progress.advance()
        finally:
            outcomes.close()
        for problem in found.problems:
            total.failed.append((problem.path, problem.reason))
        console.note(sentence(total, self._output))
        if summary is not None:
            write_atomically(summary, json.dumps(self._facts(total), indent=1, ensure_ascii=False).encode() + b"\n")
        return run.exit_code

    def _tell(self, outcome: Outcome, run: Run) -> None:
        error = outcome.error
        if error is None:
            for warning in outcome.warnings:
                console.warn(f"{outcome.job.video}: {warning}")
            return
        if exit_code_of(error) == EXIT_MISSING:
            raise error
        if isinstance(error, OSError):
            error = InputError(outcome.job.target, f"cannot be written: {error.strerror}")
        run.report(error, outcome.job.video)

    def _target(self, name: str) -> str:
        return join(self._output, *file_for(Path(), name, f".{self._format}").parts)

    def _engine(self, jobs: int) -> Engine:
        if self._where.engine == "ray":
            from tal_cli.extractors.corpus.ray import RayEngine

            try:
                return RayEngine(self._setup, address=self._where.address, workers=self._where.workers)
            except (ConnectionError, ValueError) as error:
                raise UsageError(f"no Ray cluster answers at {self._where.address} ({one_line(error)[:200]})") from None
        from tal_cli.extractors.corpus.local import LocalEngine

        devices, videos_each, threads = layout(self._where.device, self._where.workers, jobs)
        return LocalEngine(
            self._setup,
            devices,
            videos_each=videos_each,
            threads=threads,
            patience=self._where.patience,
            progress=self._bars,
        )

    def _facts(self, total: Summary) -> dict[str, object]:
        return {
            "version": __version__,
            "extractor": self._setup.extractor,
            "done": total.done,
            "kept": total.kept,
            "failed": [{"path": printable(path), "reason": one_line(reason)} for path, reason in total.failed],
            "frames": total.frames,
            "video_seconds": round(total.seconds, 3),
            "elapsed_seconds": round(total.elapsed, 3),
            "video_hours_per_hour": round(total.hours_per_hour, 2),
        }


def layout(device: str, workers: int | None, jobs: int) -> tuple[list[str], int, int | None]:
    """Devices of the worker processes, videos in parallel in each, and torch threads in each (None: torch decides).

    Raises:
        UsageError: no such device.
    """
    import torch

    from tal_cli.devices import resolve_device
    from tal_cli.extractors.cpu import usable_cores

    where = resolve_device(device)
    if where.type == "cuda" and where.index is None:
        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        at_a_time = workers or max(len(devices), auto_workers(jobs))
    else:
        at_a_time = workers or auto_workers(jobs)
        processes = max(1, usable_cores() // CORES_EACH) if where.type == "cpu" else 1
        devices = [str(where)] * min(processes, at_a_time)
    threads = max(1, usable_cores() // len(devices)) if where.type == "cpu" and len(devices) > 1 else None
    return devices, -(-at_a_time // len(devices)), threads


def sentence(total: Summary, out: str) -> str:
    """Summary of a run, as a sentence."""
    parts = [f"{counted(total.done, 'feature file')} written to {out}"]
    parts += [f"{total.kept} kept"] if total.kept else []
    parts += [f"{len(total.failed)} failed"] if total.failed else []
    rate = (
        f"; {total.seconds / 3600:.2g} h of video in {total.elapsed:.0f} s, {total.hours_per_hour:.1f} hours per hour"
    )
    return ", ".join(parts) + (rate if total.done else "")


class _Bars:
    """One progress bar for each video in progress."""

    def __init__(self) -> None:
        self._bars: dict[Job, tuple[ExitStack, console.ProgressBar]] = {}

    def __call__(self, job: Job, done: int, expected: int | None) -> None:
        if job not in self._bars:
            stack = ExitStack()
            name = Path(job.target).stem
            bar = stack.enter_context(console.progress(name, unit="frames", waiting=f"opening {name}"))
            self._bars[job] = stack, bar
        self._bars[job][1](done, expected)

    def end(self, job: Job) -> None:
        """Remove a video's bar."""
        if job in self._bars:
            self._bars.pop(job)[0].close()

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *error: object) -> None:
        for job in list(self._bars):
            self.end(job)
