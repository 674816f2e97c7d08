"""Values of options that are what they should be already, so that no library has to look at them.

Typer converts each value with pydantic, also a text for a text and an option that was not given. Importing pydantic
takes a tenth of a second, which is half of what a short answer takes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer._click import Command, Context, Parameter

TEXTS = (str, str | None)
"""Types of parameters for which any text will do."""


def spare(command: Command) -> Command:
    """The command, and those in it, with parameters that pass such values on as they are."""
    command.get_params = partial(_parameters, command.get_params)  # type: ignore[method-assign]  # also that of --help
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            spare(inner)
    return command


def _parameters(listed: Callable[[Context], list[Parameter]], context: Context) -> list[Parameter]:
    parameters = listed(context)
    for parameter in parameters:
        if "process_value" not in vars(parameter):
            process = partial(_process, parameter, parameter.process_value)
            parameter.process_value = process  # type: ignore[method-assign]  # typer offers no class for parameters
    return parameters


def _process(
    parameter: Parameter, convert: Callable[[Context, object], object], context: Context, value: object
) -> object:
    if value is None and not parameter.required and (parameter.multiple or parameter.nargs == -1):
        value = ()  # as typer has it
    elif not _is_fine(parameter, value):
        return convert(context, value)
    return value if parameter.callback is None else parameter.callback(context, parameter, value)


def _is_fine(parameter: Parameter, value: object) -> bool:
    if parameter.multiple or parameter.nargs != 1:
        return False
    if value is None:
        return not parameter.required
    described = getattr(parameter, "type_descriptor", None)  # older versions convert without pydantic
    annotation = getattr(described, "annotation", None)
    if isinstance(value, str):
        return annotation in TEXTS and not getattr(described, "is_choice", True)
    return value is parameter.default and isinstance(value, int | float)
