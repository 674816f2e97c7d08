"""The connections of strangers: their number per host, and the host that makes room for another.

A host is cheap to an attacker that has many, so the number of connections of each host counts. A host with one comes
in as long as there is another with three.
"""

from __future__ import annotations

from mcp_a2a.protocol.relay_session import RelaySession


class StrangerSessions:
    """Sessions that are charged to their host, oldest first. `most` is how many there may be."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._hosts: dict[str, dict[RelaySession, None]] = {}

    def is_full(self) -> bool:
        """True if the next one takes the place of another."""
        return self._count >= self._most

    def rival_of(self, host: str) -> RelaySession | None:
        """The oldest connection of the host with the most, if that has more than this one will have."""
        largest = max(self._hosts.values(), key=len, default={})
        own = len(self._hosts.get(host, ()))
        return next(iter(largest)) if len(largest) > own + 1 else None

    def add(self, session: RelaySession) -> None:
        """Add a session that is served."""
        self._hosts.setdefault(session.host, {})[session] = None
        self._count += 1

    def remove(self, session: RelaySession) -> None:
        """Remove a session that has ended, if it was one of these."""
        of_host = self._hosts.get(session.host, {})
        if session not in of_host:
            return
        del of_host[session]
        self._count -= 1
        if not of_host:
            del self._hosts[session.host]
