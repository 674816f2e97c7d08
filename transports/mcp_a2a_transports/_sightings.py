"""The present sightings of a lookup, and the report of each change to its handler."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator

from mcp_a2a.ports import LookupHandler, Sighting
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import TransportAddr

logger = logging.getLogger(__name__)

FINGERPRINT_LENGTH = 32
MAX_SIGHTINGS = 256
"""Of one lookup. A flood fills it, and then changes nothing until its entries expire."""


def fingerprint(peer: PeerId) -> str:
    """A short name for a key, for where a file or a record needs one. It tells nothing else."""
    return hashlib.sha256(peer.key).hexdigest()[:FINGERPRINT_LENGTH]


class Sightings:
    """The peers that one lookup sees."""

    def __init__(self, provenance: str, handler: LookupHandler) -> None:
        self._provenance = provenance
        self._handler = handler
        self._seen: dict[PeerId, Sighting] = {}

    def __iter__(self) -> Iterator[PeerId]:
        return iter(tuple(self._seen))

    def __len__(self) -> int:
        return len(self._seen)

    def see(self, peer: PeerId, addresses: tuple[TransportAddr, ...], *, anew: bool = False) -> None:
        """A peer is there. `anew`: it started again, which matters even at the same addresses."""
        sighting = Sighting(peer, addresses, self._provenance)
        if self._seen.get(peer) == sighting and not anew:
            return
        if peer not in self._seen and len(self._seen) >= MAX_SIGHTINGS:
            return
        self._seen[peer] = sighting
        try:
            self._handler.sighted(sighting)
        except Exception:
            # A bug of ours must not blind the lookup to the other peers.
            logger.exception("the handler of a sighting failed")

    def lose(self, peer: PeerId) -> None:
        """A peer is no longer there."""
        if self._seen.pop(peer, None) is None:
            return
        try:
            self._handler.lost(peer, self._provenance)
        except Exception:
            logger.exception("the handler of a lost sighting failed")
