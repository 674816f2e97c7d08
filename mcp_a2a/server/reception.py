"""Keeps connections that ask nothing from those that do: opening one takes no token (limits L10, L11).

uvicorn counts all connections, and waits for the first request of each for ever. Here whoever sends no whole header
in time is shown out, and so is who has been silent longest where too many are: an honest client needs milliseconds.

This machine itself is not held to the limits of a host: its programs share one address, and so does a proxy's crowd.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcp_a2a.protocol.door import Door, host_of, is_here

if TYPE_CHECKING:
    from asyncio import Transport  # noqa: TID251  what uvicorn hands us

MAX_CONNECTIONS = 1_000


@dataclass(frozen=True)
class Limits:
    """How many connections there may be, and how long one may be silent."""

    per_host: int = MAX_CONNECTIONS // 4
    silent: int = MAX_CONNECTIONS // 2
    """The other half is for those who ask."""
    silent_per_host: int = MAX_CONNECTIONS // 10
    header_seconds: float = 10.0
    """From its beginning, or the end of an answer, to the end of the next header."""


class Guest(Protocol):
    """A connection."""

    address: str

    def show_out(self) -> None:
        """Close it."""


class Reception:
    """All connections of a server."""

    def __init__(self, limits: Limits, *, behind_proxy: bool) -> None:
        self._limits, self._behind_proxy = limits, behind_proxy
        self._door: Door[Guest] = Door(limits.silent, limits.silent_per_host, limits.header_seconds)
        self._hosts: Counter[str] = Counter()

    @property
    def protocol(self) -> type[HttpToolsProtocol]:
        """What uvicorn makes of each connection."""
        return cast("type[HttpToolsProtocol]", partial(Connection, self))

    def entered(self, guest: Guest, now: float) -> None:
        """A connection was opened."""
        seat = self._seat(guest)
        self._hosts[seat] += 1
        if self._hosts[seat] > self._limits.per_host:
            guest.show_out()
        else:
            self.waits(guest, now)

    def waits(self, guest: Guest, now: float) -> None:
        """It may ask something, and has not."""
        leaves = self._door.arrived(guest, self._seat(guest), now)
        if leaves is not None:
            leaves.show_out()

    def asks(self, guest: Guest) -> None:
        """The header of a request has come."""
        self._door.left(guest)

    def left(self, guest: Guest) -> None:
        """It is closed."""
        self._door.left(guest)
        seat = self._seat(guest)
        self._hosts[seat] -= 1
        if not self._hosts[seat]:
            del self._hosts[seat]

    def show_out(self, now: float) -> None:
        """Close those that have been silent for too long."""
        for guest in self._door.overdue(now):
            guest.show_out()

    def _seat(self, guest: Guest) -> str:
        spared = self._behind_proxy or is_here(guest.address)
        return f"{guest.address}/{id(guest)}" if spared else host_of(guest.address)


class Connection(HttpToolsProtocol):
    """A connection that tells the reception how it gets on."""

    def __init__(self, reception: Reception, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]  # uvicorn names them all
        self._reception = reception
        self.address = ""

    def show_out(self) -> None:
        """Close it, behind what is on its way out. Without a farewell of TLS, which a silent one would not answer."""
        if self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()

    @override
    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn's says the same
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._reception.entered(self, self.loop.time())

    @override
    def on_headers_complete(self) -> None:
        self._reception.asks(self)
        super().on_headers_complete()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # else the next request is here already
            self._reception.waits(self, self.loop.time())

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._reception.left(self)
        super().connection_lost(exc)
