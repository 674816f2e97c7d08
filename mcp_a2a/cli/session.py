"""One run of one command: its options, its node, and what it leaves behind when it is interrupted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from mcp_a2a import logs
from mcp_a2a.cli.options import Options
from mcp_a2a.cli.output import Output

if TYPE_CHECKING:
    import typer

    from mcp_a2a.config import Settings
    from mcp_a2a.node.shared import SharedNode

T = TypeVar("T")

LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
PATIENCE_SECONDS = 1.0
"""A wait is mentioned only when it lasts longer."""


class Session:
    """What every command gets."""

    def __init__(self, options: Options, output: Output) -> None:
        self.options = options
        self.output = output
        self.task_id: str | None = None
        """A task that goes on when this command does not."""
        self.waiting_for = "an answer"
        self.moving = ""
        """What is shown instead of that while files are on their way."""
        self._is_answering = False

    @contextmanager
    def unobserved(self) -> Iterator[None]:
        """While a person types an answer, no line tells that the command waits."""
        self._is_answering = True
        try:
            yield
        finally:
            self._is_answering = False

    def settings(self, **more: object) -> Settings:
        """The settings of this run, with what the command adds.

        Raises:
            ConfigurationError: they cannot be.
        """
        from mcp_a2a.config import load_settings

        flags: Mapping[str, object] = self.options.settings
        return load_settings({**flags, **{name: value for name, value in more.items() if value is not None}})

    def ask(self, operation: Callable[[SharedNode], Awaitable[T]]) -> T:
        """Run an operation on this identity's node, ours or that of the process that has it."""
        import anyio

        from mcp_a2a.app import open_node
        from mcp_a2a.loop import run

        settings = self.settings()

        async def operate() -> T:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._say_that_we_wait)
                async with open_node(settings) as node:
                    answer = await operation(node)
                tasks.cancel_scope.cancel()
            self.output.progress("")
            return answer

        return run(operate)

    async def _say_that_we_wait(self) -> None:
        import anyio

        seconds = 0
        while True:
            await anyio.sleep(PATIENCE_SECONDS)
            seconds += 1
            if self._is_answering:
                continue
            self.output.progress(
                self.moving or f"… waiting for {self.waiting_for} ({seconds} s, Ctrl-C to stop waiting)"
            )


def session_of(context: typer.Context) -> Session:
    """The session of a command."""
    session = context.obj
    if not isinstance(session, Session):
        raise TypeError("commands run inside `run_cli`")
    return session


def set_up_logging(verbosity: int) -> None:
    """Log as much as the options want."""
    logs.set_up_logging(LEVELS[min(verbosity, 2)])
