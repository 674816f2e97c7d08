"""What an error of an agent at a URL means: it refused, it failed, it cannot now, or its answer got lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from pydantic import JsonValue

from mcp_a2a.a2a.client_faults import check_answer, check_event
from mcp_a2a.a2a.guarded import MAX_PAUSE, pause_asked
from mcp_a2a.errors.web import WebError, WebFailedError, WebRefusedError
from mcp_a2a.node.runtime.context import wait_until
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.web_ports import AnswerLostError, NoCardError, NotNowError
from tests.node.world import World
from tests.web.agents import Agent, Heard, raw, shout, task
from tests.web.people import added, impatient, looked, sent, somebody

URL = "https://agent.example/"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def verdict(status: int, value: JsonValue, kind: str = "application/json", *, later: float = 0.0) -> WebError:
    body = value.encode() if isinstance(value, str) else b"" if value is None else json.dumps(value).encode()
    with pytest.raises(WebError) as told:
        check_answer(URL, status, kind, body, later=later)
    return told.value


def rpc(code: JsonValue, message: JsonValue = "said", **more: JsonValue) -> JsonValue:
    return {"jsonrpc": "2.0", "id": "1", "error": {"code": code, "message": message, **more}}


REFUSED = [-32700, -32600, -32601, -32602, -32001, -32002, -32003, -32004, -32005, -32007, -32008, -32009, 404, 422]
FAILED: list[JsonValue] = [-32603, "-32603", -32603.0, -32000, -32006, -32050, -32099, 500, 1, 0, None]


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_wrong_with_a_request_is_refused(code: int) -> None:
    for status in (200, 400):
        assert type(verdict(status, rpc(code))) is WebRefusedError


@pytest.mark.parametrize("code", FAILED)
def test_what_an_agent_breaks_over_has_failed_in_its_own_words(code: JsonValue) -> None:
    told = verdict(200, rpc(code))
    assert type(told) is WebFailedError
    assert (told.message, told.retryable) == (f"{URL} failed: said.", True)
    with pytest.raises(WebFailedError, match="said"):
        check_event(URL, json.dumps(rpc(code)))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, NotNowError) for status in (408, 425, 429, 502, 503, 504, 507, 511, 521, 522, 523, 529)),
        *((status, AnswerLostError) for status in (500, 520, 524, 599)),
        *((status, WebRefusedError) for status in (400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 451)),
        *((status, WebRefusedError) for status in (501, 505, 508)),
    ],
)
def test_a_status_without_a_word_says_what_it_can(status: int, kind: type[WebError]) -> None:
    assert type(verdict(status, None)) is kind


def test_a_failure_is_one_at_any_status_and_by_any_name() -> None:
    rest: JsonValue = {"error": {"code": 500, "status": "INTERNAL", "message": "said"}}
    for status, value in ((500, rpc(-32603)), (400, rpc(-32603)), (500, rest), (500, {"detail": "said"})):
        assert type(verdict(status, value)) is WebFailedError
    assert type(verdict(500, rpc(-32602))) is WebRefusedError
    for status, value in ((429, rpc(-32603)), (200, rpc(503)), (200, rpc(-32603, data=[{"reason": "OVERLOADED"}]))):
        assert type(verdict(status, value)) is NotNowError


SAYING: dict[str, tuple[int, JsonValue]] = {
    "a list": (200, {"error": ["said"]}),
    "an object": (200, rpc(-32602, {"text": "said"})),
    "data": (200, rpc(-32602, None, data="said")),
    "FastAPI": (422, {"detail": [{"loc": ["body", "x"], "msg": "said"}]}),
    "GraphQL": (400, {"errors": [{"message": "said"}]}),
    "problem details": (413, {"type": "about:blank", "title": "said", "status": 413}),
    "a gateway": (400, {"message": "said"}),
}


@pytest.mark.parametrize("way", SAYING)
def test_the_words_of_an_error_are_found_wherever_they_are(way: str) -> None:
    assert "said" in verdict(*SAYING[way]).message


def test_a_text_is_quoted_and_a_page_is_not() -> None:
    assert "no such header" in verdict(400, "no such header", "text/plain").message
    assert "<" not in verdict(400, "<html>", "text/html").message


def test_an_empty_error_beside_a_result_is_none() -> None:
    body = json.dumps({"jsonrpc": "2.0", "error": {"code": 0, "message": ""}, "result": {"id": "t"}}).encode()
    assert check_answer(URL, 200, "application/json", body) == {"id": "t"}


# --- when to ask again -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        (
            {"Retry-After": "Sun, 29 Nov 2026 10:02:00 GMT", "Date": "Sun, 29 Nov 2026 10:00:00 GMT"},
            120,
        ),
        ({"Retry-After": "Sun, 29 Nov 2026 10:00:00 GMT", "Date": "Sun, 29 Nov 2026 10:02:00 GMT"}, 0),
        ({"Retry-After": "9" * 400}, MAX_PAUSE),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "²"}, 0),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": f"Sun, 29 Nov {'9' * 20} 10:00:00 GMT"}, 0),
        ({"Retry-After": f"Sun, 29 Nov 2026 10:00:00 +{'9' * 20}"}, 0),
        ({}, 0),
    ],
)
def test_a_server_says_in_either_form_when_to_come_again(headers: Mapping[str, str], seconds: float) -> None:
    assert pause_asked(headers) == seconds


async def test_an_agent_that_asks_for_a_pause_gets_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    passed = 0.0

    async def pass_at_once(event: anyio.Event, seconds: float) -> bool:
        nonlocal passed
        if waits or not busy or not 60 < seconds < 1801:  # a second long wait is that for the end of the message
            return await wait_until(event, seconds)
        waits.append(round(seconds))
        passed += seconds
        await anyio.lowlevel.checkpoint()
        return False

    monkeypatch.setattr("mcp_a2a.node.delivery.outbox.wait_until", pass_at_once)
    monkeypatch.setattr("mcp_a2a.node.delivery.outbox.ticks_of_loop", lambda: lambda: anyio.current_time() + passed)
    busy = list[bool]()

    async def answer(heard: Heard) -> object:
        busy[:] = [] if busy else [True]
        if busy:
            return web.Response(status=503, headers={"Retry-After": "1800"})
        return await shout(heard)

    async with Agent(answer).serve() as other, somebody(world) as ada:
        assert (await sent(ada, await added(ada, other), wait=60)).text == "HELLO"
    assert waits == [1800]


# --- errors whose words cannot be read -----------------------------------------------------------------

UNREADABLE = {
    "a coding that we have not": b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\nzz",
    "broken": b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nzz",
    "cut": b"Content-Length: 100\r\n\r\nzz",
}


@pytest.mark.parametrize("way", UNREADABLE)
@pytest.mark.parametrize("streaming", [True, False])
async def test_an_error_is_one_whatever_is_wrong_with_its_words(
    world: World,
    way: str,
    streaming: bool,  # noqa: FBT001
) -> None:
    async def answer(heard: Heard) -> object:
        return await raw(heard, b"HTTP/1.1 401 Who\r\n" + UNREADABLE[way])

    async with Agent(answer, streaming=streaming).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert "requires a login" in view.error.message


# --- what becomes of the task ------------------------------------------------------------------------


async def test_a_task_that_its_agent_breaks_over_has_failed_and_may_be_sent_again(world: World) -> None:
    async def answer(_: Heard) -> object:
        return web.json_response(rpc(-32603, "the model is out of tokens"))

    for streaming in (True, False):
        async with Agent(answer, streaming=streaming).serve() as other, somebody(world) as ada:
            view = await sent(ada, await added(ada, other))
        assert view.error is not None
        assert (view.state, view.delivery) == (Moment.FAILED, Delivery.DELIVERED)
        assert (view.error.code, view.error.retryable) == ("web_failed", True)
        assert "the model is out of tokens" in view.error.message
        assert "Change the request" not in view.error.hint
        assert len(other.asked) == 1


async def test_a_failure_while_a_task_is_looked_at_does_not_end_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.05))
    failing = iter([True, True, False])

    async def answer(heard: Heard) -> object:
        if heard.operation == "send":
            return {"task": task("TASK_STATE_WORKING")}
        return web.json_response(rpc(-32603)) if next(failing, False) else task(text="answer")

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=60)
    assert (view.state, view.text) == (Moment.COMPLETED, "answer")


@pytest.mark.parametrize("ends", [True, False])
async def test_a_task_that_its_agent_broke_over_and_never_ends_has_failed(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    ends: bool,  # noqa: FBT001
) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.01))
    impatient(monkeypatch, look=Backoff(cap=0.01))
    working, broken = {"task": task("TASK_STATE_WORKING")}, rpc(-32603, "the model crashed")

    async def answer(heard: Heard) -> object:
        if heard.operation == "stream":
            first = json.dumps({"jsonrpc": "2.0", "id": "1", "result": working})
            return web.Response(
                text=f"data: {first}\n\ndata: {json.dumps(broken)}\n\n", content_type="text/event-stream"
            )
        return task(text="answer") if ends and other.asked.count("get") > 10 else working["task"]

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=60)
    if ends:
        assert (view.state, view.text) == (Moment.COMPLETED, "answer")
    else:
        assert view.error is not None
        assert (view.state, view.error.code) == (Moment.FAILED, "web_failed")
        assert "the model crashed" in view.error.message
        assert other.asked.count("get") >= 20


async def test_a_look_that_fails_says_nothing_of_a_task_that_takes_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.01))
    impatient(monkeypatch, look=Backoff(cap=0.01))
    hiccup = iter([True])

    async def answer(heard: Heard) -> object:
        if heard.operation == "send":
            return {"task": task("TASK_STATE_WORKING")}
        if next(hiccup, False):
            return web.json_response(rpc(-32603))
        return task(text="answer") if other.asked.count("get") > 40 else task("TASK_STATE_WORKING")

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=60)
    assert (view.state, view.text) == (Moment.COMPLETED, "answer")


async def test_an_answer_that_is_no_http_is_waited_for_a_few_times_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.05))

    async def answer(heard: Heard) -> object:
        return await raw(heard, b"SSH-2.0-OpenSSH_9.2\r\n")

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=60)
    assert view.error is not None
    assert (view.state, view.delivery) == (Moment.FAILED, Delivery.DELIVERED)
    assert "does not speak HTTP. It was told 5 times, and may have done it" in view.error.message


async def test_a_task_waits_while_the_card_of_a_known_agent_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.05))
    monkeypatch.setattr("mcp_a2a.node.peers.web_book.FRESH_SECONDS", 0)
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        other.card = []  # type: ignore[assignment]  # what is in front of it answers
        view = await sent(ada, url, wait=0.1)
        assert (view.state, view.delivery) == (Moment.QUEUED, Delivery.QUEUED)
        with pytest.raises(NoCardError):
            await sent(ada, url, queue=False)
        other.card = None
        view = await looked(ada, view, wait=60)
    assert (view.state, view.text) == (Moment.COMPLETED, "HELLO")


AWAY = {
    "a credential that runs out": [401, 403, 401, 401, 401, 401, 401],
    "a gateway that knows no path": [404] * 8,
}


@pytest.mark.parametrize("statuses", AWAY.values(), ids=AWAY)
async def test_a_task_outlives_an_agent_that_does_not_let_us_look(
    world: World, monkeypatch: pytest.MonkeyPatch, statuses: list[int]
) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.01))
    impatient(monkeypatch, look=Backoff(cap=0.01))
    away = iter(statuses)

    async def answer(heard: Heard) -> object:
        if heard.operation == "send":
            return {"task": task("TASK_STATE_WORKING")}
        status = next(away, None)
        return web.Response(status=status) if status is not None else task(text="answer")

    async with Agent(answer, binding="HTTP+JSON").serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=60)
    assert (view.state, view.text) == (Moment.COMPLETED, "answer")


@pytest.mark.parametrize("status", [404, 410])
async def test_a_task_whose_path_stays_unknown_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.01))
    impatient(monkeypatch, look=Backoff(cap=0.01))

    async def answer(heard: Heard) -> object:
        return {"task": task("TASK_STATE_WORKING")} if heard.operation == "send" else web.Response(status=status)

    async with Agent(answer, binding="HTTP+JSON").serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=60)
    assert view.error is not None
    assert (view.state, view.error.code, view.error.retryable) == (Moment.FAILED, "task_lost", True)


async def test_a_refusal_behind_a_lost_answer_does_not_say_that_nothing_was_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.05))
    first = iter([True, False])

    async def answer(heard: Heard) -> object:
        if next(first, False):
            return await raw(heard, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        return web.json_response(rpc(-32602, "this messageId was seen before"), status=409)

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=60)
    assert view.error is not None
    assert (view.state, view.delivery) == (Moment.FAILED, Delivery.DELIVERED)
    assert "seen before" in view.error.message
    assert "told 2 times, and may have done it" in view.error.message
