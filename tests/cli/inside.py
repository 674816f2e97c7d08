"""A command run inside this process: the same code as the installed one, without the second it takes to start."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_a2a import __main__
from tests.e2e import command


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
    """As `tests.e2e.command.run`; a process of its own runs it only where it is to run `on` another host."""
    if on:
        there = command.run(home, *words, on=on, stdin=stdin, **env)
        return Finished(there.returncode, there.stdout, there.stderr)
    return _call(command.environment(home, **env), words, stdin)


def answer(home: Path, *words: str, on: Sequence[str] = (), **more: str) -> Any:
    """What `--json` printed, as `tests.e2e.command.answer`."""
    finished = run(home, *words, "--json", on=on, **more)
    assert finished.stdout, finished.stderr
    return json.loads(finished.stdout)


def _call(environment: Mapping[str, str], words: Sequence[str], stdin: str, *, typed: bool = False) -> Finished:
    out, err = io.StringIO(), io.StringIO()
    read = (Keyboard if typed else io.TextIOWrapper)(io.BytesIO(stdin.encode()))
    with _environment(environment), _stdin(read), _logging(), redirect_stdout(out), redirect_stderr(err):
        code = __main__.run(words)
    return Finished(code, out.getvalue(), err.getvalue())


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
def _logging() -> Iterator[None]:
    """A command takes the root logger for itself; the test run wants it back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
