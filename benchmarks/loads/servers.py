"""Servers as processes, pinned to a core that the generator does not use."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from loads.flight import HUNG_SECONDS, HungError, pin

GENERATOR_CORE, SERVER_CORE = 0, 1
PROGRAMS = Path(__file__).parents[1] / "programs"
MCP_A2A = str(Path(sys.executable).parent / "mcp-a2a")
START_SECONDS = 20
END_SECONDS = 10


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


class Lines:
    """The lines that come from a pipe, each awaited for a limited time."""

    def __init__(self, file: int, name: str) -> None:
        self._file, self._name, self._rest = file, name, b""

    def next(self, seconds: float = HUNG_SECONDS) -> str:
        """The next line, without its end.

        Raises:
            HungError: the process wrote no line for so long.
            RuntimeError: the other end of the pipe was closed.
        """
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._file], [], [], left)[0]:
                raise HungError(f"{self._name} wrote nothing for {seconds:.0f} s")
            chunk = os.read(self._file, 65536)
            if not chunk:
                raise RuntimeError(f"{self._name} ended")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode().strip()


@contextmanager
def process(
    command: Sequence[str], core: int = SERVER_CORE, errors: IO[bytes] | int = subprocess.DEVNULL, **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], Lines]]:
    """A process on one core, with its children, and the lines that it writes; it ends with the context.

    `errors` takes its standard error.
    """
    running = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        preexec_fn=lambda: pin(core),  # noqa: PLW1509  one thread so far
        start_new_session=True,
    )
    assert running.stdout is not None
    program = next((word for word in command if word.endswith(".py")), command[0])
    try:
        yield running, Lines(running.stdout.fileno(), Path(program).name)
    finally:
        end(running)
        running.stdout.close()


def end(running: subprocess.Popen[bytes]) -> None:
    """End a process that leads a session of its own, and the processes that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(running.pid, number)
        try:
            running.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


@contextmanager
def listening(command: Sequence[str], port: int) -> Iterator[Server]:
    """A server that is told its port."""
    with process(command) as (running, _):
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
    with process(command, MCP_A2A_HOME=str(home)) as (running, lines):
        url = lines.next()
        port = int(url.partition("/#")[0].rpartition(":")[2])
        yield Server(running.pid, port), url


@contextmanager
def forwarder() -> Iterator[Server]:
    """The floor (`programs/ws_forward.py`)."""
    with process([sys.executable, str(PROGRAMS / "ws_forward.py")]) as (running, lines):
        yield Server(running.pid, int(lines.next()))
