"""Agents, their skills and addresses as they are shown: cleaned of what a peer could smuggle in."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.api.agents import AgentView, SkillView
from mcp_a2a.api.view import Trust
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.ports import Link
from mcp_a2a.protocol.model import AgentSkill
from mcp_a2a.protocol.paths import TransportAddr, parse_address, route_of
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.times import iso

MAX_SKILLS_LISTED = 64


def agent_view(peer: Peer, trust: Trust, networks: tuple[str, ...] = (), waiting: int = 0) -> AgentView:
    """An agent for a list."""
    link, card = peer.link, peer.advert.card if peer.advert else None
    rtt = link.rtt_seconds if link else None
    return AgentView(
        name=peer.name,
        did=peer.row.did,
        words=peer.words,
        description=preview(card.description, 512) if card else "",
        skills=skill_views(peer.skills),
        route=_route(peer),
        rtt_ms=round(rtt * 1000, 2) if rtt is not None else None,
        online=peer.online,
        last_seen=iso(peer.row.last_seen) if peer.row.last_seen else None,
        trust=trust,
        networks=networks,
        waiting=waiting,
    )


def addresses_of(peer: Peer) -> tuple[str, ...]:
    """Where it listens, and who saw it there; else the other end of its links, which is no place to dial."""
    listed = _listed(peer)
    if listed:
        return tuple(f"{address} ({provenance})" for address, provenance in listed)
    return tuple(f"{link.address} (connected, {link.route})" for link in peer.links)


def reached_at(peer: Peer, link: Link) -> str:
    """The address that a link leads to, as `addresses_of` has it: of a link that the peer opened, where it listens."""
    if link.is_relayed:
        return link.address
    listed = _listed(peer)
    known = [address for address, provenance in listed if route_of(address, provenance) == link.route]
    here = next((address for address, _ in listed if str(address) == link.address), None)
    return str(here or next(iter(known), link.address))


def _listed(peer: Peer) -> list[tuple[TransportAddr, str]]:
    seen = [(address, sighting.provenance) for sighting in peer.sightings.values() for address in sighting.addresses]
    return [*seen, *((parse_address(text), "static") for text in peer.row.addresses)]


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


def _route(peer: Peer) -> str | None:
    """How it is reached, or would be."""
    if peer.has_direct_link and peer.link is not None:
        return peer.link.route
    return "relay" if peer.online else None
