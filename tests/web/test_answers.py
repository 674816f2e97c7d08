"""Answers of agents that do not stream, or that write them elsewhere than in an artifact; and questions answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web

from mcp_a2a.a2a.client import WebClient
from mcp_a2a.api.a2a import A2AGetRequest, A2ASendRequest
from mcp_a2a.api.tasks import ReplyRequest, TaskView
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.model import Message, Part, Role, TaskState
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.turns import OLD_QUESTION_SECONDS
from tests.node.world import Clock, Person, World
from tests.web.agents import Agent, Heard
from tests.web.people import added, impatient, looked, sent, somebody


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch, look=Backoff(0.001))


def said(text: str, message_id: str = "", role: str = "ROLE_AGENT") -> dict[str, Any]:
    return {"messageId": message_id, "role": role, "parts": [{"text": text}]}


def status(state: str, at: int | None = None, **more: object) -> dict[str, Any]:
    """A status; `at` is a second of its agent's clock."""
    time = {"timestamp": f"2026-01-01T00:00:{at:02}Z"} if at is not None else {}
    return {"state": f"TASK_STATE_{state}", **time, **more}


def now(state: str, at: int | None = None, **more: object) -> dict[str, Any]:
    """A task that stands so."""
    return {"id": "t-1", "contextId": "c-1", "status": status(state, at, **more)}


def update(state: str, **more: object) -> dict[str, Any]:
    return {"statusUpdate": {"taskId": "t-1", "contextId": "c-1", "status": status(state, **more)}}


async def replied(ada: Person, view: TaskView, text: str = "blue", wait: float = 30) -> TaskView:
    return await ada.api.call(ReplyRequest(task_id=view.task_id, message=text, wait_seconds=wait))


class Scripted:
    """An agent without streaming that asks, and then shows one snapshot after the other."""

    def __init__(self, *snapshots: dict[str, Any]) -> None:
        self._snapshots = iter(snapshots)
        self._shown: dict[str, Any] = {}

    async def __call__(self, heard: Heard) -> object:
        if heard.params.get("historyLength") is None or self._shown["status"]["state"] == "TASK_STATE_COMPLETED":
            self._shown = next(self._snapshots)
        return {"task": self._shown} if heard.operation == "send" else self._shown


ASKS = now("INPUT_REQUIRED", 1, message=said("Which color?", "q-1"))
DONE = {**now("COMPLETED", 9), "artifacts": [{"artifactId": "a", "parts": [{"text": "a blue one"}]}]}
STALE = {
    "as it was": ASKS,
    "without its words": now("INPUT_REQUIRED", 1),
    "without its words, and with a piece of the answer": {
        **now("INPUT_REQUIRED", 1), "artifacts": [{"artifactId": "a", "parts": [{"text": "a blue one"}]}],
    },
    "with an id made at each look": now("INPUT_REQUIRED", 1, message=said("Which color?", "made-up")),
    "with the time of each look": now("INPUT_REQUIRED", 5, message=said("Which color?", "q-1")),
    "from a replica that is behind": now("INPUT_REQUIRED", 0, message=said("Which size?", "q-0")),
    "without anything": now("INPUT_REQUIRED"),
}  # fmt: skip


@pytest.mark.parametrize("way", list(STALE))
async def test_a_status_that_is_not_newer_than_the_question_is_no_news(world: World, way: str) -> None:
    agent = Agent(Scripted(ASKS, STALE[way], STALE[way], STALE[way], DONE))
    async with agent.serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
        assert (view.state, view.question) == (Moment.INPUT_REQUIRED, "Which color?")
        view = await replied(ada, view)
    assert (view.state, view.text) == (Moment.COMPLETED, "a blue one")
    assert other.asked == ["send", "send", "get", "get", "get"]


NEWER = {
    "with a later time and no id": (now("INPUT_REQUIRED", 2, message=said("Which color?")), "Which color?"),
    "with a later time and no words": (now("INPUT_REQUIRED", 2), None),
    "with another id": (now("INPUT_REQUIRED", message=said("Which color?", "q-2")), "Which color?"),
    "in other words in the same second": (now("INPUT_REQUIRED", 1, message=said("Which size?", "q-2")), "Which size?"),
    "in other words under the same id": (now("INPUT_REQUIRED", message=said("Which size?", "q-1")), "Which size?"),
    "under the same id later": (now("INPUT_REQUIRED", 2, message=said("Which size?", "q-1")), "Which size?"),
}


