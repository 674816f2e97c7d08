"""A client is answered for as long as it may be there, and costs nothing once it is not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream
from starlette.types import Receive, Scope, Send

import mcp_a2a.server.connection as connection_module
import mcp_a2a.server.http as http_module
from mcp_a2a.server.connection_limits import Limits
from tests.server.test_http import HELLO, JSON_HEADERS, Web, serving

PATIENCE = 60
MIB = 1024 * 1024


class Desk:
    """An application that waits to be told to answer, and knows what became of its requests."""

    def __init__(self) -> None:
        self.asked, self.gone, self.may_answer = anyio.Event(), anyio.Event(), anyio.Event()
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        if message["type"] == "http.disconnect":
            return self.gone.set()
        self.asked.set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, receive)
            await self.may_answer.wait()
            tasks.cancel_scope.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        return await send({"type": "http.response.body", "body": b"done"})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()
        self.may_answer.set()


class Flood:
    """An application that answers with more than any buffer holds."""

    def __init__(self) -> None:
        self.over = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": b"x" * MIB, "more_body": True})
        self.over.set()


@asynccontextmanager
async def sent(web: Web, data: bytes, *, end: bool = False) -> AsyncIterator[SocketStream]:
    async with await anyio.connect_tcp(web.host, web.port) as stream:
        await stream.send(data)
        if end:
            await stream.send_eof()
        yield stream


async def rest_of(stream: SocketStream) -> bytes:
    received = b""
    with anyio.fail_after(PATIENCE), contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            received += await stream.receive()
    return received


def post(web: Web, path: str, body: bytes, *fields: str) -> bytes:
    fields = fields or (f"Content-Length: {len(body)}",)
    more = [f"{name}: {value}" for name, value in JSON_HEADERS.items()]
    head = "\r\n".join([f"POST {path} HTTP/1.1", f"Host: {web.name}", *more, *fields])
    return f"{head}\r\n\r\n".encode() + body


# --- a client that says no more ----------------------------------------------------------------------


async def test_a_client_that_has_ended_its_side_is_answered() -> None:
    async with serving() as web, sent(web, post(web, "/mcp", HELLO), end=True) as stream:
        received = await rest_of(stream)
        assert received.startswith(b"HTTP/1.1 200")
        assert b"serverInfo" in received


async def test_all_that_it_has_asked_is_answered_in_order_however_long_it_takes() -> None:
    desk = Desk()
    async with serving(a2a=desk) as web, sent(web, post(web, "/x", b"{}") * 3, end=True) as stream:
        with anyio.fail_after(PATIENCE):
            await desk.asked.wait()
        await anyio.wait_all_tasks_blocked()
        desk.may_answer.set()
        assert (await rest_of(stream)).count(b"done") == 3


async def test_who_closed_both_sides_is_not_waited_for() -> None:
    desk = Desk()
    async with serving(a2a=desk, limits=Limits(stalled_seconds=1.0)) as web:
        async with sent(web, post(web, "/x", b"{}")):
            with anyio.fail_after(PATIENCE):
                await desk.asked.wait()
        with anyio.fail_after(PATIENCE):
            await desk.gone.wait()


async def test_where_that_cannot_be_told_it_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "is_this_user", lambda *_: False)
    monkeypatch.setattr(connection_module, "LOOK_SECONDS", 0.05)
    desk, token = Desk(), "t" * 43
    limits = Limits(stalled_seconds=0.1)
    async with serving(a2a=desk, limits=limits, token=token) as web:
        asking = post(web, "/x", b"{}", "Content-Length: 2", f"Authorization: Bearer {token}")
        async with sent(web, asking, end=True) as stream:
            assert await rest_of(stream) == b""
            with anyio.fail_after(PATIENCE):
                await desk.gone.wait()


async def test_a_request_behind_another_does_not_hide_that_its_client_has_gone() -> None:
    desk = Desk()
    async with serving(a2a=desk, limits=Limits(stalled_seconds=1.0)) as web:
        async with sent(web, post(web, "/x", b"{}") * 2):
            with anyio.fail_after(PATIENCE):
                await desk.asked.wait()
        with anyio.fail_after(PATIENCE):
            await desk.gone.wait()


@pytest.mark.parametrize("before", [0, 1])
async def test_half_a_request_is_none(before: int) -> None:
    desk = Desk()
    desk.may_answer.set()
    async with serving(a2a=desk) as web:
        data = post(web, "/x", b"{}") * before + post(web, "/x", b"{}", "Content-Length: 10")
        async with sent(web, data, end=True) as stream:
            assert (await rest_of(stream)).count(b"done") == before


# --- what is no request ------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"2\r\n{}\r\nzz\r\n", b"-1\r\n{}", b"2\n{}\n0\n\n", b"ffffffffffffffffff\r\n{}"])
async def test_a_body_that_breaks_off_in_nonsense_is_answered_400(body: bytes) -> None:
    desk = Desk()
    async with serving(a2a=desk) as web, sent(web, post(web, "/x", body, "Transfer-Encoding: chunked")) as stream:
        with anyio.fail_after(PATIENCE):
            assert (await stream.receive()).startswith(b"HTTP/1.1 400")
        assert not desk.asked.is_set()


async def test_nonsense_behind_a_request_does_not_take_its_answer_away() -> None:
    desk = Desk()
    async with serving(a2a=desk) as web, sent(web, post(web, "/x", b"{}") + b"nonsense\r\n\r\n") as stream:
        with anyio.fail_after(PATIENCE):
            await desk.asked.wait()
        desk.may_answer.set()
        received = await rest_of(stream)
        assert received.startswith(b"HTTP/1.1 200")
        assert b"doneHTTP/1.1 400" in received


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://{}/healthz", "{}", 200),
        ("http://evil.example/healthz", "{}", 421),
        ("http://{}@evil.example/healthz", "{}", 421),
        ("HTTP://evil.example/healthz", "{}", 421),
        ("http://{}/healthz", "evil.example", 200),
    ],
)
async def test_of_a_target_with_a_host_in_it_that_host_counts(target: str, host: str, status: int) -> None:
    async with serving() as web:
        head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".replace("{}", web.name)
        async with sent(web, head.encode()) as stream:
            assert (await rest_of(stream)).startswith(b"HTTP/1.1 %d" % status)


# --- who does not read -------------------------------------------------------------------------------


async def test_an_answer_that_is_not_taken_is_not_kept_for_ever() -> None:
    flood = Flood()
    limits = Limits(stalled_seconds=0.2)
    async with serving(a2a=flood, limits=limits) as web, sent(web, post(web, "/x", b"{}")) as stream:
        with anyio.fail_after(PATIENCE):
            await flood.over.wait()
        assert len(await rest_of(stream)) < 64 * MIB


async def test_an_answer_that_is_taken_is_whole_however_large() -> None:
    async with serving(a2a=Flood()) as web, sent(web, post(web, "/x", b"{}")) as stream:
        received = 0
        with anyio.fail_after(PATIENCE):
            while received < 64 * MIB:
                received += len(await stream.receive(MIB))


async def test_where_there_is_no_place_the_answer_says_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "MAX_CONNECTIONS", 1)
    async with serving() as web:
        answer = await web.ask("GET", "/healthz")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
