"""The members of a network that are connected to a relay, and the connections that watch them.

Coming and going is gathered for a tenth of a second: after an outage a whole network comes back at once, and each
member would otherwise be told of each. Who comes back within that time was never away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mcp_a2a.protocol.connections import Wire
from mcp_a2a.protocol.control import MAX_PRESENCE, Presence
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.frames import encode

GATHER_SECONDS = 0.1


class _NetworkPresence:
    """The presence of the members of one network, and its watchers."""

    __slots__ = ("changed", "present", "watchers")

    def __init__(self) -> None:
        self.present: dict[PeerId, int] = {}  # with how many connections
        self.changed: dict[PeerId, bool] = {}
        self.watchers: dict[Wire, None] = {}


class PresenceTable:
    """Of every network whose members are connected. Only proven members may be passed in."""

    def __init__(self) -> None:
        self._networks: dict[PeerId, _NetworkPresence] = {}
        self._due_at = math.inf

    def __len__(self) -> int:
        return len(self._networks)

    def came(self, peer: PeerId, networks: Sequence[PeerId], now: float) -> None:
        """A member has one connection more."""
        for network in networks:
            of_network = self._networks.setdefault(network, _NetworkPresence())
            count = of_network.present[peer] = of_network.present.get(peer, 0) + 1
            if count == 1:
                self._changed(of_network, peer, now, is_here=True)

    def went(self, wire: Wire, peer: PeerId, networks: Sequence[PeerId], now: float) -> None:
        """A member has one connection less."""
        for network in networks:
            of_network = self._networks[network]
            of_network.watchers.pop(wire, None)
            of_network.present[peer] -= 1
            if not of_network.present[peer]:
                del of_network.present[peer]
                self._changed(of_network, peer, now, is_here=False)
            if not of_network.present:
                del self._networks[network]

    def is_here(self, network: PeerId, peer: PeerId) -> bool:
        """True if a member is connected."""
        of_network = self._networks.get(network)
        return of_network is not None and peer in of_network.present

    def watch(self, wire: Wire, network: PeerId) -> None:
        """Tell this connection of a member from now on; who is `present` now it knows."""
        # The collected changes go out first: a new watcher learns of a short visit only that the member is gone.
        self._tell(network, self._networks[network])
        self._networks[network].watchers[wire] = None

    def watchers(self, network: PeerId) -> Sequence[Wire]:
        """The connections that are told."""
        of_network = self._networks.get(network)
        return list(of_network.watchers) if of_network is not None else ()

    def present(self, network: PeerId) -> Iterator[Presence]:
        """A frame for each connected member of the network."""
        return _frames(network, sorted(self._networks[network].present), is_here=True)

    def next_timeout(self) -> float:
        """The time at which the collected changes are due."""
        return self._due_at

    def handle_timeout(self, now: float) -> None:
        """Tell what has changed."""
        if now < self._due_at:
            return
        self._due_at = math.inf
        for network, of_network in self._networks.items():
            self._tell(network, of_network)

    def _tell(self, network: PeerId, of_network: _NetworkPresence) -> None:
        changed, of_network.changed = of_network.changed, {}
        for is_here in (True, False):
            peers = [peer for peer, state in changed.items() if state is is_here]
            for frame in _frames(network, peers, is_here=is_here):
                text = encode(frame)
                for wire in of_network.watchers:
                    wire.send(text)

    def _changed(self, of_network: _NetworkPresence, peer: PeerId, now: float, *, is_here: bool) -> None:
        if of_network.changed.pop(peer, None) is None:
            of_network.changed[peer] = is_here
        self._due_at = min(self._due_at, now + GATHER_SECONDS)


def _frames(network: PeerId, peers: Sequence[PeerId], *, is_here: bool) -> Iterator[Presence]:
    for at in range(0, len(peers), MAX_PRESENCE):
        some = tuple(peers[at : at + MAX_PRESENCE])
        yield Presence(network, some, ()) if is_here else Presence(network, (), some)
