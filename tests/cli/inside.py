"""A command run inside this process: the same code as the installed one, without the second it takes to start."""

from __future__ import annotations

import asyncio
import ctypes
import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mcp_a2a import __main__
from mcp_a2a.logs import OURS
from tests.e2e import command

CLONE_NEWNET = 0x40000000
"""From linux/sched.h."""


@dataclass
class Finished:
    """What a command left: its exit code and its two streams."""

    returncode: int
    stdout: str
    stderr: str


class Keyboard(io.TextIOWrapper):
    """A standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


def call(home: Path, *words: str, stdin: str = "", typed: bool = False) -> Finished:
    """Run `mcp-a2a --no-mdns WORDS` on this data folder; `typed` as a person at a terminal does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCP_A2A_")}
    return _call({**kept, "MCP_A2A_HOME": str(home)}, ("--no-mdns", *words), stdin, typed=typed)


def run(home: Path, *words: str, on: Sequence[str] = (), stdin: str = "", **env: str) -> Finished:
    """As `tests.e2e.command.run`, also `on` the host of a network namespace.

    There without mDNS and zones of IPv6, which need a process: zeroconf leaves sockets open where it cannot bind to an
    address yet, and a zone is looked up by threads of libuv, which stay on the host where they began.
    """
    with _host(on):
        return _call(command.environment(home, **env), words, stdin)


def answer(home: Path, *words: str, on: Sequence[str] = (), **more: str) -> Any:
    """What `--json` printed, as `tests.e2e.command.answer`."""
    finished = run(home, *words, "--json", on=on, **more)
    assert finished.stdout, finished.stderr
    return json.loads(finished.stdout)


def _call(environment: Mapping[str, str], words: Sequence[str], stdin: str, *, typed: bool = False) -> Finished:
    assert not _in_a_loop(), "a command runs a loop of its own: start a process for it"
    out, err = io.StringIO(), io.StringIO()
    read = (Keyboard if typed else io.TextIOWrapper)(io.BytesIO(stdin.encode()))
    with _environment(environment), _stdin(read), own_logging(), redirect_stdout(out), redirect_stderr(err):
        code = __main__.run(words)
    return Finished(code, out.getvalue(), err.getvalue())


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def _host(on: Sequence[str]) -> Iterator[None]:
    """This thread is on the host that the prefix `ip netns exec NAME` of a command names, as are those it starts."""
    if not on:
        yield
        return
    assert list(on[:3]) == ["ip", "netns", "exec"], on
    with Path("/proc/thread-self/ns/net").open() as here, Path("/run/netns", on[3]).open() as there:
        _enter(there)
        try:
            yield
        finally:
            _enter(here)


def _enter(namespace: IO[str]) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):  # `os.setns` is of Python 3.12
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def _environment(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _stdin(read: io.TextIOWrapper) -> Iterator[None]:
    before, sys.stdin = sys.stdin, read
    try:
        yield
    finally:
        sys.stdin = before


@contextmanager
def own_logging() -> Iterator[None]:
    """A command takes the log for itself; the test run wants it back, with the level of each logger."""
    root = logging.getLogger()
    handlers, levels = list(root.handlers), {name: logging.getLogger(name).level for name in ("", *OURS)}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
