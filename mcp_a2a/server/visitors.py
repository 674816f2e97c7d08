"""The clients of the HTTP server: a line for its owner when one comes, when it is gone, and when one is refused.

HTTP knows requests and no clients. A client is told from others by the name that it is admitted under, by what it calls
itself (`clientInfo` of MCP, else `User-Agent`), and by its connections. It is gone when it has had none for a while:
clients open a new one for every call, or keep one for hours. All of these words are the client's own, so they are shown
and never decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue
from starlette.types import Scope

from mcp_a2a.a2a.wire import header
from mcp_a2a.api.news import EventKind, EventView
from mcp_a2a.protocol.text import preview

LINGER_SECONDS = 60.0
"""Seconds without a connection after which a client counts as gone."""

MAX_VISITORS = 256
"""Clients that are told apart; of more, the one that came first is forgotten."""

NAME_CHARS = 60

CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
"""The key of `_meta` under which a request has it (MCP 2026-07-28)."""

End = tuple[str, int]
Key = tuple[str, str, str]
"""Under which name it is admitted, which protocol it speaks, and what it calls itself."""


@dataclass
class _Visitor:
    connections: set[End] = field(default_factory=set)
    left_at: float = 0.0


class Visitors:
    """The clients of one server. `tell` gets an event for each that comes and goes."""

    def __init__(self, tell: Callable[[EventView], None], stamp: Callable[[], str]) -> None:
        self._tell, self._stamp = tell, stamp
        self._visitors: dict[Key, _Visitor] = {}
        self._ends: dict[End, Key] = {}

    def asks(self, scope: Scope, protocol: str, principal: str, name: str | None, now: float) -> None:
        """A request was admitted; `name` is what the client calls itself in it, where it does."""
        end: End = tuple(scope.get("client") or ("", 0))
        key = self._key(end, (principal, protocol), name or _agent_of(scope), named=name is not None)
        visitor = self._visitors.get(key)
        if visitor is None:
            if len(self._visitors) >= MAX_VISITORS:
                self._forget(next(iter(self._visitors)))
            visitor = self._visitors[key] = _Visitor()
            self._say("client_connected", key)
        before = self._ends.get(end)
        if before is not None and before != key and before in self._visitors:
            self._visitors[before].connections.discard(end)
        visitor.connections.add(end)
        visitor.left_at = now
        self._ends[end] = key

    def _key(self, end: End, base: tuple[str, str], name: str, *, named: bool) -> Key:
        """The key of a client: a request without a name is of the last client, on this connection or at all."""
        if not named:
            known = self._ends.get(end)
            if known is not None and known[:2] == base:
                return known
            last = next((key for key in reversed(self._visitors) if key[:2] == base and base[1] == "MCP"), None)
            if last is not None:
                return last
        return (*base, name)

    def closed(self, end: End, now: float) -> None:
        """Note the end of a connection."""
        key = self._ends.pop(end, None)
        visitor = self._visitors.get(key) if key is not None else None
        if visitor is not None:
            visitor.connections.discard(end)
            visitor.left_at = now

    def refused(self, scope: Scope, status: int) -> None:
        """A request was not admitted."""
        host = (scope.get("client") or ("somewhere", 0))[0]
        self._tell(EventView(kind="request_refused", at=self._stamp(), client=preview(host, 64), detail=str(status)))

    def forget_idle(self, now: float) -> None:
        """Report and forget the clients that have been without a connection for `LINGER_SECONDS`."""
        gone = [
            key
            for key, visitor in self._visitors.items()
            if not visitor.connections and now - visitor.left_at >= LINGER_SECONDS
        ]
        for key in gone:
            del self._visitors[key]
            self._say("client_gone", key)

    def _forget(self, key: Key) -> None:
        for end in self._visitors.pop(key).connections:
            self._ends.pop(end, None)

    def _say(self, kind: EventKind, key: Key) -> None:
        principal, protocol, name = key
        who = f"{name} ({principal})" if principal else name
        self._tell(EventView(kind=kind, at=self._stamp(), client=who, detail=protocol))


def name_in(message: Mapping[str, JsonValue]) -> str | None:
    """The name that a client of MCP gives itself in a message."""
    params = message.get("params")
    if not isinstance(params, dict):
        return None
    meta = params.get("_meta")
    info = params.get("clientInfo") if message.get("method") == "initialize" else None
    if info is None and isinstance(meta, dict):
        info = meta.get(CLIENT_INFO)
    if not isinstance(info, dict) or not isinstance(info.get("name"), str):
        return None
    words = [str(info["name"]), *([str(info["version"])] if isinstance(info.get("version"), str) else [])]
    return preview(" ".join(words), NAME_CHARS) or None


def _agent_of(scope: Scope) -> str:
    """The product that a request names first."""
    said = (header(scope["headers"], b"user-agent") or "").partition(" ")[0]
    return preview(said, NAME_CHARS) or "a client"
