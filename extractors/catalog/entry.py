"""Entries of the catalog: backbones before they are built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tal_cli.extractors.errors import SettingsError, did_you_mean
from tal_cli.extractors.features.contract import READERS, FeatureContract
from tal_cli.extractors.files.weights import WeightsSource

PREPARED = tuple(key for key in READERS if key not in ("alignment", "flow", "chunk", "overlap"))
CHUNKED = (*PREPARED, "alignment", "chunk", "overlap")


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """The last layer of a network, which reads its features.

    layer: prefix of its tensors in the (first) weights file. classes: the list of its classes, which makes it a model
    under the backbone's name; None: only bundled recipes use it. settings: fields of the contract as the network was
    trained to classify, where published features differ.
    """

    layer: str
    classes: Literal["kinetics-400", "kinetics-710"] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BackboneEntry:
    """A backbone: its name, one line of description, and the contract of its published features.

    blueprint: its builder, as `MODULE:OBJECT`; imported when it is built. weights: the files it needs, in the order
    in which they are given; none for a backbone that measures.
    settable: the contract's fields that may be changed. choices: other values allowed for `layer` and `pooling`
    besides the contract's; none for a field that is not listed. layer_channels: values per row of those layers that do
    not give the contract's number. notes: published and unpublished facts about it, one
    sentence each. extra: name of the optional dependency it needs. classifier: None if the weights have none, or it is
    not used.
    """

    name: str
    description: str
    contract: FeatureContract
    blueprint: str
    weights: tuple[WeightsSource, ...] = ()
    settable: tuple[str, ...] = PREPARED
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    layer_channels: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    extra: str | None = None
    classifier: Classifier | None = None

    @property
    def needs_weights(self) -> bool:
        """Whether it cannot run without a weights file."""
        return bool(self.weights)

    def contract_with(self, settings: Mapping[str, object]) -> FeatureContract:
        """The contract with some fields changed; any field may be set to the value it already has.

        Raises SettingsError for settings that this backbone does not support.
        """
        changes = {key: value for key, value in settings.items() if getattr(self.contract, key, ...) != value}
        for key in changes:
            if key not in self.settable:
                hint = did_you_mean(key, self.settable, f"there are {', '.join(self.settable)}")
                raise SettingsError(f"{self.name}: {key} cannot be set; {hint}")
        try:
            made = self.contract.changed(changes)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        for key in ("layer", "pooling"):
            known = (getattr(self.contract, key), *self.choices.get(key, ()))
            if getattr(made, key) not in known:
                raise SettingsError(f"{self.name}: {key}={getattr(made, key)}; there are: {'; '.join(known)}")
        return replace(made, channels=self.layer_channels.get(made.layer, made.channels))
