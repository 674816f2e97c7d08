"""The installed command in a terminal of its own: what a person types, sees, and interrupts."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from tests.e2e.command import MCP_A2A, environment
from tests.emulator import start_on_terminal

CTRL_C, CTRL_D = "\x03", "\x04"

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Typed:
    """A command at whose three streams a person sits."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process, self._terminal = process, terminal
        self.raw = ""

    @property
    def screen(self) -> str:
        """All that was shown, without what moves the cursor."""
        return _CONTROL.sub("", self.raw).replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def until(self, text: str, seconds: float = 60) -> str:
        """Read until this is shown."""
        end = time.monotonic() + seconds
        while text not in self.screen:
            assert time.monotonic() < end, f"not within {seconds} s: {text!r} in {self.screen!r}"
            assert self._read(0.2) or self.process.poll() is None, f"ended without {text!r}: {self.screen!r}"
        return self.screen

    def ends(self, seconds: float = 60) -> int:
        """The exit code, and everything shown until then."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still running after {seconds} s: {self.screen!r}"
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        try:
            chunk = os.read(self._terminal, 65_536)
        except OSError:  # EIO: the command has hung up its terminal
            return False
        self.raw += chunk.decode(errors="replace")
        return bool(chunk)


@contextmanager
def typed(home: Path, *words: str, columns: int = 100, command: Sequence[str] = (), **env: str) -> Iterator[Typed]:
    """Type `mcp-a2a WORDS`, or another command, at a terminal of its own."""
    terminal, line = pty.openpty()
    ioctl(line, TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = start_on_terminal(
        command or [MCP_A2A, "--no-mdns", *words], {**environment(home, **env), "TERM": "xterm"}, line
    )
    try:
        yield Typed(process, terminal)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(30)
        os.close(terminal)
        os.close(line)
