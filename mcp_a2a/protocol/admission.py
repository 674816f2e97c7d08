"""The keys and networks that a relay serves: all but the revoked, or only the admitted.

Admitted are the keys and networks that the operator names, and networks whose maker has shown the relay's admission
secret (`admission_secret`). A key that has shown it once is a sponsor: it may have more networks admitted without it,
as it must for the next secret of a network that is rotated.
"""

from __future__ import annotations

from collections.abc import Collection

from mcp_a2a.protocol.control import ByeCode
from mcp_a2a.protocol.did import PeerId


class Admission:
    """The operator's list. An entry is the key of an agent or the id of a network; both are keys."""

    def __init__(self, *, closed: bool) -> None:
        self.closed = closed
        self._admitted: set[PeerId] = set()
        self._revoked: set[PeerId] = set()
        self._sponsors: dict[PeerId, PeerId] = {}  # by network
        self.key: PeerId | None = None
        """The public half of the admission secret, if there is one."""

    @property
    def admitted(self) -> int:
        """The number of these keys and networks."""
        return len(self._admitted)

    @property
    def revoked(self) -> int:
        """The number of these keys and networks."""
        return len(self._revoked)

    def admit(self, member: PeerId, sponsor: PeerId | None = None) -> None:
        """Serve this key, or the members of this network, which a sponsor had admitted if not the operator."""
        self._revoked.discard(member)
        self._admitted.add(member)
        self._sponsors.pop(member, None)
        if sponsor is not None:
            self._sponsors[member] = sponsor

    def revoke(self, member: PeerId) -> None:
        """Serve it no longer, be the relay open or closed."""
        self._admitted.discard(member)
        self._revoked.add(member)
        self._sponsors.pop(member, None)

    def is_revoked(self, member: PeerId) -> bool:
        """True if the operator has shut this key out."""
        return bool(self._revoked) and member in self._revoked  # asked for every message, and mostly there is none

    def sponsored_by(self, peer: PeerId) -> int:
        """The number of networks that this key has had admitted."""
        return sum(sponsor == peer for sponsor in self._sponsors.values())

    def networks_of(self, networks: Collection[PeerId]) -> list[PeerId]:
        """Those of these networks that were admitted, in their order."""
        return [network for network in networks if network in self._admitted]

    def is_admitted(self, member: PeerId) -> bool:
        """True if this key, or this network, is on the list."""
        return member in self._admitted

    def objection(self, peer: PeerId, networks: Collection[PeerId]) -> ByeCode | None:
        """Why a key that is proven to be in these networks is not served; None when it is."""
        if peer in self._revoked:
            return ByeCode.REVOKED
        if self.closed and (peer in self._admitted or not self._admitted.isdisjoint(networks)):
            return None
        # A key comes with all of its networks: one of them revoked is no reason, unless it has no other.
        left = [network for network in networks if network not in self._revoked]
        if len(left) < len(networks) and (self.closed or not left):
            return ByeCode.REVOKED
        return ByeCode.NOT_ADMITTED if self.closed else None
