"""Tells the connections of one key of each other: two machines may have it, and both of them should know.

A node that lost its connection opens another while the old one still looks open here, so only connections that were
heard after the newest was opened count. A node knows its own connections by the nonces of their hellos.
"""

from __future__ import annotations

from mcp_a2a.protocol.connections import Connections
from mcp_a2a.protocol.control import Doubled
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.relay_session import RelaySession

SURE_SECONDS = 2.0
"""Seconds in which frames arrive that were on their way when the newest connection was opened."""


class Doubles:
    """The keys that have more than one connection, until that is told or over."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys: set[bytes] = set()

    def opened(self, session: RelaySession) -> None:
        """A key has proven itself on one more connection."""
        if len(self._connections.wires_of(session.key)) > 1:
            self._keys.add(session.key)

    def tick(self) -> None:
        """Once a second: tell what is sure by now."""
        for key in list(self._keys):
            sessions = [wire for wire in self._connections.wires_of(key) if isinstance(wire, RelaySession)]
            since = max((session.since for session in sessions), default=0.0) + SURE_SECONDS
            alive = [session for session in sessions if session.heartbeat.heard_at > since]
            if len(sessions) > 1 and len(alive) <= 1:
                continue
            self._keys.discard(key)
            for session in alive if len(alive) > 1 else ():
                session.send(encode(Doubled(tuple(other.name for other in alive if other is not session))))
