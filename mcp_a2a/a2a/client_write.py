"""Requests to other A2A agents, spelled exactly as their version and binding have it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit

from pydantic import JsonValue

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.client_card import is_current
from mcp_a2a.a2a.client_parts import Fields
from mcp_a2a.protocol.extensions import required_extensions
from mcp_a2a.protocol.model import AgentInterface
from mcp_a2a.web_ports import WebAgent, WebRequest

Operation = Literal["send", "stream", "get", "subscribe", "cancel", "card"]

_CURRENT = {
    "send": "SendMessage", "stream": "SendStreamingMessage", "get": "GetTask", "subscribe": "SubscribeToTask",
    "cancel": "CancelTask", "card": "GetExtendedAgentCard",
}  # fmt: skip
_OLDER = {
    "send": "message/send", "stream": "message/stream", "get": "tasks/get", "subscribe": "tasks/resubscribe",
    "cancel": "tasks/cancel", "card": "agent/getAuthenticatedExtendedCard",
}  # fmt: skip

STREAMED = frozenset({"stream", "subscribe"})


@dataclass(frozen=True)
class Asked:
    """An HTTP request."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def ask_message(operation: Operation, request: WebRequest, agent: WebAgent, interface: AgentInterface) -> Asked:
    """A message, by `send` or `stream`. The agent need not hold the request open: the client polls or subscribes.

    All media types of the agent's answers are accepted. They are optional in 0.3 and 1.0 and were required in 0.2, and
    there are agents that refuse a request without any.
    """
    rest = interface.protocol_binding != "JSONRPC"
    if is_current(interface):
        message: JsonValue = request.message.model_dump(mode="json", by_alias=True, exclude_none=True)
        configuration: Fields = {"returnImmediately": True}
    else:
        message = (legacy.REST if rest else legacy.JSON_RPC).message(request.message)
        configuration = {"blocking": False}
    skills = (mode for skill in agent.card.skills for mode in skill.output_modes or ())
    configuration["acceptedOutputModes"] = list(dict.fromkeys((*agent.card.default_output_modes, *skills))) or [
        "text/plain"
    ]
    params: Fields = {"message": message, "configuration": configuration}
    asked = _asked(interface, operation, params, f"/message:{operation}", "POST")
    asked.headers["Idempotency-Key"] = request.key
    declared = {extension.uri for extension in agent.card.capabilities.extensions or ()}
    return _with_extensions(
        asked, interface, agent, (uri for uri in request.message.extensions or () if uri in declared)
    )


def ask_about(
    agent: WebAgent, operation: Operation, task_id: str, history: int | None, interface: AgentInterface
) -> Asked:
    """Something about a task, as `ask_task`, with the extensions that the agent requires."""
    return _with_extensions(ask_task(interface, operation, task_id, history=history), interface, agent)


def ask_subscription(agent: WebAgent, task_id: str, method: str, interface: AgentInterface) -> Asked:
    """The events of a task, by the HTTP method that the agent knows for it."""
    method = "POST" if interface.protocol_binding == "JSONRPC" else method
    return _with_extensions(ask_task(interface, "subscribe", task_id, method=method), interface, agent)


def ask_task(
    interface: AgentInterface, operation: Operation, task_id: str, *, method: str = "", history: int | None = None
) -> Asked:
    """Something about a task: `get`, with so many messages where that is said, `subscribe` or `cancel`."""
    place = f"/tasks/{quote(task_id, safe='')}"
    match operation:
        case "get":
            length: Fields = {} if history is None else {"historyLength": history}
            query = f"?historyLength={history}" if history is not None else ""
            at = place + (query if interface.protocol_binding != "JSONRPC" else "")
            return _asked(interface, operation, {"id": task_id, **length}, at, method or "GET")
        case "subscribe":
            return _asked(interface, operation, {"id": task_id}, f"{place}:subscribe", method or "GET")
        case _:
            return _asked(interface, operation, {"id": task_id}, f"{place}:cancel", method or "POST")


def ask_card(interface: AgentInterface) -> Asked:
    """The card for callers that show who they are."""
    return _asked(interface, "card", {}, "/extendedAgentCard" if is_current(interface) else "/card", "GET")


def ask_older_card(interface: AgentInterface) -> Asked:
    """The same as agents before 0.3 had it, beside their URL (A2A 0.2.5 7.9)."""
    return Asked("GET", urljoin(interface.url, "agent/authenticatedExtendedCard"), {"Accept": "application/json"})


def _with_extensions(asked: Asked, interface: AgentInterface, agent: WebAgent, more: Iterable[str] = ()) -> Asked:
    """The request with the extensions that are active in it (A2A 3.2.6; 0.3 had another name for the header)."""
    uris = (*required_extensions(agent.card), *more)
    written = ", ".join(dict.fromkeys(uri for uri in uris if _IN_A_HEADER.fullmatch(uri)))
    if written:
        asked.headers["A2A-Extensions" if is_current(interface) else "X-A2A-Extensions"] = written
    return asked


_IN_A_HEADER = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
"""A URI that can stand in a list of a header."""


def _asked(interface: AgentInterface, operation: Operation, params: Fields, place: str, method: str) -> Asked:
    current = is_current(interface)
    headers = {"A2A-Version": "1.0"} if current else {}
    headers["Accept"] = "text/event-stream, application/json" if operation in STREAMED else "application/json"
    if interface.protocol_binding == "JSONRPC":
        if interface.tenant and current:
            params = {**params, "tenant": interface.tenant}
        method_name = (_CURRENT if current else _OLDER)[operation]
        body: Fields = {"jsonrpc": "2.0", "id": "1", "method": method_name, "params": params}
        return Asked("POST", interface.url, {**headers, "Content-Type": "application/json"}, _json(body))
    if operation not in STREAMED:
        headers["Accept"] = "application/a2a+json, application/json"
    tenant = f"/{quote(interface.tenant, safe='')}" if interface.tenant and current else ""
    version = "" if current or urlsplit(interface.url).path.rstrip("/").endswith("/v1") else "/v1"
    url = _below(interface.url, f"{tenant}{version}{place}")
    if method == "GET":
        return Asked("GET", url, headers)
    headers["Content-Type"] = "application/a2a+json" if current else "application/json"
    content = params if operation in ("send", "stream") else {}
    return Asked("POST", url, headers, _json(content))


def _below(url: str, place: str) -> str:
    """A place below a URL, which keeps its query: it may name the agent that is meant."""
    parts = urlsplit(url)
    path, _, query = place.partition("?")
    query = "&".join(filter(None, (parts.query, query)))
    return parts._replace(path=f"{parts.path.rstrip('/')}{path}", query=query, fragment="").geturl()


def _json(fields: Fields) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
