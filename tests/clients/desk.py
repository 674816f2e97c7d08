"""Codex at a desk: its app server on a pipe, and a person who answers what it asks.

The protocol is JSON-RPC in lines, as `codex app-server generate-json-schema` describes it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.clients.clients import Place, Start, started
from tests.clients.dialects import Json

_LONGEST_LINE = 16 * 2**20


@dataclass
class Desk:
    """One conversation, in which every question gets the same answer."""

    process: Process
    lines: BufferedByteReceiveStream
    answer: Json
    asked: list[str] = field(default_factory=list)
    """What the person was asked."""

    async def say(self, prompt: str) -> None:
        """Let the assistant work on a prompt to its end."""
        hello = {"clientInfo": {"name": "desk", "version": "1"}}
        await self._call(1, "initialize", hello)
        await self._send({"method": "initialized"})
        thread = (await self._call(2, "thread/start", {"approvalPolicy": "on-request"}))["thread"]["id"]
        await self._call(3, "turn/start", {"threadId": thread, "input": [{"type": "text", "text": prompt}]})
        while (await self._next()).get("method") != "turn/completed":
            pass

    async def _call(self, number: int, method: str, params: Json) -> Json:
        await self._send({"id": number, "method": method, "params": params})
        while True:
            message = await self._next()
            if message.get("id") == number and "method" not in message:
                result: Json = message["result"]
                return result

    async def _next(self) -> Json:
        """The next message, after the answer to it where it is a question."""
        line = await self.lines.receive_until(b"\n", _LONGEST_LINE)
        message: Json = json.loads(line)
        if message.get("method") == "mcpServer/elicitation/request":
            self.asked.append(message["params"]["message"])
            await self._send({"id": message["id"], "result": self.answer})
        return message

    async def _send(self, message: Json) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps(message).encode() + b"\n")


@asynccontextmanager
async def sitting(start: Start, place: Place, answer: Json, seconds: float) -> AsyncIterator[Desk]:
    """Codex with a person who gives this answer, for `seconds` at most."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    async with started(start, place, **streams) as (process, _):
        assert process.stdout is not None
        with anyio.fail_after(seconds):
            yield Desk(process, BufferedByteReceiveStream(process.stdout), answer)
