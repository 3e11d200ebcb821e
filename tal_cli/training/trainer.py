"""Training loop: AdamW, warm-up and cosine schedule, gradient clipping, averaged weights (EMA), resuming.

No random state is carried from step to step: the order of an epoch, a video's crop and a step's noise come from
generators seeded by (seed, epoch), (seed, epoch, video) and (seed, step). A resumed run therefore needs only weights,
optimizer moments and the step, and is bitwise reproducible on the same machine.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from tal_cli import console
from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.extractors.cpu import usable_cores
from tal_cli.extractors.errors import InputError, TalError, UsageError
from tal_cli.extractors.extraction.precision import precision
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import override
from tal_cli.models.recipe.training import CenterAssignment
from tal_cli.models.store.checkpoint import save_model
from tal_cli.models.training.contrast import contrast_loss
from tal_cli.models.training.loss import LossNormalizer, batch_loss, count_points, parameter_groups
from tal_cli.models.training.loss_terms import Losses, Tally
from tal_cli.safe_text import rough_time
from tal_cli.training.batches import Batches, Parts, split_batch
from tal_cli.training.run import TrainingResult, TrainingRun, write_record
from tal_cli.training.schedule import Schedule
from tal_cli.training.state import MetricsLog, TrainingState, fingerprint, load_matching, load_state, save_state
from tal_cli.training.tuning.tuner import Tuner
from tal_cli.training.validation.folds import cross_validate, keep_found
from tal_cli.training.validation.videos import Validation, figures, headline, validate

VALUES_PER_THREAD = 1 << 16
SAVE_SECONDS = 60.0  # a killed run loses at most this much, or its current epoch


class TrainingDiverged(TalError):
    """The loss or its gradient is not finite; the message names the step (exit code 3)."""

    exit_code = InputError.exit_code


def train(run: TrainingRun) -> TrainingResult:
    """Train; writes `model.safetensors`, `recipe.yaml`, `labels.txt`, `metrics.jsonl`, `run.json` and `state/` to the
    run folder, and with folds `folds/`, `folds.json` and `held-out.json`.

    Raises:
        TrainingDiverged: a loss or a gradient that is not finite.
        UsageError: the folder's state belongs to another recipe or other data.
    """
    return _train(run) if run.folds is None else cross_validate(run, _train)


def _train(run: TrainingRun) -> TrainingResult:
    trainer = Trainer(run)
    if run.processes.leads:
        write_record(run, finished=False)  # not before: a run that cannot be resumed keeps the record it has
    try:
        result = trainer.fit()
    except KeyboardInterrupt:
        done, whole = (step // trainer.batches.per_epoch for step in (trainer.step, trainer.end))
        console.note(
            f"{run.out}: interrupted after epoch {done} of {whole}; the same command with --resume continues it"
        )
        raise
    finally:
        trainer.close()
    if run.processes.leads:
        write_record(run, finished=True)
    return result


class Trainer:
    """Detector, optimizer, schedule and outputs of one run."""

    def __init__(self, run: TrainingRun) -> None:
        config = run.recipe.training
        self.run = run
        self.processes = run.processes
        self.batches = Batches(run.videos, run.recipe)
        self.ranges = split_batch(self.batches.size, run.processes, config.accumulate)
        self.schedule = Schedule.of(config, self.batches.per_epoch)
        if run.device.type == "cpu":
            cores = usable_cores() // run.processes.count
            torch.set_num_threads(run.threads or useful_threads(self.batches.cells * run.recipe.model.width, cores))
        torch.manual_seed(config.seed)
        self.detector = TemporalDetector.from_recipe(run.recipe).to(run.device)
        if run.initial is not None:
            load_matching(self.detector, run.initial)
        self.average = copy.deepcopy(self.detector).eval().requires_grad_(False)
        self.tuner = None
        groups = parameter_groups(self.detector, config.weight_decay)
        if run.frames is not None:
            self.tuner = Tuner(run.recipe, run.labels, run.videos, run.frames, run.device)
            groups.append(self.tuner.group(config.learning_rate))
        self.trained = [*self.detector.parameters(), *(self.tuner.parameters if self.tuner else ())]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=run.device.type in ("cpu", "cuda"))
        self.normalizer = LossNormalizer(config.initial_loss_norm)
        self.blend = get_ema_multi_avg_fn(config.ema_decay)
        self.fingerprint = fingerprint(run.recipe, run.labels, run.videos, run.precision)
        self.step = 0
        self.contrast_steps = run.recipe.contrast_epochs * self.batches.per_epoch
        self.end = min(self.schedule.steps, self.batches.per_epoch * (run.stop or self.schedule.steps))
        self.evaluated: float | None = None  # average mAP of the last evaluation in this process
        self.result = TrainingResult(0, None)
        if run.resume:
            self._restore()
        self.metrics = MetricsLog(run.out, self.step) if self.processes.leads else None

    def close(self) -> None:
        """Close the metrics log and the tracker."""
        if self.metrics is not None:
            self.metrics.close()
        if self.run.tracker is not None:
            self.run.tracker.close()

    def fit(self) -> TrainingResult:
        """Run all remaining steps."""
        begun = saved = time.monotonic()
        left = range(self.step, self.end)
        with console.progress("training", self.end, "steps", "preparing the first batch") as progress:
            for parts in self.batches.each(left, self.ranges, self.run.device):
                terms = self.learn(parts)
                progress(self.step, self.end)
                progress.describe(self._headline(terms["total"]))
                ended = self.step % self.batches.per_epoch == 0
                if ended:
                    self._end_epoch(terms["total"])
                if ended and self.step - left.start <= self.batches.per_epoch < left.stop - left.start:
                    rate = (time.monotonic() - begun) / (self.step - left.start)
                    console.note(f"the remaining epochs take about {rough_time(rate * (left.stop - self.step))}")
                if ended or time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
        return self.result

    def _headline(self, loss: float) -> str:
        reached = "-" if self.evaluated is None else f"{self.evaluated:.3f}"
        return f"epoch {self.epoch} of {self.end // self.batches.per_epoch} loss {loss:.3f} mAP {reached}"

    @property
    def epoch(self) -> int:
        """The epoch of the last completed step, from 1; 0 before the first."""
        return -(-self.step // self.batches.per_epoch)

    def learn(self, parts: Parts) -> dict[str, float]:
        """One training step on this process's parts of a batch; returns the losses of the full batch by name."""
        config = self.run.recipe.training
        rate = self.schedule.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step, group.get("rate_factor", 1.0))
        self.detector.train()
        self.optimizer.zero_grad(set_to_none=True)
        terms = self._backward(parts)
        self._check(terms)
        self.processes.sum_gradients(self.trained)
        limit = float("inf") if config.clip_grad_norm is None else config.clip_grad_norm
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained, limit))
        self._check({"gradient": norm})
        self.optimizer.step()
        self._average()
        self.step += 1
        self._log(terms, rate, norm)
        return terms

    def _backward(self, parts: Parts) -> dict[str, float]:
        """Backward pass over this process's parts of the batch; returns the losses of the full batch."""
        config, device = self.run.recipe.training, self.run.device
        whole = len(parts) == self.processes.count == 1
        tally = self._tally(parts)
        # numpy's seed sequence spreads neighbouring steps over the whole range of seeds.
        seed = int(np.random.SeedSequence([config.seed, self.step]).generate_state(1, np.uint64)[0] >> 1)
        sums = torch.zeros(len(fields(Losses)), dtype=torch.float64)
        normalizer = self.normalizer
        for part, batch in parts:
            self.detector.take_part(None if whole else part)
            normalizer = LossNormalizer(self.normalizer.value)
            moved = batch.to(device)
            with precision(device, self.run.precision):
                rows = moved.rows if self.tuner is None else self.tuner.rows(moved, (config.seed, self.step))
                torch.manual_seed(seed)
                inputs = (rows, moved.mask, moved.segments, moved.labels)
                if self.step < self.contrast_steps:
                    losses = contrast_loss(self.detector, *inputs, moved.reviewed)
                else:
                    step = self.step - self.contrast_steps
                    losses = batch_loss(self.detector, *inputs, normalizer, config, tally, moved.reviewed, step)
            losses.total.backward()
            sums += loss_terms(losses)
        self.normalizer = normalizer
        names = [field.name for field in fields(Losses)]
        return dict(zip(names, self.processes.total(sums).tolist(), strict=True))

    def _tally(self, parts: Parts) -> Tally | None:
        """Counts over the full batch, summed over forward passes and processes; needed before the first pass."""
        assignment = self.run.recipe.training.assignment
        if len(parts) > 1 and isinstance(assignment, CenterAssignment):
            config = self.run.recipe.model
            counts = [count_points(config, b.mask, b.segments, b.labels, assignment, b.reviewed) for _, b in parts]
            everywhere = self.processes.total(torch.stack(counts).sum(0))
            return lambda _: everywhere
        return None if self.processes.count == 1 else self.processes.total

    def _average(self) -> None:
        with torch.no_grad():
            self.blend(list(self.average.parameters()), list(self.detector.parameters()), self.step)
            if self.tuner is not None:
                self.blend(self.tuner.average, list(self.tuner.parameters), self.step)
            for mean, value in zip(self.average.buffers(), self.detector.buffers(), strict=True):
                mean.copy_(value)

    def _check(self, terms: dict[str, float]) -> None:
        bad = ", ".join(name for name, term in terms.items() if not np.isfinite(term))
        if not bad:
            return
        raise TrainingDiverged(
            f"training stopped in epoch {self.step // self.batches.per_epoch + 1}, step {self.step + 1}: {bad} not "
            f"finite; learning rate {self.schedule.rate(self.step):.3g}; "
            f"videos {', '.join(self.batches.videos(self.step))}",
            "lower training.learning_rate or training.clip_grad_norm with --set; the run folder has the state before",
        )

    def _log(self, terms: dict[str, float], rate: float, norm: float) -> None:
        if self.metrics is not None:
            self.metrics.write(step=self.step, epoch=self.epoch, learning_rate=rate, gradient_norm=norm, **terms)
        if self.run.tracker is not None:
            for name, value in {**terms, "learning_rate": rate}.items():
                self.run.tracker.add(name, value, self.step)

    def _end_epoch(self, loss: float) -> None:
        """Evaluate if due, and write the model if these weights are selected."""
        config = self.run.recipe.training
        is_last = self.step == self.end
        average, recipe = None, self.run.recipe
        text = f"epoch {self.epoch}: loss {loss:.4f}"
        if self.run.validation and (is_last or self.epoch % self.run.evaluate_every == 0):
            found = self._evaluate()
            average = self.evaluated = found.evaluation.average
            recipe = override(recipe, {"inference.display_score": found.display}) if found.display else recipe
            text = f"{text}, {headline(found.evaluation)}"
        console.note(text)
        improved = average is not None and average > self.result.best
        if average is not None and improved:
            self.result = replace(self.result, best_epoch=self.epoch, best=average)
        if improved or config.select == "last" or not self.result.best_epoch:
            if self.processes.leads:
                recipe = recipe if self.tuner is None else self.tuner.save(self.run.out, recipe)
                save_model(self.run.out, self.average, recipe, self.run.labels)
            self.result = replace(self.result, epoch=self.epoch, average=average)

    def _evaluate(self) -> Validation:
        with console.progress("evaluating", len(self.run.validation), "videos") as progress:
            run = self.run
            videos = self._validation()
            found = validate(self.average, run.recipe, run.labels, videos, run.tiou, progress, self.processes)
        if self.metrics is not None:
            self.metrics.write(step=self.step, epoch=self.epoch, evaluation=found.evaluation.as_json())
        if self.run.tracker is not None:
            for name, value in figures(found.evaluation).items():
                self.run.tracker.add(name, value, self.step)
        if self.run.keep_found and self.processes.leads:
            keep_found(found.found, self.run, self.epoch)
        return found

    def _validation(self) -> Sequence[FeatureVideo]:
        """The videos to evaluate on; those of this process with the features that the averaged backbone gives them."""
        if self.tuner is None:
            return self.run.validation
        videos = list(self.run.validation)
        mine = slice(self.processes.rank, None, self.processes.count)  # as `validate` distributes them
        with self.tuner.averaged():
            videos[mine] = [self.tuner.with_own_features(video, self.run.precision) for video in videos[mine]]
        return videos

    def save(self) -> None:
        """Write the training state; only process 0 does."""
        if not self.processes.leads:
            return
        state = TrainingState(
            step=self.step,
            fingerprint=self.fingerprint,
            detector=self.detector.state_dict(),
            average=self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
            loss_norm=self.normalizer.value,
            result=asdict(self.result),
            backbone=None if self.tuner is None else self.tuner.state(),
        )
        save_state(state, self.run.out)

    def _restore(self) -> None:
        state = load_state(self.run.out)
        if state is None:
            console.note(f"{self.run.out} contains no training state: starting at the first step")
            return
        if state.fingerprint != self.fingerprint:
            raise UsageError(
                f"{self.run.out}: its state belongs to another recipe, precision or data set",
                "resume with the same options, or train into another folder with --output",
            )
        self.detector.load_state_dict(state.detector)
        self.average.load_state_dict(state.average)
        if self.tuner is not None and state.backbone is not None:
            self.tuner.restore(state.backbone)
        self.optimizer.load_state_dict(state.optimizer)
        self.normalizer.value = state.loss_norm
        self.step = state.step
        self.result = TrainingResult(**state.result)
        console.note(f"resuming after step {self.step} of {self.end}")


def useful_threads(values: int, cores: int) -> int:
    """Number of torch threads, up to one per core, that speed up a step with that many activations per layer.

    With fewer than VALUES_PER_THREAD activations each, threads spend more time on synchronisation than on computing,
    and many times more on a busy machine.
    """
    return max(1, min(cores, values // VALUES_PER_THREAD))


def loss_terms(losses: Losses) -> Tensor:
    """The scalars of a batch in the order of their fields, float64."""
    values = [torch.as_tensor(getattr(losses, field.name)).detach() for field in fields(losses)]
    return torch.tensor([value.item() for value in values], dtype=torch.float64)
