"""Downloads of the annotations in other forms, made by `tal datasets convert`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def converted(path: Path, form: str) -> tuple[bytes, str]:
    """An annotation file in another form: the bytes, and a name for them; several files come as a ZIP.

    Raises:
        RuntimeError: the form is unknown, or cannot hold these annotations; the text is the command's error.
    """
    import shutil

    with tempfile.TemporaryDirectory(prefix="tal-") as folder:
        target = Path(folder, "out", path.stem)
        target.parent.mkdir()
        command = ["datasets", "convert", str(path.resolve()), str(target), "--to", form]
        done = subprocess.run([sys.executable, "-m", "tal_cli", *command], capture_output=True, text=True)
        written = sorted(item for item in target.parent.rglob("*") if item.is_file())
        if done.returncode or not written:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise RuntimeError(lines[0].removeprefix("error: ") if lines else f"--to {form}: nothing was written")
        if len(written) == 1:
            return written[0].read_bytes(), written[0].name
        archive = shutil.make_archive(str(Path(folder, "all")), "zip", target.parent)
        return Path(archive).read_bytes(), f"{path.stem}-{form}.zip"
