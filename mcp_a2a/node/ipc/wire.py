"""The lines on a local socket, over which processes of one user ask the owner of a data folder. Does no I/O.

A process says one JSON object a line. `{"id": 1, "op": "send_task", "request": {…}}` is answered, whenever it is ready,
by `{"id": 1, "view": {…}}` or `{"id": 1, "error": {code, message, hint, remedy, details}}`; `{"cancel": 1}` withdraws
it. The operation `alive` asks for an answer alone. A question with `form` is answered in that form, which the answer
names, for a process that reads it without its models (`node.ipc.glance`).

A front of an MCP client begins with `{"mcp": …}` instead, and goes on in frames (`front.frames`).
The module needs no library, so that a short command can import it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

MAX_LINE = 256 * 1024 * 1024
"""Bytes: a hundred tasks of a megabyte, each as text and as message. Both sides are the same person's."""

ALIVE = "alive"
"""The operation that asks only for an answer."""

SILENCE_SECONDS = 2.5
"""A process that has said nothing for so long, while it is asked something, is asked whether it lives; after as long
again it counts as silent."""


def line_of(message: Mapping[str, JsonValue]) -> bytes:
    """A message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def error_fields(error: McpA2AError) -> dict[str, JsonValue]:
    """An error as an answer carries it; `raised` is the inverse. `hint` is for a reader of another version."""
    fields = {"code": error.code, "message": error.message, "hint": error.hint, "details": dict(error.details)}
    remedy = {} if error.remedy.is_plain else {"remedy": {"text": error.remedy.text, "values": error.remedy.values}}
    return cast("dict[str, JsonValue]", fields | remedy)


def raised(fields: Mapping[str, JsonValue]) -> McpA2AError:
    """The error that the other process raised, as the class of its code.

    An error without a code is one of a process of another version: a `ConfigurationError`.
    """
    details, remedy = fields.get("details"), fields.get("remedy")
    code, message, hint = (str(fields.get(name, "")) for name in ("code", "message", "hint"))
    values = cast("Mapping[str, str]", remedy["values"]) if isinstance(remedy, dict) else {}
    return McpA2AError.rebuild(
        code or ConfigurationError.code,
        message,
        Remedy(str(remedy["text"]), **values) if isinstance(remedy, dict) else hint,
        details if isinstance(details, dict) else None,
    )
