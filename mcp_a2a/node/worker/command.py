"""A skill that is a program: the task's text on its standard input, its standard output the result.

What a peer wrote never becomes an argument, a shell's word or a variable; its files, if there are any, are in a private
folder of their own for as long as the program runs (`MCP_A2A_FILES`). The program sees a small
environment, runs as a session of its own, and is ended with all it started when it takes too long,
stays silent too long, writes too much, or when its sender or its owner no longer wants it.

An attempt ends with the process that runs it (`process_guard`), and a later attempt first ends the remains of the
earlier ones: two never run side by side. A program that a signal has ended, and not one of ours, has crashed: that
is no answer, and the task is offered again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.node.files.received import ReceivedFile
from mcp_a2a.node.worker.job import Crashed, Outcome
from mcp_a2a.node.worker.process import Child, run_child
from mcp_a2a.node.worker.process_tree import HOP, TASK, end_workers_on
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.node.worker.thread import call_in_thread
from mcp_a2a.protocol.blob import free_name
from mcp_a2a.protocol.model import Part
from mcp_a2a.store.disk import NO_SPACE
from mcp_a2a.store.work_folder import Workroom

logger = logging.getLogger(__name__)

T = TypeVar("T")

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TERM", "TMPDIR", "USER")
"""Variables of our environment that a program gets, beside `LC_*` and those its owner names: no secrets."""

DRAIN_SECONDS = 0.3
"""Seconds to wait for the output of a program that has ended: a child that it left may hold the pipe."""

ROOM_SECONDS = 2.0
"""Seconds between attempts to write files for which the disk has no room."""

STDERR_TAIL_BYTES = 16_384
STDERR_LINES = 10
STDERR_CHARS = 2_000

CRASHES = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL})
"""A shell, and what starts containers, exit with 128 and the signal that ended their program (POSIX, 2.8.2). Of the
others some programs make exit codes of their own."""


@dataclass(frozen=True)
class Limits:
    """The limits of a program for one task."""

    idle_seconds: float = 600.0
    """Without a byte of output: coding agents say nothing for minutes."""
    total_seconds: float = 3_600.0
    output_bytes: int = 524_288
    """Half of what fits into an envelope, because JSON may double it."""


def cleaned_environment(environ: Mapping[str, str], passed: Iterable[str]) -> dict[str, str]:
    """The environment of a program.

    Raises:
        ConfigurationError: a variable that was asked for is not set.
    """
    kept = {name: value for name, value in environ.items() if name in KEPT_VARIABLES or name.startswith("LC_")}
    for name in passed:
        if name not in environ:
            raise ConfigurationError(
                f"--env {name}: there is no such variable in this process.",
                Remedy("Set it before you start the agent ({name}=… mcp-a2a agent exec …), or drop --env.", name=name),
            )
        kept[name] = environ[name]
    return kept


def find_command(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Check that the program exists, before its skills are published.

    Raises:
        ConfigurationError: it does not exist, or may not be run.
    """
    if not argv:
        raise ConfigurationError(
            "No command was given.", Remedy("Put it after two dashes: mcp-a2a agent exec --name rev … -- rev")
        )
    path = environment.get("PATH", os.defpath)
    if shutil.which(argv[0], path=path) is None:
        where = "" if os.sep in argv[0] else f" (looked in {path})"
        raise ConfigurationError(
            f"The command {argv[0]!r} was not found, or may not be run{where}.",
            "Install it, or give its full path after the two dashes.",
        )


