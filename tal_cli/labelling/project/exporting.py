"""Downloads of the annotations in other forms."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tal_cli.datasets.formats.values import How
from tal_cli.datasets.writers import TARGETS, write_annotations
from tal_cli.error_report import message_of
from tal_cli.extractors.errors import TalError


def converted(path: Path, form: str, videos: int) -> tuple[bytes, str]:
    """An annotation file in another form: the bytes, and a name for them. Where a file of that form holds one video and
    there are several, a ZIP of them. Paths of videos stay relative to the annotation file.

    Raises:
        RuntimeError: the form is unknown, or cannot hold these annotations; the text is the error.
    """
    if form not in TARGETS:
        raise RuntimeError(f"format={form}: there is no such form; use one of {', '.join(TARGETS)}")
    is_folder = TARGETS[form].single and videos > 1
    with tempfile.TemporaryDirectory(prefix="tal-") as folder:
        target = Path(folder, path.stem + ("" if is_folder else TARGETS[form].suffix))
        command = [sys.executable, "-m", __name__, str(path.resolve()), str(target), form]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            raise RuntimeError(lines[0].removeprefix("error: ") if lines else f"{form}: it cannot be written")
        if not is_folder:
            return target.read_bytes(), target.name
        archive = shutil.make_archive(str(Path(folder, "all")), "zip", target)
        return Path(archive).read_bytes(), f"{path.stem}-{form}.zip"


def main(source: str, target: str, form: str) -> None:
    """Convert a file, in a process of its own: what that takes of memory is given back."""
    from tal_cli.datasets.convert import merge  # loads numpy, which the server does without

    try:
        write_annotations(merge([Path(source)], How()), Path(target), form)
    except TalError as error:
        sys.exit(f"error: {message_of(error)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
