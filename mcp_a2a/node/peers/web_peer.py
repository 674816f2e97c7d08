"""An agent at a URL, as this node knows it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from mcp_a2a.errors.remedy import Remedy, plain
from mcp_a2a.errors.web import AddressNotAllowedError
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import AgentCard, AgentInterface, AgentSkill
from mcp_a2a.protocol.names import fingerprint_words
from mcp_a2a.protocol.naming import Counterpart, claimed_name, shown_name
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.web_url import origin, shown_url
from mcp_a2a.store.web import WebRow
from mcp_a2a.web_ports import Range, WebAgent

TYPED, NEAR, TASK, LAN = "typed", "near", "task", "lan"
"""The origin of an agent: named by a person, at a public or at a private address; by a task; seen on the LAN."""

RANGES = {TYPED: Range.PUBLIC, NEAR: Range.ANYWHERE, TASK: Range.PUBLIC_HTTPS, LAN: Range.ANYWHERE}
"""An agent that was public when a person added it does not get at private addresses by moving its name there."""


@dataclass(eq=False)
class WebPeer:
    """An agent at a URL."""

    row: WebRow
    read_at: float = float("-inf")
    """The time at which its card was read, by the event loop's clock."""
    trouble: str = ""
    """Why it could not be reached the last time."""
    is_removed: bool = False
    """A person wants to know no more of it: what is being read of it is not kept."""

    @property
    def url(self) -> str:
        """The URL by which it is known."""
        return self.row.url

    @property
    def name(self) -> str:
        """Its own name, as names are shown; its URL, if the name cannot be shown."""
        return claimed_name(self.row.name) or shown_name(urlsplit(self.url).hostname or "") or "unnamed"

    @property
    def key(self) -> str:
        """Its URL."""
        return self.row.url

    @property
    def counterpart(self) -> Counterpart:
        """It is called over HTTP."""
        return "http"

    @property
    def peer_id(self) -> None:
        """None: a card can name any key."""

    @property
    def names(self) -> str:
        """Its name, and its URL."""
        return f"{self.name} {self.url}"

    @property
    def words(self) -> str:
        """The fingerprint of the key that it belongs to."""
        return fingerprint_words(PeerId.parse_untrusted(self.signer)) if self.signer else ""

    @property
    def signer(self) -> str | None:
        """The did:key that this agent belongs to, by a card that it signed for this very place."""
        return self.row.key if self.row.bound else None

    @property
    def card(self) -> AgentCard:
        """Its card."""
        return self.row.card

    @property
    def skills(self) -> tuple[AgentSkill, ...]:
        """Its skills."""
        return self.row.card.skills

    @property
    def interfaces(self) -> tuple[AgentInterface, ...]:
        """The interfaces on its card."""
        return self.row.card.supported_interfaces

    @property
    def addresses(self) -> tuple[str, ...]:
        """The same in words, cleaned."""
        said = (f"{one.url} ({one.protocol_binding} {one.protocol_version})" for one in self.interfaces)
        return tuple(preview(address, 1024) for address in said)

    @property
    def agent(self) -> WebAgent:
        """The agent with the credentials and the range for calls."""
        return WebAgent(self.row.url, self.row.card, RANGES[self.row.origin], self.row.headers)

    @property
    def is_added(self) -> bool:
        """True if a person has typed its URL."""
        return self.row.origin in (TYPED, NEAR)

    @property
    def decided(self) -> str:
        """A person who adds it trusts it."""
        return "trusted" if self.is_added else "stranger"

    @property
    def online(self) -> bool:
        """True if it was there the last time."""
        return not self.trouble

    @property
    def route(self) -> str:
        """The route over HTTP."""
        return "http"

    @property
    def rtt_seconds(self) -> None:
        """None: the round trip is not measured."""

    @property
    def last_seen(self) -> float | None:
        """The time of its last answer, by the wall clock."""
        return self.row.last_seen


def way_to_allow(agent: WebAgent, error: AddressNotAllowedError) -> Remedy:
    """The remedy for an address at which an agent may not be called."""
    refused = _host(error.url)
    elsewhere = [one.url for one in agent.card.supported_interfaces if refused == _host(one.url)]
    elsewhere = [url for url in elsewhere if origin(url)[1:] != origin(agent.url)[1:]]
    if elsewhere and agent.range != Range.PUBLIC_HTTPS:
        parts = urlsplit(elsewhere[0])
        there = preview(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/", 128)
        return Remedy(
            "The card at {url} names another place, {there}, and a card opens no place but its own. "
            "If the agent has its card there too, {allow}: mcp-a2a peers add {there}",
            url=shown_url(agent.url),
            there=there,
        )
    if agent.range == Range.ANYWHERE or not error.may_be_allowed:
        return plain("Its owner must mend its card.")
    return Remedy("If that is where the agent is now, {allow}: mcp-a2a peers add {url}", url=shown_url(agent.url))


def _host(url: str) -> str:
    """The host of a URL, or of an error that names nothing else."""
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return ""
