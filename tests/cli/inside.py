"""A command run inside this process: the same code as the installed one, without the second it takes to start."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from mcp_a2a.__main__ import run


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
    out, err = io.StringIO(), io.StringIO()
    read = (Keyboard if typed else io.TextIOWrapper)(io.BytesIO(stdin.encode()))
    with _environment(home), _stdin(read), _logging(), redirect_stdout(out), redirect_stderr(err):
        code = run(["--no-mdns", *words])
    return Finished(code, out.getvalue(), err.getvalue())


@contextmanager
def _environment(home: Path) -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("MCP_A2A_")]:
        del os.environ[name]
    os.environ["MCP_A2A_HOME"] = str(home)
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
