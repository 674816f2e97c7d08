"""Agents made of Python functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar, overload

from mcp_a2a.agent.function import FunctionSkill, SkillNotes
from mcp_a2a.agent.service import Router, Service, service_card
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.naming import why_not_called

if TYPE_CHECKING:
    import anyio

    from mcp_a2a.config import Settings
    from mcp_a2a.protocol.model import AgentExtension

P = ParamSpec("P")
R = TypeVar("R")


class Agent:
    """An agent whose skills are Python functions.

    ```python
    agent = Agent("word-counter", description="Counts words")

    @agent.skill(tags=["text"])
    async def count_words(text: str) -> int:
        "Count the words in a text."
        return len(text.split())

    agent.run()
    ```

    A skill may be an ordinary function (it runs in a thread) or an asynchronous one. Its id is its
    name with dashes, its docstring the description, its type hints the input (see `signature`). Its return
    value is the result: `str` as text; numbers, lists, dicts, dataclasses and pydantic models as data
    with a readable text; None as an empty text. An exception fails the task with its message.

    A skill may `yield`: each text it yields goes to the sender as progress at once, and each `Chunk` as a
    piece of the result. Everything else that it yields, the text at the end, and what an ordinary generator
    returns are the result: several files or values are all sent. A parameter annotated with `TaskContext`
    receives the task: its sender, `await task.progress(…)`, `await task.ask(…)`. A skill whose task is
    withdrawn is cancelled.

    Args:
        name: the name on the card, which other agents see.
        description: the purpose of the agent, in a sentence or two.
        version: the version on the card.
        concurrency: how many tasks may be worked on at once.
        extensions: protocol extensions of A2A that the skills speak; a `required` one is asked of every client.

    Raises:
        ConfigurationError: no agent can have this name, or the concurrency is below 1.
    """

    def __init__(
        self,
        name: str,
        description: str = "",
        *,
        version: str = "0.1.0",
        concurrency: int = 4,
        extensions: Sequence[AgentExtension] = (),
    ) -> None:
        if not name or concurrency < 1:
            raise ConfigurationError(
                f"Agent({name!r}, concurrency={concurrency}) cannot run.",
                "An agent needs a name, and at least one task at a time.",
            )
        if (why := why_not_called(name)) is not None:
            raise ConfigurationError(f"An agent cannot be called {name!r}.", f"{why[0].upper()}{why[1:]}.")
        self.name = name
        self.description = description
        self.version = version
        self.concurrency = concurrency
        self.extensions = tuple(extensions)
        """Protocol extensions of A2A that its skills speak. One that is `required` is asked of every client."""
        self._skills: dict[str, FunctionSkill] = {}
        self._default: str | None = None

    @overload
    def skill(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def skill(
        self,
        /,
        *,
        id: str | None = None,
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        examples: Sequence[str] = (),
        input_modes: Sequence[str] = (),
        extended: bool = False,
        default: bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def skill(  # noqa: PLR0913  each is a field of the card
        self,
        function: Callable[P, R] | None = None,
        /,
        *,
        id: str | None = None,  # noqa: A002  the field's name in A2A
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        examples: Sequence[str] = (),
        input_modes: Sequence[str] = (),
        extended: bool = False,
        default: bool = False,
    ) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
        """Make a function a skill of this agent, with or without notes: `@agent.skill`, `@agent.skill(…)`.

        Args:
            function: the function, where the decorator has no parentheses.
            id: the id on the card; by default the function's name with dashes.
            name: the name for people; by default made of the id.
            description: by default the function's docstring.
            tags: words by which the skill is found (A2A 4.4.5).
            examples: requests that the skill can serve.
            input_modes: media types of files that it reads (`task.files`), for clients that look there first.
            extended: True to show the skill only to clients with a token, on the extended card (A2A 3.1.11).
            default: True to give it the tasks that name no skill, as clients do that only speak A2A.

        Returns:
            The function itself, or a decorator that returns it.

        Raises:
            ConfigurationError: its parameters cannot come from a task, its id is taken, or there is a default.
        """
        notes = SkillNotes(id, name, description, tuple(tags), tuple(examples), tuple(input_modes), extended)

        def add(function: Callable[P, R]) -> Callable[P, R]:
            self._add(FunctionSkill(function, notes), default=default)
            return function

        return add if function is None else add(function)

    def _add(self, skill: FunctionSkill, *, default: bool) -> None:
        if skill.id in self._skills:
            raise ConfigurationError(
                f"{self.name} has two skills with the id {skill.id!r}.",
                'Give one of them another: @agent.skill(id="…").',
            )
        if default and self._default is not None:
            raise ConfigurationError(
                f"{self.name} has two default skills: {self._default} and {skill.id}.",
                "Only one skill can take the tasks that name none.",
            )
        self._skills[skill.id] = skill
        self._default = skill.id if default else self._default

    @property
    def skills(self) -> tuple[FunctionSkill, ...]:
        """The skills, in the order of their definition."""
        return tuple(self._skills.values())

    def service(self, name: str | None = None) -> Service:
        """The service that a node offers for this agent.

        Args:
            name: a name for it other than the agent's own.

        Raises:
            ConfigurationError: the agent has no skill.
        """
        if not self._skills:
            raise ConfigurationError(
                f"The agent {self.name!r} has no skills.", "Decorate a function with @agent.skill."
            )
        card = service_card(
            name or self.name,
            self.description,
            self.version,
            [skill.card for skill in self._skills.values()],
            self.extensions,
        )
        return Service(card, Router(card.name, self._skills, self._default), self.concurrency)

    async def serve(
        self, settings: Settings, *, stopping: anyio.Event | None = None, a2a_listen: str | None = None
    ) -> None:
        """Take tasks until `stopping` is set, or for ever, under an identity of its own where none is set.

        Args:
            settings: of the node that serves the agent.
            stopping: ends the agent when it is set.
            a2a_listen: "[HOST]:PORT" to take tasks of A2A clients over HTTP too; SIGINT and SIGTERM then end it too.

        Raises:
            ConfigurationError: it has no skill, or its node cannot run here.
            PortInUseError: another program has the port.
        """
        from mcp_a2a.agent.hosting import host  # noqa: PLC0415  only who runs an agent needs a node

        await host(self, settings, stopping=stopping, a2a_listen=a2a_listen)

    def run(self) -> None:
        """Take tasks until Ctrl-C or SIGTERM, as the `MCP_A2A_*` variables say. Prints one line when ready.

        Raises:
            SystemExit: it cannot run; the reason was printed.
        """
        from mcp_a2a.agent.hosting import run_from_script  # noqa: PLC0415  see `serve`

        run_from_script(self)
