"""An agent with a key, as this node knows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from mcp_a2a.ports import Link, Sighting
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import AgentSkill
from mcp_a2a.protocol.names import fingerprint_words, memorable_name
from mcp_a2a.protocol.naming import claimed_name
from mcp_a2a.store.journal import PeerRow


@dataclass(eq=False)
class Peer:
    """One known agent."""

    peer_id: PeerId
    row: PeerRow
    advert: Advert | None = None
    bundle: KeyBundle | None = None
    """Newest key bundle, from a link or an advert."""
    sightings: dict[str, Sighting] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    attends: set[str] = field(default_factory=set)
    """Relays that say it is connected to them."""
    came_at: float = float("-inf")
    """When it was seen or linked after it was neither, by the event loop's clock."""
    tried: tuple[str, ...] = ()
    """What failed when it was last dialled."""
    sought_at: float = float("-inf")
    """Time of the last attempt to dial it for a caller, by the event loop's clock."""
    upgrade_at: float = 0.0
    """When a better way than through a relay is looked for again, by the event loop's clock."""

    @property
    def name(self) -> str:
        """What it calls itself, as names are shown; a memorable name until it said so."""
        return claimed_name(self.row.name) or memorable_name(self.peer_id)

    @property
    def link(self) -> Link | None:
        """The best open link to it: a direct one, else one through a relay that it is connected to, else any."""
        return self.links[0] if len(self.links) == 1 else max(self.links, key=self._worth, default=None)

    def _worth(self, link: Link) -> tuple[bool, bool, int]:
        return not link.is_relayed, link.address in self.attends, self.links.index(link)

    @property
    def has_direct_link(self) -> bool:
        """True if it is reached without a relay."""
        return any(not link.is_relayed for link in self.links)

    @property
    def online(self) -> bool:
        """True if it is there now, by an open link or by the word of a relay."""
        return self.has_direct_link or bool(self.attends)

    @property
    def is_near(self) -> bool:
        """True if a lookup other than a relay has sighted it."""
        return any(not name.startswith("relay ") for name in self.sightings)

    @property
    def is_unnamed(self) -> bool:
        """True if it is about to say who it is."""
        return self.advert is None and self.row.trust != "blocked" and (self.has_direct_link or self.is_near)

    @property
    def skills(self) -> tuple[AgentSkill, ...]:
        """What it offers."""
        return self.advert.card.skills if self.advert else ()

    @property
    def words(self) -> str:
        """Its fingerprint, to be read aloud."""
        return fingerprint_words(self.peer_id)

    def learn_bundle(self, bundle: KeyBundle) -> bool:
        """Keep the newest bundle; an older one never replaces it."""
        if self.bundle is not None and not bundle.supersedes(self.bundle):
            return False
        self.bundle = bundle
        return True
