"""Agents, their skills and addresses as they are shown: cleaned of what a peer could smuggle in."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.api.agents import AgentView, SkillView
from mcp_a2a.api.view import Trust
from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.ports import Link
from mcp_a2a.protocol.model import AgentSkill
from mcp_a2a.protocol.paths import route_of
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.times import iso

MAX_SKILLS_LISTED = 64


def agent_view(agent: RemoteAgent, trust: Trust, networks: tuple[str, ...], waiting: int) -> AgentView:
    """An agent for a list."""
    card, rtt = agent.card, agent.rtt_seconds
    return AgentView(
        name=agent.name,
        did=agent.key,
        words=agent.words,
        description=preview(card.description, 512) if card else "",
        skills=skill_views(agent.skills),
        route=agent.route,
        rtt_ms=round(rtt * 1000, 2) if rtt is not None else None,
        online=agent.online,
        last_seen=iso(agent.last_seen) if agent.last_seen else None,
        trust=trust,
        networks=networks,
        waiting=waiting,
    )


def reached_at(peer: Peer, link: Link) -> str:
    """The address that a link leads to, as in `Peer.addresses`: of a link that the peer opened, where it listens."""
    if link.is_relayed:
        return link.address
    listed = peer.listed
    known = [address for address, provenance in listed if route_of(address, provenance) == link.route]
    here = next((address for address, _ in listed if str(address) == link.address), None)
    return str(here or next(iter(known), link.address))


def skill_views(skills: Sequence[AgentSkill]) -> tuple[SkillView, ...]:
    """Skills for a list."""
    return tuple(
        SkillView(
            id=preview(skill.id, 128),
            name=preview(skill.name, 128),
            description=preview(skill.description, 512),
            tags=tuple(preview(tag, 64) for tag in skill.tags[:16]),
            examples=tuple(preview(example, 256) for example in (skill.examples or ())[:4]),
            input_schema=skill.input_schema,
        )
        for skill in skills[:MAX_SKILLS_LISTED]
    )
