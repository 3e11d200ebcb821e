"""Commands whose options are the fields of a dataclass and can also be read from a YAML file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

import typer

from tal_cli.commands.options import Overrides
from tal_cli.extractors.errors import UsageError, did_you_mean


def takes(options: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn a function whose first parameter is a dataclass into a command with one option per field.

    Fields are `Annotated[..., typer.Option(...)]`: name, type, default and help of an option are defined only there. A
    field of type Mapping receives the values of `--set`.
    """
    hints = get_type_hints(options, include_extras=True)
    mappings = {name for name, hint in hints.items() if get_origin(hint.__origin__) is Mapping}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            from tal_cli.models.recipe.loading import parse_overrides

            given = {field.name: values.pop(field.name) for field in fields(options)}
            given |= {name: parse_overrides(given[name] or ()) for name in mappings}
            function(options(**given), **values)

        _, *rest = signature(function).parameters.values()
        shown = [Parameter(field.name, Parameter.KEYWORD_ONLY, default=_default(field)) for field in fields(options)]
        shown += [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in rest]
        types = hints | dict.fromkeys(mappings, Overrides) | get_type_hints(function, include_extras=True)
        shown = [parameter.replace(annotation=types[parameter.name]) for parameter in shown]
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        command.__signature__ = Signature(shown)  # type: ignore[attr-defined]
        return command

    return decorate


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return Parameter.empty if field.default_factory is MISSING else None


def read_options_file(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of `--options`: the file's values are the other options' defaults.

    Raises UsageError for a file that is no YAML, and for a key that is no option.
    """
    if path is None:
        return None
    from tal_cli.models.recipe.loading import read_yaml

    known = {str(option.name) for option in context.command.params}
    defaults: dict[str, Any] = {}
    for key, value in read_yaml(path).items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise UsageError(f"{path}: {key}: unknown option", did_you_mean(name, known))
        is_mapping = isinstance(value, dict)
        defaults[name] = [f"{each}={json.dumps(value[each])}" for each in value] if is_mapping else value
    context.default_map = defaults
    return path


OptionsFile = Annotated[
    Path | None,
    typer.Option(
        "--options",
        metavar="FILE.yaml",
        is_eager=True,
        callback=read_options_file,
        help="File with options; those on the command line take precedence.",
    ),
]
