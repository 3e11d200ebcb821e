"""All available backbones: those of tal, and those added by installed packages. Importing this loads no torch.

A new backbone is a module under `tal_cli.extractors.backbones` and an entry here, or an entry point of the group
`tal.backbones` that provides an entry.
"""

from __future__ import annotations

from tal_cli.extractors.catalog import (
    dense,
    i3d,
    internvideo2,
    slowfast,
    timm_frames,
    tiny,
    torchvision_video,
    transnet,
    tsp,
    videomae,
)
from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.catalog.flow import FLOW_WEIGHTS
from tal_cli.extractors.errors import UnknownExtractor, did_you_mean
from tal_cli.extractors.features.preprocessing_spec import Flow
from tal_cli.extractors.files.weights import WeightsSource
from tal_cli.extractors.plugins import Registry

ENTRIES: tuple[BackboneEntry, ...] = (
    *tiny.ENTRIES,
    *i3d.ENTRIES,
    *tsp.ENTRIES,
    *slowfast.ENTRIES,
    *videomae.ENTRIES,
    *dense.ENTRIES,
    *internvideo2.ENTRIES,
    *torchvision_video.ENTRIES,
    *timm_frames.ENTRIES,
    *transnet.ENTRIES,
)
BACKBONES = Registry("tal.backbones", BackboneEntry, {entry.name: entry for entry in ENTRIES})


def find(name: str) -> BackboneEntry:
    """The entry of that name; `timm:NAME` loads torch.

    Raises:
        UnknownExtractor: no entry has this name.
        PluginError: it comes from a plugin that cannot be used.
    """
    if name.startswith(timm_frames.PREFIX):
        return timm_frames.entry(name)
    if name not in BACKBONES:
        there_are = f"there are {', '.join(BACKBONES)}, {timm_frames.PREFIX}NAME"
        raise UnknownExtractor(f"unknown extractor {name}; {did_you_mean(name, BACKBONES, there_are)}")
    return BACKBONES[name]


def weights_of(entry: BackboneEntry) -> tuple[WeightsSource, ...]:
    """All files that a backbone loads: its networks', and its flow method's where that has weights of its own."""
    method = None if entry.contract.flow is None else Flow.parse(entry.contract.flow).method
    return (*entry.weights, *(source for name, source in FLOW_WEIGHTS.items() if name == method))
