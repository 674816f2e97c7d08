"""A line from a client, read as one JSON-RPC message; and what is answered to a line that is none.

A client waits for the answer to each of its requests, so a line that cannot be read is answered too (JSON-RPC 2.0,
section 5.1): under the id that can be found in it, because an answer under no id ends no wait.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from mcp.shared.message import SessionMessage
from mcp.types import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    RequestId,
    jsonrpc_message_adapter,
)
from mcp.types.jsonrpc import ErrorData
from pydantic import JsonValue, ValidationError

from mcp_a2a.protocol.unicode import made_unicode

PARSE_ERROR = -32700
INVALID_REQUEST = -32600

_BOM = "\ufeff"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_TOKEN = re.compile(r'["{}\[\]]')
_ID_VALUE = re.compile(r'\s*:\s*("(?:[^"\\]|\\.)*"|-?\d{1,18}(?![\d.eE]))')
_COLON = re.compile(r"\s*:")
_LAST_ID = re.compile(
    r'"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d{1,18})\s*(?:,\s*"(?:jsonrpc|method)"\s*:\s*"[^"]*"\s*)*\}\s*$'
)
_RESPONSE = {"result", "error"}


@dataclass(frozen=True)
class Unreadable:
    """A line that is no message. `ids` are the requests in it, None for one without; there are none if none is due."""

    code: int
    reason: str
    ids: tuple[RequestId | None, ...] = (None,)

    @property
    def answers(self) -> list[SessionMessage]:
        """The answers to the client."""
        error = ErrorData(code=self.code, message=self.reason)
        return [SessionMessage(JSONRPCError(jsonrpc="2.0", id=one, error=error)) for one in self.ids]


@dataclass
class FromClient(SessionMessage):
    """A message of the client, and the line in which it came."""

    number: int = 0
    """Of that line: no other line of the client has it, and it keeps it when it is told to a later session."""
    age: float = 0.0
    """Seconds since it came."""


@dataclass
class ToClient(SessionMessage):
    """A message for the client, and the number of the line that it answers; 0 where it answers none."""

    number: int = 0


Read: TypeAlias = SessionMessage | Unreadable | None


# Work-around (mcp), look again 2027-03: https://github.com/modelcontextprotocol/python-sdk/issues/2751
def read_line(line: str) -> Read:
    """The message in a line; None for a blank one.

    A byte order mark is no part of JSON text (RFC 8259, section 8.1), and half of a surrogate pair becomes U+FFFD.
    """
    text = line.strip().removeprefix(_BOM)
    if not text:
        return None
    try:
        message = jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        pass
    else:
        # A request with an id of another type passes for a notification.
        if not isinstance(message, JSONRPCNotification) or '"id"' not in text:
            return _session_message(message)
    try:
        value = made_unicode(json.loads(text))
    except (ValueError, RecursionError) as error:
        return _broken(PARSE_ERROR, f"The line is not JSON: {error}.", text)
    return _read_value(value)


def without_null_token(params: dict[str, Any] | None) -> dict[str, Any] | None:  # type: ignore[explicit-any]  # the SDK's
    """Parameters in which a progress token that is null is not given, as many JSON libraries write what is unset."""
    meta = (params or {}).get("_meta")
    if params is None or not isinstance(meta, dict) or meta.get("progressToken", "") is not None:
        return params
    return {**params, "_meta": {name: value for name, value in meta.items() if name != "progressToken"}}


def dropped(head: str, tail: str, reason: str) -> Unreadable:
    """The answer to a line that is too long to be read; its beginning and end are searched for the id."""
    refused = _broken(INVALID_REQUEST, reason, head)
    if refused.ids == (None,) and (last := _LAST_ID.search(tail)):
        return replace(refused, ids=(_id(last.group(1)),))
    return refused


def _read_value(value: JsonValue) -> SessionMessage | Unreadable:
    try:
        message = jsonrpc_message_adapter.validate_python(value, by_name=False)
    except (ValidationError, RecursionError):
        pass
    else:
        if not isinstance(message, JSONRPCNotification) or not isinstance(value, dict) or "id" not in value:
            return _session_message(message)
    if isinstance(value, list):
        ids = tuple(one for one in map(_id_of, value) if one is not None)
        return Unreadable(
            INVALID_REQUEST, "A batch is not taken: send each message on a line of its own.", ids or (None,)
        )
    if not isinstance(value, dict):
        return Unreadable(INVALID_REQUEST, "The line is not a JSON-RPC message: it is not an object.")
    if _RESPONSE & set(value) or ("method" in value and "id" not in value):
        return Unreadable(INVALID_REQUEST, "A response or notification is not valid JSON-RPC.", ())  # never answered
    return Unreadable(INVALID_REQUEST, f"The line is not a JSON-RPC request: {_fault(value)}.", (_id_of(value),))


def _session_message(message: JSONRPCMessage) -> SessionMessage:
    if isinstance(message, JSONRPCRequest):
        message.params = without_null_token(message.params)
    return SessionMessage(message)


def _fault(value: dict[str, JsonValue]) -> str:
    if value.get("jsonrpc") != "2.0":
        return 'it needs "jsonrpc": "2.0"'
    if not isinstance(value.get("method"), str):
        return "it needs a method, which is a string"
    if not isinstance(value.get("params", {}), dict):
        return "its params are no object"
    return "its id is neither a string nor a whole number"


def _id_of(value: JsonValue) -> RequestId | None:
    found = value.get("id") if isinstance(value, dict) else None
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def _outline(text: str) -> tuple[RequestId | None, set[str]]:
    """Id and keys of the outermost object of a text that is no JSON, or not all of it. One pass over the text."""
    depth, position = 0, 0
    found: RequestId | None = None
    keys: set[str] = set()
    while token := _TOKEN.search(text, position):
        position = token.end()
        match token.group():
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
            case _:
                string = _STRING.match(text, token.start())
                if string is None:
                    break
                position = string.end()
                if depth == 1 and _COLON.match(text, position):
                    keys.add(string.group()[1:-1])
                    value = _ID_VALUE.match(text, position) if string.group() == '"id"' else None
                    found = _id(value.group(1)) if value is not None else found
    return found, keys


def _broken(code: int, reason: str, text: str) -> Unreadable:
    found, keys = _outline(text)
    # An answer to what was a response of the client would look like the answer to a request of its own.
    return Unreadable(code, reason, () if keys & _RESPONSE and "method" not in keys else (found,))


def _id(text: str) -> RequestId | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return made_unicode(found) if isinstance(found, str | int) else None
