"""One run of one command: its options, its node, and what it leaves behind when it is interrupted."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mcp_a2a import logs
from mcp_a2a.cli.options import Options
from mcp_a2a.cli.output import Output
from mcp_a2a.cli.steps import Steps, answered, perform
from mcp_a2a.front.plain import read_plain
from mcp_a2a.node.ipc.glance import Form, NoGlanceError, glance
from mcp_a2a.protocol.text import clean
from mcp_a2a.screen import cut

if TYPE_CHECKING:
    from pathlib import Path

    import typer
    from pydantic import BaseModel

    from mcp_a2a.config import Settings
    from mcp_a2a.node.ipc.owner import SharedNode

T = TypeVar("T")

LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
LEAST_NAME = 8
"""Columns of what a command waits for."""

PATIENCE_SECONDS = 1.0
"""A wait is mentioned only when it lasts longer."""


class Session:
    """The session of a command: its options, its output, and its node."""

    def __init__(self, options: Options, output: Output) -> None:
        self.options = options
        self.output = output
        self.task_id: str | None = None
        """A task that goes on when this command does not."""
        self.waiting_for = "an answer"
        self.moving = ""
        """The line that is shown instead while files are in flight."""
        self._remembers = False
        self.is_resting = False
        """True if no node runs, and what was shown is what it remembers."""
        self.ran_node = False
        """True if a node was started to read, as none ran."""
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
        from mcp_a2a.app import open_node
        from mcp_a2a.cli.tracing import told
        from mcp_a2a.loop import run

        settings = self.settings()

        async def operate() -> T:
            async with self.waiting(), open_node(settings) as node:
                await self._say_what_name_counts(node, settings)
                return await operation(told(node, settings))

        return run(operate)

    @asynccontextmanager
    async def waiting(self, what: str | None = None) -> AsyncIterator[Callable[[], None]]:
        """Tell that the command waits, for as long as the context lasts, or until what it yields is called."""
        import anyio

        self.waiting_for = what or self.waiting_for
        telling = anyio.CancelScope()

        async def tell() -> None:
            with telling:
                await self._say_that_we_wait()

        def is_over() -> None:
            telling.cancel()
            self.output.progress("")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell)
            try:
                yield is_over
            finally:
                is_over()

    def read(self, steps: Callable[[], Steps[T]], *, at_rest: bool = False) -> T:
        """Ask this identity's node what is only shown: quickly where it runs in another process, else as in `ask`.

        With `at_rest` no node is started: where none runs, the answer is what it remembers.
        """
        with suppress(NoGlanceError):
            return self.glance(steps)
        if at_rest and self.options.verbosity <= 0:  # with -v each question is told, so it is asked like all others
            with suppress(LookupError):
                return self._remembered(steps)

        async def operate(node: SharedNode) -> T:
            self.ran_node = node.owner
            return await perform(steps(), node)

        return self.ask(operate)

    def _remembered(self, steps: Callable[[], Steps[T]]) -> T:
        """Ask the database, while no process runs.

        Raises:
            LookupError: a node runs, or has to start.
        """
        from mcp_a2a.at_rest import resting_node
        from mcp_a2a.errors.machine import DatabaseDamagedError, HomeUnusableError
        from mcp_a2a.loop import run
        from mcp_a2a.store.offline import NotStillError

        settings = self.settings()

        async def operate() -> T:
            async with resting_node(settings) as node:
                self._remembers = node.remembers
                return await perform(steps(), node)

        try:
            answer = run(operate)
        except (NotStillError, DatabaseDamagedError, HomeUnusableError) as error:
            raise LookupError(str(error)) from error
        self.is_resting = True
        return answer

    def show(self, view: BaseModel, human: Callable[[], None]) -> None:
        """Show a view; a note says if no running node has made it."""
        if self.options.json:
            running = not (self.is_resting or self.ran_node)
            self.output.show_fields({**self.output.fields(view), "running": running}, human)
            return
        human()
        self.note_rest()

    def note_rest(self) -> None:
        """Say of what was read at rest that it is what the identity remembers."""
        if self.is_resting and self._remembers and not self.options.json:
            self.output.note(
                "No process of this identity is running: this is the last known state, and no agents were looked up."
            )

    def glance(self, steps: Callable[[], Steps[T]]) -> T:
        """Ask the node that runs in another process, without its models.

        Raises:
            NoGlanceError: none can be asked this way.
        """
        if self.options.json and self.output.is_watched:
            raise NoGlanceError("an answer that only its models can give")
        if self.options.verbosity > 0:
            raise NoGlanceError("what is told of each question")
        form: Form = "programs" if self.options.json else "written"
        with glance(self._plain_folder(), form, self._say_how_long) as looking:
            answer = answered(steps(), looking)
        self.output.progress("")
        return answer

    def home(self) -> Path:
        """The data folder.

        Raises:
            ConfigurationError: the settings cannot be.
        """
        with suppress(NoGlanceError):
            return self._plain_folder().parent.parent
        return self.settings().home

    def _plain_folder(self) -> Path:
        plain = read_plain(self.options.settings, os.environ)
        if plain is None or "name" in self.options.settings:
            raise NoGlanceError("settings that need their library")
        try:
            return plain.folder
        except RuntimeError as error:
            raise NoGlanceError(str(error)) from error

    def _say_how_long(self, seconds: float) -> None:
        if seconds >= PATIENCE_SECONDS:
            self.output.progress(self._waiting_line(int(seconds)))

    def _waiting_line(self, seconds: int) -> str:
        if self.moving:
            return self.moving
        rest = f" ({seconds} s, Ctrl-C to stop waiting)"
        # A long name gives way: how to stop is what a person needs.
        room = max(LEAST_NAME, self.output.columns - len(f"... waiting for ...{rest}") - 1)
        return f"… waiting for {cut(clean(self.waiting_for), room)}{rest}"

    async def _say_what_name_counts(self, node: SharedNode, settings: Settings) -> None:
        """A name is that of a running node: another one that is given to a command changes nothing, and is told so."""
        if "name" not in self.options.settings or node.owner:
            return
        from mcp_a2a.api.agents import GetAgentRequest
        from mcp_a2a.store.owner_file import read_owner

        called = (await node.call(GetAgentRequest(agent="self"))).agent.name
        if called != settings.name:
            pid, identity = read_owner(settings.folder), settings.identity
            why = f"--name {settings.name} has no effect: process {pid} runs {identity!r} as {called}."
            self.output.note(f"{why} To keep a name: mcp-a2a name {shlex.quote(settings.name or '')}")

    async def _say_that_we_wait(self) -> None:
        import anyio

        seconds = 0
        while True:
            await anyio.sleep(PATIENCE_SECONDS)
            seconds += 1
            if self._is_answering:
                continue
            self.output.progress(self._waiting_line(seconds))


def session_of(context: typer.Context) -> Session:
    """The session of a command."""
    session = context.obj
    if not isinstance(session, Session):
        raise TypeError("commands run inside `run_cli`")
    return session


def set_up_logging(verbosity: int, output: Output | None = None) -> None:
    """Log as much as the options want, never into a line of progress of this output."""
    clear = partial(output.progress, "") if output is not None else lambda: None
    logs.set_up_logging(LEVELS[min(verbosity, 2)], clear)
