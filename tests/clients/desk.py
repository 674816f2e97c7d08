"""Clients at a desk: on a pipe, as the apps around them run them, with a person who answers what they ask.

Codex speaks JSON-RPC in lines there, as `codex app-server generate-json-schema` describes it; Claude Code the lines
of its SDK (`--input-format stream-json`).
"""

from __future__ import annotations

import json
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.clients.clients import Place, Start, claude, codex, started
from tests.clients.dialects import Json
from tests.clients.install import Programs

_LONGEST_LINE = 16 * 2**20
_PROMPT = "Use the tools."


@dataclass
class Desk(ABC):
    """One conversation, in which every question gets the same answer."""

    process: Process
    lines: BufferedByteReceiveStream
    answer: Json
    asked: list[str] = field(default_factory=list)
    """What the person was asked."""

    @staticmethod
    @abstractmethod
    def start(programs: Programs, place: Place) -> Start:
        """How the client is started for a desk."""

    @abstractmethod
    async def work(self) -> None:
        """Let the assistant work on a prompt to its end."""

    @abstractmethod
    def question(self, message: Json) -> tuple[str, Json] | None:
        """What a message asks the person, and the message that answers it."""

    async def next(self) -> Json:
        """The next message, after the answer to it where it is a question."""
        message: Json = json.loads(await self.lines.receive_until(b"\n", _LONGEST_LINE))
        if (question := self.question(message)) is not None:
            self.asked.append(question[0])
            await self.send(question[1])
        return message

    async def send(self, message: Json) -> None:
        """One line to the client."""
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps(message).encode() + b"\n")


class CodexDesk(Desk):
    """The app server of Codex, on which its desktop app stands."""

    @staticmethod
    def start(programs: Programs, place: Place) -> Start:
        codex(programs, place)  # the same configuration
        return Start((*programs.codex, "app-server"), {})

    async def work(self) -> None:
        await self._call(1, "initialize", {"clientInfo": {"name": "desk", "version": "1"}})
        await self.send({"method": "initialized"})
        thread = (await self._call(2, "thread/start", {"approvalPolicy": "on-request"}))["thread"]["id"]
        await self._call(3, "turn/start", {"threadId": thread, "input": [{"type": "text", "text": _PROMPT}]})
        while (await self.next()).get("method") != "turn/completed":
            pass

    def question(self, message: Json) -> tuple[str, Json] | None:
        if message.get("method") != "mcpServer/elicitation/request":
            return None
        return message["params"]["message"], {"id": message["id"], "result": self.answer}

    async def _call(self, number: int, method: str, params: Json) -> Json:
        await self.send({"id": number, "method": method, "params": params})
        while True:
            message = await self.next()
            if message.get("id") == number and "method" not in message:
                result: Json = message["result"]
                return result


class ClaudeDesk(Desk):
    """Claude Code as its SDK runs it."""

    @staticmethod
    def start(programs: Programs, place: Place) -> Start:
        alone = claude(programs, place)
        lines = ("--input-format", "stream-json", "--output-format", "stream-json", "--verbose")
        program, _, _, *options = alone.command  # without its prompt
        return Start((program, "-p", *lines, *options), alone.variables)

    async def work(self) -> None:
        await self.send({"type": "control_request", "request_id": "1", "request": {"subtype": "initialize"}})
        await self.send({"type": "user", "message": {"role": "user", "content": _PROMPT}, "parent_tool_use_id": None})
        while (await self.next())["type"] != "result":
            pass

    def question(self, message: Json) -> tuple[str, Json] | None:
        if message["type"] != "control_request" or message["request"]["subtype"] != "elicitation":
            return None
        answer = {"subtype": "success", "request_id": message["request_id"], "response": self.answer}
        return message["request"]["message"], {"type": "control_response", "response": answer}


DESKS: Mapping[str, type[Desk]] = {"claude": ClaudeDesk, "codex": CodexDesk}


@asynccontextmanager
async def sitting(client: str, programs: Programs, place: Place, answer: Json, seconds: float) -> AsyncIterator[Desk]:
    """A client with a person who gives this answer, for `seconds` at most."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    async with started(DESKS[client].start(programs, place), place, **streams) as (process, _):
        assert process.stdout is not None
        with anyio.fail_after(seconds):
            yield DESKS[client](process, BufferedByteReceiveStream(process.stdout), answer)
