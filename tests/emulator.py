"""A terminal in memory: what a person sees of the bytes that a command wrote to it."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyte
from typing_extensions import override

from tests.e2e.command import MCP_A2A, environment

COMMAND = re.compile(r"^\s*(?:\S+ \| )?\S*mcp-a2a ")
"""How a line begins that is a command to copy."""

PROGRESS = re.compile(r"waiting for|Ctrl-C to stop|MiB, \d+ s left")
"""What a line of progress says."""


class _Wrapping(pyte.Screen):
    """A screen that knows which of its rows the terminal broke itself."""

    def __init__(self, columns: int, rows: int) -> None:
        self.broken: set[int] = set()
        self._drawing = False
        super().__init__(columns, rows)
        self.set_mode(pyte.modes.LNM)

    @override
    def draw(self, data: str) -> None:
        self._drawing = True
        super().draw(data)
        self._drawing = False

    @override
    def linefeed(self) -> None:
        if self._drawing:
            self.broken.add(self.cursor.y)
        super().linefeed()


@dataclass(frozen=True)
class Seen:
    """What is on the screen at the end."""

    raw: bytes
    columns: int
    rows: tuple[str, ...]
    broken: frozenset[int]

    @property
    def text(self) -> str:
        """The lines as they would be copied: a row that the terminal broke goes on in the next one."""
        return "\n".join(self.lines)

    @property
    def lines(self) -> list[str]:
        """The lines that were written."""
        lines, now = [], ""
        for number, row in enumerate(self.rows):
            now += row if number in self.broken else row.rstrip()
            if number not in self.broken:
                lines.append(now)
                now = ""
        return lines

    def faults(self) -> list[str]:
        """What a person would call broken."""
        faults = [f"broken by the terminal: {line!r}" for line in self.lines if self._is_broken(line)]
        faults += [f"left of a line of progress: {line!r}" for line in self.lines if PROGRESS.search(line)]
        faults += [f"an escape code: {line!r}" for line in self.rows if "\x1b" in line or re.search(r"\[\d+m", line)]
        return faults

    def _is_broken(self, line: str) -> bool:
        """A line may only be wider than the terminal if it is one word, or a command: to be copied whole."""
        return len(line) > self.columns and " " in line.strip() and not COMMAND.match(line)


def seen(raw: bytes, columns: int, encoding: str = "utf-8") -> Seen:
    """What a terminal of that width and encoding shows of these bytes."""
    text = codecs.decode(raw, encoding, "replace")
    screen = _Wrapping(columns, text.count("\n") + 2 * len(text) // columns + 2)  # so many that nothing scrolls away
    pyte.Stream(screen).feed(text)
    rows = tuple(screen.display)
    last = max((number for number, row in enumerate(rows) if row.strip()), default=-1)
    return Seen(raw, columns, rows[: last + 1], frozenset(screen.broken))


@dataclass(frozen=True)
class Finished:
    """A command that ran on a terminal."""

    returncode: int
    seen: Seen


LOCALES: Mapping[str, Mapping[str, str]] = {
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "latin-1": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
    "ascii": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
"""How a person's account is set up for each encoding."""


def start_on_terminal(command: Sequence[str], env: Mapping[str, str], line: int) -> subprocess.Popen[bytes]:
    """Start a command that this terminal controls, so that Ctrl-C is a signal.

    A shell that is the first of a session opens the terminal. Code of ours between fork(2) and exec(3) would not do:
    gRPC, where an earlier test of this process used it, ends such a child now and then.
    """
    return subprocess.Popen(
        ["sh", "-c", 'exec "$0" "$@" <"$TERMINAL" >"$TERMINAL" 2>&1', *command],
        env={**env, "TERMINAL": os.ttyname(line)},
        start_new_session=True,
    )


class OnTerminal:
    """A command on a terminal of its own, whose keys a test presses."""

    def __init__(self, home: Path, words: Sequence[str], columns: int, encoding: str, env: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, columns))
        self._columns, self._encoding, self._raw = columns, encoding, b""
        self.process = start_on_terminal(
            [MCP_A2A, "--no-mdns", *words],
            environment(home, TERM="xterm-256color", **LOCALES[encoding], **env),
            theirs,
        )
        self._theirs = theirs  # kept open: a terminal that nobody holds is gone

    def wait_for(self, said: str, seconds: float = 60) -> None:
        """Read until this was written."""
        end = time.monotonic() + seconds
        while said.encode(self._encoding, "replace") not in self._raw:
            assert time.monotonic() < end, self._raw
            assert self._read(end), self._raw

    def press(self, keys: str) -> None:
        """Type something."""
        os.write(self._ours, keys.encode())

    def end(self, seconds: float = 60) -> Finished:
        """Read until the command has ended."""
        end = time.monotonic() + seconds
        while self._read(end):
            pass
        code = self.process.wait(max(0.1, end - time.monotonic()))
        return Finished(code, seen(self._raw, self._columns, self._encoding))

    def _read(self, end: float) -> bool:
        while not select.select([self._ours], [], [], 0.05)[0]:
            if time.monotonic() > end or self.process.poll() is not None:
                return False
        with suppress(OSError):  # Linux says EIO when the other side is closed
            self._raw += (more := os.read(self._ours, 65_536))
            return bool(more)
        return False

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


def on_terminal(
    home: Path, *words: str, columns: int = 80, encoding: str = "utf-8", keys: str = "", **env: str
) -> Finished:
    """Run a command on a terminal to its end."""
    command = OnTerminal(home, words, columns, encoding, env)
    try:
        if keys:
            command.press(keys)
        return command.end()
    finally:
        command.close()
