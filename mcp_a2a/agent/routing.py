"""Which skill a task is for."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_a2a.node.worker.job import Handler, Outcome, TaskContext


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
