"""Protocol extensions of A2A (A2A 4.6): an agent declares them in its card, and may insist on some.

We know none ourselves. Who calls through us may, and names them in its message.
"""

from __future__ import annotations

from collections.abc import Collection

from mcp_a2a.errors.web import ExtensionRequiredError
from mcp_a2a.protocol.model import AgentCard, AgentSkill
from mcp_a2a.protocol.text import preview

MAX_NAMED = 3
"""Extensions that a refusal names."""


def required_extensions(card: AgentCard) -> tuple[str, ...]:
    """The URIs of the extensions without which an agent takes no request."""
    return tuple(extension.uri for extension in card.capabilities.extensions or () if extension.required)


def check_extensions(name: str, card: AgentCard, known: Collection[str] = ()) -> None:
    """Refuse to send to an agent that insists on an extension which is not among those `known`.

    Raises:
        ExtensionRequiredError
    """
    missing = [uri for uri in required_extensions(card) if uri not in known]
    if missing:
        raise ExtensionRequiredError(name, [preview(uri, 120) for uri in missing[:MAX_NAMED]])


# Which skills of an agent a card shows, and to whom.

ANYTHING = AgentSkill(
    id="assist",
    name="Assist",
    description="Takes a request in plain words. Its user decides what is done about it.",
    tags=("assistant",),
)
"""The skill on the card of an assistant that names none: a card must have one."""


def shown_skills(card: AgentCard, *, extended: bool) -> tuple[AgentSkill, ...]:
    """The skills for everyone, or with `extended` also those for callers that have shown who they are; at least one."""
    return tuple(skill for skill in card.skills if extended or not skill.extended) or (ANYTHING,)
