"""The features of one video, and where on its clock they lie."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.features.identity import VideoIdentity
from tal_cli.extractors.video.clock import FileClock, decimation


@dataclass(frozen=True, kw_only=True)
class FeatureSequence:
    """The features of one video.

    features: float32 [T, C], one row per window. contract: None for features of other origin.
    fps: the video's own rate, frames per second; frames: decoded; duration: seconds (all 0 where unknown).
    feature_fps: the rate windows count in, after resampling or decimation; None: the video's own.
    window_times: float64 [T] seconds at which grid positions 0..T-1 lie; None at a constant rate, where they follow
    from it. start: the container's time of the first frame; file_clock: what players make of it. warnings: what a user
    should know of how the video was read, one line each: frames lost, streams left out, a frame rate that is too low.
    source: the identity of the video file; None where it is not known.
    """

    features: NDArray[np.float32]
    contract: FeatureContract | None
    fps: float
    frames: int
    duration: float
    window_times: NDArray[np.float64] | None = None
    feature_fps: float | None = None
    start: float = 0.0
    file_clock: FileClock = field(default_factory=FileClock)
    warnings: tuple[str, ...] = ()
    source: VideoIdentity | None = None

    def following(self, contract: FeatureContract, fps: float, duration: float | None = None) -> FeatureSequence:
        """The same features, of which nothing is known, taken to follow a contract.

        fps: the video's own rate, frames per second. duration: the video's, seconds; None: as long as the windows.
        """
        rate = contract.sampling_rate or fps / decimation(fps, contract.max_rate)
        if duration is None:
            duration = ((len(self.features) - 1) * contract.stride + contract.window) / rate
        frames = round(duration * fps)
        return replace(self, contract=contract, fps=fps, frames=frames, duration=duration, feature_fps=rate)

    def seconds(self, grid: ArrayLike) -> NDArray[np.float64]:
        """Grid positions (float, any shape) -> seconds on the video's clock, clipped to [0, duration].

        At a constant rate (grid * stride + window / 2) / fps; at a variable rate linear between window_times.
        Raises ValueError where contract or fps are not known.
        """
        positions = np.asarray(grid, np.float64)
        if self.window_times is None:
            windows, fps = self._clock()
            seconds = windows.seconds(positions, fps)
        else:
            knots, times = self._knots()
            seconds = interpolate(positions, knots, times)
        return np.clip(seconds, 0.0, self.duration if self.duration > 0 else None)

    def grid(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Seconds -> grid positions (float), the inverse of `seconds`."""
        times = np.asarray(seconds, np.float64)
        if self.window_times is None:
            windows, fps = self._clock()
            return windows.grid(times, fps)
        knots, known = self._knots()
        return interpolate(times, known, knots)

    def _clock(self) -> tuple[WindowGrid, float]:
        fps = self.feature_fps or self.fps
        if self.contract is None or fps <= 0:
            raise ValueError("features without a contract and a frame rate have no times")
        return WindowGrid.of(self.contract), fps

    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Grid positions and their times, both increasing: the windows, and the two ends of the video."""
        assert self.window_times is not None
        windows, fps = self._clock()
        times = self.window_times
        centres = np.arange(len(times), dtype=np.float64)
        first, last = -windows.offset / windows.stride, centres[-1]
        step = windows.stride / fps
        end = max(self.duration, times[-1] + step)
        knots = np.concatenate([[first], centres, [last + (end - times[-1]) / step]])
        return knots, np.concatenate([[min(0.0, times[0] - 1e-9)], times, [end]])


def interpolate(at: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Piecewise linear through (x, y), x increasing, the outer pieces continued."""
    piece = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    slope = (y[piece + 1] - y[piece]) / (x[piece + 1] - x[piece])
    return y[piece] + (at - x[piece]) * slope