@pytest.mark.parametrize("way", list(NEWER))
async def test_the_next_question_is_asked_at_once(world: World, way: str) -> None:
    asks, question = NEWER[way]
    async with Agent(Scripted(ASKS, ASKS, asks)).serve() as other, somebody(world) as ada:
        view = await replied(ada, await sent(ada, await added(ada, other)))
    assert (view.state, view.question) == (Moment.INPUT_REQUIRED, question)
    # Where there are no words it is looked for them in the history.
    asked = ["send", "send", "get", *([] if question else ["get"])]
    # A question that nothing but its time tells from the one that was answered is looked at again after a while.
    looked = way == "with a later time and no id" and len(other.asked) > len(asked)
    assert other.asked == [*asked, *["get"] * looked]


async def test_a_question_that_comes_again_after_work_is_asked_again(world: World) -> None:
    silent = now("INPUT_REQUIRED", message=said("Which color?"))
    async with Agent(Scripted(silent, now("WORKING"), silent)).serve() as other, somebody(world) as ada:
        view = await replied(ada, await sent(ada, await added(ada, other)))
    assert (view.state, view.question) == (Moment.INPUT_REQUIRED, "Which color?")


@pytest.mark.parametrize("at", [1, None])
async def test_an_answer_is_not_lost_however_long_the_question_is_shown(
    world: World, monkeypatch: pytest.MonkeyPatch, at: int | None
) -> None:
    impatient(monkeypatch, look=Backoff(cap=0.01))
    asks, clock = now("INPUT_REQUIRED", at, message=said("Which color?", "q-1")), Clock()
    looks = 0

    async def answer(heard: Heard) -> object:
        nonlocal looks
        if heard.operation == "send":
            return {"task": asks}
        looks += 1
        clock.advance(OLD_QUESTION_SECONDS)
        return DONE if looks == 5 else asks

    async with (
        Agent(answer).serve() as other,
        WebClient() as client,
        world.person("ada", web=client, clock=clock) as ada,
    ):
        view = await replied(ada, await sent(ada, await added(ada, other)))
        with anyio.fail_after(30):
            while view.state != Moment.COMPLETED:
                # Without a time it is asked again after a while; the agent is looked at all the same.
                assert at is None
                await anyio.lowlevel.checkpoint()
                view = await looked(ada, view, 0)
    assert view.text == "a blue one"


async def test_a_look_at_a_task_that_waits_for_us_looks_at_its_agent_once(world: World) -> None:
    snapshots: Iterator[dict[str, Any]] = iter([ASKS, ASKS, now("INPUT_REQUIRED", 1), DONE])
    agent = Agent(Scripted(*snapshots))
    async with agent.serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
        for _ in range(2):  # it was not answered by us, and stands as it did
            view = await looked(ada, view, 0)
            assert (view.state, view.question) == (Moment.INPUT_REQUIRED, "Which color?")
        view = await looked(ada, view, 0)  # somebody answered it elsewhere
    assert (view.state, view.text) == (Moment.COMPLETED, "a blue one")
    assert other.asked == ["send", "get", "get", "get"]


async def test_a_client_behind_us_that_looks_at_a_task_sees_it_as_it_is(world: World) -> None:
    async with Agent(Scripted(ASKS, DONE)).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        message = Message(message_id="m", role=Role.USER, parts=(Part(text="go"),))
        opened = (await ada.api.call(A2ASendRequest(agent=url, message=message, wait_seconds=30))).task
        assert opened.status.state == TaskState.INPUT_REQUIRED
        seen = (await ada.api.call(A2AGetRequest(agent=url, task_id=opened.id))).task
    assert seen.status.state == TaskState.COMPLETED


async def test_a_look_at_a_task_whose_agent_is_gone_shows_what_is_known(world: World) -> None:
    async with somebody(world) as ada:
        async with Agent(Scripted(ASKS)).serve() as other:
            view = await sent(ada, await added(ada, other))
        view = await looked(ada, view, 0)
    assert (view.state, view.question) == (Moment.INPUT_REQUIRED, "Which color?")


def _broke() -> web.Response:
    error = {"code": -32603, "message": "Execution finished before a message or task was produced."}
    return web.json_response({"jsonrpc": "2.0", "id": "1", "error": error})


@pytest.mark.parametrize("stands", [DONE, now("FAILED", message=said("no blue left")), ASKS, None])
async def test_an_agent_that_breaks_over_a_reply_is_asked_what_became_of_the_task(
    world: World, stands: dict[str, Any] | None
) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation == "get":
            return stands or web.Response(status=500)
        return {"task": ASKS} if "taskId" not in heard.params["message"] else _broke()

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await replied(ada, await sent(ada, await added(ada, other)))
    told = view.text or (view.error and view.error.message) or ""
    if stands is DONE:
        assert (view.state, told) == (Moment.COMPLETED, "a blue one")
    else:
        assert view.state == Moment.FAILED
        assert ("no blue left" if stands not in (ASKS, None) else "Execution finished") in told
    assert other.asked == ["send", "send", "get"]


