"""One protocol between processes of this machine: any table of questions is answered over it, errors stay whole."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import anyio
import pytest

from mcp_a2a.api.operations import operations_of
from mcp_a2a.api.request import Request
from mcp_a2a.api.view import View
from mcp_a2a.cli.remedies import WORDS
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.agents import ConsentNeededError
from mcp_a2a.errors.machine import ConfigurationError, NodeSilentError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.node.ipc.client import connect_control
from mcp_a2a.node.ipc.glance import NoGlanceError, PlainClient, plain_client
from mcp_a2a.node.ipc.server import LocalServer, LocalService
from mcp_a2a.node.ipc.wire import error_fields, raised
from mcp_a2a.node.runtime.handlers import LocalNode, answers


class DoubleView(View):
    """Twice a number."""

    number: int


class DoubleRequest(Request[DoubleView]):
    """A question that no node answers."""

    operation: ClassVar[str] = "double"
    number: int


RAISED: Mapping[int, McpA2AError] = {
    -1: TaskNotFoundError("task-x"),
    -2: ConsentNeededError("https://agent.example/", "agent.example/#x", stranger=True, files=[("a.txt", 3)]),
}
"""What it raises for these numbers."""


class Doubling(LocalNode):
    """Answers it."""

    @answers(DoubleRequest)
    async def double(self, request: DoubleRequest) -> DoubleView:
        if request.number in RAISED:
            raise RAISED[request.number]
        if request.number == 0:
            raise RuntimeError("a fault of ours")
        return DoubleView(number=2 * request.number)


QUESTIONS = ModuleType("questions")
QUESTIONS.DoubleRequest = DoubleRequest  # type: ignore[attr-defined]


@asynccontextmanager
async def answering(folder: Path, longest: int | None = None) -> AsyncIterator[Path]:
    """A process that answers this one question."""
    path = folder / "x.sock"
    service = LocalService(
        "doubler", "Restart it.", operations_of(QUESTIONS), lambda: nullcontext(Doubling().call), longest=longest
    )
    async with LocalServer(service).serve(path):
        yield path
        await anyio.wait_all_tasks_blocked()  # the ends of connections are read before the server is cancelled


def ask(path: Path, operation: str, fields: Mapping[str, int | str]) -> Mapping[str, object]:
    with plain_client(path) as client:
        return client.ask(operation, fields)


async def asked(path: Path, operation: str, fields: Mapping[str, int | str]) -> Mapping[str, object]:
    """The same beside the event loop, which answers it."""
    return await anyio.to_thread.run_sync(partial(ask, path, operation, fields))


async def test_a_new_operation_needs_its_question_and_its_method_and_nothing_else(tmp_path: Path) -> None:
    async with answering(tmp_path) as path:
        async with connect_control(path) as client:
            assert (await client.call(DoubleRequest(number=3))).number == 6
        assert await asked(path, "double", {"number": 4}) == {"number": 8}


@pytest.mark.parametrize("number", RAISED)
async def test_an_error_reaches_both_clients_as_its_class_with_its_facts(tmp_path: Path, number: int) -> None:
    there = RAISED[number]
    async with answering(tmp_path) as path, connect_control(path) as client:
        for call in (
            partial(client.call, DoubleRequest(number=number)),
            partial(asked, path, "double", {"number": number}),
        ):
            with pytest.raises(type(there)) as here:
                await call()
            assert (str(here.value), here.value.details) == (str(there), there.details)
            assert here.value.hint_in(WORDS) == there.hint_in(WORDS)


async def test_a_fault_inside_says_who_failed_and_ends_no_conversation(tmp_path: Path) -> None:
    async with answering(tmp_path) as path, connect_control(path) as client:
        with pytest.raises(McpA2AError, match="double failed inside the doubler"):
            await client.call(DoubleRequest(number=0))
        assert (await client.call(DoubleRequest(number=1))).number == 2


@pytest.mark.parametrize(
    ("operation", "fields"), [("halve", {}), ("double", {"number": "x"}), ("double", {"count": 1})]
)
async def test_a_process_of_another_version_is_told_what_to_restart(
    tmp_path: Path, operation: str, fields: Mapping[str, int | str]
) -> None:
    async with answering(tmp_path) as path:
        with pytest.raises(ConfigurationError) as raised:
            await asked(path, operation, fields)
        assert raised.value.hint == "Restart it."


async def test_a_question_that_is_longer_than_the_process_takes_ends_its_own_conversation_alone(tmp_path: Path) -> None:
    async with answering(tmp_path, longest=1000) as path, connect_control(path) as client:
        with pytest.raises(NoGlanceError, match=r"went away|does not listen"):
            await asked(path, "double", {"number": "9" * 100_000})
        assert (await client.call(DoubleRequest(number=1))).number == 2


@pytest.mark.parametrize(
    "error",
    [
        McpA2AError("message", "hint {}", {"number": 1, "list": ["a", None]}),
        McpA2AError("message", Remedy("{Call} {x}", x="{y}"), {"number": 1, "list": ["a", None]}),
        NodeSilentError("/home", 7, "stopped", "does not answer"),
        TaskNotFoundError("task-x"),
    ],
)
def test_an_error_is_the_same_on_both_sides_of_the_wire(error: McpA2AError) -> None:
    again = raised(json.loads(json.dumps(error_fields(error))))
    assert type(again) is type(error)
    assert (again.message, again.hint, again.hint_in(WORDS)) == (error.message, error.hint, error.hint_in(WORDS))
    assert again.remedy.is_plain == error.remedy.is_plain
    assert dict(again.details) == dict(error.details)


def test_an_error_without_words_is_one_of_another_version() -> None:
    assert type(raised({})) is ConfigurationError
    assert raised({"code": "task_not_found", "details": "no object"}).details == {}


@contextmanager
def connected() -> Iterator[tuple[PlainClient, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield PlainClient(near, 30, lambda _: None), far


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n", b'{"id":1,"view":[]}\n', b'{"id":1,"view":{},"form":"x"}\n']
)
def test_what_is_not_understood_is_told_from_a_process_that_is_gone(said: bytes) -> None:
    with connected() as (client, far):
        far.sendall(said)
        with pytest.raises(NoGlanceError, match=r"another version|cannot be understood"):
            client.ask("double", {"number": 1})
    with connected() as (client, far):
        far.close()
        with pytest.raises(NoGlanceError, match=r"went away|does not listen"):
            client.ask("double", {"number": 1})
