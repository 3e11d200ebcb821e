"""Outputs of a run: standard output, one file, or a folder with a file per video.

Folders are written video by video, as is standard output in formats whose parts are useful on their own. Other outputs
are written at the end, from a temporary file that buffers the videos.
"""

from __future__ import annotations

import io
import pickle
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from tal_cli import console
from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.atomic import naming, write_atomically
from tal_cli.results.output_paths import file_for, is_folder, record_origin
from tal_cli.results.segments import Detections
from tal_cli.results.writers import Format, RunInfo

STANDARD_OUTPUT = "-"
IN_MEMORY = 1 << 24  # bytes


@dataclass(frozen=True)
class Output:
    """One `--output`: the path of a file or folder, or `-` for standard output; and the format."""

    path: str
    format: Format

    @property
    def is_standard(self) -> bool:
        """Whether it is standard output."""
        return self.path == STANDARD_OUTPUT

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, which gets a file per video."""
        return not self.is_standard and is_folder(self.path)


def write_results(detections: Iterable[Detections], outputs: Sequence[Output], run: RunInfo) -> None:
    """Write the videos of a run to every output as they are done; the next one is requested after the last is written.

    Raises:
        InputError: an output cannot be written to. No partial file is left after any exception.
    """
    folders = [output for output in outputs if output.is_folder]
    live = [output for output in outputs if output.is_standard and output.format.live]
    late = [output for output in outputs if output not in folders and output not in live]
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        waiting = _Waiting(file)

        def each() -> Iterator[Detections]:
            for found in detections:
                # A file per video with the names of all would grow with the square of their number.
                within = run.run_videos and run.run_videos.within(found.video)
                for folder in folders:
                    path = file_for(Path(folder.path), found.video, folder.format.suffix)
                    _write_file([found], path, folder.format, replace(run, run_videos=within))
                    record_origin(path, found.path)
                if late:
                    waiting.add(found)
                yield found

        if live:
            _write_live(each(), live[0].format, run)
        else:
            for _ in each():
                pass
        for output in late:
            if output.is_standard:
                with _standard_output() as stream:
                    output.format.writer()(waiting, stream, replace(run, terminal=sys.stdout.isatty()))
            else:
                _write_file(waiting, Path(output.path), output.format, run)


class _Waiting:
    """Detections buffered in a file; iterating reads them back in order, any number of times."""

    def __init__(self, file: tempfile.SpooledTemporaryFile[bytes]) -> None:
        self._file = file
        self._count = 0

    def add(self, detections: Detections) -> None:
        """Append one more.

        Raises:
            InputError: the disk of the temporary folder is full.
        """
        with naming(tempfile.gettempdir()):
            pickle.dump(detections, self._file)
        self._count += 1

    def __iter__(self) -> Iterator[Detections]:
        self._file.seek(0)
        for _ in range(self._count):
            # The file is unlinked, so that only this process can have written to it.
            found: Detections = pickle.load(self._file)
            yield found


def _write_file(detections: Iterable[Detections], path: Path, format: Format, run: RunInfo) -> None:
    write = format.writer()
    write_atomically(path, lambda file: write(detections, file, replace(run, file=path)))


def _write_live(detections: Iterable[Detections], format: Format, run: RunInfo) -> None:
    """Write to standard output; a video's output is flushed when the writer requests the next one."""
    written = io.BytesIO()

    def show() -> None:
        with _standard_output() as stream:
            stream.write(written.getvalue())
        written.seek(0)
        written.truncate()

    def each() -> Iterator[Detections]:
        for found in detections:
            yield found
            show()

    format.writer()(each(), written, replace(run, terminal=sys.stdout.isatty()))
    show()


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    """Binary standard output, flushed at the end; hides the progress bar meanwhile."""
    try:
        with console.paused():
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError("standard output", f"cannot be written: {error.strerror or error}") from error
