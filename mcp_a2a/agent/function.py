"""A skill that is a Python function."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from types import NoneType

from mcp_a2a.agent.result import Results, outcome_of
from mcp_a2a.agent.signature import ArgumentsError, Function, Signature
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.node.worker.job import Chunk, Outcome
from mcp_a2a.node.worker.process_tree import HOP
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.node.worker.thread import call_in_thread
from mcp_a2a.protocol.model import AgentSkill

ALWAYS_READ = ("text/plain", "application/json")
"""Beside what an author names: a message's text and its arguments."""

STREAMED = Outcome("completed")
"""The result was streamed, and nothing is to be added."""


@dataclass(frozen=True)
class SkillNotes:
    """The author's notes about a skill: id, name, description, tags and examples; the function says the rest."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    input_modes: tuple[str, ...] = ()
    extended: bool = False


class FunctionSkill:
    """Calls a function with what a task brings, and makes what it returns the result."""

    def __init__(self, function: Function, notes: SkillNotes) -> None:
        own_name = getattr(function, "__name__", "").partition("<")[0]  # a lambda's name is none
        self.id = notes.id or re.sub(r"[^a-z0-9]+", "-", own_name.lower()).strip("-")
        if not self.id:
            raise ConfigurationError("A skill without a name has no id.", 'Give it one: @agent.skill(id="…").')
        self._function = function
        self._is_asynchronous = inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function)
        self.module: str | None = getattr(function, "__module__", None)
        """The module of the function."""
        self.signature = Signature.of(self.id, function)
        name = notes.name or self.id.replace("-", " ").capitalize()
        self.card = AgentSkill(
            id=self.id,
            name=name,
            description=notes.description or inspect.getdoc(function) or name,
            tags=notes.tags,
            examples=notes.examples or None,
            input_modes=tuple(dict.fromkeys((*ALWAYS_READ, *notes.input_modes))) if notes.input_modes else None,
            input_schema=self.signature.schema,
            extended=notes.extended or None,
        )

    async def __call__(self, task: TaskContext) -> Outcome:
        """Run the function on a task."""
        data = [part.data for part in task.parts if "data" in part.model_fields_set]
        try:
            arguments = self.signature.bind(task.text, data)
        except ArgumentsError as error:
            return Outcome("failed", str(error))
        if self.signature.task_parameter is not None:
            arguments[self.signature.task_parameter] = task
        with hop_in_environment(task.hop):
            returned = await self._run(task, arguments)
        return STREAMED if returned is None and task.has_streamed else outcome_of(returned)

    async def _run(self, task: TaskContext, arguments: dict[str, object]) -> object:
        call = functools.partial(self._function, **arguments)
        if self._is_asynchronous:
            result = call()
        else:
            result = await call_in_thread(functools.partial(_run_blocking, task, call))
        # With a decorator around it, a function of each kind may return what one of another kind does.
        if inspect.isawaitable(result):
            result = await result
        return await _follow(task, result) if isinstance(result, AsyncGenerator) else result


class _Steps:
    """The yields of a generator: text on the way is progress; text at the end, and all else, is a result."""

    def __init__(self) -> None:
        self._results: list[object] = []
        self._text: str | None = None

    def add(self, step: object) -> None:
        """Note what was yielded."""
        # The text before a chunk or a result was progress.
        self._text = step if isinstance(step, str) else None
        if not isinstance(step, str | Chunk | NoneType):
            self._results.append(step)

    def result(self, returned: object = None) -> object:
        """The result, of which `returned` is the end where it is something."""
        last = self._text if returned is None else returned
        results = [*self._results, *([] if last is None else [last])]
        match results:
            case []:
                return None
            case [only]:
                return only
            case _:
                return Results(results)


async def _follow(task: TaskContext, steps: AsyncGenerator[object]) -> object:
    """Run an asynchronous generator."""
    taken = _Steps()
    async with aclosing(steps):
        async for step in steps:
            taken.add(step)
            if isinstance(step, Chunk):
                await task.send_chunk(step)
            elif isinstance(step, str):
                await task.progress(step)
    return taken.result()


def _run_blocking(task: TaskContext, call: Function) -> object:
    result = call()
    return _follow_blocking(task, result) if isinstance(result, Generator) else result


def _follow_blocking(task: TaskContext, steps: Generator[object, None, object]) -> object:
    """Follow an ordinary generator, as `_follow` does; its `return` outweighs its last `yield`."""
    taken = _Steps()
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return taken.result(end.value)
        taken.add(step)
        if isinstance(step, Chunk):
            task.send_chunk_sync(step)
        elif isinstance(step, str):
            task.progress_sync(step)


# Tells the programs that a skill starts how often the work was passed on, so that agents in a circle come to an end.
#
# A function shares its process, and so its environment, with the other tasks of its agent: the highest count of those
# that run is told. Counting too high ends a chain early; counting too low never ends it.

_running: list[int] = []
_own: list[str | None] = []
"""The value of the variable before the first of those that run."""


@contextmanager
def hop_in_environment(hop: int) -> Iterator[None]:
    """Set the hop count in the environment of the processes that are started meanwhile."""
    if not _running:
        _own.append(os.environ.get(HOP))
    _running.append(hop)
    _tell()
    try:
        yield
    finally:
        _running.remove(hop)
        _tell()


def _tell() -> None:
    if _running:
        os.environ[HOP] = str(max(_running))
        return
    own = _own.pop()
    if own is None:
        os.environ.pop(HOP, None)
    else:
        os.environ[HOP] = own
