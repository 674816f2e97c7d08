"""The lookups of a node that run, and the addresses at which it listens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack

import anyio

from mcp_a2a.ports import AddressLookup, Announcement, LookupHandler
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import DirectAddr, TransportAddr

logger = logging.getLogger(__name__)


class Lookups:
    """The lookups of one node, and whether each works."""

    def __init__(self, lookups: Sequence[AddressLookup], addresses_at: Callable[[int], Sequence[DirectAddr]]) -> None:
        """`addresses_at(port)` returns where others on our networks may dial a port of ours."""
        self._lookups = lookups
        self._addresses_at = addresses_at
        self.states: dict[str, str] = {}
        """`on`, or `off: REASON`, by the name of the lookup; a lookup that was not opened is missing."""
        self.started = anyio.current_time()
        self.listening: tuple[TransportAddr, ...] = ()

    async def open(self, stack: AsyncExitStack, me: PeerId, handler: LookupHandler) -> None:
        """Announce this node and look for others until the stack closes."""
        announcement = Announcement(me, self._port)
        for lookup in self._lookups:
            try:
                await stack.enter_async_context(lookup.open(announcement, handler))
            except OSError as error:
                # Others of our lookups, or a link that a peer opens, may still work: say it, and go on.
                self.states[lookup.name] = f"off: {error}"
                logger.warning("lookup %s is not available: %s", lookup.name, error)
            else:
                self.states[lookup.name] = "on"

    @property
    def _port(self) -> int:
        return next((address.port for address in self.listening if isinstance(address, DirectAddr)), 0)

    @property
    def own_addresses(self) -> Sequence[DirectAddr]:
        """The addresses at which others on our networks may dial us; a zone stands in them on this machine only."""
        return self._addresses_at(self._port) if self._port else ()

    def look_now(self) -> None:
        """Have lookups see at once the peers that they would see soon."""
        for lookup in self._lookups:
            lookup.look_now()

    def is_on(self, name: str) -> bool:
        """True if the lookup was opened."""
        return self.states.get(name) == "on"

    def works(self, name: str) -> bool:
        """True if the lookup was opened and hears at the moment."""
        return self.states[name] == "on" and not any(one.is_deaf for one in self._lookups if one.name == name)

    def in_words(self) -> Mapping[str, str]:
        """The state of each lookup, with the way it looks where that is known: `on (IPv4)`."""
        details = {lookup.name: lookup.detail for lookup in self._lookups}
        return {
            name: f"{state} ({details[name]})" if state == "on" and details.get(name) else state
            for name, state in self.states.items()
        }

    def looked(self, *, how: bool) -> Iterator[str]:
        """The names of the lookups that were opened, and with `how` the way each looks."""
        for lookup in self._lookups:
            if self.is_on(lookup.name):
                yield f"{lookup.name} over {lookup.detail}" if how and lookup.detail else lookup.name
