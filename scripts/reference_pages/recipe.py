"""docs/reference/recipe.md: the schema of recipes, section by section.

What a value means stands beside it in the source, as a comment or in the class's docstring; both are read from there.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from tal_cli.models.recipe.schema import Recipe

from .markdown import page, plain, table

INTRO = """\
A recipe is one YAML file that says everything about a detector but its weights. `tal train --recipe FILE.yaml` takes
one, and `--set SECTION.KEY=VALUE` changes a value of any. Unknown keys and values outside these bounds are rejected
with their path. Where a part is chosen by name (encoder, decoder, neck, assignment), the name alone stands for its
defaults: `--set model.encoder=sgp`, and `--set 'model.encoder={name: sgp, k: 2.0}'` sets more."""


def write() -> str:
    """The page."""
    lines: list[str] = []
    for path, schema in sections(Recipe, ""):
        lines += [f"## {path}" if path else "## Top", "", plain(inspect.getdoc(schema) or ""), ""]
        lines += [*table(("key", "values", "default", ""), rows(schema)), ""]
    return page("Recipes", INTRO, lines)


def sections(schema: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """A section and all below it, each with its dotted path; a part chosen by name carries the name."""
    yield path, schema
    for key, field in schema.model_fields.items():
        parts = [part for part in _flat(field.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
        for part in parts:
            below = f"{path}.{key}".lstrip(".")
            chosen = f" (name: {part.model_fields['name'].default})" if field.discriminator else ""
            yield from sections(part, below + chosen)


def _flat(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _flat(part)


def rows(schema: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """Key, values, default and meaning of every field."""
    notes = comments(schema)
    for key, field in schema.model_fields.items():
        bounds = [str(item).strip() for item in field.metadata]
        yield f"`{key}`", _values(field.annotation, bounds), _default(field), notes.get(key, "")


def _values(annotation: Any, bounds: list[str]) -> str:
    parts = [part for part in _flat(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    if parts:
        return "a part by name" if len(parts) > 1 or "name" in parts[0].model_fields else "a section, see below"
    text = _name(annotation)
    limits = ", ".join(_bound(bound) for bound in bounds if _bound(bound))
    return f"`{text}`" + (f", {limits}" if limits else "")


def _name(annotation: Any) -> str:
    arguments = get_args(annotation)
    origin = getattr(annotation, "__origin__", None)
    if annotation is type(None):
        return "null"
    if annotation is Ellipsis:
        return "..."
    if not arguments:
        return getattr(annotation, "__name__", str(annotation))
    if str(origin) == "typing.Literal":
        return " or ".join(map(str, arguments))
    if origin is tuple:
        return f"[{', '.join(map(_name, arguments))}]"
    if origin is dict:
        return "{" + ": ".join(map(_name, arguments)) + "}"
    if hasattr(annotation, "__metadata__"):
        return _name(arguments[0])
    return " or ".join(map(_name, arguments))


SIGNS = {"Ge": "at least", "Gt": "above", "Le": "at most", "Lt": "below", "MinLen": "at least so many:"}


def _bound(text: str) -> str:
    """`Ge(ge=1)` -> `at least 1`; nothing for what is no bound."""
    kind, _, rest = text.partition("(")
    return f"{SIGNS[kind]} {rest.rstrip(')').partition('=')[2]}" if kind in SIGNS else ""


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "none: required" if field.default_factory is None else ""
    if isinstance(field.default, BaseModel):
        name = getattr(field.default, "name", "")
        return f"`{name}`" if name else ""
    if field.default is None:
        return "`null`"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else ""


def comments(schema: type[BaseModel]) -> dict[str, str]:
    """The comments at the ends of fields' lines, of a class and of those that it extends."""
    found: dict[str, str] = {}
    for owner in reversed([each for each in schema.__mro__ if issubclass(each, BaseModel) and each is not BaseModel]):
        source = inspect.getsource(owner)
        lines = source.splitlines()
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                _, sign, comment = lines[(node.end_lineno or node.lineno) - 1].partition("  # ")
                if sign:
                    found[node.target.id] = comment
    return found
