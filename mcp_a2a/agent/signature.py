"""The signature of a skill's function: its hints become the input schema, a task's content its arguments.

| the function takes | the task brings |
|---|---|
| one `str` | its text, as it is |
| nothing | anything |
| only what has a default | nothing at all, or the same as without defaults |
| other or several parameters | a data part, or text that is JSON: an object with the parameters' names |
| one parameter that is not `str` | the same, or the value itself |
| one `str` without a default, others with | the same, or text for that one |

A parameter annotated with `TaskContext` receives the task, and is no input.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PydanticUserError,
    ValidationError,
    create_model,
)
from pydantic_core import ErrorDetails

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.protocol.plain_words import place_of, plainly

Function = Callable[..., object]  # type: ignore[explicit-any]  # a skill has any parameters

_STRICT_NAMES = ConfigDict(extra="forbid")


class ArgumentsError(ValueError):
    """The content of a task does not fit the skill's parameters; the message names the parameters."""


@dataclass(frozen=True)
class Signature:
    """The parameters of a skill."""

    skill_id: str
    model: type[BaseModel]
    """One field per parameter; the parameter's name is the field's alias, for it may be any word."""
    task_parameter: str | None
    text_parameter: str | None
    """The parameter that plain text goes to."""

    @classmethod
    def of(cls, skill_id: str, function: Function) -> Signature:
        """Read a function's parameters.

        Raises:
            ConfigurationError: it has a parameter that cannot be filled from a task.
        """
        hints = _hints(skill_id, function)
        parameters = list(inspect.signature(function).parameters.values())
        for parameter in parameters:
            _refuse_nameless(skill_id, parameter)
        tasks = [one.name for one in parameters if hints.get(one.name) is TaskContext]
        inputs = [one for one in parameters if one.name not in tasks]
        unhinted: object = str if len(inputs) == 1 else JsonValue
        types = {one.name: hints.get(one.name, unhinted) for one in inputs}
        model = _model(skill_id, inputs, types)
        return cls(skill_id, model, tasks[0] if tasks else None, _text_parameter(inputs, types))

    @cached_property
    def names(self) -> list[str]:
        """The inputs, in order."""
        return [str(field.alias) for field in self.model.model_fields.values()]

    @property
    def schema(self) -> dict[str, JsonValue] | None:
        """JSON Schema of a data part for this skill; None when plain text is all it takes."""
        if self.names in ([], [self.text_parameter]):
            return None
        return self.model.model_json_schema()

    def bind(self, text: str, data: Sequence[JsonValue]) -> dict[str, object]:
        """The arguments that a task's content makes.

        Raises:
            ArgumentsError: it makes none.
        """
        names = self.names
        if not names:
            return {}
        if not self._required and self._is_nothing(text, data):
            return self._validated({})
        if names == [self.text_parameter] and (text or not data):
            return self._validated({names[0]: text})
        for value in (*data, *_json_in(text)):
            if isinstance(value, dict) and (self._names_inputs(value) or self._only_as_object(data)):
                return self._validated(value)
            if len(names) == 1:
                return self._validated({names[0]: value})
        for name in (self.text_parameter, names[0] if len(names) == 1 else None):
            if name is not None and not data:
                return self._validated({name: text})
        raise ArgumentsError(f"{self.expectation} It got {_shown(text, data)}.")

    def _names_inputs(self, value: Mapping[str, JsonValue]) -> bool:
        """True if an object can be that of the parameters. An empty one is the value of a single one that must be."""
        return set(value) <= set(self.names) and bool(value or len(self.names) > 1 or not self._required)

    @cached_property
    def _required(self) -> bool:
        return any(field.is_required() for field in self.model.model_fields.values())

    def _is_nothing(self, text: str, data: Sequence[JsonValue]) -> bool:
        """True if a task, which may consist of files, brings nothing. Null may be the value of a single parameter."""
        return not text and (not data or (len(self.names) > 1 and all(value is None for value in data)))

    def _only_as_object(self, data: Sequence[JsonValue]) -> bool:
        return len(self.names) > 1 and (bool(data) or self.text_parameter is None)

    @property
    def expectation(self) -> str:
        """The arguments of the skill, in words for a caller that got them wrong."""
        if self.names == [self.text_parameter]:
            return f"{self.skill_id} takes text."
        listed = ", ".join(self._described())
        return f"{self.skill_id} takes {{{listed}}}: a data part, or a text that is this JSON object."

    def _described(self) -> Iterator[str]:
        schema = self.model.model_json_schema(by_alias=True)
        for name, one in schema["properties"].items():
            yield f"{name}{'' if name in schema.get('required', ()) else '?'}: {_kind(one)}"

    def _validated(self, values: Mapping[str, object]) -> dict[str, object]:
        try:
            model = self.model.model_validate(values)
        except ValidationError as error:
            if unset := self._unset(values, error):
                return self._validated({name: value for name, value in values.items() if name not in unset})
            found = "; ".join(_problem(one) for one in error.errors(include_url=False)[:5])
            raise ArgumentsError(f"{self.expectation} {found}.") from error
        return {str(field.alias): getattr(model, name) for name, field in self.model.model_fields.items()}

    def _unset(self, values: Mapping[str, object], error: ValidationError) -> set[str]:
        """Names of parameters that are null, may be left out, and cannot be null: models write so for "not given"."""
        optional = {str(field.alias) for field in self.model.model_fields.values() if not field.is_required()}
        wrong = {str(one["loc"][0]) for one in error.errors(include_url=False) if one["loc"]}
        return {name for name in optional & wrong if name in values and values[name] is None}


