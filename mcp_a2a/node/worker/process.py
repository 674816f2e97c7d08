"""A program in a session of its own, so that it can be ended with everything it started, whatever becomes of us."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio

from mcp_a2a.node.worker.process_guard import process_guard
from mcp_a2a.node.worker.process_tree import RUN, TERM_SECONDS, end_run, signal_relatives
from mcp_a2a.node.worker.thread import call_in_thread

CHUNK = 65_536


class Child:
    """A running program. Its pipes are read and written without blocking the loop."""

    def __init__(self, process: subprocess.Popen[bytes], run: str, pipes: tuple[int, int, int]) -> None:
        self._process = process
        self._run = run
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
        """Its output on `stdout` or `stderr`, until the last holder of that pipe is gone."""
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
                await call_in_thread(partial(signal_relatives, self._process.pid, self._run, signal.SIGTERM))
                with anyio.move_on_after(TERM_SECONDS):
                    await self.exited()
            await call_in_thread(partial(end_run, self._process.pid, self._run))
            await self.exited()
        for pipe in (self._stdin, self.stdout, self.stderr):
            with suppress(OSError):
                os.close(pipe)


@asynccontextmanager
async def run_child(
    argv: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
) -> AsyncIterator[Child]:
    """Start a program without a shell; when the context ends, so has everything it started.

    If this process is killed before that, the guard ends it, and removes `folder`.

    Raises:
        OSError: it cannot be started.
    """
    run = uuid.uuid4().hex
    try:
        with anyio.CancelScope(shield=True):  # a start without a waiter would leave an orphan
            launch = partial(_launch, argv, {**environment, RUN: run}, run, str(folder or ""))
            process = await call_in_thread(launch)
        child = Child(process, run, _detach_pipes(process))
        try:
            yield child
        finally:
            await child.end()
    finally:
        process_guard.forget(run)


def _launch(argv: Sequence[str], environment: Mapping[str, str], run: str, folder: str) -> subprocess.Popen[bytes]:
    process_guard.watch(run, 0, folder)  # before it runs: a kill between the two leaves nothing behind
    process = subprocess.Popen(  # noqa: S603  the owner's own command; nothing of a peer is in it
        list(argv),
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    process_guard.watch(run, process.pid, folder)
    return process


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
