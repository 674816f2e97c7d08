"""Which skills of an agent a card shows, and to whom."""

from __future__ import annotations

from mcp_a2a.protocol.model import AgentCard, AgentSkill

ANYTHING = AgentSkill(
    id="assist",
    name="Assist",
    description="Takes a request in plain words. Its user decides what is done about it.",
    tags=("assistant",),
)
"""What an assistant offers that names no skill: a card must have one."""


def shown_skills(card: AgentCard, *, extended: bool) -> tuple[AgentSkill, ...]:
    """The skills for everyone, or with `extended` also those for callers that have shown who they are; at least one."""
    return tuple(skill for skill in card.skills if extended or not skill.extended) or (ANYTHING,)
