"""Cost of a detector on one device: parameters, operations, latency by stage, peak memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from tal_cli.extractors.extraction.precision import precision
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.candidates import find_candidates
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.layers.pyramid import pad_batch, padded_length
from tal_cli.models.predictions import Predictions
from tal_cli.models.recipe.schema import Recipe

WARM_UP = 2  # untimed runs
MEMORY_EVENT = "[memory]"
USUAL_RATE = 30.0  # frames per second


@dataclass(frozen=True)
class Conditions:
    """Settings shared by all detectors of one run."""

    device: torch.device
    precision: str  # of the forward pass
    length: int  # grid cells
    batch: int  # sequences per forward pass
    repeat: int
    compiled: str | None  # mode of torch.compile; None: not compiled
    seed: int


@dataclass(frozen=True)
class Cost:
    """Cost of one detector for one batch of sequences. Times in seconds are medians after warm-up.

    gflop counts matrix products and convolutions of the direct algorithms, two operations per multiply-add. memory:
    peak bytes allocated by PyTorch during forward pass and candidate selection, including weights and features; None
    if the device does not report it.
    """

    name: str
    parameters: int
    gflop: float
    forward: float
    candidates: float
    nms: float
    memory: int | None
    channels: int
    found: int  # candidates before NMS
    kept: int  # segments after it
    seconds_of_video: float  # in the batch, at 30 frames per second unless the recipe has a rate

    @property
    def total(self) -> float:
        """Seconds from features to segments."""
        return self.forward + self.candidates + self.nms

    @property
    def hours_per_second(self) -> float:
        """Hours of video processed per second, without feature extraction."""
        return self.seconds_of_video / 3600 / self.total


@torch.inference_mode()
def measure(
    name: str, detector: TemporalDetector, recipe: Recipe, conditions: Conditions, advance: Callable[[], None]
) -> Cost:
    """Measure a detector on random features; `advance` is called after every run."""
    detector = detector.to(conditions.device).eval()
    generator = torch.Generator().manual_seed(conditions.seed)
    sequences = torch.randn(conditions.batch, conditions.length, detector.channels, generator=generator)
    batch, mask = pad_batch(list(sequences.to(conditions.device)), padded_length(recipe.model, conditions.length))
    forward: Any = torch.compile(detector, mode=conditions.compiled) if conditions.compiled else detector

    def predict() -> Predictions:
        with precision(conditions.device, conditions.precision):
            predictions: Predictions = forward(batch, mask)
        return predictions

    def candidates(predictions: Predictions) -> list[ScoredSegments]:
        return [find_candidates(predictions, recipe.inference, video=video) for video in range(conditions.batch)]

    def segments(found: list[ScoredSegments]) -> list[ScoredSegments]:
        return [suppress(one, recipe.inference) for one in found]

    times: dict[str, list[float]] = {"forward": [], "candidates": [], "nms": []}
    for run in range(WARM_UP + conditions.repeat):
        predictions, forward_time = _timed(predict, conditions.device)
        found, candidates_time = _timed(partial(candidates, predictions), conditions.device)
        kept, nms_time = _timed(partial(segments, found), conditions.device)
        if run >= WARM_UP:
            for stage, seconds in zip(times, (forward_time, candidates_time, nms_time), strict=True):
                times[stage].append(seconds)
        advance()
    return Cost(
        name=name,
        parameters=sum(parameter.numel() for parameter in detector.parameters()),
        gflop=_operations(detector, batch, mask) / 1e9,
        memory=_peak_memory(lambda: candidates(predict()), (detector, batch, mask)),
        channels=detector.channels,
        found=sum(map(len, found)),
        kept=sum(map(len, kept)),
        seconds_of_video=conditions.batch * conditions.length * recipe.features.stride / _rate(recipe),
        **{stage: median(values) for stage, values in times.items()},
    )


def _rate(recipe: Recipe) -> float:
    return recipe.features.sampling_rate or USUAL_RATE


def _timed(function: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """The result of a call and its time on the device, in seconds."""
    if device.type != "cuda":
        _wait(device)
        start = time.perf_counter()
        result = function()
        _wait(device)
        return result, time.perf_counter() - start
    with torch.cuda.device(device):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        result = function()
        events[1].record()
        events[1].synchronize()
        return result, events[0].elapsed_time(events[1]) / 1e3


def _wait(device: torch.device) -> None:
    if device.type == "mps":
        torch.mps.synchronize()


def _operations(detector: TemporalDetector, batch: Tensor, mask: Tensor) -> int:
    # In double precision: in single precision `winograd.py` uses fewer multiplications.
    exact = deepcopy(detector).cpu().double()
    with FlopCounterMode(display=False) as counter:
        exact(batch.cpu().double(), mask.cpu())
    return int(counter.get_total_flops())


def _peak_memory(function: Callable[[], Any], kept: tuple[TemporalDetector, Tensor, Tensor]) -> int | None:
    """Peak bytes of weights, features and allocations of `function`."""
    detector, *inputs = kept
    device = inputs[0].device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        function()
        return int(torch.cuda.max_memory_allocated(device))
    if device.type != "cpu":
        return None
    held = sum(tensor.nbytes for tensor in (*detector.parameters(), *detector.buffers(), *inputs))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == MEMORY_EVENT]
    current = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        current += event.nbytes()
        peak = max(peak, current)
    return held + peak
