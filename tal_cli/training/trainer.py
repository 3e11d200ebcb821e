"""The training loop: AdamW, warm-up and cosine per step, clipping, a moving average of the weights, resuming.

Nothing random is carried from step to step: the order of an epoch, a video's crop and a step's noise are drawn from
generators seeded by (seed, epoch), (seed, epoch, video) and (seed, step). A resumed run therefore needs weights,
moments and the step alone, and ends in the same bits on the same machine.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from models.checkpoint import save_model
from models.detector import TemporalDetector
from models.pyramid import padded_length
from models.recipe import Recipe
from models.training import Losses, LossNormalizer, batch_loss, parameter_groups
from tal_cli import console
from tal_cli.datasets.features import Batch, FeatureVideo, collate, crop
from tal_cli.devices import arithmetic
from tal_cli.errors import InputProblem, TalError, UsageProblem
from tal_cli.evaluation.average_precision import Evaluation
from tal_cli.training.schedule import Schedule
from tal_cli.training.state import MetricsLog, TrainingState, fingerprint, load_state, save_state
from tal_cli.training.validation import validate

SAVE_SECONDS = 60.0  # a killed run loses at most this much, or the epoch it was in


class TrainingDiverged(TalError):
    """The loss or its gradient is no number any more; the message says where (exit code 3)."""

    exit_code = InputProblem.exit_code


class Board(Protocol):
    """Where figures are shown while training runs, TensorBoard for one."""

    def add(self, name: str, value: float, step: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """One run: what to train, on what, and where to.

    Attributes:
        recipe: everything that defines the detector and its training.
        labels: in class order.
        videos: to train on.
        validation: to evaluate on; may be empty.
        out: the run folder.
        tiou: thresholds of the evaluations.
        evaluate_every: epochs between evaluations; the last epoch is always evaluated.
        precision: `auto`, `fp32`, `bf16` of the forward pass; auto is fp32.
        resume: go on from the folder's state where it has one.
        initial: weights to begin with, by parameter name; those of another shape are left out.
    """

    recipe: Recipe
    labels: tuple[str, ...]
    videos: Sequence[FeatureVideo]
    validation: Sequence[FeatureVideo]
    out: Path
    tiou: tuple[float, ...]
    device: torch.device
    evaluate_every: int = 5
    precision: str = "auto"
    resume: bool = False
    initial: dict[str, Tensor] | None = None
    board: Board | None = None


@dataclass(frozen=True)
class TrainingResult:
    """Which weights are in the run folder: of which epoch (from 1), and the average mAP of that epoch if evaluated."""

    epoch: int
    average: float | None


def train(run: TrainingRun) -> TrainingResult:
    """Train; leaves `model.safetensors`, `recipe.yaml`, `labels.txt`, `metrics.jsonl` and `state/` in the run folder.

    Raises:
        TrainingDiverged: a loss or a gradient that is no number.
        UsageProblem: the folder's state belongs to another recipe or other data.
    """
    trainer = Trainer(run)
    try:
        return trainer.fit()
    finally:
        trainer.metrics.close()


class Trainer:
    """One run's moving parts."""

    def __init__(self, run: TrainingRun) -> None:
        config = run.recipe.training
        self.run = run
        self.batch_size = min(config.batch_size, len(run.videos))
        self.steps_per_epoch = len(run.videos) // self.batch_size
        self.schedule = Schedule.of(config, self.steps_per_epoch)
        torch.manual_seed(config.seed)
        self.detector = TemporalDetector.from_recipe(run.recipe).to(run.device)
        if run.initial is not None:
            load_matching(self.detector, run.initial)
        self.average = copy.deepcopy(self.detector).eval().requires_grad_(False)
        groups = parameter_groups(self.detector, config.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=run.device.type in ("cpu", "cuda"))
        self.normalizer = LossNormalizer(config.initial_loss_norm)
        self.blend = get_ema_multi_avg_fn(config.ema_decay)
        self.fingerprint = fingerprint(run.recipe, run.labels, run.videos, run.precision)
        self.step = 0
        self.best = -1.0
        self.result = TrainingResult(0, None)
        if run.resume:
            self._restore()
        self.metrics = MetricsLog(run.out, self.step)

    def fit(self) -> TrainingResult:
        """Run all steps that are left."""
        saved = time.monotonic()
        with console.progress("training", self.schedule.steps, "steps") as progress:
            while self.step < self.schedule.steps:
                losses = self._step()
                progress(self.step, self.schedule.steps)
                progress.describe(
                    f"epoch {self.epoch} loss {losses.total.item():.3f} mAP {self.result.average or 0:.3f}"
                )
                ended = self.step % self.steps_per_epoch == 0
                if ended:
                    self._end_epoch(losses)
                if ended or time.monotonic() - saved > SAVE_SECONDS:
                    self._save()
                    saved = time.monotonic()
        return self.result

    @property
    def epoch(self) -> int:
        """The epoch of the last step done, from 1; 0 before the first."""
        return -(-self.step // self.steps_per_epoch)

    def batch(self, step: int) -> Batch:
        """The batch of a step: it depends on the seed and the step alone. The last incomplete batch is dropped."""
        config, spec = self.run.recipe.training, self.run.recipe.features
        epoch, index = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([config.seed, epoch, 0]).permutation(len(self.run.videos))
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        videos = [self.run.videos[i] for i in chosen]
        crops = [
            crop(video, config, spec, np.random.default_rng([config.seed, epoch, 1 + int(i)]))
            for i, video in zip(chosen, videos, strict=True)
        ]
        return collate(videos, crops, lambda longest: padded_length(self.run.recipe.model, longest))

    def _step(self) -> Losses:
        config = self.run.recipe.training
        batch = self.batch(self.step).to(self.run.device)
        rate = self.schedule.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # numpy's seed sequence spreads neighbouring steps over the whole range of seeds.
        torch.manual_seed(int(np.random.SeedSequence([config.seed, self.step]).generate_state(1, np.uint64)[0] >> 1))
        self.detector.train()
        with arithmetic(self.run.device, self.run.precision):
            losses = batch_loss(
                self.detector, batch.features, batch.mask, batch.segments, batch.labels, self.normalizer, config
            )
        self._check(losses.total, loss_terms(losses), batch)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        limit = float("inf") if config.clip_grad_norm is None else config.clip_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(self.detector.parameters(), limit)
        self._check(norm, {"gradient": float(norm)}, batch)
        self.optimizer.step()
        self._average()
        self.step += 1
        self._log(losses, rate, float(norm))
        return losses

    def _average(self) -> None:
        with torch.no_grad():
            self.blend(list(self.average.parameters()), list(self.detector.parameters()), self.step)
            for mean, value in zip(self.average.buffers(), self.detector.buffers(), strict=True):
                mean.copy_(value)

    def _check(self, value: Tensor, terms: dict[str, float], batch: Batch) -> None:
        if bool(torch.isfinite(value)):
            return
        bad = ", ".join(name for name, term in terms.items() if not np.isfinite(term)) or "total"
        raise TrainingDiverged(
            f"training stopped in epoch {self.step // self.steps_per_epoch + 1}, step {self.step + 1}: "
            f"{bad} not finite; learning rate {self.schedule.rate(self.step):.3g}; videos {', '.join(batch.videos)}",
            "lower training.learning_rate or training.clip_grad_norm with --set; the run folder holds the state before",
        )

    def _log(self, losses: Losses, rate: float, norm: float) -> None:
        terms = loss_terms(losses)
        self.metrics.write(step=self.step, epoch=self.epoch, learning_rate=rate, gradient_norm=norm, **terms)
        if self.run.board is not None:
            for name, value in {**terms, "learning_rate": rate}.items():
                self.run.board.add(name, value, self.step)

    def _end_epoch(self, losses: Losses) -> None:
        """Evaluate where it is due, and write the run's model where these weights are it."""
        config = self.run.recipe.training
        is_last = self.step == self.schedule.steps
        average = None
        if self.run.validation and (is_last or self.epoch % self.run.evaluate_every == 0):
            average = self._evaluate().average
        text = f"epoch {self.epoch}: loss {losses.total.item():.4f}"
        console.note(text if average is None else f"{text}, average mAP {average:.4f}")
        improved = average is not None and average > self.best
        self.best = max(self.best, -1.0 if average is None else average)
        if improved or config.select == "last" or not self.run.validation:
            save_model(self.run.out, self.average, self.run.recipe, self.run.labels)
            self.result = TrainingResult(self.epoch, average)

    def _evaluate(self) -> Evaluation:
        with console.progress("evaluating", len(self.run.validation), "videos") as progress:
            evaluation = validate(
                self.average, self.run.recipe, self.run.labels, self.run.validation, self.run.tiou, progress
            )
        self.metrics.write(step=self.step, epoch=self.epoch, evaluation=evaluation.as_json())
        if self.run.board is not None:
            self.run.board.add("mAP", evaluation.average, self.step)
        return evaluation

    def _save(self) -> None:
        state = TrainingState(
            step=self.step,
            fingerprint=self.fingerprint,
            detector=self.detector.state_dict(),
            average=self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
            loss_norm=self.normalizer.value,
            best=self.best,
            result_epoch=self.result.epoch,
            result_average=self.result.average,
        )
        save_state(state, self.run.out)

    def _restore(self) -> None:
        state = load_state(self.run.out)
        if state is None:
            console.note(f"{self.run.out} holds no state yet: beginning at the first step")
            return
        if state.fingerprint != self.fingerprint:
            raise UsageProblem(
                f"{self.run.out}: its state belongs to another recipe, precision or other data",
                "resume with the same options, or train into another folder with --out",
            )
        self.detector.load_state_dict(state.detector)
        self.average.load_state_dict(state.average)
        self.optimizer.load_state_dict(state.optimizer)
        self.normalizer.value = state.loss_norm
        self.step, self.best = state.step, state.best
        self.result = TrainingResult(state.result_epoch, state.result_average)
        console.note(f"resuming after step {self.step} of {self.schedule.steps}")


def loss_terms(losses: Losses) -> dict[str, float]:
    """The scalars of a batch by name."""
    values = {field.name: getattr(losses, field.name) for field in fields(losses)}
    return {name: value.item() if isinstance(value, Tensor) else value for name, value in values.items()}


def load_matching(detector: TemporalDetector, weights: dict[str, Tensor]) -> None:
    """Take over the tensors that fit by name and shape, and say how many do not.

    Raises:
        UsageProblem: none fits.
    """
    own = detector.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise UsageProblem("--init: no tensor of these weights fits the model")
    detector.load_state_dict(fitting, strict=False)
    if len(fitting) < len(own):
        console.note(f"--init: {len(own) - len(fitting)} of {len(own)} tensors do not fit and start anew")
