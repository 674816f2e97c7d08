"""Stands before the SDK's HTTP endpoint: bounds a request before it is parsed, and lets the client choose the form.

The SDK wants a client to accept JSON and a stream, and picks one. Clients exist that accept one of them, or say
nothing, which means anything (RFC 9110 12.5.1). The SDK is told that both are accepted, and its answer is put into the
form that the client named: of a stream, the answer to the request as JSON; of JSON, a stream of one event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import JsonValue
from pydantic_core import from_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_a2a.a2a.client_streams import EventReader
from mcp_a2a.a2a.faults import Fault
from mcp_a2a.a2a.wire import header, read_body, send_json
from mcp_a2a.protocol.strict_json import check_members
from mcp_a2a.protocol.unicode import unicode_json
from mcp_a2a.server.lines import without_null_token

JSON, STREAM = "application/json", "text/event-stream"

_BOTH = f"{JSON}, {STREAM}".encode()


Seen = Callable[[Scope, Mapping[str, JsonValue]], None]
"""Told of every request that can be one, with its message; with an empty one where it has none."""


class McpRequests:
    """The ASGI application around the SDK's."""

    def __init__(self, app: ASGIApp, seen: Seen = lambda *_: None) -> None:
        self._app, self._seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it can be one, and its answer back in the form that is accepted."""
        if scope["method"] != "POST":
            # Nothing is kept to be sent again, which the SDK answers with 500: a stream that is resumed begins anew.
            scope = {**scope, "headers": _without(scope["headers"], b"last-event-id")}
            self._seen(scope, {})
            return await self._app(scope, receive, send)
        form = _form(scope)
        if form is None:
            return await _refuse(send, HTTPStatus.NOT_ACCEPTABLE, None, f"Accept {JSON}, {STREAM}, or both.")
        scope = {**scope, "headers": [*_without(scope["headers"], b"accept"), (b"accept", _BOTH)]}
        try:
            body = await read_body(receive, header(scope["headers"], b"content-length"))
        except Fault as fault:
            return await _refuse(send, HTTPStatus(fault.kind.value.http), None, fault.message)
        refusal, request_id, body, message = _check(body)
        if refusal is not None:
            return await _refuse(send, HTTPStatus.BAD_REQUEST, request_id, refusal.reason, refusal.code)
        self._seen(scope, message)
        if form:
            send = _Form(send, form).send
        return await self._app(scope, _again(_without_null_token(body), receive), send)


# --- the request ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Refusal:
    code: int
    reason: str


def _check(body: bytes) -> tuple[_Refusal | None, JsonValue, bytes, Mapping[str, JsonValue]]:
    """Why this is no message of MCP, the id that it has, and the message as Unicode, written and read."""
    try:
        check_members(body)
    except ValueError as error:
        return _Refusal(-32600, f"The request has {error}."), None, body, {}
    body = unicode_json(body)
    refusal, request_id, message = _check_message(body)
    return refusal, request_id, body, message


def _check_message(body: bytes) -> tuple[_Refusal | None, JsonValue, Mapping[str, JsonValue]]:
    try:
        message: JsonValue = from_json(body)
    except ValueError as error:
        return _Refusal(-32700, f"The body is not JSON: {error}."), None, {}
    if not isinstance(message, dict):
        return _Refusal(-32600, "A request is one JSON object; batches are not served."), None, {}
    request_id = message.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int):
        if "id" in message:
            return _Refusal(-32600, "The id of a request is a string or a whole number."), None, {}
        request_id = None
    return _check_members_of(message), request_id, message


def _check_members_of(message: dict[str, JsonValue]) -> _Refusal | None:
    if message.get("jsonrpc") != "2.0":
        return _Refusal(-32600, 'A request has "jsonrpc": "2.0".')
    if "method" not in message:
        return _check_answer(message)
    if not isinstance(message["method"], str):
        return _Refusal(-32600, "The method of a request is a string.")
    if not isinstance(message.get("params"), dict | None):
        return _Refusal(-32602, "The parameters of a request are an object.")
    return None


def _check_answer(message: dict[str, JsonValue]) -> _Refusal | None:
    if "id" not in message or not {"result", "error"} & message.keys():
        return _Refusal(-32600, "A request names its method.")
    error = message.get("error")
    if error is not None:
        code, said = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
        if isinstance(code, bool) or not isinstance(code, int) or not isinstance(said, str):
            return _Refusal(-32600, "The error of an answer has a whole number as its code, and a message.")
    elif not isinstance(message.get("result"), dict):
        return _Refusal(-32600, "The result of an answer is an object.")
    return None


def _without_null_token(body: bytes) -> bytes:
    if b'"progressToken"' not in body:
        return body
    message = json.loads(body)
    given = message.get("params")
    params = without_null_token(given)
    return body if params is given else json.dumps({**message, "params": params}).encode()


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read, and then what comes behind it: that the client hangs up."""
    given = False

    async def read() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


