"""SMPTE time codes: which frame of an editor's timeline a moment falls on, and how that frame is written.

Editors count whole frames at one of a few standard rates. A video at another rate, or at a variable one, is put on
a timeline of a standard rate, as editing programs do when they import it; its seconds stay right to half a frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tal_cli.extractors.features.sequence import FileClock

HOUR = 3600
TIMECODE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)[:;.](\d\d)")


@dataclass(frozen=True)
class TimecodeRate:
    """A rate that editors have.

    rate: frames per second, exactly. base: frames that one second of time code counts. drop: whether two (at 60:
    four) numbers are left out every minute but each tenth, which keeps 29.97 with the clock (SMPTE ST 12-1).
    """

    rate: Fraction
    base: int
    drop: bool

    def frame_at(self, seconds: float) -> int:
        """The timeline's frame that begins nearest to a moment."""
        return round(Fraction(seconds) * self.rate)

    def frames_of(self, start: float, end: float) -> tuple[int, int]:
        """First frame, and the one after the last, of a span in seconds; at least one frame."""
        first = self.frame_at(start)
        return first, max(first + 1, self.frame_at(end))

    def origin(self, clock: FileClock) -> int:
        """The frame that the first frame of a video is called: by its time code, else by the file's clock."""
        found = None if clock.timecode is None else TIMECODE.fullmatch(clock.timecode.strip())
        if found is None:
            return max(0, self.frame_at(clock.offset))
        hours, minutes, seconds, frames = (int(part) for part in found.groups())
        whole = 60 * hours + minutes
        dropped = self._drops * (whole - whole // 10) if self.drop else 0
        return (60 * whole + seconds) * self.base + frames - dropped

    def text(self, frame: int) -> str:
        """`HH:MM:SS:FF`, with `;` before the frames where numbers are dropped; after 24 h it starts from 0 again."""
        if self.drop:
            frame += self._dropped_before(frame)
        seconds, frames = divmod(frame, self.base)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours % 24:02d}:{minutes:02d}:{seconds:02d}{';' if self.drop else ':'}{frames:02d}"

    def frames_in(self, hours: int) -> int:
        """The frame whose time code is so many hours and nothing else."""
        return hours * (HOUR * self.base - (self._drops * 54 if self.drop else 0))

    @property
    def _drops(self) -> int:
        return self.base // 15

    def _dropped_before(self, frame: int) -> int:
        """How many numbers were left out up to this frame."""
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
# 23.976 and 24 are a thousandth apart: nearer than half of that is the same rate, measured or rounded.
SAME = 0.00045


def timecode_rate(fps: float) -> TimecodeRate:
    """The rate of the timeline for a video of so many frames per second: its own where that is a standard one, else
    the lowest whole multiple of it that is (12.5 goes on 25, 5 on 25), else 30.

    >>> timecode_rate(29.97).text(1800)
    '00:01:00;02'
    """
    for factor in range(1, 61):
        for candidate in STANDARD:
            if abs(float(candidate.rate) / (fps * factor) - 1) < SAME:
                return candidate
    return FALLBACK
