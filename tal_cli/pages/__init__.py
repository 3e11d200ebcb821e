"""Scripts that the labelling page and the report share. They are modules; in the report they stand in one script."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

SHARED = ("elements", "frames", "span", "bars", "timeline", "player")


@cache
def shared_scripts() -> dict[str, bytes]:
    """The modules by file name, in an order in which each follows those that it imports."""
    folder = resources.files("tal_cli.pages")
    return {f"{name}.js": (folder / f"{name}.js").read_bytes() for name in SHARED}


def plain_scripts() -> str:
    """The modules as one script."""
    text = "\n".join(content.decode() for content in shared_scripts().values())
    return re.sub(r"^import .*;\n", "", text, flags=re.MULTILINE).replace("\nexport ", "\n")
