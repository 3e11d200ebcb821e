"""Downloads of the annotations in other forms, made by `tal datasets convert`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tal_cli.datasets.writers import TARGETS


def converted(path: Path, form: str, videos: int) -> tuple[bytes, str]:
    """An annotation file in another form: the bytes, and a name for them. Where a file of that form holds one video and
    there are several, a ZIP of them.

    Raises:
        RuntimeError: the form is unknown, or cannot hold these annotations; the text is the command's error.
    """
    if form not in TARGETS:
        raise RuntimeError(f"format={form}: there is no such form; use one of {', '.join(TARGETS)}")
    is_folder = TARGETS[form].single and videos > 1
    with tempfile.TemporaryDirectory(prefix="tal-") as folder:
        target = Path(folder, path.stem + ("" if is_folder else TARGETS[form].suffix))
        command = ["datasets", "convert", str(path.resolve()), str(target), "--to", form]
        done = subprocess.run([sys.executable, "-m", "tal_cli", *command], capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            raise RuntimeError(lines[0].removeprefix("error: ") if lines else f"{form}: it cannot be written")
        if not is_folder:
            return target.read_bytes(), target.name
        archive = shutil.make_archive(str(Path(folder, "all")), "zip", target)
        return Path(archive).read_bytes(), f"{path.stem}-{form}.zip"
