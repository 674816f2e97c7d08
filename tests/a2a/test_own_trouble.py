"""Trouble of this machine is told as such, in every binding: a client that hears 400 drops its work."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import anyio
import pytest

import mcp_a2a.agent
import mcp_a2a.cli  # noqa: F401  all classes of errors are loaded
from mcp_a2a.a2a.asgi import A2AApp, Offer
from mcp_a2a.a2a.faults import Kind, fault_of, kind_of
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.delivery import FilesWaitError, NoRouteError, QueueFullError
from mcp_a2a.errors.machine import (
    ConfigurationError,
    HomeUnusableError,
    KeyFileError,
    SchemaTooNewError,
    StorageFullError,
)
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.errors.protocol import ProtocolError
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.node.ipc.client import OwnerLostError
from mcp_a2a.server.address import Listen
from mcp_a2a.server.http import serve_http
from tests.a2a.bindings import said
from tests.server.standin import StandIn

FULL = StorageFullError("/home/ada/a2a.db")

OURS: dict[str, tuple[McpA2AError, int]] = {
    "the disk is full": (FULL, 507),
    "a newer schema": (SchemaTooNewError("/home/ada/a2a.db", 9, 7), 503),
    "an unusable home": (HomeUnusableError("/home/ada", "read-only file system"), 503),
    "a stopped node": (HomeUnusableError("/home/ada", "the node is stopping"), 503),
    "a key that is not ours": (KeyFileError("/home/ada/key", "it is open to others", ""), 503),
    "an owner that went away": (OwnerLostError("The node went away."), 503),
    "a relay that is away": (RelayError("wss://relay.example", "it does not answer"), 503),
    "a queue that is full": (QueueFullError("outbox", 1000), 503),
    "too many files that wait": (FilesWaitError(4_096), 503),
    "no route": (NoRouteError("w", ()), 503),
}

SENT = {"A2A-Version": "1.0"}


def rpc(method: str, params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


OLD = {"message": {"messageId": "m", "role": "user", "kind": "message", "parts": [{"kind": "text", "text": "x"}]}}
OLD_REST = {"message": {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "x"}]}}
CALLS: dict[str, tuple[str, str, object]] = {
    "send": ("POST", "/", rpc("SendMessage", said("x"))),
    "stream": ("POST", "/", rpc("SendStreamingMessage", said("x"))),
    "get": ("POST", "/", rpc("GetTask", {"id": "t"})),
    "list": ("POST", "/", rpc("ListTasks", {})),
    "cancel": ("POST", "/", rpc("CancelTask", {"id": "t"})),
    "subscribe": ("POST", "/", rpc("SubscribeToTask", {"id": "t"})),
    "send by REST": ("POST", "/message:send", said("x")),
    "stream by REST": ("POST", "/message:stream", said("x")),
    "get by REST": ("GET", "/tasks/t", None),
    "list by REST": ("GET", "/tasks", None),
    "cancel by REST": ("POST", "/tasks/t:cancel", None),
    "send in 0.3": ("POST", "/", rpc("message/send", OLD)),
    "stream in 0.3": ("POST", "/", rpc("message/stream", OLD)),
    "get in 0.3": ("POST", "/", rpc("tasks/get", {"id": "t"})),
    "send by REST in 0.3": ("POST", "/v1/message:send", OLD_REST),
    "by the old route": ("POST", "/a2a/send", {"target": "w", "message": "x"}),
}


class Failing(StandIn):
    """A node that is in trouble."""

    def __init__(self, error: McpA2AError) -> None:
        super().__init__()
        self.error = error

    async def _fail(self, _: object) -> None:
        raise self.error

    a2a_send = a2a_get = a2a_list = a2a_cancel = a2a_follow = _fail  # type: ignore[assignment]


@dataclass
class Troubled:
    """Its server."""

    url: str
    web: aiohttp.ClientSession

    async def call(self, name: str) -> tuple[int, str | None, str]:
        method, path, body = CALLS[name]
        headers = SENT if "0.3" not in name else {}
        async with self.web.request(method, self.url + path, json=body, headers=headers) as response:
            return response.status, response.headers.get("Retry-After"), await response.text()


@asynccontextmanager
async def troubled(node: StandIn) -> AsyncIterator[Troubled]:
    app = A2AApp(node, Offer())
    async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as web:

        async def serve(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            await serve_http(None, Listen("127.0.0.1", 0), a2a=app, task_status=task_status)

        yield Troubled(await tasks.start(serve), web)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("what", OURS)
async def test_trouble_of_ours_is_503_or_507_with_retry_after_in_every_binding(what: str) -> None:
    error, status = OURS[what]
    async with troubled(Failing(error)) as server:
        answers = {name: await server.call(name) for name in CALLS}
    for name, (code, retry_after, text) in answers.items():
        assert (name, code) == (name, status), text
        assert int(retry_after or 0) > 0
        assert "/home/ada" not in text  # whose paths are nothing to a client
        assert "-32603" in text or "UNAVAILABLE" in text or "RESOURCE_EXHAUSTED" in text or '"ok":false' in text
        assert "data folder" not in text


async def test_it_says_whose_fault_it_is() -> None:
    async with troubled(Failing(FULL)) as server:
        _, _, text = await server.call("send")
    message = json.loads(text)["error"]["message"]
    assert message == "The disk of this server is full: nothing was stored and nothing was sent. Try again later."
    other = fault_of(SchemaTooNewError("/home/ada/a2a.db", 9, 7)).message
    assert "nothing is wrong with the request" in other
    assert "(schema_too_new)" in other


async def test_a_fault_of_the_client_is_none_of_ours() -> None:
    async with troubled(Failing(TaskNotFoundError("t"))) as server:
        for name in CALLS:
            code, retry_after, _ = await server.call(name)
            assert code in (200, 404)
            assert retry_after is None


def _all_errors(kind: type[McpA2AError] = McpA2AError) -> Iterator[type[McpA2AError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _all_errors(child)


@pytest.mark.parametrize("kind", [kind for kind in _all_errors() if kind.__module__.startswith("mcp_a2a.errors")])
def test_every_error_is_classified(kind: type[McpA2AError]) -> None:
    """By itself, or with its family."""
    error = McpA2AError.rebuild(kind.code, "It failed.", "")
    assert type(error) is kind
    found = kind_of(error)
    assert (found == Kind.INTERNAL) is issubclass(kind, ProtocolError) & (found != Kind.INVALID_RESPONSE)
    if issubclass(kind, ConfigurationError):
        assert found.value.http in (503, 507)


def test_what_is_new_and_passes_is_tried_again() -> None:
    """An error of another module, that nobody has classified."""
    assert kind_of(OwnerLostError("The node went away.")) == Kind.UNAVAILABLE
    assert kind_of(McpA2AError("A bug.")) == Kind.INTERNAL


@pytest.mark.parametrize(
    ("number", "status"), [(1, 200), (2, 200), (0, -32602), (3, -32602), (-1, -32602), (True, -32602)]
)
async def test_a_role_may_be_a_number(number: int, status: int) -> None:
    params = said("x")
    params["message"]["role"] = number
    async with troubled(Failing(TaskNotFoundError("t"))) as server:
        async with server.web.post(server.url, json=rpc("SendMessage", params), headers=SENT) as response:
            code = (await response.json())["error"]["code"]
        assert code == (-32001 if status == 200 else status)


@pytest.mark.parametrize(
    ("state", "code"), [(3, -32001), (0, -32001), (8, -32001), (9, -32602), (-1, -32602), (True, -32602)]
)
async def test_a_state_may_be_a_number(state: int, code: int) -> None:
    async with troubled(Failing(TaskNotFoundError("t"))) as server:
        async with server.web.post(server.url, json=rpc("ListTasks", {"status": state}), headers=SENT) as response:
            assert (await response.json())["error"]["code"] == code
        if not isinstance(state, bool):
            async with server.web.get(f"{server.url}/tasks?status={state}", headers=SENT) as response:
                assert response.status == (404 if code == -32001 else 400)
