"""docs/reference/python.md: docstrings of what a program may rely on."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from .markdown import page, plain

PUBLIC = (
    ("tal_cli", ("VideoDetector", "Detections", "Segment")),
    ("tal_cli.models.recipe.loading", ("load_recipe", "override", "list_recipes")),
    ("tal_cli.models.detector", ("TemporalDetector",)),
    ("tal_cli.models.inference.chunks", ("detect",)),
    ("tal_cli.models.store.checkpoint", ("load_model", "save_model")),
    ("tal_cli.training.options", ("TrainingOptions",)),
    ("tal_cli.training.prepare", ("prepare",)),
    ("tal_cli.training.trainer", ("train",)),
    ("tal_cli.extractors.extraction.extractor", ("extract_features",)),
    ("tal_cli.extractors.backbones", ("create_backbone", "Backbone")),
    ("tal_cli.extractors.features.contract", ("FeatureContract",)),
    ("tal_cli.extractors.features.sequence", ("FeatureSequence",)),
    ("tal_cli.extractors.features.files", ("load_features", "save_features")),
)
SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")


def write() -> str:
    """The page."""
    lines: list[str] = []
    for module, names in PUBLIC:
        lines += [f"## {module}", ""]
        for name in names:
            lines += described(name, getattr(importlib.import_module(module), name), "###")
    return page("Python", "What a program may rely on, in the words of the docstrings.", lines)


def described(name: str, thing: Any, heading: str) -> Iterator[str]:
    """One function or class with its public methods."""
    yield from (f"{heading} {name}", "", "```python", f"{name}{signature(thing)}", "```", "")
    yield from (*prose(inspect.getdoc(thing) or ""), "")
    if not inspect.isclass(thing):
        return
    for key, member in vars(thing).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if key.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        yield from described(f"{name}.{key}", function, f"{heading}#")


def prose(text: str) -> Iterator[str]:
    """A docstring as Markdown: its sections as lists, its examples as code."""
    listed = example = False
    for line in plain(text).splitlines():
        if example != (line.startswith(">>>") or (example and bool(line))):
            example = not example
            yield "```pycon" if example else "```"
        if line in SECTIONS:
            listed = True
            yield from (f"*{line}*", "")
        elif listed and line.startswith("    "):
            # Deeper lines go on with the item above them.
            yield f"- {line.strip()}" if line[4] != " " else f"  {line.strip()}"
        else:
            listed = listed and not line
            yield line.removesuffix("# doctest: +SKIP").rstrip()
    if example:
        yield "```"


def signature(thing: Any) -> str:
    """Parameters and result as they are written, without what every method has first."""
    found = inspect.signature(thing)
    # Classes without a constructor of their own, such as protocols, have the signature of `object`.
    if any(each.name == "kwargs" for each in found.parameters.values()):
        return ""
    parts, starred = [], False
    for each in found.parameters.values():
        if each.name in ("self", "cls"):
            continue
        if each.kind is each.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        parts.append(_written(each))
    result = "" if inspect.isclass(thing) or found.return_annotation is found.empty else found.return_annotation
    return f"({', '.join(parts)})" + (f" -> {_type(result)}" if result else "")


def _written(parameter: inspect.Parameter) -> str:
    typed = "" if parameter.annotation is parameter.empty else f": {_type(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return parameter.name + typed
    value = repr(parameter.default)
    return f"{parameter.name}{typed} = {'...' if value.startswith('<') else value}"


def _type(annotation: Any) -> str:
    if isinstance(annotation, str) and annotation.startswith("Annotated["):
        annotation = ast.unparse(ast.parse(annotation, mode="eval").body.slice.elts[0])  # type: ignore[attr-defined]
    return annotation.strip("'\"") if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
