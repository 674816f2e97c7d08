"""What other people's agents, frameworks and proxies do, and a right client copes with."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from mcp_a2a.a2a.addresses import as_typed
from mcp_a2a.a2a.client import WebClient
from mcp_a2a.a2a.guarded import Call, GuardedSession
from mcp_a2a.api.agents import AddPeerRequest
from mcp_a2a.api.tasks import GetTaskRequest, ReplyRequest, TaskView
from mcp_a2a.errors.web import AddressNotAllowedError
from mcp_a2a.protocol.model import AgentInterface
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.turns import OLD_QUESTION_SECONDS
from mcp_a2a.web_ports import Range, WebAgent
from tests.node.world import Clock, World
from tests.web.agents import Agent, Answer, Heard, raw, shout, task
from tests.web.people import added, sent, somebody

WORKING, DONE = task("TASK_STATE_WORKING"), task(text="answer")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def framed(result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "1", "result": result}).encode()


def sse(*events: bytes, status: int = 200, kind: str = "text/event-stream") -> web.Response:
    return web.Response(status=status, body=b"".join(events), headers={"Content-Type": kind})


def data(result: object) -> bytes:
    return b"data: " + framed(result) + b"\n\n"


PING = b"event: ping\ndata: 2026-11-29 10:00:00\n\n"
BROKEN_ERROR = b'data: {"jsonrpc":"2.0","id":"1","error":{"code":-32603,"message":"too late"}}\n\n'

OF_ANOTHER = (
    {"task": {**DONE, "id": "t-2", "artifacts": [{"artifactId": "a1", "parts": [{"text": "another's"}]}]}},
    {"statusUpdate": {"taskId": "t-2", "contextId": "c-1", "status": {"state": "TASK_STATE_COMPLETED"}}},
    {"artifactUpdate": {"taskId": "t-2", "artifact": {"artifactId": "a2", "parts": [{"text": "another's"}]}}},
    {"message": {"messageId": "m", "taskId": "t-2", "role": "ROLE_AGENT", "parts": [{"text": "another's"}]}},
)

STREAMS: dict[str, Callable[[], web.Response]] = {
    "pings of a name": lambda: sse(data({"task": WORKING}), PING, data({"task": DONE})),
    "pings of JSON": lambda: sse(b'event: ping\ndata: {"type":"ping"}\n\n', data({"task": DONE})),
    "events named after what they tell": lambda: sse(
        b"event: task\n" + data({"task": WORKING}), b"event: task\n" + data({"task": DONE})
    ),
    "pings of JSON-RPC": lambda: sse(b'event: ping\ndata: {"jsonrpc":"2.0","method":"ping"}\n\n', data({"task": DONE})),
    "comments and blank data": lambda: sse(b": hi\n\ndata:\n\ndata: \n\n", data({"task": DONE})),
    "ids and retries": lambda: sse(b"id: 1\nretry: 10\n" + data({"task": DONE})),
    "old line ends": lambda: sse(data({"task": DONE}).replace(b"\n", b"\r")),
    "no last line": lambda: sse(data({"task": DONE}).rstrip()),
    "a mark before it": lambda: sse(b"\xef\xbb\xbf" + data({"task": DONE})),
    "data of several lines": lambda: sse(b"data: " + framed({"task": DONE}).replace(b", ", b",\ndata: ") + b"\n\n"),
    "events that nobody knows": lambda: sse(data({"kind": "heartbeat"}), data(None), data({"task": DONE})),
    "nonsense behind the end": lambda: sse(data({"task": DONE}), b"data: [DONE]\n\n"),
    "an error behind the end": lambda: sse(data({"task": DONE}), BROKEN_ERROR),
    "an event without an end": lambda: sse(data({"task": DONE}), b"data: " + b"x" * 9_000_000),
    "half an event at the end": lambda: sse(data({"task": DONE}), b"data: {"),
    "a batch of one": lambda: sse(b"data: [" + framed({"task": DONE}) + b"]\n\n"),
    "a stream that calls itself text": lambda: sse(data({"task": WORKING}), data({"task": DONE}), kind="text/plain"),
    "a stream that calls itself JSON": lambda: sse(PING, data({"task": DONE}), kind="application/json"),
    "events of another task": lambda: sse(data({"task": WORKING}), *map(data, OF_ANOTHER), data({"task": DONE})),
    "another type": lambda: sse(data({"task": DONE}), kind="text/event-stream; charset=utf-8"),
    "another status": lambda: sse(data({"task": DONE}), status=201),
    "a oneof with all its members": lambda: sse(data({"task": DONE, "message": None, "statusUpdate": {}})),
}


@pytest.mark.parametrize("way", STREAMS)
async def test_a_stream_is_read_however_it_is_written(world: World, way: str) -> None:
    async def answer(_: Heard) -> object:
        return STREAMS[way]()

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, "answer")
    assert other.asked == ["stream"]


async def _cut(heard: Heard) -> None:
    await raw(
        heard, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n"
    )


async def _fails(_: Heard) -> object:
    return web.Response(status=500, text="x")


async def _late(_: Heard) -> object:
    return web.Response(status=504)


async def _empty(_: Heard) -> object:
    return sse()


async def _others(_: Heard) -> object:
    return sse(data({"task": {**DONE, "id": "another", "artifacts": []}}))


@pytest.mark.parametrize("broken", [_cut, _fails, _late, _empty, _others])
async def test_where_streams_are_broken_the_task_is_looked_at(world: World, broken: Answer) -> None:
    async def answer(heard: Heard) -> object:
        match heard.operation:
            case "stream":
                return [{"task": WORKING}]
            case "get":
                return DONE
            case _:
                return await broken(heard)

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=10)
    assert (view.state, view.text) == (Moment.COMPLETED, "answer")
    assert other.asked == ["stream", "subscribe", "get"]


async def test_a_stream_that_only_says_that_it_lives_does_not_keep_a_task_from_ending(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation == "get":
            return DONE
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        await response.write(data({"task": WORKING}) if heard.operation == "stream" else b": here\n\n")
        while True:
            await response.write(b": here\n\n")
            await anyio.sleep(0.02)

    async with (
        Agent(answer, streaming=True).serve() as other,
        WebClient(idle_seconds=0.2) as client,
        world.person("ada", web=client) as ada,
    ):
        view = await sent(ada, await added(ada, other), wait=60)
    assert (view.state, view.text) == (Moment.COMPLETED, "answer")
    assert other.asked[:2] == ["stream", "subscribe"]
    assert "get" in other.asked


# --- where it is -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_to_the_slash_keeps_the_message(world: World, status: int) -> None:
    async def answer(heard: Heard) -> object:
        if not heard.request.query_string:
            return web.Response(status=status, headers={"Location": f"{heard.request.path}?"})
        return await shout(heard)

    async def once(heard: Heard) -> object:
        if heard.request.query_string != "again":
            return web.Response(status=status, headers={"Location": f"{heard.request.path}?again"})
        return await shout(heard)

    async with Agent(once).serve() as other, somebody(world) as ada:
        assert (await sent(ada, await added(ada, other))).text == "HELLO"
    assert other.asked == ["send", "send"]
    async with Agent(answer).serve() as other, somebody(world, "bo") as bo:
        view = await sent(bo, await added(bo, other), wait=0.3)  # round in circles
    assert not view.text
    assert len(other.asked) <= 12


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_may_change_the_method_is_not_followed(world: World, status: int) -> None:
    async def answer(_: Heard) -> object:
        return web.Response(status=status, headers={"Location": "/rpc?again"})

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert "not followed" in view.error.message


async def test_a_redirect_to_another_origin_is_not_followed(world: World) -> None:
    async with Agent(shout).serve() as elsewhere:

        async def answer(_: Heard) -> object:
            return web.Response(status=307, headers={"Location": f"{elsewhere.url}rpc"})

        async with Agent(answer).serve() as other, somebody(world) as ada:
            view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert "not followed" in view.error.message
    assert elsewhere.asked == []


async def test_a_url_with_a_tenant_is_the_agent_that_a_person_added(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        there = f"{other.url}?tenant=a"
        did = (await ada.api.call(AddPeerRequest(address=there))).did
        assert did == there
        assert (await sent(ada, there)).text == "HELLO"
        assert (await sent(ada, f"{other.url}.well-known/agent-card.json?tenant=a")).text == "HELLO"
        with pytest.raises(AddressNotAllowedError):
            await sent(ada, f"{other.url}?tenant=b")


@pytest.mark.parametrize("typed", ["", "rpc", "/", "?", "#part", "rpc#part", ".well-known/agent-card.json"])
async def test_an_agent_is_known_by_each_url_that_it_was_added_by(world: World, typed: str) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = f"{other.url}{typed}"
        did = (await ada.api.call(AddPeerRequest(address=url))).did
        for spelling in (url, other.url):
            known = ada.node.web.known(spelling)
            assert known is not None
            assert known.url == did == other.url
        assert ada.node.web.known(f"{other.url}another") is None


async def test_an_agent_is_not_known_by_the_interface_of_another_origin(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        elsewhere = {"url": "https://agents.example/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        card = other.make_card()
        other.card = {**card, "supportedInterfaces": [*card["supportedInterfaces"], elsewhere]}
        await added(ada, other)
        assert ada.node.web.known("https://agents.example/rpc") is None


async def test_an_interface_that_may_not_be_called_hides_no_other(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as another:
        elsewhere = f"http://127.0.0.1:{another.getsockname()[1]}/rpc"
    async with Agent(shout).serve() as other, somebody(world) as ada:
        interfaces = [
            {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
            for url in (elsewhere, f"{other.url}rpc")
        ]
        other.card = {**other.make_card(), "supportedInterfaces": interfaces}
        assert (await sent(ada, await added(ada, other))).text == "HELLO"


async def test_where_the_first_interface_is_dead_the_second_is_called() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/rpc"
    async with Agent(shout).serve() as other, WebClient() as client:
        interfaces = tuple(
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")
            for url in (dead, f"{other.url}rpc")
        )
        found = await client.find_card(other.url, within=Range.ANYWHERE, headers={})
        agent = WebAgent(found.url, found.card.model_copy(update={"supported_interfaces": interfaces}), Range.ANYWHERE)

        async def call(interface: AgentInterface) -> str:
            async with GuardedSession(as_typed(interface.url)) as session:
                await session.fetch(Call("GET", interface.url))
            return interface.url

        assert await client._attempt(agent, call) == f"{other.url}rpc"


# --- what it speaks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["1.0", "0.3"])
@pytest.mark.parametrize("code", [-32009, -32601])
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_agent_that_speaks_another_version_than_its_card_says_is_asked_in_that(
    world: World,
    said: str,
    code: int,
    streaming: bool,  # noqa: FBT001
) -> None:
    async def answer(heard: Heard) -> object:
        if (heard.version == "1.0") == (said == "1.0"):
            error = {"code": code, "message": "no"}
            return web.json_response({"jsonrpc": "2.0", "id": "1", "error": error})
        return await shout(heard)

    async with Agent(answer, version=said, streaming=streaming).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        assert (await sent(ada, url)).text == "HELLO"
        asked = len(other.asked)
        assert asked == 2
        assert (await sent(ada, url)).text == "HELLO"
        assert len(other.asked) == asked + 1  # remembered


@pytest.mark.parametrize("said", ["1.0", "0.3"])
@pytest.mark.parametrize("status", [404, 405])
async def test_an_agent_is_found_at_the_paths_of_another_version_than_its_card_says(
    world: World, said: str, status: int
) -> None:
    async def answer(heard: Heard) -> object:
        if (heard.version == "1.0") == (said == "1.0"):
            return web.Response(status=status)
        assert ("/v1/" in heard.request.path) == (said == "1.0")
        return await shout(heard)

    async with Agent(answer, version=said, binding="HTTP+JSON").serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        assert [(await sent(ada, url)).text for _ in range(2)] == ["HELLO", "HELLO"]
    assert other.asked == ["send", "send", "send"]  # remembered


async def test_an_agent_that_speaks_neither_version_is_asked_twice(world: World) -> None:
    async def answer(_: Heard) -> object:
        return web.json_response({"jsonrpc": "2.0", "id": "1", "error": {"code": -32009, "message": "only 0.9"}})

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert "only 0.9" in view.error.message
    assert len(other.asked) == 2


# --- tasks that are not there --------------------------------------------------------------------------


def _failed(message: str, code: int = -32603, **more: object) -> web.Response:
    return web.json_response({"jsonrpc": "2.0", "id": "1", "error": {"code": code, "message": message, **more}})


LOST: dict[str, Callable[[], object]] = {
    "by its code": lambda: web.json_response(
        {"jsonrpc": "2.0", "id": "1", "error": {"code": -32001, "message": "Task not found"}}
    ),
    "by its words": lambda: web.json_response(
        {"jsonrpc": "2.0", "id": "1", "error": {"code": -32603, "message": "Task 't-1' does not exist"}}
    ),
    "by HTTP": lambda: web.json_response({"detail": "Task t-1 not found"}, status=404),
    "by other words": lambda: _failed("No task with id t-1", -32602),
    "by an exception's name": lambda: _failed("TaskNotFoundError"),
    "by what failed": lambda: _failed("could not find task"),
    "by its age": lambda: _failed("Task t-1 has expired"),
    "beside the message": lambda: _failed("Internal error", data="Task not found: t-1"),
    "by nothing": lambda: web.json_response({"jsonrpc": "2.0", "id": "1", "result": None}),
}


@pytest.mark.parametrize("way", LOST)
async def test_a_task_that_its_agent_lost_says_so_and_may_be_sent_again(world: World, way: str) -> None:
    view = await _lost(world, LOST[way])
    assert view.error is not None
    assert (view.state, view.error.code, view.error.retryable) == (Moment.FAILED, "task_lost", True)
    assert "it may be half done" in view.error.message
    assert "Change the request" not in view.error.hint


async def _lost(world: World, said: Callable[[], object]) -> TaskView:
    async def answer(heard: Heard) -> object:
        return {"task": WORKING} if heard.operation == "send" else said()

    async with Agent(answer).serve() as other, somebody(world) as ada:
        return await sent(ada, await added(ada, other))


@pytest.mark.parametrize("way", ["by its code", "by other words", "beside the message"])
async def test_an_answer_to_a_question_of_an_agent_that_lost_the_task_says_so(world: World, way: str) -> None:
    async def answer(heard: Heard) -> object:
        first = "taskId" not in heard.params.get("message", {"taskId": ""})
        return {"task": task("TASK_STATE_INPUT_REQUIRED")} if first else LOST[way]()

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
        view = await ada.api.call(ReplyRequest(task_id=view.task_id, message="blue", wait_seconds=60))
    assert view.error is not None
    assert (view.state, view.error.code, view.error.retryable) == (Moment.FAILED, "task_lost", True)


async def test_a_task_that_was_not_asked_for_is_no_answer(world: World) -> None:
    async def answer(heard: Heard) -> object:
        return {"task": WORKING} if heard.operation == "send" else {**task(text="of another"), "id": "t-2"}

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=1)
        shown = await ada.api.call(GetTaskRequest(task_id=view.task_id))
    assert (shown.state, shown.text) == (Moment.WORKING, None)
    assert "get" in other.asked


# --- how it is written ----------------------------------------------------------------------------------


def in_members(body: bytes) -> bytes:
    """As servers write that flush."""
    return b"".join(gzip.compress(body[place : place + 20]) for place in range(0, len(body), 20)) + bytes(8)


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("identity, gzip", gzip.compress),
        ("gzip", in_members),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_answer_that_is_compressed_unasked_is_read(
    world: World,
    coding: str,
    pack: Callable[[bytes], bytes],
    streaming: bool,  # noqa: FBT001
) -> None:
    async def answer(_: Heard) -> object:
        body = data({"task": DONE}) if streaming else framed({"task": DONE})
        kind = "text/event-stream" if streaming else "application/json"
        return web.Response(body=pack(body), headers={"Content-Encoding": coding, "Content-Type": kind})

    async with Agent(answer, streaming=streaming).serve() as other, somebody(world) as ada:
        assert (await sent(ada, await added(ada, other))).text == "answer"


@pytest.mark.parametrize(
    ("coding", "body", "sentence"),
    [
        ("br", b"x", "compressed (br)"),
        ("gzip, gzip", b"x", "compressed (gzip, gzip)"),
        ("gzip", b"no gzip", "that is broken"),
        ("deflate", b"\xff\xff no deflate", "that is broken"),
        ("gzip", gzip.compress(b" " * 64_000_000, 1), "more than 8,388,608 bytes"),
    ],
)
async def test_what_cannot_be_unpacked_is_said(world: World, coding: str, body: bytes, sentence: str) -> None:
    async def answer(_: Heard) -> object:
        return web.Response(body=body, headers={"Content-Encoding": coding, "Content-Type": "application/json"})

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert sentence in view.error.message


WRITTEN: dict[str, bytes] = {
    "a mark before it": b"\xef\xbb\xbf" + framed({"task": DONE}),
    "a batch of one": b"[" + framed({"task": DONE}) + b"]",
    "a number as id": framed({"task": DONE}).replace(b'"1"', b"1"),
    "null as id": framed({"task": DONE}).replace(b'"id": "1"', b'"id": null'),
    "no id": framed({"task": DONE}).replace(b'"id": "1", ', b""),
    "no envelope": json.dumps({"task": DONE}).encode(),
    "lower case": framed({"task": {**DONE, "status": {"state": "completed"}}}),
    "a time without a zone": framed({"task": {**DONE, "status": {"state": 3, "timestamp": "2026-11-29T10:00:00"}}}),
    "in the history": framed(
        {"task": {**task(), "history": [{"role": "ROLE_AGENT", "messageId": "m", "parts": [{"text": "answer"}]}]}}
    ),
    "a message without its id": framed({"message": {"role": "agent", "parts": [{"text": "answer"}]}}),
}


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=UTF-8", "text/plain"])
async def test_an_answer_is_read_however_it_is_written(world: World, way: str, kind: str) -> None:
    async def answer(_: Heard) -> object:
        return web.Response(body=WRITTEN[way], headers={"Content-Type": kind})

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, "answer")


async def test_a_stream_that_was_not_asked_for_is_read(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation == "get":
            return DONE
        return sse(PING, data({"task": WORKING}), data({"statusUpdate": {"taskId": "t-1", "status": {"state": 2}}}))

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, "answer")
    assert other.asked == ["send", "get"]


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_an_answer_of_nothing_is_said(world: World, status: int) -> None:
    async def answer(_: Heard) -> object:
        return web.Response(status=status)

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert "answered with nothing" in view.error.message


async def test_an_answer_of_a_million_members_is_refused(world: World) -> None:
    async def answer(_: Heard) -> object:
        body = framed({"task": {**DONE, "metadata": {"x": "HERE"}}}).replace(
            b'"HERE"', b"[" + b"0," * 1_000_000 + b"0]"
        )
        return web.Response(body=body, headers={"Content-Type": "application/json"})

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.FAILED, None)


# --- replies, and what agents of 0.3 need -----------------------------------------------------------


ASKING = {
    "id": "t-1",
    "contextId": "c-1",
    "status": {
        "state": "TASK_STATE_INPUT_REQUIRED",
        "message": {"messageId": "q-1", "role": "ROLE_AGENT", "parts": [{"text": "Which color?"}]},
    },
}
SILENT = {**ASKING, "status": {"state": "TASK_STATE_INPUT_REQUIRED"}}


@pytest.mark.parametrize(("first", "second"), [(ASKING, ASKING), (ASKING, SILENT), (SILENT, SILENT)])
async def test_the_question_that_was_answered_is_no_news(
    world: World, first: dict[str, object], second: dict[str, object]
) -> None:
    answers = iter([{"task": first}, {"task": second}, second, task(text="a blue one")])

    async def answer(heard: Heard) -> object:
        return first if heard.params.get("historyLength") is not None else next(answers)

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=60)
        assert view.state == Moment.INPUT_REQUIRED
        # A question without words is looked for in the history, once.
        assert other.asked == (["send", "get"] if first is SILENT else ["send"])
        other.heard.clear()
        view = await ada.api.call(ReplyRequest(task_id=view.task_id, message="blue", wait_seconds=60))
    assert (view.state, view.text) == (Moment.COMPLETED, "a blue one")
    assert other.asked == ["send", "get", "get"]


@pytest.mark.parametrize("passes", [OLD_QUESTION_SECONDS + 1, -86_400])
async def test_another_question_is_asked_and_the_same_one_again_after_a_while_or_where_the_clock_was_set_back(
    world: World, passes: float
) -> None:
    again = {**ASKING, "status": {**ASKING["status"], "message": {**ASKING["status"]["message"], "messageId": "q-2"}}}
    answers = iter([{"task": ASKING}, {"task": again}, {"task": again}])
    clock = Clock()

    async def answer(heard: Heard) -> object:
        if heard.operation == "get":
            clock.advance(passes)
            return again
        return next(answers)

    async with (
        Agent(answer).serve() as other,
        WebClient() as client,
        world.person("ada", web=client, clock=clock) as ada,
    ):
        view = await sent(ada, await added(ada, other), wait=60)
        for _ in range(2):
            view = await ada.api.call(ReplyRequest(task_id=view.task_id, message="blue", wait_seconds=60))
            assert (view.state, view.question) == (Moment.INPUT_REQUIRED, "Which color?")
    assert other.asked[:3] == ["send", "send", "send"]
    assert "get" in other.asked[3:]


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_an_agent_of_0_3_is_told_in_what_it_may_answer(world: World, binding: str) -> None:
    async with Agent(shout, version="0.3", binding=binding).serve() as other, somebody(world) as ada:
        await sent(ada, await added(ada, other))
    assert other.heard[0].params["configuration"]["acceptedOutputModes"] == ["text/plain"]
