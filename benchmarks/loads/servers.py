"""Servers as processes, pinned to a core that the generator does not use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loads.flight import pin

GENERATOR_CORE, SERVER_CORE = 0, 1
PROGRAMS = Path(__file__).parents[1] / "programs"
MCP_A2A = str(Path(sys.executable).parent / "mcp-a2a")
START_SECONDS = 20


@dataclass(frozen=True)
class Server:
    """One that runs."""

    pid: int
    port: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: Sequence[str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: pin(SERVER_CORE),  # noqa: PLW1509  one thread so far
    )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        if running.stdout is not None:
            running.stdout.close()


@contextmanager
def listening(command: Sequence[str], port: int) -> Iterator[Server]:
    """A server that is told its port."""
    with process(command) as running:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or running.poll() is not None:
                    raise RuntimeError(f"{command[0]} does not listen on port {port}") from None
                time.sleep(0.05)
        yield Server(running.pid, port)


@contextmanager
def relay(home: Path, *words: str, wide: bool = True) -> Iterator[tuple[Server, str]]:
    """Ours, and its URL. `wide`: with limits per agent that a load does not meet; those in all stay as they are."""
    more = ("--rate", "100000000", "--burst", "1000000", "--rate-mib", "100000", "--max-queue", "100000",
            "--max-per-sender", "100000", "--max-mailbox-mib", "1000") if wide else ()  # fmt: skip
    command = [MCP_A2A, "relay", "serve", "--listen", "127.0.0.1:0", "--open", *more, *words]
    with process(command, MCP_A2A_HOME=str(home)) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        if not url:
            raise RuntimeError("the relay did not start")
        port = int(url.partition("/#")[0].rpartition(":")[2])
        yield Server(running.pid, port), url


@contextmanager
def forwarder() -> Iterator[Server]:
    """The floor (`programs/ws_forward.py`)."""
    with process([sys.executable, str(PROGRAMS / "ws_forward.py")]) as running:
        assert running.stdout is not None
        yield Server(running.pid, int(running.stdout.readline()))
