"""An agent with a key, as this node knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from mcp_a2a.ports import Link, Sighting
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import AgentCard, AgentSkill
from mcp_a2a.protocol.names import fingerprint_words, memorable_name
from mcp_a2a.protocol.naming import Counterpart, claimed_name
from mcp_a2a.protocol.paths import TransportAddr, parse_address
from mcp_a2a.store.journal import PeerRow

_is_relayed = attrgetter("is_relayed")


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
    """The time at which it was seen or linked after it was neither, by the event loop's clock."""
    tried: tuple[str, ...] = ()
    """The failed attempts of the last dial."""
    sought_at: float = float("-inf")
    """Time of the last attempt to dial it for a caller, by the event loop's clock."""
    upgrade_at: float = 0.0
    """The time at which a direct link is tried again, by the event loop's clock."""

    @property
    def name(self) -> str:
        """Its own name, as names are shown; a memorable name until it has sent one."""
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
        return not all(map(_is_relayed, self.links))

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
        """Its skills."""
        return self.advert.card.skills if self.advert else ()

    @property
    def key(self) -> str:
        """The did."""
        return self.row.did

    @property
    def signer(self) -> str:
        """The did that signs for this agent, which is its key."""
        return self.row.did

    @property
    def counterpart(self) -> Counterpart:
        """It is sent sealed messages."""
        return "sealed"

    @property
    def names(self) -> str:
        """The name by which it is found."""
        return self.name

    @property
    def words(self) -> str:
        """Its fingerprint, to be read aloud."""
        return fingerprint_words(self.peer_id)

    @property
    def card(self) -> AgentCard | None:
        """Its card; None until it has sent one."""
        return self.advert.card if self.advert else None

    @property
    def decided(self) -> str:
        """The decision of a person about its key: trusted, blocked or stranger."""
        return self.row.trust

    @property
    def is_added(self) -> bool:
        """True if a person gave an address of it."""
        return bool(self.row.addresses)

    @property
    def route(self) -> str | None:
        """The route by which it is reached, or would be."""
        if self.has_direct_link and self.link is not None:
            return self.link.route
        return "relay" if self.online else None

    @property
    def rtt_seconds(self) -> float | None:
        """The round trip of the last ping on its best link, in seconds."""
        return self.link.rtt_seconds if self.link else None

    @property
    def last_seen(self) -> float | None:
        """The time at which it was last online, by the wall clock."""
        return self.row.last_seen

    @property
    def listed(self) -> Sequence[tuple[TransportAddr, str]]:
        """The addresses at which it listens, each with its source."""
        seen = [(address, one.provenance) for one in self.sightings.values() for address in one.addresses]
        return [*seen, *((parse_address(text), "static") for text in self.row.addresses)]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses with their sources; else the other ends of its links, which cannot be dialled."""
        listed = self.listed
        if listed:
            return tuple(f"{address} ({provenance})" for address, provenance in listed)
        return tuple(f"{link.address} (connected, {link.route})" for link in self.links)

    def learn_bundle(self, bundle: KeyBundle) -> bool:
        """Keep the newest bundle; an older one never replaces it."""
        if self.bundle is bundle or (self.bundle is not None and not bundle.supersedes(self.bundle)):
            return False
        self.bundle = bundle
        return True
