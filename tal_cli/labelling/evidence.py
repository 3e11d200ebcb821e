"""What models say of where to look next, between runs of `tal label`."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path

from tal_cli.extractors.errors import TalError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.labelling.frames import kept_path
from tal_cli.labelling.next_up import Evidence, Item


def keep_evidence(file: Path, evidence: Evidence, done: set[str]) -> None:
    """Keep the ranking of an annotation file's videos, and which places are settled; without room, do not."""
    content = {**dataclasses.asdict(evidence), "done": sorted(done)}
    with suppress(OSError, TalError):
        write_atomically(kept_path(file, "queue"), json.dumps(content).encode())


def load_evidence(file: Path) -> tuple[Evidence, set[str]]:
    """What an earlier run kept of an annotation file."""
    try:
        content = json.loads(kept_path(file, "queue").read_bytes())
        ranked = [Item(**item) for item in content["ranked"]]
        return Evidence(ranked, {str(k): float(v) for k, v in content["shown_from"].items()}), set(content["done"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Evidence(), set()
