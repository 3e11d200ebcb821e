"""Text that is safe to show and to write."""

from __future__ import annotations

import unicodedata

# Persian, Indic scripts and emoji use them.
JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """Text with control characters, line breaks and characters that cannot be encoded escaped."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    kept = character.isprintable() or character in JOINERS or unicodedata.category(character) == "Zs"
    return character if kept else ascii(character)[1:-1]


def one_line(text: object) -> str:
    """Text joined to one printable line. Repeated spaces are kept: names may contain them."""
    return printable(" ".join(line.strip() for line in str(text).splitlines() if line.strip()))


def seconds_as_clock(seconds: float) -> str:
    """Seconds as `m:ss.cc` or `h:mm:ss.cc`.

    >>> seconds_as_clock(3725.5)
    '1:02:05.50'
    """
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes:02d}:{rest / 100:05.2f}" if hours else f"{minutes}:{rest / 100:05.2f}"
    return f"{hours}:{clock}" if hours else clock


def rough_time(seconds: float) -> str:
    """A duration to the precision of an estimate.

    >>> rough_time(41.3), rough_time(200), rough_time(9000)
    ('41 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def counted(number: int, thing: str) -> str:
    """A number with its noun, in the plural where needed.

    >>> counted(1, "frame"), counted(2, "frame")
    ('1 frame', '2 frames')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"
