"""Backbones: frames in, one feature vector per window out. Declared in `tal_cli.extractors.catalog`, built here.

Importing this loads no torch; making a backbone does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tal_cli.extractors.backbones.interface import Backbone, Resolved
from tal_cli.extractors.catalog import find
from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.errors import SettingsError, WeightsError, WeightsMissing
from tal_cli.extractors.files.weights import WeightsSource, locate, remedy, weights_sha256
from tal_cli.extractors.plugins import load_object

if TYPE_CHECKING:
    from torch import Tensor

# A weights file, or its content.
Weights: TypeAlias = "str | os.PathLike[str] | Mapping[str, Tensor]"


def resolve(
    name: str,
    weights: Weights | Sequence[Weights] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Resolved:
    """The contract and files that `create_backbone` would use, without building; raises the same errors."""
    entry = find(name)
    contract = entry.contract_with(settings or {})
    if weights is None or isinstance(weights, (str, os.PathLike, Mapping)):
        given: list[Weights | None] = [weights]
    else:
        given = list(weights)
    if len(given) > max(1, len(entry.weights)) or (given[0] is not None and not entry.weights):
        raise SettingsError(f"{entry.name}: {len(given)} weights files given, it takes {len(entry.weights)}")
    given += [None] * (len(entry.weights) - len(given))
    found = tuple(find_given(entry, source, some) for source, some in zip(entry.weights, given, strict=False))
    digests = [
        weights_sha256(path, source if some is None else None)
        for path, source, some in zip(found, entry.weights, given, strict=False)
        if isinstance(path, Path)
    ]
    return Resolved(entry=entry, contract=replace(contract, weights_sha256="+".join(digests) or None), weights=found)


def find_given(entry: BackboneEntry, source: WeightsSource, given: Weights | None) -> Path | Mapping[str, Tensor]:
    """The given weights, else the published file if it is on this machine. Raises WeightsMissing."""
    if isinstance(given, Mapping):
        return given
    path = locate(source) if given is None else Path(given)
    if given is not None and not (path and path.is_file()):
        raise WeightsError(f"{os.fspath(given)}: no such weights file")
    if path is None:
        raise WeightsMissing(entry.name, remedy(entry.name, entry.weights))
    return path


def create_backbone(
    name: str,
    weights: Weights | Sequence[Weights] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Backbone:
    """A backbone by name, ready to run on the CPU.

    Args:
        name: as listed by `tal extractors list`.
        weights: one file, or its content, per file that the backbone needs, in the catalog's order; the others are
            looked up in the download folder.
        settings: fields of the contract to change, see `FeatureContract`; the backbone's contract includes the changes.

    Raises:
        UnknownExtractor: there is no backbone of that name.
        SettingsError: the backbone does not support these settings.
        WeightsMissing: required weights are not available (they are never initialised at random).
        WeightsError: a file does not fit.
        PluginError: the backbone comes from a plugin that cannot be used.
    """
    from tal_cli.extractors.backbones.blueprint import build

    resolved = resolve(name, weights, settings)
    blueprint = load_object(resolved.entry.blueprint)
    try:
        return build(resolved, blueprint)
    except ValueError as error:
        raise SettingsError(str(error)) from error
