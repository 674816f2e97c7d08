"""A client of the installed command, line by line: what it sends and gets is what is on the pipes."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.command import MCP_A2A, environment

INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}

SECONDS = 60.0
"""A busy machine may take long; an answer that never comes fails all the same."""


class FrontClient:
    """One process, and its client."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._buffer = b""
        self._lines: deque[bytes] = deque()
        self.unasked: list[dict[str, Any]] = []
        """Messages that came while an answer was waited for."""

    def write(self, content: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(content)

    def say(self, method: str, params: dict[str, Any] | None = None, number: Any = None) -> None:
        message = {"jsonrpc": "2.0", "method": method}
        message |= {} if number is None else {"id": number}
        message |= {} if params is None else {"params": params}
        self.write(json.dumps(message).encode() + b"\n")

    def ask(self, method: str, params: dict[str, Any] | None = None, number: Any = 1) -> dict[str, Any]:
        self.say(method, params, number)
        return self.answer(number)

    def call(self, tool: str, number: Any = 1, **arguments: Any) -> dict[str, Any]:
        """The result of a tool."""
        found: dict[str, Any] = self.ask("tools/call", {"name": tool, "arguments": arguments}, number)["result"]
        return found

    def begin(self, **capabilities: Any) -> dict[str, Any]:
        """The handshake of the older era."""
        answer = self.ask("initialize", {**INITIALIZE, "capabilities": capabilities}, "begin")
        self.say("notifications/initialized")
        return answer

    def message(self) -> dict[str, Any]:
        """The next line of the server."""
        found: dict[str, Any] = json.loads(self.line())
        return found

    def answer(self, number: Any) -> dict[str, Any]:
        while (message := self.message()).get("id") != number or "method" in message:
            self.unasked.append(message)
        return message

    def line(self) -> bytes:
        assert self.process.stdout is not None
        while not self._lines:
            ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
            assert ready, f"no answer in {SECONDS} s"
            chunk = os.read(self.process.stdout.fileno(), 65_536)
            assert chunk, f"it has ended: {self.process.poll()}"
            *lines, self._buffer = (self._buffer + chunk).split(b"\n")
            self._lines += lines
        return self._lines.popleft()

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Close the input; the exit code, and what it still said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        rest = self._buffer + b"".join(line + b"\n" for line in self._lines) + self.process.stdout.read()
        return self.process.wait(SECONDS), [json.loads(line) for line in rest.splitlines()]

    @property
    def resident_kib(self) -> int:
        """Memory of the process that is its own or shared, in KiB (proc_pid_status(5))."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@contextmanager
def client(
    home: Path, *words: str, stderr: int = subprocess.DEVNULL, cwd: Path | None = None, **env: str
) -> Iterator[FrontClient]:
    """A client of `mcp-a2a` with this data folder, alone on its machine."""
    command: Sequence[str] = [MCP_A2A, "--no-mdns", *words]
    variables = environment(home, MCP_A2A_LINK_HOST="127.0.0.1", **env)
    with subprocess.Popen(
        command, env=variables, cwd=cwd, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
    ) as process:
        try:
            yield FrontClient(process)
        finally:
            process.kill()
