"""A program in a session of its own, so that it can be ended with everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio

from mcp_a2a.node.thread import call_in_thread

TERM_SECONDS = 0.5
"""Between asking a program to end and ending it."""

CHUNK = 65_536


class Child:
    """A running program. Its pipes are read and written without blocking the loop."""

    def __init__(self, process: subprocess.Popen[bytes], pipes: tuple[int, int, int]) -> None:
        self._process = process
        self._stdin, self.stdout, self.stderr = pipes

    async def feed(self, data: bytes) -> None:
        """Write to its standard input and close it. A program need not read what it is told."""
        rest = memoryview(data)
        try:
            while rest:
                await anyio.wait_writable(self._stdin)
                rest = rest[os.write(self._stdin, rest[:CHUNK]) :]
        except BrokenPipeError:
            pass
        finally:
            os.close(self._stdin)
            self._stdin = -1

    async def read(self, pipe: int) -> AsyncIterator[bytes]:
        """What it writes to `stdout` or `stderr`, until the last holder of that pipe is gone."""
        while True:
            await anyio.wait_readable(pipe)
            try:
                chunk = os.read(pipe, CHUNK)
            except BlockingIOError:
                continue
            if not chunk:
                return
            yield chunk

    async def exited(self) -> int:
        """Wait for its end; the exit code, negative for the signal that ended it."""
        return await call_in_thread(self._process.wait)

    async def end(self) -> None:
        """End it and whatever it left behind: politely first, then not."""
        with anyio.CancelScope(shield=True):
            if self._process.poll() is None:
                self._signal(signal.SIGTERM)
                with anyio.move_on_after(TERM_SECONDS):
                    await self.exited()
            self._signal(signal.SIGKILL)
            await self.exited()
        for pipe in (self._stdin, self.stdout, self.stderr):
            with suppress(OSError):
                os.close(pipe)

    def _signal(self, number: signal.Signals) -> None:
        # The session, not only the group: `timeout` and shells with job control make groups.
        leader = self._process.pid
        members = session_members(leader)
        with suppress(ProcessLookupError, PermissionError):
            if members is None:
                os.killpg(leader, number)
        for pid in members or ():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


@asynccontextmanager
async def run_child(argv: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[Child]:
    """Start a program without a shell; when the context ends, so has everything it started.

    Raises:
        OSError: it cannot be started.
    """
    with anyio.CancelScope(shield=True):  # a start that nobody waits for would leave an orphan
        process = await call_in_thread(partial(_launch, argv, environment))
    child = Child(process, _detach_pipes(process))
    try:
        yield child
    finally:
        await child.end()


def _launch(argv: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  the owner's own command; nothing of a peer is in it
        list(argv),
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )


def _detach_pipes(process: subprocess.Popen[bytes]) -> tuple[int, int, int]:
    pipes = []
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is None:
            raise TypeError("a pipe was asked for")
        pipe = os.dup(stream.fileno())
        stream.close()
        os.set_blocking(pipe, False)
        pipes.append(pipe)
    return pipes[0], pipes[1], pipes[2]


def session_members(session: int) -> list[int] | None:
    """The processes of a session; None where the system does not tell (it does on Linux)."""
    if not Path("/proc/self/stat").exists():
        return None
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name in parentheses may hold anything; behind it: state, parent, group, session.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended
        if len(fields) > 3 and int(fields[3]) == session:
            found.append(int(folder.name))
    return found