def _hints(skill_id: str, function: Function) -> dict[str, object]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigurationError(
            f"The type hints of skill {skill_id!r} cannot be read: {error}.",
            "Import what they name at the top of the file (not under TYPE_CHECKING).",
        ) from error


def _refuse_nameless(skill_id: str, parameter: inspect.Parameter) -> None:
    nameless = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY)
    if parameter.kind in nameless:
        raise ConfigurationError(
            f"The parameter {parameter} of skill {skill_id!r} has no name that a task could give.",
            "Use ordinary parameters, each with a name and a type hint.",
        )


def _model(skill_id: str, inputs: Sequence[inspect.Parameter], types: Mapping[str, object]) -> type[BaseModel]:
    fields: dict[str, object] = {}
    for number, one in enumerate(inputs):
        default = ... if one.default is one.empty else one.default
        fields[f"input_{number}"] = (types[one.name], Field(default, alias=one.name, title=one.name))
    try:
        model: type[BaseModel] = create_model(skill_id, __config__=_STRICT_NAMES, **fields)  # type: ignore[call-overload]  # known at run time only
        model.model_json_schema()
    except (PydanticUserError, TypeError, NameError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ConfigurationError(
            f"The parameters of skill {skill_id!r} cannot come from a task: {reason}.",
            "Use str, numbers, bool, lists, dicts, dataclasses or pydantic models.",
        ) from error
    return model


def _text_parameter(inputs: Sequence[inspect.Parameter], types: Mapping[str, object]) -> str | None:
    required = [one.name for one in inputs if one.default is one.empty or len(inputs) == 1]
    if len(required) != 1 or not _is_text(types[required[0]]):
        return None
    return required[0]


def _is_text(hint: object) -> bool:
    origin = get_origin(hint)
    if origin is Annotated:
        return _is_text(get_args(hint)[0])
    if origin in (Union, UnionType):
        return any(_is_text(one) for one in get_args(hint))
    return hint is str


def _json_in(text: str) -> list[JsonValue]:
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):  # as of ten thousand opening brackets
        return []


def _kind(schema: Mapping[str, object]) -> str:
    kinds = schema.get("anyOf", [schema])
    names = (
        [one.get("type") or str(one.get("$ref", "value")).rpartition("/")[2] for one in kinds]
        if isinstance(kinds, list)
        else []
    )
    return " or ".join(map(str, names))


def _problem(error: ErrorDetails) -> str:
    return f"{place_of(error) or 'input'}: {plainly(error)}"


def _shown(text: str, data: Sequence[JsonValue]) -> str:
    if data:
        return f"the data {json.dumps(data[0], ensure_ascii=False)[:200]}"
    return f"the text {json.dumps(text[:100], ensure_ascii=False)}" if text else "nothing"
