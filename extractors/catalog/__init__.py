"""Which backbones there are. Reading this loads no torch.

A new backbone is a module under `tal_cli.extractors.backbones` and an entry here.
"""

from __future__ import annotations

from tal_cli.extractors.catalog import i3d, internvideo2, slowfast, timm_frames, tiny, torchvision_video, tsp, videomae
from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.errors import UnknownExtractor, did_you_mean

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
    """The entry of that name; `timm:NAME` loads torch. Raises UnknownExtractor."""
    if name.startswith(timm_frames.PREFIX):
        return timm_frames.entry(name)
    entry = next((entry for entry in ENTRIES if entry.name == name), None)
    if entry is None:
        names = [entry.name for entry in ENTRIES]
        there_are = f"there are {', '.join(names)}, {timm_frames.PREFIX}NAME"
        raise UnknownExtractor(f"unknown extractor {name}; {did_you_mean(name, names, there_are)}")
    return entry
