"""The agents that may send tasks here: own and trusted ones, and members of our networks; no blocked agent."""

from __future__ import annotations

from collections.abc import Callable

from mcp_a2a.api.view import Trust
from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.link_places import Standing

_STANDINGS: dict[Trust, Standing] = {
    "own": Standing.OWN,
    "trusted": Standing.TRUSTED,
    "member": Standing.MEMBER,
    "stranger": Standing.STRANGER,
    "blocked": Standing.STRANGER,
}


class TrustBook:
    """Answers who a peer is to us.

    What a person decided lives with the peer; which keys are ours, in the data folder.
    """

    def __init__(self, me: str, own: Callable[[], frozenset[str]], accept: str) -> None:
        self._me = me
        self.is_member: Callable[[PeerId], bool] = lambda _: False
        """True if a peer is in a network with us."""
        self._read_own = own
        self._own: frozenset[str] = frozenset()
        self.accept = accept

    def of(self, agent: RemoteAgent) -> Trust:
        """The relation of this agent to us. A person's decision about a key outweighs the place of the key."""
        match agent.decided:
            case "trusted":
                return "trusted"
            case "blocked":
                return "blocked"
            case _:
                if agent.peer_id is None:
                    return "stranger"
                if self._is_own(agent.key):
                    return "own"
                return "member" if self.is_member(agent.peer_id) else "stranger"

    def standing(self, peer_id: PeerId, known: Peer | None) -> Standing:
        """The standing of a peer, by which it gets a place before others. `known`: its entry in the directory."""
        if known is not None:
            return _STANDINGS[self.of(known)]
        if self._is_own(str(peer_id)):
            return Standing.OWN
        return Standing.MEMBER if self.is_member(peer_id) else Standing.STRANGER

    def admits(self, peer: Peer) -> bool:
        """True if tasks of this peer are taken without asking."""
        trust = self.of(peer)
        return trust in ("own", "trusted", "member") or (trust == "stranger" and self.accept == "anyone")

    def _is_own(self, did: str) -> bool:
        if did not in self._own and did != self._me:
            # Another identity of this data folder may have been made since: the folder, which only we can write, knows.
            self._own = self._read_own()
        return did in self._own
