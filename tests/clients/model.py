"""A model that says what a test tells it to, behind the APIs of four makers; what it was given can be read later."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.clients.dialects import DIALECTS, Call, Dialect, Json, Result, Turn

DONE = "The script has ended."
"""What the model says last."""

SAME_TASK = "the task of the last result that names one"
NEXT_PAGE = "where the last result that is cut says that it goes on"
"""In arguments: what stands for these."""

_TASK = re.compile(r"task-[a-z2-7]{24}")
_OFFSET = re.compile(r"text_offset=(\d+)")
_WAYS_TO_TOOLS = {"WaitForMcpServers", "ToolSearch", "tool_search"}
"""Tools of Claude Code and Codex by which a model waits for a server, and gets tools that were only named before."""


@dataclass
class Model:
    """One conversation with a client: `script` in order, then `DONE`."""

    script: Sequence[Call]
    url: str = ""
    turns: list[Turn] = field(default_factory=list)
    """Requests in which the client offered tools, in order."""
    asides: list[str] = field(default_factory=list)
    """Paths of all other requests: a title for the conversation, a list of models, a count of tokens."""
    brought: list[str] = field(default_factory=list)
    """How the model got at tools that the first request did not have."""

    @property
    def results(self) -> tuple[Result, ...]:
        """What the client passed on of the results of the script's calls."""
        return self._of_script(self.turns[-1])

    def say(self, turn: Turn) -> Call | str:
        """What comes next, by how many calls of the script have their result."""
        done = self._of_script(turn)
        if len(done) >= len(self.script):
            return DONE
        wanted = self.script[len(done)]
        tool = turn.tool(wanted.tool)
        if tool is None:
            return self._bring(turn, wanted.tool)
        told = "\n".join(result.text for result in reversed(done))
        known: dict[object, object] = {
            SAME_TASK: next(iter(_TASK.findall(told)), "none"),
            NEXT_PAGE: next(iter(map(int, _OFFSET.findall(told))), 0),
        }
        return Call(tool, {name: known.get(value, value) for name, value in wanted.arguments.items()})

    def _of_script(self, turn: Turn) -> tuple[Result, ...]:
        return tuple(result for result in turn.results if result.tool not in _WAYS_TO_TOOLS)

    def _bring(self, turn: Turn, tool: str) -> Call | str:
        for way, arguments in self._ways(turn):
            if way in turn.tools and way not in self.brought:
                self.brought.append(way)
                return Call(way, arguments)
        return f"There is no tool {tool}."

    def _ways(self, turn: Turn) -> Iterator[tuple[str, Json]]:
        yield "WaitForMcpServers", {}
        script = "|".join(call.tool for call in self.script)
        named = re.findall(rf"mcp__[a-z0-9]+__(?:{script})\b", json.dumps(turn.whole))
        yield "ToolSearch", {"query": f"select:{','.join({*named})}"}
        yield "tool_search", {"query": "a2a agents tasks inbox", "limit": 20}


@asynccontextmanager
async def serving(*script: Call) -> AsyncIterator[Model]:
    """The model at a URL of its own on loopback."""
    model = Model(script)

    async def answer(request: web.Request) -> web.StreamResponse:
        dialect = next((known for known in DIALECTS if request.path.endswith(known.path)), None)
        body: Json = await request.json() if request.can_read_body else {}
        if dialect is None:
            model.asides.append(f"{request.method} {request.path}")
            return web.json_response({"object": "list", "data": [], "models": [], "input_tokens": 1})
        turn = dialect.read(body)
        if not turn.tools:
            model.asides.append(f"{request.method} {request.path}")
            return await _stream(request, dialect, "ok", len(model.asides))
        model.turns.append(turn)
        return await _stream(request, dialect, model.say(turn), 1_000 + len(model.turns))

    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        model.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield model
    finally:
        await runner.cleanup()


async def _stream(request: web.Request, dialect: Dialect, say: Call | str, number: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for name, data in dialect.stream(say, number):
        event = f"event: {name}\n" if name else ""
        await response.write(f"{event}data: {json.dumps(data)}\n\n".encode())
    if dialect.path == "/chat/completions":
        await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response
