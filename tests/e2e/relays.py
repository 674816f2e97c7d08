"""A relay as a process, from its printed URL to its end, whichever that is."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.command import MCP_A2A, environment

GENEROUS = ("--rate", "100000", "--burst", "100000", "--rate-mib", "10000", "--host-connections", "1000")
"""Limits that a test of something else does not meet."""


class Relay:
    """`mcp-a2a relay serve`."""

    def __init__(self, home: Path, *words: str, on: Sequence[str] = (), **env: str) -> None:
        self.home = home
        self._command = [*on, MCP_A2A, "relay", "serve", *words]
        self._environment = environment(home, **env)
        self.log = home.parent / f"{home.name}.log"
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> str:
        """Start it, and wait for its URL."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, self.log.read_text()
        return self.url

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it, politely or not; its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code


@contextmanager
def relay(home: Path, *words: str, on: Sequence[str] = (), **env: str) -> Iterator[Relay]:
    """A relay that runs as long as the context lasts."""
    running = Relay(home, *words, on=on, **env)
    running.start()
    try:
        yield running
    finally:
        running.end(signal.SIGKILL)
