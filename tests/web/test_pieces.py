"""An artifact that came in pieces reads the same however it is told: by stream, by looking, to a client, to a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from mcp_a2a.api.a2a import A2AGetRequest
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.artifacts import continued
from tests.node.world import World
from tests.web.agents import Agent, Heard, task
from tests.web.people import added, looked, sent, somebody

TOKENS = ["", "Lo", "rem ", "ipsum", "\n", "dolor", ""]


def artifact(name: str, *texts: str, **more: object) -> dict[str, Any]:
    return {"artifactId": name, "parts": [{"text": text, **more} for text in texts]}


def piece(name: str, text: str, *, append: bool) -> dict[str, Any]:
    return {"artifactUpdate": {"taskId": "t-1", "contextId": "c-1", "artifact": artifact(name, text), "append": append}}


def streamed(name: str) -> list[dict[str, Any]]:
    return [piece(name, token, append=number > 0) for number, token in enumerate(TOKENS)]


DONE = {"statusUpdate": {"taskId": "t-1", "contextId": "c-1", "status": {"state": "TASK_STATE_COMPLETED"}}}
BEGUN = {"task": task("TASK_STATE_WORKING")}
TWO = [artifact("a", *TOKENS), artifact("b", *TOKENS)]
WAYS: dict[str, object] = {
    "by stream": [BEGUN, *streamed("a"), *streamed("b"), DONE],
    "by stream, several pieces at once": [
        BEGUN, *({"artifactUpdate": {"taskId": "t-1", "contextId": "c-1", "artifact": one}} for one in TWO), DONE
    ],
    "by stream, with the whole at its end": [BEGUN, *streamed("a"), {"task": {**task(), "artifacts": TWO}}],
    "by looking": {"task": {**task(), "artifacts": TWO}},
    "by looking, in one part each": {
        "task": {**task(), "artifacts": [artifact("a", "".join(TOKENS)), artifact("b", "".join(TOKENS))]}
    },
}  # fmt: skip


@pytest.mark.parametrize("way", list(WAYS))
async def test_pieces_read_as_they_were_written_and_artifacts_on_lines_of_their_own(tmp_path: Path, way: str) -> None:
    async def answer(_: Heard) -> object:
        return WAYS[way]

    world = World(tmp_path)
    async with Agent(answer, streaming="stream" in way).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        view = await sent(ada, url)
        shown = (await ada.api.call(A2AGetRequest(agent=url, task_id=view.task_id))).task
    text = "".join(TOKENS)
    assert (view.state, view.text) == (Moment.COMPLETED, f"{text}\n{text}")
    assert [[part.text for part in one.parts] for one in shown.artifacts] == [[text], [text]]


def spoken(text: str, message_id: str = "m") -> dict[str, Any]:
    return {"message": {"messageId": message_id, "role": "ROLE_AGENT", "parts": [{"text": text}]}}


MESSAGES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "alone": ([spoken("Lorem")], "Lorem"),
    "in pieces": ([spoken(token) for token in TOKENS if token], "".join(TOKENS)),
    "in pieces without an id": ([spoken(token, "") for token in TOKENS if token], "".join(TOKENS)),
    "each time with more": ([spoken("".join(TOKENS[:end])) for end in range(2, len(TOKENS))], "".join(TOKENS)),
    "one behind the other": ([spoken("one", "a"), spoken("two", "b")], "one\ntwo"),
    "behind its task": ([BEGUN, spoken("Lorem")], "Lorem"),
    "before its task": ([spoken("thinking"), BEGUN, {"task": task(text="the answer")}], "the answer"),
    "while it works": ([BEGUN, spoken("thinking"), piece("a", "the answer", append=False), DONE], "the answer"),
    "before nonsense": ([spoken("Lorem"), {"task": {"status": {"state": "working"}}}], "Lorem"),
}


@pytest.mark.parametrize("way", list(MESSAGES))
@pytest.mark.parametrize("open_", [False, True])
async def test_a_message_is_read_whole_and_is_the_answer_where_nothing_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, *, open_: bool
) -> None:
    monkeypatch.setattr("mcp_a2a.a2a.client_streams.HOLD_SECONDS", 0.2)
    events, text = MESSAGES[way]

    async def answer(heard: Heard) -> object:
        if heard.operation != "stream":
            return task()
        if not open_:
            return events
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        for event in events:
            framed = json.dumps({"jsonrpc": "2.0", "id": "1", "result": event})
            await response.write(f"data: {framed}\n\n".encode())
        await anyio.sleep_forever()
        return response

    async with Agent(answer, streaming=True).serve() as other, somebody(World(tmp_path)) as ada:
        view = await sent(ada, await added(ada, other), wait=30)
    assert (view.state, view.text) == (Moment.COMPLETED, text)
    # Whether the task ended, where its stream does not, is asked.
    assert other.asked == ["stream", *(["subscribe", "get"] if open_ and way == "behind its task" else [])]


async def test_what_an_agent_says_while_it_works_is_no_answer_however_long_it_works_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.a2a.client_streams.HOLD_SECONDS", 0.0)
    seen = anyio.Event()

    async def answer(heard: Heard) -> object:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        for event in (BEGUN, spoken("thinking"), piece("a", "the answer", append=False), DONE):
            if "artifactUpdate" in event:
                await seen.wait()
            framed = json.dumps({"jsonrpc": "2.0", "id": "1", "result": event})
            await response.write(f"data: {framed}\n\n".encode())
        return response

    async with Agent(answer, streaming=True).serve() as other, somebody(World(tmp_path)) as ada:
        view = await sent(ada, await added(ada, other), wait=0)
        with anyio.fail_after(30):
            while view.progress != "thinking" and not view.done:
                view = await looked(ada, view, wait=0.05)
        seen.set()
        view = await looked(ada, view, wait=30)
    assert (view.state, view.text) == (Moment.COMPLETED, "the answer")
    assert other.asked == ["stream"]


async def test_what_an_agent_said_while_it_worked_is_no_answer_where_its_connection_broke(tmp_path: Path) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation != "stream":
            return task(text="the answer")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        for event in (BEGUN, spoken("thinking")):
            await response.write(f"data: {json.dumps({'jsonrpc': '2.0', 'id': '1', 'result': event})}\n\n".encode())
        assert heard.request.transport is not None
        heard.request.transport.close()
        return response

    async with Agent(answer, streaming=True).serve() as other, somebody(World(tmp_path)) as ada:
        view = await sent(ada, await added(ada, other), wait=30)
    assert (view.state, view.text) == (Moment.COMPLETED, "the answer")


@pytest.mark.parametrize("way", list(MESSAGES))
async def test_a_message_in_a_stream_that_was_not_asked_for_is_read_whole_as_well(tmp_path: Path, way: str) -> None:
    events, text = MESSAGES[way]

    async def answer(heard: Heard) -> object:
        return events if heard.operation == "send" else task(text="the answer")

    async with Agent(answer).serve() as other, somebody(World(tmp_path)) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, text)
    assert other.asked == ["send", *(["get"] if way == "while it works" else [])]


@pytest.mark.parametrize("one_id", [True, False])
async def test_a_message_that_does_not_end_is_not_kept_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, one_id: bool
) -> None:
    monkeypatch.setattr("mcp_a2a.a2a.client_streams.MAX_EVENT", 10_000)

    async def answer(_: Heard) -> object:
        return [spoken(f"{number} {'x' * 900}", "m" if one_id else f"m-{number}") for number in range(20)]

    async with Agent(answer, streaming=True).serve() as other, somebody(World(tmp_path)) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.FAILED, None)
    assert view.error is not None
    assert "a message of its stream does not end" in view.error.message


def test_what_is_no_text_of_a_message_is_in_it_however_it_is_told() -> None:
    data, more, text = Part(data={"a": 1}), Part(data={"b": 2}), Part(text="Lo")
    assert continued((data,), (more,)) == (data, more)
    assert continued((text, data), (Part(text="Lorem"), more)) == (text, data, Part(text="Lorem"), more)
    assert continued((text, data), (Part(text="Lorem"), data)) == (Part(text="Lorem"), data)
