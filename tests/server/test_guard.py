"""What the guard counts: the open requests of each client."""

from __future__ import annotations

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from mcp_a2a.server import guard
from mcp_a2a.server.guard import Guard, Rules

NAMES = {"ann's": "ann", "bob's": "bob"}

RULES = Rules(token="owner's", callers=NAMES.get)  # noqa: S106  of this test


class Streams:
    """An application whose answers have no end of their own."""

    def __init__(self) -> None:
        self.ending = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.ending.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(front: Guard, token: str, statuses: list[int]) -> None:
    headers = [(b"host", b"127.0.0.1:80"), (b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/tasks", "query_string": b"", "headers": headers}

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await front({**scope, "scheme": "http", "server": ("127.0.0.1", 80)}, receive, send)


async def test_a_client_with_too_many_requests_open_keeps_nobody_else_from_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "MAX_OPEN_PER_CALLER", 2)
    app, statuses = Streams(), list[int]()
    front = Guard(app, RULES)
    async with anyio.create_task_group() as tasks:
        for token in ("ann's", "ann's", "bob's", "owner's", "owner's", "owner's"):
            tasks.start_soon(ask, front, token, statuses)
        await anyio.wait_all_tasks_blocked()
        await ask(front, "ann's", statuses)
        assert statuses == [503]
        app.ending.set()
    assert statuses == [503] + [200] * 6
    await ask(front, "ann's", statuses)
    assert statuses[-1] == 200
