"""How a node presents itself: its advert, sealed for each peer that a link is opened with."""

from __future__ import annotations

from mcp_a2a.errors import LinkError
from mcp_a2a.node.context import Context
from mcp_a2a.node.letters import ADVERT_SECONDS, advert_payload
from mcp_a2a.ports import Link
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.envelope import seal
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS


class Introduction:
    """Says who we are. A card that changed is a new advert with a higher sequence number."""

    def __init__(self, context: Context, ring: KeyRing, card: AgentCard) -> None:
        self._context = context
        self._ring = ring
        self.card = card
        # Milliseconds since the epoch rise over restarts, and also when the database was lost.
        self._seq = int(context.latest() * 1000)
        self._advert: Advert | None = None

    def advert(self) -> Advert:
        """Our current advert."""
        bundle = self._ring.current
        if self._advert is None or self._advert.bundle is not bundle:
            self._seq += 1
            expires = int(self._context.clock() + MAX_LIFETIME_SECONDS)
            self._advert = Advert.sign(self._context.identity, self.card, bundle, (), seq=self._seq, expires=expires)
        return self._advert

    def greet(self, link: Link) -> None:
        """Send our advert over a fresh link. Not journalled: the next link brings it again."""
        now = self._context.clock()
        payload = advert_payload(self._context, link.peer, self.advert().to_text(), now)
        envelope_id = self._context.randomness(16)
        try:
            link.submit(seal(self._context.identity, payload, link.bundle, envelope_id, now + ADVERT_SECONDS))
        except LinkError:
            return  # closed again already; whoever comes next is greeted too
