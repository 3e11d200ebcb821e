"""What can go wrong, told apart by exit code. The ground floors raise errors of their own; each gets its code here."""

from __future__ import annotations

import errno
import os
import traceback
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from tal_cli.safe_text import one_line, printable

EXIT_DEFECT = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_MISSING = 4
EXIT_INTERRUPTED = 130


class TalError(Exception):
    """An error that a user can do something about.

    Attributes:
        message: what is wrong, in one line.
        remedy: what would have been right or how to get what is missing; may be empty.
    """

    exit_code: ClassVar[int] = EXIT_DEFECT

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageProblem(TalError):
    """Wrong usage: an unknown name or value (exit code 2)."""

    exit_code = EXIT_USAGE


class InputProblem(TalError):
    """One input could not be processed (exit code 3)."""

    exit_code = EXIT_INPUT

    def __init__(self, path: str | Path, reason: str, remedy: str = "") -> None:
        super().__init__(f"{printable(str(path))}: {one_line(reason)}", remedy)
        self.path = str(path)
        self.reason = one_line(reason)


class Missing(TalError):
    """Weights, a data set or an optional package is absent (exit code 4); the remedy says how to get it."""

    exit_code = EXIT_MISSING


# What a disk says whose file an error does not name.
FAILING_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)

# By name, so that telling an error apart never imports torch; a test looks up every name.
FOREIGN: dict[tuple[str, str], int] = {
    ("tal_cli.extractors.video.stream", "VideoError"): EXIT_INPUT,
    ("tal_cli.extractors.video.stream", "DecoderUnavailable"): EXIT_MISSING,
    ("tal_cli.extractors.corpus.worker_config", "SettingsError"): EXIT_USAGE,
    ("tal_cli.extractors.files.weights", "WeightsMissing"): EXIT_MISSING,
    ("tal_cli.extractors.files.weights", "WeightsError"): EXIT_USAGE,
    ("tal_cli.extractors.features.files", "FeatureError"): EXIT_INPUT,
    ("tal_cli.extractors.files.remote", "PlaceError"): EXIT_INPUT,
    ("tal_cli.extractors.files.optional", "ExtraMissing"): EXIT_MISSING,
    ("tal_cli.models.recipe.loading", "RecipeError"): EXIT_USAGE,
    ("tal_cli.models.store.checkpoint", "CheckpointError"): EXIT_USAGE,
    ("tal_cli.models.store.zoo", "UnknownModel"): EXIT_USAGE,
    ("tal_cli.models.store.zoo", "ModelMissing"): EXIT_MISSING,
}


def exit_code_of(error: BaseException) -> int:
    """The exit code that an error stands for; 1 for anything unforeseen."""
    if isinstance(error, TalError):
        return error.exit_code
    for kind in type(error).__mro__:
        code = FOREIGN.get((kind.__module__, kind.__name__))
        if code is not None:
            return code
    if isinstance(error, OSError) and (error.filename is not None or error.errno in FAILING_DISK):
        return EXIT_INPUT
    return EXIT_DEFECT


def place_of(error: BaseException) -> str:
    """The path that an error is about, as it can be shown; empty where it names none."""
    place = error.filename if isinstance(error, OSError) else getattr(error, "path", None)
    return "" if place is None else printable(os.fsdecode(place) if isinstance(place, bytes) else str(place))


def reason_of(error: BaseException) -> str:
    """The reason alone, without the path that some errors carry as well, in one line."""
    reason = error.strerror if isinstance(error, OSError) else getattr(error, "reason", None)
    return one_line(reason or error) or type(error).__name__


def message_of(error: BaseException) -> str:
    """All that an error says, its path first, in one line."""
    place = place_of(error)
    return f"{place}: {reason_of(error)}" if place else reason_of(error)


def write_log(error: BaseException, arguments: list[str]) -> Path:
    """Write an unforeseen error's traceback into a file of the user's log folder and return its path."""
    import platformdirs

    from tal_cli import __version__

    folder = Path(platformdirs.user_log_dir("tal", appauthor=False))
    now = datetime.now()
    text = f"tal {__version__} {now.isoformat(timespec='seconds')}\narguments: {arguments!r}\n\n"
    text += "".join(traceback.format_exception(error))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"tal-{now:%Y%m%d-%H%M%S-%f}.log"
        path.write_text(text, encoding="utf-8")
    except OSError:
        # A home that cannot be written to must not hide the error itself.
        import tempfile

        with tempfile.NamedTemporaryFile("w", prefix="tal-", suffix=".log", delete=False, encoding="utf-8") as file:
            file.write(text)
        path = Path(file.name)
    return path
