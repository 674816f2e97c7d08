"""Signs the card of our own agent for the server that publishes it.

The A2A server knows its URLs and its terms, the node has the key. So the node signs the card that the server publishes,
but only what its own agent says of itself: a card with another name, description or skills is not signed.
"""

from __future__ import annotations

import json

from pydantic import JsonValue

from mcp_a2a.errors.web import CardError
from mcp_a2a.protocol.extensions import shown_skills
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.signed_card import sign_card

OURS = ("name", "description", "version", "provider", "documentationUrl", "iconUrl")
"""Fields that a server may not change."""


def sign_own(card: dict[str, JsonValue], own: AgentCard, identity: Identity) -> dict[str, JsonValue]:
    """The signed card.

    Raises:
        CardError: it is not that of our own agent.
    """
    said: dict[str, JsonValue] = json.loads(own.to_json())
    other = [name for name in OURS if card.get(name) != said.get(name)]
    if own.skills and _skills(card) not in _shown(own):
        other.append("skills")
    if other:
        raise CardError(
            f"This is not the card of {own.name}, whose node signs no other: {', '.join(other)} differ.",
            "The agent has changed since; look at its card again.",
        )
    return sign_card(card, identity)


def _shown(own: AgentCard) -> list[list[list[JsonValue]]]:
    """The skills that a card of ours has, for everyone and for callers that have shown who they are."""
    cards = (own.model_copy(update={"skills": shown_skills(own, extended=extended)}) for extended in (False, True))
    return [_skills(json.loads(card.to_json())) for card in cards]


def _skills(card: dict[str, JsonValue]) -> list[list[JsonValue]]:
    skills = card.get("skills")
    listed = [skill for skill in skills if isinstance(skill, dict)] if isinstance(skills, list) else []
    return [[skill.get(name) for name in ("id", "name", "description", "examples", "inputSchema")] for skill in listed]
