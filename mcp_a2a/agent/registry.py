"""What a file that is being loaded said: functions decorated without an agent, and which agent it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ParamSpec, TypeVar, overload

from mcp_a2a.agent.definition import Agent
from mcp_a2a.errors.machine import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")


class AgentRuns(BaseException):
    """Ends the loading of a file that called `agent.run()`, for that call never returns."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent.name)
        self.agent = agent


class Registry:
    """The state of loading; one per process."""

    def __init__(self) -> None:
        self.loose = Agent("functions")
        self._loading = False

    @contextmanager
    def loading(self, name: str) -> Iterator[Agent]:
        """Collect loose skills into an agent of this name, and let no agent run by itself."""
        self.loose, self._loading = Agent(name), True
        try:
            yield self.loose
        finally:
            self._loading = False

    def runs(self, agent: Agent) -> None:
        """`agent.run()` was called.

        Raises:
            AgentRuns: by a file that is being loaded.
        """
        if self._loading:
            raise AgentRuns(agent)

    def whole(self, agent: Agent, module: str) -> Agent:
        """The agent, where its file has no skills that it leaves out. Those that the file imports may be left out.

        Raises:
            ConfigurationError: it has some.
        """
        offered = {one.id for one in agent.skills}
        left_out = [one.id for one in self.loose.skills if one.module == module and one.id not in offered]
        if not left_out:
            return agent
        raise ConfigurationError(
            f"There are skills that belong to no agent: {', '.join(left_out)}.",
            f"The file defines the agent {agent.name}: decorate them with its `skill`, or define no agent.",
        )


registry = Registry()


@overload
def skill(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def skill(
    *,
    id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    examples: Sequence[str] = (),
    input_modes: Sequence[str] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def skill(  # noqa: PLR0913  each is a field of the card
    function: Callable[P, R] | None = None,
    /,
    *,
    id: str | None = None,  # noqa: A002  the field's name in A2A
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    examples: Sequence[str] = (),
    input_modes: Sequence[str] = (),
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a skill of the agent that `mcp-a2a agent run FILE.py` runs; see `Agent.skill`."""
    decorate = registry.loose.skill(
        id=id, name=name, description=description, tags=tags, examples=examples, input_modes=input_modes
    )
    return decorate if function is None else decorate(function)
