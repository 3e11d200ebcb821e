"""Which backbones there are. Reading this loads no torch.

A new backbone is a module under `extractors.backbones` and an entry here.
"""

from __future__ import annotations

from extractors.catalog import i3d, internvideo2, slowfast, timm_frames, tiny, torchvision_video, tsp, videomae
from extractors.catalog.entry import BackboneEntry

__all__ = ["ENTRIES", "BackboneEntry", "find"]

ENTRIES: tuple[BackboneEntry, ...] = (
    *tiny.ENTRIES,
    *i3d.ENTRIES,
    *tsp.ENTRIES,
    *slowfast.ENTRIES,
    *videomae.ENTRIES,
    *internvideo2.ENTRIES,
    *torchvision_video.ENTRIES,
)


def find(name: str) -> BackboneEntry:
    """The entry of that name; `timm:NAME` loads torch. Raises ValueError, listing the names there are."""
    if name.startswith(timm_frames.PREFIX):
        return timm_frames.entry(name)
    entry = next((entry for entry in ENTRIES if entry.name == name), None)
    if entry is None:
        names = ", ".join((*(entry.name for entry in ENTRIES), f"{timm_frames.PREFIX}NAME"))
        raise ValueError(f"unknown extractor {name!r}; there are {names}")
    return entry
