"""Agents of other people: small HTTP servers that do as a test says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from aiohttp import web

Answer = Callable[["Heard"], Awaitable[object]]
"""What an agent answers: JSON, a list of events, or a whole response."""

OPERATIONS = {
    "SendMessage": "send", "SendStreamingMessage": "stream", "GetTask": "get", "SubscribeToTask": "subscribe",
    "CancelTask": "cancel", "message/send": "send", "message/stream": "stream", "tasks/get": "get",
    "tasks/resubscribe": "subscribe", "tasks/cancel": "cancel",
    "GetExtendedAgentCard": "card", "agent/getAuthenticatedExtendedCard": "card",
}  # fmt: skip


@dataclass
class Heard:
    """A call."""

    operation: str
    params: dict[str, Any]
    request: web.Request

    @property
    def text(self) -> str:
        message = self.params["message"]
        return "".join(part.get("text", "") for part in message.get("parts", message.get("content", [])))

    @property
    def version(self) -> str | None:
        return self.request.headers.get("A2A-Version")


def task(state: str = "TASK_STATE_COMPLETED", text: str | None = None, **more: object) -> dict[str, Any]:
    """A task of 1.0, with an artifact where there is a text."""
    artifacts = [{"artifactId": "a1", "parts": [{"text": text}]}] if text is not None else []
    return {"id": "t-1", "contextId": "c-1", "status": {"state": state}, "artifacts": artifacts, **more}


@dataclass
class Agent:
    """An agent, what it was asked, and what it answers."""

    answer: Answer
    streaming: bool = False
    binding: str = "JSONRPC"
    version: str = "1.0"
    tenant: str | None = None
    card: dict[str, Any] | None = None
    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    cards_read: int = 0

    @property
    def asked(self) -> list[str]:
        return [heard.operation for heard in self.heard]

    def make_card(self) -> dict[str, Any]:
        if self.card is not None:
            return self.card
        shared = {
            "name": "stranger",
            "description": "Somebody else's",
            "version": "1",
            "capabilities": {"streaming": self.streaming},
            "skills": [{"id": "shout", "name": "Shout", "description": "Shouts", "tags": ["text"]}],
        }
        if self.version == "0.3":
            return {**shared, "url": f"{self.url}rpc", "preferredTransport": self.binding, "protocolVersion": "0.3.0"}
        interface = {"url": f"{self.url}rpc", "protocolBinding": self.binding, "protocolVersion": self.version}
        if self.tenant:
            interface["tenant"] = self.tenant
        return {**shared, "supportedInterfaces": [interface]}

    async def _card(self, _: web.Request) -> web.Response:
        self.cards_read += 1
        return web.json_response(self.make_card())

    async def _rpc(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        heard = Heard(OPERATIONS[body["method"]], body["params"], request)
        return await self._give(heard, lambda result: {"jsonrpc": "2.0", "id": body["id"], "result": result})

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        operation = path.rpartition(":")[2] if ":" in path else "get" if "/tasks/" in path else "card"
        params = await request.json() if request.can_read_body else {}
        if "/tasks/" in path:
            params["id"] = path.rpartition("/")[2].partition(":")[0]
        return await self._give(Heard(operation, params, request), lambda result: result)

    async def _older_card(self, request: web.Request) -> web.StreamResponse:
        return await self._give(Heard("older card", {}, request), lambda result: result)

    async def _give(self, heard: Heard, wrap: Callable[[object], object]) -> web.StreamResponse:
        self.heard.append(heard)
        answer = await self.answer(heard)
        if isinstance(answer, web.StreamResponse):
            return answer
        if not isinstance(answer, list):
            return web.json_response(wrap(answer))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        for event in answer:
            await response.write(f"data: {json.dumps(wrap(event))}\n\n".encode())
        return response

    @asynccontextmanager
    async def serve(self, *, old_place: bool = False) -> AsyncIterator[Agent]:
        app = web.Application()
        app.router.add_get("/.well-known/agent.json" if old_place else "/.well-known/agent-card.json", self._card)
        app.router.add_get("/agent/authenticatedExtendedCard", self._older_card)
        if self.binding == "JSONRPC":
            app.router.add_post("/rpc", self._rpc)
        else:
            app.router.add_route("*", "/rpc/{rest:.*}", self._rest)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            yield self
        finally:
            await runner.cleanup()


async def shout(heard: Heard) -> object:
    """A well-behaved agent, without streaming."""
    done = task(text=heard.text.upper()) if "message" in heard.params else task(text="DONE")
    return {"task": done} if heard.operation == "send" and heard.version else done


async def raw(heard: Heard, answer: bytes) -> None:
    """Answer in bytes that no library would write, and hang up."""
    transport = heard.request.transport
    assert transport is not None
    transport.write(answer)
    transport.close()
    await anyio.sleep_forever()