class CommandSkill:
    """Runs a program for each task."""

    def __init__(
        self, skill_id: str, argv: Sequence[str], environment: Mapping[str, str], limits: Limits, room: Workroom
    ) -> None:
        self._argv = tuple(argv)
        self._room = room
        self._environment = {**environment, "MCP_A2A_SKILL": skill_id}
        self._limits = limits

    async def __call__(self, task: TaskContext) -> Outcome:
        """Run it with the task's text; its output is the result, an exit code but 0 a failure.

        Raises:
            Crashed: a signal ended it that was not ours.
        """
        name = Path(self._argv[0]).name
        environment = {
            **self._environment,
            TASK: task.task_id,
            "MCP_A2A_SENDER": task.sender.did,
            "MCP_A2A_ATTEMPT": str(task.attempt),
            HOP: str(task.hop),
        }
        if task.attempt > 1:
            await call_in_thread(partial(end_workers_on, task.task_id))
        try:
            async with self._files_of(task) as folder:
                if folder is not None:
                    environment["MCP_A2A_FILES"] = str(folder)
                async with run_child(self._argv, environment, folder) as child:
                    run = _Run(child, self._limits)
                    failure = await run.finish(_input(task))
        except OSError as error:
            return Outcome("failed", f"{name} could not be started: {error.strerror or error}.")
        if failure is None:
            return Outcome("completed", _text(run.stdout))
        said = run.last_words()
        words = f"{name} {failure}{': ' + said if said else '.'}"
        if run.crashed:
            raise Crashed(words)
        return Outcome("failed", words)

    @asynccontextmanager
    async def _files_of(self, task: TaskContext) -> AsyncIterator[Path | None]:
        """A private folder with the files of a task, under harmless names; gone afterwards. None where it has none."""
        files = task.files
        if not files:
            yield None
            return
        folder = await self._where_there_is_room(self._room.make_folder)
        try:
            await self._where_there_is_room(partial(_write_all, files, folder))
            yield folder
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))

    async def _where_there_is_room(self, write: Callable[[], T]) -> T:
        """Write in a thread. A disk that is full now is waited for: the program has not begun."""
        give_up_at = anyio.current_time() + self._limits.total_seconds
        while True:
            try:
                return await anyio.to_thread.run_sync(write)
            except OSError as error:
                if error.errno not in NO_SPACE or anyio.current_time() >= give_up_at:
                    raise
                logger.warning("the files of a task wait for room on the disk")
            await anyio.sleep(ROOM_SECONDS)


def _write_all(files: Sequence[ReceivedFile], folder: Path) -> None:
    taken: set[str] = set()
    for file in files:
        name = free_name(file.name, taken)
        taken.add(name.casefold())
        (folder / name).unlink(missing_ok=True)  # of a time before, when there was no room for all
        file.save(folder / name)


class _Run:
    """One program at work, from its first byte to its end."""

    def __init__(self, child: Child, limits: Limits) -> None:
        self._child = child
        self._limits = limits
        self._silence = anyio.CancelScope()
        self._overflow = anyio.CancelScope()
        self.stdout = bytearray()
        self._stderr = bytearray()
        self._unread = 2
        self.crashed = False

    async def finish(self, data: bytes) -> str | None:
        """Feed and read it to its end; why that is a failure, or None."""
        code: int | None = None
        with anyio.move_on_after(self._limits.total_seconds) as total:
            with self._overflow, self._silence:
                self._heard()
                code = await self._attend(data)
        if self._overflow.cancelled_caught:
            return f"wrote more than {self._limits.output_bytes:,} bytes, its limit"
        if total.cancelled_caught:
            return f"was ended after {self._limits.total_seconds:g} s, its limit"
        if code is None:
            return f"was ended because it wrote nothing for {self._limits.idle_seconds:g} s"
        self.crashed = code < 0 or code - 128 in CRASHES
        return _ending(code) if code else None

    async def _attend(self, data: bytes) -> int:
        async with anyio.create_task_group() as tasks:
            all_read = anyio.Event()
            tasks.start_soon(self._child.feed, data)
            tasks.start_soon(self._read, self._child.stdout, self._keep_stdout, all_read)
            tasks.start_soon(self._read, self._child.stderr, self._keep_stderr, all_read)
            code = await self._child.exited()
            with anyio.move_on_after(DRAIN_SECONDS):
                await all_read.wait()
            tasks.cancel_scope.cancel()
        return code

    async def _read(self, pipe: int, keep: Callable[[bytes], None], all_read: anyio.Event) -> None:
        async for chunk in self._child.read(pipe):
            self._heard()
            keep(chunk)
        self._unread -= 1
        if not self._unread:
            all_read.set()

    def _heard(self) -> None:
        self._silence.deadline = anyio.current_time() + self._limits.idle_seconds

    def _keep_stdout(self, chunk: bytes) -> None:
        self.stdout += chunk
        if len(self.stdout) > self._limits.output_bytes:
            self._overflow.cancel()

    def _keep_stderr(self, chunk: bytes) -> None:
        self._stderr = (self._stderr + chunk)[-STDERR_TAIL_BYTES:]

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        lines = _text(self._stderr).strip().splitlines()[-STDERR_LINES:]
        return "\n".join(lines)[-STDERR_CHARS:]


def _input(task: TaskContext) -> bytes:
    pieces = [_piece(part) for message in task.messages for part in message.parts]
    return "\n".join(piece for piece in pieces if piece is not None).encode("utf-8", "replace")


def _piece(part: Part) -> str | None:
    if part.text is not None:
        return part.text
    return json.dumps(part.data, ensure_ascii=False) if "data" in part.model_fields_set else None


def _text(output: bytes | bytearray) -> str:
    return bytes(output).decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
