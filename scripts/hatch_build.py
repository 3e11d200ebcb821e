"""Build hook: packs `models` and `extractors`, linked into `tal_cli` in git, also where git could make no links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LINKED = ("models", "extractors")


class LinkedFolders(BuildHookInterface):
    """Puts the folders into wheel and sdist as `tal_cli/NAME`; an editable install needs the links themselves."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises SystemExit where an editable install would lack a link."""
        for name in LINKED:
            link = Path(self.root, "tal_cli", name)
            if version != "editable":
                folder = Path(self.root, name)  # absent from an unpacked sdist, whose `link` is a folder
                build_data["force_include"][str(folder if folder.is_dir() else link)] = f"tal_cli/{name}"
            elif not link.is_dir():
                raise SystemExit(
                    f"error: {link}: not a link to the folder {name}: git made this checkout without symbolic links. "
                    "Run `git config core.symlinks true` and `git checkout -- tal_cli` (on Windows in Developer Mode), "
                    "or install without -e"
                )