# --- the form ------------------------------------------------------------------------------------


def _form(scope: Scope) -> str | None:
    """The one form that is accepted; empty for either, None for neither."""
    said = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"accept")
    if not said.strip():
        return ""
    ranges = dict(map(_range, said.split(",")))
    accepts = [_accepts(ranges, media_type) for media_type in (JSON, STREAM)]
    return {(True, True): "", (True, False): JSON, (False, True): STREAM}.get((accepts[0], accepts[1]))


def _range(text: str) -> tuple[str, bool]:
    """A media range, and whether it is accepted: a weight of 0 says that it is not (RFC 9110 12.4.2)."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weights = [value.strip() for key, _, value in (part.partition("=") for part in parameters) if key.strip() == "q"]
    name = "*/*" if name == "*" else name  # as Java's oldest client has it
    return name, not weights or weights[0].strip("0.") != ""


def _accepts(ranges: dict[str, bool], media_type: str) -> bool:
    """True if a type is accepted: the most specific range decides."""
    candidates = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((ranges[name] for name in candidates if name in ranges), False)


class _Form:
    """Puts an answer into the one form that is accepted."""

    def __init__(self, send: Send, form: str) -> None:
        self._send, self._form = send, form
        self._start: Message | None = None
        self._body = bytearray()
        self._events = EventReader()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = (header(message.get("headers", ()), b"content-type") or "").partition(";")[0].strip().lower()
            if message["status"] == HTTPStatus.OK and kind in (JSON, STREAM) and kind != self._form:
                self._start = message
                return
        if self._start is None:
            await self._send(message)
        elif self._form == JSON:
            await self._pick(message)
        else:
            await self._wrap(message)

    async def _wrap(self, message: Message) -> None:
        """JSON as a stream of one event."""
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._finish(b"event: message\r\ndata: " + bytes(self._body).replace(b"\n", b"") + b"\r\n\r\n")

    async def _pick(self, message: Message) -> None:
        """Of a stream, the answer: progress on the way has no place in JSON."""
        self._take(self._events.feed(message.get("body", b"")))
        if not message.get("more_body", False):
            self._take(self._events.end())
            await self._finish(bytes(self._body))

    def _take(self, events: Iterable[str]) -> None:
        for event in events:
            value = json.loads(event)
            if "result" in value or "error" in value:
                self._body[:] = event.encode()

    async def _finish(self, body: bytes) -> None:
        start = self._start or {}
        headers = [*_without(start["headers"], b"content-type", b"content-length")]
        headers += [(b"content-type", self._form.encode()), (b"content-length", str(len(body)).encode())]
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _without(headers: Iterable[tuple[bytes, bytes]], *names: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in names]


async def _refuse(send: Send, status: HTTPStatus, request_id: JsonValue, reason: str, code: int = -32600) -> None:
    error: JsonValue = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": reason}}
    await send_json(send, status, json.dumps(error).encode(), JSON.encode())
