"""An agent at a URL, as this node knows it."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.node.present import iso, skill_views
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import AgentInterface, AgentSkill
from mcp_a2a.protocol.names import fingerprint_words
from mcp_a2a.protocol.text import preview
from mcp_a2a.store.web import WebRow
from mcp_a2a.views import AgentView
from mcp_a2a.web_ports import Range, WebAgent

TYPED, NEAR, TASK, LAN = "typed", "near", "task", "lan"
"""How we came to know an agent: by a person, at a public or at a private address; by a task; on the LAN."""

RANGES = {TYPED: Range.PUBLIC, NEAR: Range.ANYWHERE, TASK: Range.PUBLIC_HTTPS, LAN: Range.ANYWHERE}
"""An agent that was public when a person added it does not get at private addresses by moving its name there."""


@dataclass(eq=False)
class WebPeer:
    """An agent at a URL."""

    row: WebRow
    read_at: float = float("-inf")
    """When its card was read, by the event loop's clock."""
    trouble: str = ""
    """Why it could not be reached the last time."""

    @property
    def url(self) -> str:
        """What it is known by."""
        return self.row.url

    @property
    def name(self) -> str:
        """What it calls itself, cleaned."""
        return self.row.name

    @property
    def skills(self) -> tuple[AgentSkill, ...]:
        """What it offers."""
        return self.row.card.skills

    @property
    def interfaces(self) -> tuple[AgentInterface, ...]:
        """Where it says that it is."""
        return self.row.card.supported_interfaces

    def has_skill(self, skill: str) -> bool:
        """Whether one of its skills is called so."""
        wanted = skill.strip().casefold()
        return any(wanted in (offered.id.casefold(), offered.name.casefold()) for offered in self.skills)

    @property
    def agent(self) -> WebAgent:
        """How it may be called."""
        return WebAgent(self.row.url, self.row.card, RANGES[self.row.origin], self.row.headers)

    @property
    def is_typed(self) -> bool:
        """Whether a person has added it."""
        return self.row.origin in (TYPED, NEAR)

    def view(self, waiting: int = 0) -> AgentView:
        """The agent as it is shown."""
        words = fingerprint_words(PeerId.parse_untrusted(self.row.key)) if self.row.key else ""
        return AgentView(
            name=self.name,
            did=self.url,
            words=words,
            description=preview(self.row.card.description, 512),
            skills=skill_views(self.skills),
            route="http",
            online=not self.trouble,
            last_seen=iso(self.row.last_seen) if self.row.last_seen else None,
            trust="trusted" if self.is_typed else "stranger",
            waiting=waiting,
        )
