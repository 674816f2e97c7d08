"""The tools of the server: which there are, and what each may do to the world."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, get_type_hints

from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, JsonValue

from mcp_a2a.server.agents import discover, get_agent
from mcp_a2a.server.contacts import accept_contact
from mcp_a2a.server.files import save_files
from mcp_a2a.server.inbox import answer_task, check_inbox
from mcp_a2a.server.tasks import cancel_task, get_task_status, list_tasks, reply_to_task, send_task, send_task_by_skill

ToolFunction: TypeAlias = Callable[..., Awaitable[CallToolResult]]  # type: ignore[explicit-any]  # arguments differ


@dataclass(frozen=True)
class ToolSpec:
    """A function whose docstring is the description that the model reads, and its hints for the client.

    Its return annotation, `Annotated[CallToolResult, View]`, names the view that is its structured content.
    """

    function: ToolFunction
    title: str
    reads_only: bool = False
    idempotent: bool = False
    open_world: bool = True

    def build(self) -> Tool:
        """The tool as the SDK serves it.

        The schema is published, and the result not checked against it: it was made from that very model.
        """
        tool = Tool.from_function(
            self.function,
            title=self.title,
            description=inspect.getdoc(self.function),
            annotations=self._annotations(),
            structured_output=False,
        )
        (view,) = get_type_hints(self.function, include_extras=True)["return"].__metadata__
        tool.fn_metadata.output_schema = output_schema(view)
        tool.parameters = input_schema(tool.parameters)
        return tool

    def _annotations(self) -> ToolAnnotations:
        # No tool here destroys anything: what it does adds, and a cancel stops.
        return ToolAnnotations(
            title=self.title,
            read_only_hint=self.reads_only,
            destructive_hint=False,
            idempotent_hint=self.idempotent or self.reads_only,
            open_world_hint=self.open_world,
        )


TOOLS: tuple[ToolSpec, ...] = (
    ToolSpec(discover, "Find agents", reads_only=True),
    ToolSpec(get_agent, "Show an agent", reads_only=True),
    ToolSpec(send_task, "Send a task"),
    ToolSpec(send_task_by_skill, "Send a task by skill"),
    ToolSpec(get_task_status, "Get a task's status and result", reads_only=True),
    ToolSpec(save_files, "Save the files of a task", open_world=False),
    ToolSpec(reply_to_task, "Reply to a task"),
    ToolSpec(cancel_task, "Cancel a task", idempotent=True),
    ToolSpec(list_tasks, "List tasks", reads_only=True, open_world=False),
    ToolSpec(check_inbox, "Check the inbox"),  # takes leases, so it does not only read
    ToolSpec(accept_contact, "Ask to accept a contact", idempotent=True),
    ToolSpec(answer_task, "Answer a task"),
)


# JSON Schemas as clients get them: no more of what pydantic derives than a model needs, which pays for every byte.

Schema = dict[str, JsonValue]

_UNSAID: tuple[JsonValue, ...] = (None, "", [], {})
"""Defaults by which nothing is given: that an argument may be left out is said by `required`."""


@cache
def output_schema(view: type[BaseModel]) -> Schema:
    """The schema of a tool's structured content: an object, and which fields are always there.

    The types of all fields would be three quarters of the listing, which a client keeps in its model's context; the
    results say them.
    """
    required: list[JsonValue] = [name for name, field in view.model_fields.items() if field.is_required()]
    return {"type": "object", "required": required}


def input_schema(schema: Schema) -> Schema:
    """The schema of a tool's arguments without what says nothing, and without references.

    Titles only repeat the names. Null stands for an argument that is not given, which any call may say of any optional
    argument, so no type names it.
    """
    defined = schema.get("$defs")
    slim = _slim(schema, defined if isinstance(defined, dict) else {})
    assert isinstance(slim, dict)  # noqa: S101  a schema is an object
    return slim


def _slim(value: JsonValue, defined: Schema) -> JsonValue:
    if isinstance(value, list):
        return [_slim(item, defined) for item in value]
    if not isinstance(value, dict):
        return value
    if (found := _one_of(value, defined)) is not None:
        return _slim(found, defined)
    slim: Schema = {}
    for keyword, inner in value.items():
        if keyword == "properties" and isinstance(inner, dict):
            slim[keyword] = {name: _slim(part, defined) for name, part in inner.items()}
        elif not _says_nothing(keyword, inner):
            slim[keyword] = inner if keyword in ("enum", "const", "default") else _slim(inner, defined)
    return slim


def _says_nothing(keyword: str, value: JsonValue) -> bool:
    if keyword == "default":
        return value in _UNSAID
    return keyword in ("title", "$defs") or (keyword == "additionalProperties" and value is True)


def _one_of(value: Schema, defined: Schema) -> Schema | None:
    """A schema that stands for another: a reference, or a choice between one and null. What is beside it counts."""
    rest = {keyword: inner for keyword, inner in value.items() if keyword not in ("$ref", "anyOf")}
    reference, choices = value.get("$ref"), value.get("anyOf")
    if isinstance(reference, str):
        found = defined[reference.rpartition("/")[2]]
        if not isinstance(found, dict):
            return None
        # What a class is for is said by the argument, if it matters.
        return {keyword: inner for keyword, inner in found.items() if keyword != "description"} | rest
    if isinstance(choices, list):
        kinds = [kind for kind in choices if isinstance(kind, dict) and kind.get("type") != "null"]
        return kinds[0] | rest if len(kinds) == 1 else None
    return None
