"""Options of commands that are made from a table of settings: a class whose annotations hold `Told`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import typer

from mcp_a2a.serving_options import flag_of
from mcp_a2a.setting_help import Told

Command = Callable[..., None]  # type: ignore[explicit-any]  # each command has its own options
Decorator = Callable[[Command], Command]


def options_from(table: type, into: str, make: Callable[[Mapping[str, object]], object]) -> Decorator:
    """Give a command an option for each setting of a table, in the place of its parameter `into`.

    Args:
        table: the settings; what help says of a default is that of the table.
        into: the parameter that gets what `make` returns.
        make: called with the options that were given, by the names of their settings.
    """
    options = list(_options(table))
    names = [option.name for option in options]

    def decorate(command: Command) -> Command:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        place = next(number for number, parameter in enumerate(own) if parameter.name == into)

        @wraps(command)
        def run(**values: object) -> None:
            said = {name: value for name in names if (value := values.pop(name, None)) not in (None, [])}
            command(**values, **{into: make(said)})

        run.__signature__ = inspect.Signature([*own[:place], *options, *own[place + 1 :]])  # type: ignore[attr-defined]
        return run

    return decorate


def _options(table: type) -> Iterator[inspect.Parameter]:
    for name, hint in get_type_hints(table, include_extras=True).items():
        kind, *more = get_args(hint)
        told = next((one for one in more if isinstance(one, Told)), None)
        if told is not None:
            switch = [told.flags or flag_of(name)] if kind is bool else []
            option = typer.Option(*switch, metavar=told.metavar, help=_help(told, getattr(table, name)))
            annotation = Annotated[_taken(kind), option]  # type: ignore[valid-type]  # it is made when it runs
            yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(told: Told, default: object) -> str:
    about = told.about.format(default=default)
    return about if about.endswith(".") else f"{about} ({default})."


def _taken(kind: object) -> object:
    """The type of an option that need not be given. One that may be repeated is a list; choices are read elsewhere."""
    if kind == tuple[str, ...]:
        return list[str] | None
    return str | None if get_origin(kind) is Literal else kind | None  # type: ignore[operator]  # it is a type