# --- answers that stand nowhere but in what was said on the way ------------------------------------------------------


USER = said("hello", "m-1", "ROLE_USER")
TOKENS = [f"{number} " for number in range(100)]
ALL_SO_FAR = "".join(TOKENS[:9])
HISTORIES = {
    "the last word": ([USER, said("maf echo: hello", "a-1")], "maf echo: hello"),
    "several words": ([USER, said("one", "a-1"), said("two", "a-2")], "one\ntwo"),
    "several words under one id": ([USER, *(said(word, "a-1") for word in TOKENS)], "".join(TOKENS)),
    "all of it so far, under one id": (
        [USER, *(said("".join(TOKENS[:count]), "a-1") for count in (1, 2, 9))],
        ALL_SO_FAR,
    ),
    "nothing": ([USER], None),
}


@pytest.mark.parametrize("way", list(HISTORIES))
@pytest.mark.parametrize("streaming", [True, False])
async def test_an_answer_in_the_history_alone_is_the_answer(world: World, way: str, *, streaming: bool) -> None:
    history, text = HISTORIES[way]

    async def answer(heard: Heard) -> object:
        if heard.operation == "get":
            return {**now("COMPLETED"), "history": history}
        return [{"task": now("SUBMITTED")}, update("WORKING"), update("COMPLETED")] if streaming else now("WORKING")

    async with Agent(answer, streaming=streaming).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, text)


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_answer_in_the_last_status_of_work_alone_is_the_answer(world: World, *, streaming: bool) -> None:
    works = {"message": said("maf echo: hello", "a-1")}

    async def answer(heard: Heard) -> object:
        if heard.operation == "get":  # without a history, as agents have it that are not asked for one
            worked = other.asked.count("get") > 1 or streaming
            return now("COMPLETED") if worked else now("WORKING", **works)
        if streaming:
            return [{"task": now("SUBMITTED")}, update("WORKING", **works), update("COMPLETED")]
        return {"task": now("SUBMITTED")}

    async with Agent(answer, streaming=streaming).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, "maf echo: hello")


@pytest.mark.parametrize("state", ["INPUT_REQUIRED", "AUTH_REQUIRED", "FAILED", "REJECTED"])
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("place", ["history", "work"])
async def test_what_an_agent_says_beside_its_status_is_its_question_or_reason(
    world: World, state: str, place: str, *, streaming: bool
) -> None:
    history = [USER, said("Which color?", "a-1")] if place == "history" else []
    work = {"message": said("Which color?", "a-1")} if place == "work" else {}

    async def answer(heard: Heard) -> object:
        asked = heard.params.get("historyLength") is not None
        if heard.operation == "get":
            worked = streaming or other.asked.count("get") > 1
            return {**now(state), **({"history": history} if asked else {})} if worked else now("WORKING", **work)
        return [{"task": now("SUBMITTED")}, update("WORKING", **work), update(state)] if streaming else now("WORKING")

    async with Agent(answer, streaming=streaming).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.state == Moment[state]
    assert (view.question or (view.error and view.error.message)) == "Which color?"


async def test_a_question_stands_in_what_was_made_and_progress_is_none(world: World) -> None:
    made = {"artifactUpdate": {"taskId": "t-1", "artifact": {"artifactId": "a", "parts": [{"text": "Which color?"}]}}}
    events = [{"task": now("SUBMITTED")}, update("WORKING", message=said("thinking")), made, update("INPUT_REQUIRED")]

    async def answer(heard: Heard) -> object:
        return events if heard.operation == "stream" else now("INPUT_REQUIRED")

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text, view.question) == (Moment.INPUT_REQUIRED, "Which color?", None)


@pytest.mark.parametrize("direct", [True, False])
async def test_an_answer_of_data_in_a_message_is_shown_as_one_in_an_artifact(world: World, *, direct: bool) -> None:
    message = {"messageId": "a-1", "role": "ROLE_AGENT", "parts": [{"data": {"color": "blue"}}]}

    async def answer(_: Heard) -> object:
        return {"message": message} if direct else {"task": now("COMPLETED", message=message)}

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.answer) == (Moment.COMPLETED, '{"color": "blue"}')
    assert [part.data for artifact in view.artifacts for part in artifact.parts] == [{"color": "blue"}]


