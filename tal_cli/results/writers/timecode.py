"""SMPTE time codes: conversion of times to frames of an editor's timeline, and their notation.

Editors count whole frames at one of a few standard rates. A video at another rate, or at a variable one, is put on a
timeline of a standard rate, as editing programs do on import; times are then exact to half a frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tal_cli.extractors.video.clock import FileClock

HOUR = 3600
TIMECODE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)[:;.](\d\d)")


@dataclass(frozen=True)
class TimecodeRate:
    """A standard rate of time codes.

    rate: exact frames per second. base: frames per second of time code. drop: drop-frame: two (at 60: four) numbers are
    skipped every minute except each tenth, which keeps 29.97 in step with the clock (SMPTE ST 12-1).
    """

    rate: Fraction
    base: int
    drop: bool

    def frame_at(self, seconds: float) -> int:
        """The timeline frame that starts nearest to a time."""
        return round(Fraction(seconds) * self.rate)

    def frames_of(self, start: float, end: float) -> tuple[int, int]:
        """First frame, and the one after the last, of a span in seconds; at least one frame."""
        first = self.frame_at(start)
        return first, max(first + 1, self.frame_at(end))

    def origin(self, clock: FileClock) -> int:
        """Number of a video's first frame: from its time code, else from the file's clock."""
        found = None if clock.timecode is None else TIMECODE.fullmatch(clock.timecode.strip())
        if found is None:
            return max(0, self.frame_at(clock.offset))
        hours, minutes, seconds, frames = (int(part) for part in found.groups())
        whole = 60 * hours + minutes
        dropped = self._drops * (whole - whole // 10) if self.drop else 0
        return (60 * whole + seconds) * self.base + frames - dropped

    def text(self, frame: int) -> str:
        """`HH:MM:SS:FF`, with `;` before the frames for drop-frame; wraps around after 24 h."""
        if self.drop:
            frame += self._dropped_before(frame)
        seconds, frames = divmod(frame, self.base)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours % 24:02d}:{minutes:02d}:{seconds:02d}{';' if self.drop else ':'}{frames:02d}"

    def frames_in(self, hours: int) -> int:
        """The frame with a time code of exactly that many hours."""
        return hours * (HOUR * self.base - (self._drops * 54 if self.drop else 0))

    @property
    def _drops(self) -> int:
        return self.base // 15

    def _dropped_before(self, frame: int) -> int:
        """Number of skipped numbers up to this frame."""
        minute = 60 * self.base - self._drops
        tens, rest = divmod(frame, 10 * minute + self._drops)
        minutes = 0 if rest < 60 * self.base else 1 + (rest - 60 * self.base) // minute
        return self._drops * (9 * tens + minutes)


def _ntsc(base: int) -> Fraction:
    return Fraction(base * 1000, 1001)


# Drop-frame exists for multiples of 29.97 only; 23.976 lags behind the clock in every program.
STANDARD = (
    TimecodeRate(_ntsc(24), 24, False),
    TimecodeRate(Fraction(24), 24, False),
    TimecodeRate(Fraction(25), 25, False),
    TimecodeRate(_ntsc(30), 30, True),
    TimecodeRate(Fraction(30), 30, False),
    TimecodeRate(_ntsc(48), 48, False),
    TimecodeRate(Fraction(48), 48, False),
    TimecodeRate(Fraction(50), 50, False),
    TimecodeRate(_ntsc(60), 60, True),
    TimecodeRate(Fraction(60), 60, False),
)
FALLBACK = STANDARD[4]
# 23.976 and 24 differ by a thousandth: rates within half of that count as equal.
SAME = 0.00045


def timecode_rate(fps: float) -> TimecodeRate:
    """The timeline rate for a video's frame rate: the same rate if it is standard, else the lowest multiple that
    is (25 for 12.5 and for 5), else 30.

    >>> timecode_rate(29.97).text(1800)
    '00:01:00;02'
    """
    for factor in range(1, 61):
        for candidate in STANDARD:
            if abs(float(candidate.rate) / (fps * factor) - 1) < SAME:
                return candidate
    return FALLBACK
