"""Another agent, as this node knows it: one value, however the agent is reached.

There are two kinds: `peer.Peer` proves its key on every link, and `web_peer.WebPeer` stands at a URL, where a card may
name any key. What differs between them is an attribute here, and what is done otherwise for each is a table by
`counterpart`. No service asks which class it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import AgentCard, AgentSkill
from mcp_a2a.protocol.naming import Counterpart


class RemoteAgent(Protocol):
    """An agent that tasks can be sent to."""

    @property
    def key(self) -> str:
        """Its did, or its URL: what its tasks, a person's answers and an alias are bound to."""

    @property
    def counterpart(self) -> Counterpart:
        """The kind of its other side: sealed messages, or HTTP."""

    @property
    def peer_id(self) -> PeerId | None:
        """The key that it proves on its links; None where it has none."""

    @property
    def signer(self) -> str | None:
        """The did that it belongs to: its own, or the one that signed its card for this very place."""

    @property
    def name(self) -> str:
        """Its own name, as names are shown."""

    @property
    def names(self) -> str:
        """The words that a search finds it by, beside those of its card."""

    @property
    def words(self) -> str:
        """The fingerprint words of `signer`; empty where it has none."""

    @property
    def card(self) -> AgentCard | None:
        """Its card; None until it has sent one."""

    @property
    def skills(self) -> Sequence[AgentSkill]:
        """Its skills."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses at which it listens, in words, cleaned."""

    @property
    def decided(self) -> str:
        """The decision of a person about it: `trusted`, `blocked`, or `stranger` without one."""

    @property
    def is_added(self) -> bool:
        """True if a person gave the address or the URL."""

    @property
    def online(self) -> bool:
        """True if it is there now, as far as this node knows."""

    @property
    def route(self) -> str | None:
        """The route by which it is reached, or would be."""

    @property
    def rtt_seconds(self) -> float | None:
        """The round trip of the last sign of life, in seconds."""

    @property
    def last_seen(self) -> float | None:
        """The time at which it was last online, by the wall clock."""


def has_skill(agent: RemoteAgent, skill: str) -> bool:
    """True if one of the agent's skills has this id or this name."""
    wanted = skill.strip().casefold()
    return any(wanted in (offered.id.casefold(), offered.name.casefold()) for offered in agent.skills)


def speed(agent: RemoteAgent) -> float:
    """Seconds there and back, for sorting; of an agent that was not measured, more than of any other."""
    return agent.rtt_seconds if agent.rtt_seconds is not None else 10.0