@pytest.mark.parametrize("texts", [["fill this in"], []])
async def test_a_question_is_asked_with_its_data(world: World, texts: list[str]) -> None:
    parts = [*({"text": text} for text in texts), {"data": {"schema": {"type": "object"}}}]
    asks = now("INPUT_REQUIRED", message={"messageId": "q-1", "role": "ROLE_AGENT", "parts": parts})
    async with Agent(Scripted(asks)).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    shown = [part.data for artifact in view.artifacts for part in artifact.parts]
    form: dict[str, object] = {"schema": {"type": "object"}}
    assert (view.question, shown) == (("fill this in", [form]) if texts else (json.dumps(form), []))


async def test_a_reason_of_data_is_the_reason(world: World) -> None:
    rejects = now("REJECTED", message={"messageId": "a", "role": "ROLE_AGENT", "parts": [{"data": {"code": "no"}}]})
    async with Agent(Scripted(rejects)).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert view.error.message == '{"code": "no"}'


@pytest.mark.parametrize("version", ["1.0", "0.3"])
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_an_agent_that_shows_no_history_unasked_is_asked_for_it(world: World, version: str, binding: str) -> None:
    async def answer(heard: Heard) -> object:
        asked = heard.params.get("historyLength", heard.request.query.get("historyLength"))
        done = {**now("COMPLETED"), "history": [USER, said("here", "a-1")] if asked is not None else []}
        return {"task": done} if heard.operation == "send" and version == "1.0" else done

    async with Agent(answer, version=version, binding=binding).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, "here")
    assert other.asked == ["send", "get"]


@pytest.mark.parametrize("keeps", [True, False])
async def test_an_answer_to_a_reply_is_none_of_what_was_said_or_made_before(world: World, *, keeps: bool) -> None:
    draft = [{"artifactId": "a", "parts": [{"text": "a draft"}]}]
    ours = [said("blue", "m-2", "ROLE_USER")] if keeps else []
    history = [USER, said("Which color?", "q-1"), *ours, said("a blue one", "a-1")]
    asks = {**now("INPUT_REQUIRED", message=said("Which color?", "q-1")), "artifacts": draft}
    done = {**now("COMPLETED"), "history": history, "artifacts": draft}
    async with Agent(Scripted(asks, now("WORKING"), done)).serve() as other, somebody(world) as ada:
        view = await replied(ada, await sent(ada, await added(ada, other)))
    assert view.state == Moment.COMPLETED
    assert view.text == "a draft\na blue one"


async def test_an_answer_under_the_id_of_the_question_is_one(world: World) -> None:
    asks = now("INPUT_REQUIRED", message=said("Which color?", "always"))
    history = [USER, said("Which color?", "always"), said("a blue one", "always")]
    done = {**now("COMPLETED"), "history": history}
    async with Agent(Scripted(asks, now("WORKING"), done)).serve() as other, somebody(world) as ada:
        view = await replied(ada, await sent(ada, await added(ada, other)))
    assert (view.state, view.text) == (Moment.COMPLETED, "a blue one")


async def test_an_answer_beside_an_older_artifact_is_asked_for_where_no_history_comes_unasked(world: World) -> None:
    draft = [{"artifactId": "a", "parts": [{"text": "a draft"}]}]
    asks = {**now("INPUT_REQUIRED", message=said("Which color?", "q-1")), "artifacts": draft}
    done = {**now("COMPLETED"), "artifacts": draft}
    whole = {**done, "history": [USER, said("blue", "m-2", "ROLE_USER"), said("a blue one", "a-1")]}
    async with Agent(Scripted(asks, done, whole)).serve() as other, somebody(world) as ada:
        view = await replied(ada, await sent(ada, await added(ada, other)))
    assert (view.state, view.text) == (Moment.COMPLETED, "a draft\na blue one")
    assert other.heard[-1].params["historyLength"]


async def test_a_question_in_the_history_alone_is_asked_also_beside_an_artifact(world: World) -> None:
    draft = [{"artifactId": "a", "parts": [{"text": "a draft"}]}]
    asks = {**now("INPUT_REQUIRED"), "history": [USER, said("Which color?", "q-1")], "artifacts": draft}
    async with Agent(Scripted(asks)).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.question) == (Moment.INPUT_REQUIRED, "Which color?")


async def test_an_agent_that_submits_a_task_again_after_a_reply_has_it_worked_on(world: World) -> None:
    async with Agent(Scripted(ASKS, now("SUBMITTED"), DONE)).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        view = await sent(ada, url)
        view = await replied(ada, view, wait=0)
        states = [view.state]
        with anyio.fail_after(30):
            while view.state != Moment.COMPLETED:
                await anyio.lowlevel.checkpoint()
                view = await looked(ada, view, 0)
                states.append(view.state)
    assert set(states) == {Moment.WORKING, Moment.COMPLETED}
