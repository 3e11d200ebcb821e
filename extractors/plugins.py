"""Plugins: parts that installed packages add as entry points of the groups `tal.*` (docs/how-to/extend.md).

Names are read from the packages' metadata; nothing of a package is imported before it is used.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from tal_cli.extractors.errors import PluginError, PluginWarning
from tal_cli.extractors.files.error_text import library_message

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
UPDATE = "update or uninstall it"


class Registry(Mapping[str, T]):
    """Parts by name: built-in ones, and those that installed packages add as entry points of one group.

    Iteration yields names and imports nothing. Looking a name up imports the plugin; it raises KeyError for an unknown
    name and PluginError for a plugin that cannot be used or a name registered by several packages.

    Args:
        group: the entry points' group.
        kind: the required type: plugins are subclasses if the built-in parts are classes, else instances. A plugin's
            own name, if it has one, must be the entry point's.
        built_in: the parts that come with tal.
    """

    def __init__(self, group: str, kind: type, built_in: dict[str, T]) -> None:
        self.group = group
        self.kind = kind
        self.built_in = built_in

    def __iter__(self) -> Iterator[str]:
        return iter({**self.built_in, **installed().get(self.group, {})})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(known == name for known in self)

    def __getitem__(self, name: str) -> T:
        offers = installed().get(self.group, {}).get(name, [])
        packages = (["tal-cli"] if name in self.built_in else []) + [package_of(offer) for offer in offers]
        if len(packages) > 1:
            raise PluginError(f"{self.group} {name} is in {' and in '.join(packages)}", "uninstall one of them")
        return self._load(offers[0]) if offers else self.built_in[name]

    def usable(self) -> dict[str, T]:
        """All parts by name; one that cannot be used is left out with a PluginWarning."""
        parts: dict[str, T] = {}
        for name in self:
            try:
                parts[name] = self[name]
            except PluginError as error:
                warnings.warn(f"left out: {error}; {error.remedy}", PluginWarning, stacklevel=1)
        return parts

    def _load(self, offer: EntryPoint) -> T:
        title = f"{self.group} {offer.name} ({package_of(offer)})"
        part = load_object(offer.value, title)
        classes = any(map(inspect.isclass, self.built_in.values()))
        fits = self.kind in part.__mro__ if inspect.isclass(part) else isinstance(part, self.kind)
        if inspect.isclass(part) != classes or not fits or getattr(part, "name", offer.name) != offer.name:
            raise PluginError(f"{title} must be of type {self.kind.__name__} and have that name", UPDATE)
        return part


def load_object(address: str, title: str = "") -> Any:
    """The object at `MODULE:NAME`, or the module where there is no `:NAME`; title: its name in errors.

    Raises:
        PluginError: it belongs to a plugin and cannot be imported.
    """
    module, _, name = address.partition(":")
    try:
        loaded = importlib.import_module(module)
        return getattr(loaded, name) if name else loaded
    except (Exception, SystemExit) as error:
        if module.startswith("tal_cli."):
            raise
        reason = f"{type(error).__name__}: {library_message(error)}"
        raise PluginError(f"{title or address} cannot be imported: {reason}", UPDATE) from error


def package_of(offer: EntryPoint) -> str:
    """The package that an entry point comes from, with its version."""
    assert offer.dist is not None
    return f"{offer.dist.name} {offer.dist.version}"


@cache
def installed() -> dict[str, dict[str, list[EntryPoint]]]:
    """Entry points of installed packages by group and name; several under one name are a clash."""
    from importlib.metadata import distributions  # slow to import

    groups: dict[str, dict[str, list[EntryPoint]]] = {}
    packages = set()
    for distribution in distributions():
        try:
            if "[tal." not in (distribution.read_text("entry_points.txt") or "") or distribution.name in packages:
                continue  # the first on the path takes precedence
            packages.add(distribution.name)
            offers = list(distribution.entry_points)
        except Exception as error:
            reason = f"the entry points of {distribution.name} cannot be read: {library_message(error)}"
            warnings.warn(f"left out: {reason}", PluginWarning, stacklevel=1)
            continue
        for offer in offers:
            groups.setdefault(offer.group, {}).setdefault(offer.name, []).append(offer)
    return groups
