"""A client may probe with `server/discover` and still fall back to `initialize` on the same pipe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, RequestId

from mcp_a2a.server import protocol_eras
from mcp_a2a.server.protocol_eras import serve_streams

INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


def envelope(version: str = "2026-07-28") -> dict[str, object]:
    return {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    }


@dataclass
class Wire:
    """The client's end of the pipe."""

    send: MemoryObjectSendStream[SessionMessage | Exception]
    receive: MemoryObjectReceiveStream[SessionMessage]
    answered: list[None]

    async def request(self, number: RequestId, method: str, params: dict[str, object]) -> None:
        await self.send.send(SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params=params)))

    async def notify(self, method: str, params: dict[str, object] | None = None) -> None:
        await self.send.send(SessionMessage(JSONRPCNotification(jsonrpc="2.0", method=method, params=params)))

    async def answer(self) -> JSONRPCResponse | JSONRPCError:
        message = (await self.receive.receive()).message
        assert isinstance(message, JSONRPCResponse | JSONRPCError)
        return message

    async def ask(self, number: RequestId, method: str, params: dict[str, object]) -> JSONRPCResponse | JSONRPCError:
        await self.request(number, method, params)
        return await self.answer()


@asynccontextmanager
async def served(server: MCPServer[object]) -> AsyncIterator[Wire]:
    to_server, requests = anyio.create_memory_object_stream[SessionMessage | Exception](10)
    answers, from_server = anyio.create_memory_object_stream[SessionMessage](10)
    wire = Wire(to_server, from_server, [])
    with anyio.fail_after(30), from_server:
        async with anyio.create_task_group() as group, to_server:
            group.start_soon(serve_streams, server, requests, answers, lambda: wire.answered.append(None))
            yield wire


@pytest.fixture
def entered() -> list[str]:
    return []


@pytest.fixture
def server(entered: list[str]) -> MCPServer[object]:
    @asynccontextmanager
    async def lifespan(_: MCPServer[object]) -> AsyncIterator[object]:
        entered.append("enter")
        yield None
        entered.append("exit")

    made: MCPServer[object] = MCPServer("echo", version="1", lifespan=lifespan, log_level="WARNING")

    @made.tool()
    async def echo(text: str) -> str:
        return text

    @made.tool()
    async def never() -> str:
        await anyio.sleep_forever()
        return ""

    return made


def echo(text: str) -> dict[str, object]:
    return {"name": "echo", "arguments": {"text": text}}


@pytest.mark.parametrize("version", ["2026-07-28", "2031-01-01"])
async def test_a_probe_and_then_a_handshake_work_on_one_pipe(
    server: MCPServer[object], entered: list[str], version: str
):
    async with served(server) as wire:
        await wire.ask(1, "server/discover", envelope(version))
        answer = await wire.ask(2, "initialize", INITIALIZE)
        assert isinstance(answer, JSONRPCResponse)
        assert answer.result["protocolVersion"] == "2025-06-18"
        await wire.notify("notifications/initialized")
        called = await wire.ask(3, "tools/call", echo("hi"))
        assert isinstance(called, JSONRPCResponse)
        assert called.result["content"][0]["text"] == "hi"
    assert entered == ["enter", "exit"]


async def test_a_handshake_sent_before_the_answer_to_the_probe_loses_neither(server: MCPServer[object]):
    async with served(server) as wire:
        await wire.request(1, "server/discover", envelope())
        await wire.request(2, "initialize", INITIALIZE)
        assert {(await wire.answer()).id, (await wire.answer()).id} == {1, 2}


async def test_a_second_probe_before_the_handshake_is_still_a_probe(server: MCPServer[object]):
    async with served(server) as wire:
        await wire.ask(1, "server/discover", envelope("2031-01-01"))
        await wire.ask(2, "server/discover", envelope())
        assert isinstance(await wire.ask(3, "initialize", INITIALIZE), JSONRPCResponse)


