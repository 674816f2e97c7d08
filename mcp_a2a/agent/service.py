"""The service that a node offers: a card, and the handler of its tasks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcp_a2a.node.worker.job import Outcome
from mcp_a2a.node.worker.task_context import Handler, TaskContext
from mcp_a2a.protocol.model import AgentCapabilities, AgentCard, AgentExtension, AgentSkill

MAX_SLUG = 64


@dataclass(frozen=True)
class Service:
    """A card and its worker."""

    card: AgentCard
    handler: Handler
    concurrency: int


def service_card(
    name: str,
    description: str,
    version: str,
    skills: Sequence[AgentSkill],
    extensions: Sequence[AgentExtension] = (),
) -> AgentCard:
    """The card of an agent with these skills."""
    structured = any(skill.input_schema is not None for skill in skills)
    modes = ("text/plain", "application/json") if structured else ("text/plain",)
    return AgentCard(
        name=name,
        description=description or "; ".join(skill.description.partition("\n")[0] for skill in skills),
        version=version,
        default_input_modes=modes,
        default_output_modes=("text/plain", "application/json"),
        skills=tuple(skills),
        capabilities=AgentCapabilities(extensions=tuple(extensions) or None),
    )


def slug(name: str) -> str:
    """The identity of an agent that was given none: its name, as a folder may be called."""
    plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")[:MAX_SLUG]
    return plain or f"agent-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


# Which skill a task is for.


class Router:
    """Hands a task to the skill it names; what names none to the default, or to the only one there is."""

    def __init__(self, agent: str, skills: Mapping[str, Handler], default: str | None = None) -> None:
        self._agent = agent
        self._skills = dict(skills)
        self._default = next(iter(skills)) if len(skills) == 1 else default

    async def __call__(self, task: TaskContext) -> Outcome:
        """Run the skill; a task for none of them is rejected, with the list of them."""
        asked = self._default if task.skill is None else task.skill
        if asked in self._skills:
            return await self._skills[asked](task)
        listed = ", ".join(self._skills)
        if asked is None:
            return Outcome(
                "rejected",
                f"{self._agent} has several skills and the task names none of them. Name one: {listed}.",
            )
        return Outcome("rejected", f"{self._agent} has no skill {asked!r}. Its skills: {listed}.")
