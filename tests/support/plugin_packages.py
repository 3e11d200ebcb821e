"""Packages as an installer leaves them: modules in a folder, and metadata with entry points beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

Install = Callable[..., None]


def write_package(folder: Path, name: str, entry_points: str, modules: Mapping[str, str], version: str = "1.0") -> None:
    """Put one package into a folder of modules; entry_points: what `entry_points.txt` says."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    for module, text in modules.items():
        path = folder / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