async def test_a_connection_that_has_worked_in_the_new_era_stays_in_it(server: MCPServer[object]):
    async with served(server) as wire:
        await wire.ask(1, "server/discover", envelope())
        await wire.ask(2, "tools/list", envelope())
        refused = await wire.ask(3, "initialize", INITIALIZE)
        assert isinstance(refused, JSONRPCError)
        assert isinstance(await wire.ask(4, "tools/call", {**echo("hi"), **envelope()}), JSONRPCResponse)


async def test_garbage_is_skipped(server: MCPServer[object]):
    async with served(server) as wire:
        await wire.send.send(ValueError("not JSON"))
        assert isinstance(await wire.ask(1, "initialize", INITIALIZE), JSONRPCResponse)


async def test_an_input_that_ends_still_gets_the_answers_being_made(server: MCPServer[object]):
    async with served(server) as wire:
        await wire.request(1, "initialize", INITIALIZE)
        await wire.notify("notifications/initialized")
        await wire.request(2, "tools/call", echo("hi"))
        await wire.send.aclose()
        assert [(await wire.answer()).id, (await wire.answer()).id] == [1, 2]


async def test_an_input_that_ends_does_not_wait_for_a_call_that_never_does(
    server: MCPServer[object], entered: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(protocol_eras, "DRAIN_SECONDS", 0.01)
    async with served(server) as wire:
        await wire.ask(1, "initialize", INITIALIZE)
        await wire.request(2, "tools/call", {"name": "never", "arguments": {}})
    assert entered == ["enter", "exit"]


async def test_every_answer_is_reported(server: MCPServer[object]):
    async with served(server) as wire:
        await wire.ask(1, "initialize", INITIALIZE)
        assert len(wire.answered) == 1


def test_the_wait_for_late_answers_leaves_time_to_clean_up():
    assert protocol_eras.DRAIN_SECONDS <= 0.5


@pytest.mark.parametrize("odd", [{}, [], [[1]], None, 1.5, True, "\ufffd", 10**30])
async def test_a_cancellation_of_anything_ends_no_connection(server: MCPServer[object], odd: object) -> None:
    async with served(server) as wire:
        await wire.ask(1, "initialize", INITIALIZE)
        await wire.notify("notifications/initialized")
        await wire.notify("notifications/cancelled", {"requestId": odd})
        assert isinstance(await wire.ask(2, "tools/list", {}), JSONRPCResponse)


@pytest.mark.parametrize("of_another_type", [(str, int), (int, str)])
async def test_requests_that_are_canceled_under_an_id_of_another_type_leave_room_for_others(
    server: MCPServer[object], monkeypatch: pytest.MonkeyPatch, of_another_type: tuple[type[RequestId], type[RequestId]]
) -> None:
    monkeypatch.setattr(protocol_eras, "MAX_UNANSWERED", 2)
    asked, canceled = of_another_type
    async with served(server) as wire:
        await wire.ask(1, "initialize", INITIALIZE)
        await wire.notify("notifications/initialized")
        for number in range(10, 14):
            await wire.request(asked(number), "tools/call", {"name": "never", "arguments": {}})
            await wire.notify("notifications/cancelled", {"requestId": canceled(number)})
        assert (await wire.ask(2, "tools/list", {})).id == 2


async def test_requests_under_one_id_are_as_many_as_there_are(
    server: MCPServer[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_eras, "MAX_UNANSWERED", 3)
    release, running = anyio.Event(), 0

    @server.tool()
    async def held() -> str:
        nonlocal running
        running += 1
        await release.wait()
        return ""

    async with served(server) as wire:
        await wire.ask(1, "initialize", INITIALIZE)
        await wire.notify("notifications/initialized")
        for _ in range(6):
            await wire.request(2, "tools/call", {"name": "held", "arguments": {}})
        await anyio.wait_all_tasks_blocked()
        assert running == 3
        release.set()
        assert [(await wire.answer()).id for _ in range(6)] == [2] * 6
