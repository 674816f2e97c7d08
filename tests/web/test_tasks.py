"""Tasks for agents at URLs: journalled, answered by stream or by polling, and lost by nothing."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web
from typing_extensions import override

from mcp_a2a.a2a.client import Events, WebClient
from mcp_a2a.a2a.client_read import read_event
from mcp_a2a.api.a2a import A2AFollowRequest, A2AFollowView, A2ASendRequest
from mcp_a2a.api.agents import AddPeerRequest, AgentDetail, AgentView, DiscoverRequest, GetAgentRequest, SetTrustRequest
from mcp_a2a.api.diagnostics import PingRequest
from mcp_a2a.api.tasks import CancelRequest, ListTasksRequest, ReplyRequest, SendTaskBySkillRequest
from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.errors.tasks import KeyReusedError
from mcp_a2a.errors.web import AddressNotAllowedError, CardError
from mcp_a2a.node.agents.selection import Candidate
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.model import AgentInterface, Delivery, Message, Part, Role, TaskDocument
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.web_ports import FoundCard, Range, WebAgent, WebRequest, WebSighting
from tests.node.world import Person, World
from tests.web.agents import Agent, Heard, raw, shout, task
from tests.web.people import added, impatient, looked, sent, somebody

IDS = {"taskId": "t-1", "contextId": "c-1"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def status(state: str, text: str | None = None) -> dict[str, object]:
    said = {"message": {"messageId": "s", "role": "ROLE_AGENT", "parts": [{"text": text}]}} if text else {}
    return {"statusUpdate": {**IDS, "status": {"state": f"TASK_STATE_{state}", **said}}}


def grown(text: str, *, append: bool = True) -> dict[str, object]:
    artifact = {"artifactId": "a1", "parts": [{"text": text}]}
    return {"artifactUpdate": {**IDS, "artifact": artifact, "append": append}}


@pytest.mark.parametrize("version", ["1.0", "0.3"])
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_an_agent_at_a_url_takes_a_task(world: World, version: str, binding: str) -> None:
    async with Agent(shout, version=version, binding=binding).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        view = await sent(ada, url, skill="shout")
        by_name = await sent(ada, "stranger")
    assert (view.state, view.delivery, view.route, view.text) == ("completed", "DELIVERED", "http", "HELLO")
    assert (view.agent.did, view.agent.name) == (url, "stranger")
    assert by_name.text == "HELLO"
    first = other.heard[0]
    assert first.params["message"]["metadata"] == {"skill": "shout"}
    assert first.request.headers["Idempotency-Key"] == f"{view.task_id}/{first.params['message']['messageId']}"


async def test_it_was_there_when_it_last_answered_and_not_when_its_card_was_read(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        first = (await ada.api.call(GetAgentRequest(agent=url))).agent.last_seen
        world.clock.advance(300)
        assert (await ada.api.call(GetAgentRequest(agent=url))).agent.last_seen == first
        await sent(ada, url)
        assert ((await ada.api.call(GetAgentRequest(agent=url))).agent.last_seen or "") > (first or "")


async def test_it_is_listed_with_its_skills_and_found_by_them(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        found = await ada.api.call(DiscoverRequest(skill="shout"))
        detail = await ada.api.call(GetAgentRequest(agent="stranger"))
        view = await ada.api.call(SendTaskBySkillRequest(skill="shout", message="hi", wait_seconds=30))
    assert [(agent.did, agent.route, agent.skills[0].id) for agent in found.agents] == [(url, "http", "shout")]
    assert detail.addresses == (f"{url}rpc (JSONRPC 1.0)",)
    assert (view.text, view.agent.did) == ("HI", url)
    assert view.chosen == f"stranger: it offers this skill at {url}"


async def test_a_skill_is_asked_of_the_next_agent_when_one_is_away_or_refuses(world: World) -> None:
    async def refuse(_: Heard) -> object:
        return web.Response(status=403)

    def card(name: str, url: str) -> dict[str, object]:
        interface = {"url": f"{url}rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        return {"name": name, "supportedInterfaces": [interface], "skills": [{"id": "shout"}]}

    request = SendTaskBySkillRequest(skill="shout", message="hi", wait_seconds=30, idempotency_key="k")
    async with Agent(refuse).serve() as rude, Agent(shout).serve() as kind, somebody(world) as ada:
        rude.card, kind.card = card("b", rude.url), card("c", kind.url)
        async with Agent(shout).serve() as away:
            away.card = card("a", away.url)
            await added(ada, away)
        await added(ada, rude)
        await added(ada, kind)
        view = await ada.api.call(request)
        again = await ada.api.call(request)
    assert (view.text, view.agent.name, again.task_id) == ("HI", "c", view.task_id)
    assert [reason.split(" ")[0] for reason in view.tried] == ["a", "b:"]
    async with somebody(world) as ada:
        kept = await ada.api.call(request.model_copy(update={"idempotency_key": None, "wait_seconds": 0}))
        assert kept.delivery == Delivery.QUEUED
        with pytest.raises(NoRouteError):
            await ada.api.call(request.model_copy(update={"idempotency_key": None, "queue": False}))


async def test_a_request_by_skill_gets_no_task_of_another_with_its_key_that_came_to_be_meanwhile(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        peer = ada.node.web.known(await added(ada, other))
        assert peer is not None
        first = SendTaskBySkillRequest(skill="shout", message="one", wait_seconds=30, idempotency_key="k")
        only = [Candidate(peer, "it is the only one")]
        sent_first = await ada.node.choosing.send_by_skill(only, first)
        with pytest.raises(KeyReusedError):  # both had looked before for a task of their key
            await ada.node.choosing.send_by_skill(
                [Candidate(peer, "it is the only one")], first.model_copy(update={"message": "two"})
            )
        again = await ada.node.choosing.send_by_skill(only, first)
    assert again.id == sent_first.id


async def test_an_agent_at_a_url_that_could_not_be_added_is_the_one_that_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StorageFullError("/data")

    async with Agent(shout).serve() as other, Agent(shout).serve() as announced, somebody(world) as ada:
        port = urlsplit(announced.url).port or 0
        ada.node.web.sighted(WebSighting("x", "127.0.0.1", port, "/.well-known/agent-card.json", tls=False))
        with anyio.fail_after(30):
            while ada.node.web.known(announced.url) is None:
                await ada.node.directory.changes.event().wait()
        with monkeypatch.context() as patch:
            patch.setattr(ada.node.context.database, "write", full)
            for agent in (other, announced):
                with pytest.raises(StorageFullError):
                    await ada.api.call(AddPeerRequest(address=agent.url, headers={"Authorization": "Bearer s3cret"}))
        assert ada.node.web.known(other.url) is None
        met = ada.node.web.known(announced.url)
        assert met is not None
        assert (met.is_added, met.row.headers) == (False, {})


async def test_nobody_but_a_person_opens_a_private_address(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        with pytest.raises(AddressNotAllowedError, match=f"mcp-a2a peers add {other.url}"):
            await sent(ada, other.url)
        with pytest.raises(AddressNotAllowedError):
            await ada.api.call(GetAgentRequest(agent=other.url))
        assert (other.cards_read, other.heard) == (0, [])
        await added(ada, other)
        assert (await sent(ada, other.url)).text == "HELLO"


async def test_an_agent_that_was_public_gets_at_nothing_private_by_moving_its_name(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        peer = ada.node.web.known(url)
        assert peer is not None
        assert peer.row.origin == "near"
        peer.row.origin = "typed"  # as if its name had led to a public address when it was added
        view = await sent(ada, url)
    assert (view.delivery, other.heard) == (Delivery.REFUSED, [])
    assert view.error is not None
    assert "not a public address" in view.error.message


async def test_an_agent_on_this_machine_is_called_by_the_name_that_was_typed(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        view = await ada.api.call(AddPeerRequest(address=other.url.replace("127.0.0.1", "localhost")))
        assert (await sent(ada, view.did)).text == "HELLO"


async def test_an_agent_at_a_typed_port_sends_nobody_to_another_port_of_this_machine(world: World) -> None:
    """There this node itself may listen, which takes a program of this user for its owner."""
    async with Agent(shout).serve() as other, Agent(shout).serve() as local, somebody(world) as ada:
        url = await added(ada, other)
        peer = ada.node.web.known(url)
        assert peer is not None
        for host in ("127.0.0.1", "localhost", "[::1]"):
            there = local.url.replace("127.0.0.1", host)
            peer.row.card = peer.row.card.model_copy(
                update={
                    "supported_interfaces": (
                        AgentInterface(url=there, protocol_binding="JSONRPC", protocol_version="1.0"),
                    )
                }
            )
            peer.read_at = anyio.current_time()
            view = await sent(ada, url)
            assert (view.delivery, local.heard) == (Delivery.REFUSED, [])
            assert view.error is not None
            assert "which is not a public address" in view.error.message
            assert view.error.hint.endswith(f"mcp-a2a peers add {there}")


async def test_who_adds_an_agent_that_is_at_another_private_place_hears_what_that_is(world: World) -> None:
    elsewhere = {
        "name": "x",
        "supportedInterfaces": [{"url": "http://u:pw@10.1.2.3:5/a?b", "protocolBinding": "JSONRPC"}],
    }
    advice = "mcp-a2a peers add http://10.1.2.3:5/"
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        other.card = elsewhere
        with pytest.raises(AddressNotAllowedError) as refused:
            await added(ada, other)
        peer = ada.node.web.known(url)
        assert peer is not None
        assert (peer.name, refused.value.hint.endswith(advice)) == ("stranger", True)
        peer.read_at = float("-inf")
        read_anew = await sent(ada, url)
        peer.row.card = peer.row.card.model_copy(
            update={
                "supported_interfaces": (
                    AgentInterface(url="http://10.1.2.3:5/", protocol_binding="JSONRPC", protocol_version="1.0"),
                )
            }
        )
        peer.read_at = anyio.current_time()
        known_before = await sent(ada, url)
    for view in (read_anew, known_before):
        assert view.error is not None
        assert (view.delivery, view.error.hint.endswith(advice)) == (Delivery.REFUSED, True)


async def looked_up(person: Person, url: str) -> AgentDetail:
    return await person.api.call(GetAgentRequest(agent=url))


async def typed(person: Person, url: str) -> AgentView:
    return await person.api.call(AddPeerRequest(address=url))


@pytest.mark.parametrize("password", ["S3CRET", "S3/CRET", "S3 CRET", "S3@CRET", "S3:CRET%"])
async def test_a_password_in_an_address_is_repeated_to_nobody(world: World, password: str) -> None:
    url = f"http://user:{password}@127.0.0.1:1/@x/"
    async with somebody(world) as ada:
        for ask in (sent, looked_up, typed):
            with pytest.raises(AddressNotAllowedError) as refused:
                await ask(ada, url)
            said = str(refused.value)
            assert ("S3" in said, "CRET" in said, "user" in said, "peers add http" in said) == (False,) * 4
    if password.isalnum():
        assert said.startswith("http://127.0.0.1:1/@x/ may not be called: it has credentials in it.")
        assert "--token-stdin" in said


async def test_where_an_agent_says_that_it_is_comes_cleaned(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        interfaces = [{"url": f"{other.url}rpc", "protocolBinding": binding} for binding in ("JSONRPC", "a\x9b31mb\n")]
        other.card = {"name": "x", "supportedInterfaces": interfaces}
        detail = await ada.api.call(GetAgentRequest(agent=await added(ada, other)))
    assert detail.addresses == (f"{other.url}rpc (JSONRPC 1.0)", f"{other.url}rpc (ab 1.0)")


async def test_nobody_is_sent_round_by_an_address_that_only_its_owner_can_mend(world: World) -> None:
    card = {"name": "x", "supportedInterfaces": [{"url": "http://127.0.0.1:99999/", "protocolBinding": "JSONRPC"}]}
    async with Agent(shout, card=card).serve() as other, somebody(world) as ada:
        with pytest.raises(CardError, match="Its owner must fix that"):
            await added(ada, other)


async def test_a_stream_is_told_as_it_comes_to_whoever_follows(world: World) -> None:
    more = anyio.Event()

    async def answer(heard: Heard) -> object:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        write = lambda event: response.write(  # noqa: E731
            b"data: " + web.json_response({"jsonrpc": "2.0", "id": "1", "result": event}).body + b"\n\n"
        )
        await write({"task": task("TASK_STATE_SUBMITTED")})
        await write(grown("one ", append=False))
        await more.wait()
        await write(grown("two"))
        await write(status("COMPLETED"))
        return response

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        message = Message(message_id="m", role=Role.USER, parts=(Part(text="go"),))
        opened = await ada.api.call(A2ASendRequest(agent=url, message=message, follow=True))
        told: list[str] = []
        view = A2AFollowView(cursor=opened.cursor or "", over=False)
        while not view.over:
            view = await ada.api.call(
                A2AFollowRequest(agent=url, task_id=opened.task.id, cursor=view.cursor, wait_seconds=30)
            )
            for event in view.events:
                if event.artifact_update is not None:
                    told.append(event.artifact_update.artifact.parts[0].text or "")
                    more.set()
        final = await looked(ada, (await ada.api.call(ListTasksRequest())).tasks[0])
    assert told == ["one ", "two"]
    assert (final.text, final.state) == ("one two", Moment.COMPLETED)
    assert other.asked == ["stream"]


async def test_a_task_at_a_url_remembers_what_was_asked_beside_what_is_streamed(world: World) -> None:
    go_on = anyio.Event()

    async def answer(heard: Heard) -> object:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        write = lambda event: response.write(  # noqa: E731
            b"data: " + web.json_response({"jsonrpc": "2.0", "id": "1", "result": event}).body + b"\n\n"
        )
        await write({"task": task("TASK_STATE_WORKING")})
        await write(grown("one ", append=False))
        await go_on.wait()
        await write(grown("two"))
        await write(status("COMPLETED"))
        return response

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), "count\nup", wait=0)
        assert (view.request, view.answer, view.asked_here) == ("count", None, True)
        with anyio.fail_after(20):
            while (view := await looked(ada, view, wait=0.05)).answer is None:
                pass
        assert (view.state, view.request, view.answer) == ("working", "count", "one")
        go_on.set()
        view = await looked(ada, view, wait=20)
        assert (view.state, view.request, view.answer) == ("completed", "count", "one two")
        (listed,) = (await ada.api.call(ListTasksRequest(state=Moment.COMPLETED))).tasks
    assert (listed.request, listed.answer) == ("count", "one two")


async def test_a_stream_over_an_address_that_this_machine_lost_is_left_at_once_and_taken_up_anew(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation != "stream":
            return [{"task": task("TASK_STATE_WORKING", "one two")}, status("COMPLETED")]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        result = {"jsonrpc": "2.0", "id": "1", "result": {"task": task("TASK_STATE_WORKING")}}
        await response.write(f"data: {json.dumps(result)}\n\n".encode())
        await anyio.sleep_forever()
        return response

    async with (
        Agent(answer, streaming=True).serve() as other,
        WebClient() as client,
        world.person("a", web=client) as ada,
    ):
        view = await sent(ada, await added(ada, other), wait=0)
        with anyio.fail_after(30):
            while (view := await looked(ada, view, wait=0.05)).state != "working":
                pass
        client.close_gone(lambda end: end == ("192.0.2.1", 7))
        assert other.asked == ["stream"]
        client.close_gone(lambda end: True)
        assert (await looked(ada, view, wait=30)).text == "one two"
    assert other.asked == ["stream", "subscribe"]


async def test_a_broken_stream_is_taken_up_by_subscribing(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation == "stream":
            return [{"task": task("TASK_STATE_WORKING")}, grown("one ", append=False)]
        return [{"task": task("TASK_STATE_WORKING", "one two")}, status("COMPLETED")]

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, "one two")
    assert other.asked == ["stream", "subscribe"]


@pytest.mark.parametrize("knows", [True, False])
async def test_what_was_said_between_two_streams_is_fetched_before_the_end_counts(world: World, *, knows: bool) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation == "stream":
            return [{"task": task("TASK_STATE_WORKING")}, grown("one ", append=False)]
        if heard.operation == "subscribe":  # as agents of 0.3 do: with what is new, and not with the task
            return [grown("three "), status("COMPLETED", "bye")]
        error = {"code": -32001, "message": "Task not found"}
        forgotten = web.json_response({"jsonrpc": "2.0", "id": "1", "error": error})
        return task("TASK_STATE_WORKING", "one two three ") if knows else forgotten

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, "one two three " if knows else "one three ")
    assert other.asked == ["stream", "subscribe", "get"]


async def test_an_agent_that_does_not_stream_as_it_says_is_polled(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation in ("stream", "subscribe"):
            error = {"code": -32004, "message": "no"}
            return web.json_response({"jsonrpc": "2.0", "id": "1", "error": error})
        if heard.operation == "send":
            return {"task": task("TASK_STATE_WORKING")}
        return task(text="polled")

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.text == "polled"
    assert other.asked == ["stream", "send", "get"]


@pytest.mark.parametrize("code", [-32004, -32601])
async def test_what_an_agent_took_before_its_stream_failed_is_not_told_again(world: World, code: int) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation != "stream":
            return task(text="once")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        for told in ({"result": {"task": task("TASK_STATE_WORKING")}}, {"error": {"code": code, "message": "no"}}):
            await response.write(f"data: {json.dumps({'jsonrpc': '2.0', 'id': '1', **told})}\n\n".encode())
        return response

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, "once")
    assert "send" not in other.asked


LARGE: dict[str, dict[str, object]] = {
    "text": {"parts": [{"text": "x" * 900}]},
    "data": {"parts": [{"data": {"x": ["y" * 9] * 90}}]},
    "metadata": {"parts": [{"text": ""}], "metadata": {"x": "y" * 900}},
    "metadata of a part": {"parts": [{"text": "", "metadata": {"x": "y" * 900}}]},
    "a name": {"parts": [{"text": ""}], "name": "x" * 900},
    "parts": {"parts": [{"text": ""}] * 90},
}


@pytest.mark.parametrize("what", list(LARGE))
async def test_whatever_an_agent_sends_counts_towards_what_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("mcp_a2a.protocol.task.updates.MAX_RESULT", 10_000)

    async def answer(_: Heard) -> object:
        large = [{"artifactId": f"a{number}", **LARGE[what]} for number in range(20)]
        updates = [{"artifactUpdate": {**IDS, "artifact": artifact}} for artifact in large]
        return [{"task": task("TASK_STATE_WORKING")}, *updates, status("COMPLETED")]

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=20)
    assert view.error is not None
    assert (view.state, "as its result" in view.error.message) == (Moment.FAILED, True)
    assert sum(len(artifact.model_dump_json()) for artifact in view.artifacts) < 20_000


async def test_what_takes_the_place_of_something_does_not_count_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.protocol.task.updates.MAX_RESULT", 10_000)

    async def answer(_: Heard) -> object:
        return [
            {"task": task("TASK_STATE_WORKING")},
            grown("a" * 9_000, append=False),
            grown("b" * 9_000, append=False),
            {"task": task(text="c" * 9_000)},
        ]

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert (view.state, view.text) == (Moment.COMPLETED, "c" * 9_000)


async def test_a_question_is_answered_in_their_task_and_conversation(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if "taskId" not in heard.params["message"]:
            asks = {"messageId": "q", "role": "ROLE_AGENT", "parts": [{"text": "Which?"}]}
            return {"task": {**task(), "status": {"state": "TASK_STATE_INPUT_REQUIRED", "message": asks}}}
        return {"task": task(text=heard.text)}

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
        assert (view.state, view.question) == (Moment.INPUT_REQUIRED, "Which?")
        request = ReplyRequest(task_id=view.task_id, message="this", wait_seconds=30)
        done = await ada.api.call(request)
        again = await ada.api.call(request)
    assert (done.state, done.text) == (Moment.COMPLETED, "this")
    first, second, third = (heard.params["message"] for heard in other.heard)
    assert "contextId" not in first
    assert (second["taskId"], second["contextId"]) == ("t-1", "c-1")
    assert third["contextId"] == "c-1"
    assert again.task_id != done.task_id


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_task_goes_on_when_a_person_has_logged_in_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch, *, streaming: bool
) -> None:
    async def answer(heard: Heard) -> object:
        asks = {"messageId": "q", "role": "ROLE_AGENT", "parts": [{"text": "Log in at https://agent.example/"}]}
        waiting = {**task(), "status": {"state": "TASK_STATE_AUTH_REQUIRED", "message": asks}}
        if heard.operation == "get":
            return task(text="welcome") if other.asked.count("get") == 3 else waiting
        return [{"task": waiting}] if streaming else {"task": waiting}

    async with Agent(answer, streaming=streaming).serve() as other:
        async with somebody(world) as ada:
            view = await sent(ada, await added(ada, other))
            assert (view.state, view.question) == (Moment.AUTH_REQUIRED, "Log in at https://agent.example/")
        impatient(monkeypatch, look=Backoff(cap=0.01))
        async with somebody(world) as ada:
            with anyio.fail_after(30):
                while view.state == Moment.AUTH_REQUIRED:
                    await anyio.lowlevel.checkpoint()
                    view = await looked(ada, view, wait=0)
    assert (view.state, view.text) == (Moment.COMPLETED, "welcome")
    assert other.asked == ["stream" if streaming else "send", "get", "get", "get"]


async def test_a_message_in_place_of_a_task_is_the_answer(world: World) -> None:
    async def answer(_: Heard) -> object:
        return {"message": {"messageId": "r", "role": "ROLE_AGENT", "parts": [{"text": "just words"}]}}

    async with Agent(answer).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        view = await sent(ada, url)
        message = Message(message_id="m", role=Role.USER, parts=(Part(text="go"),))
        direct = await ada.api.call(A2ASendRequest(agent=url, message=message, wait_seconds=30))
    assert (view.state, view.text) == (Moment.COMPLETED, "just words")
    assert direct.reply is not None
    assert direct.reply.text == "just words"


async def test_cancelling_reaches_the_agent_also_while_it_streams(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation == "cancel":
            assert heard.params["id"] == "t-1"
            return task("TASK_STATE_CANCELED")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        body = web.json_response({"jsonrpc": "2.0", "id": "1", "result": {"task": task("TASK_STATE_WORKING")}}).body
        await response.write(b"data: " + body + b"\n\n")
        await anyio.sleep_forever()
        return response

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=0)
        with anyio.fail_after(30):
            while view.state != Moment.WORKING:
                changed = ada.node.context.task_changes.event(view.task_id)
                view = await looked(ada, view, 0)
                if view.state != Moment.WORKING:
                    await changed.wait()
        await ada.api.call(CancelRequest(task_id=view.task_id))
        view = await looked(ada, view)
    assert view.state == Moment.CANCELED
    assert other.asked == ["stream", "cancel"]


async def test_a_task_for_an_agent_that_is_away_waits_and_says_why(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        other.binding, other.version = "JSONRPC", "1.0"
        card = ada.node.web.known(url)
        assert card is not None
        port = url.rpartition(":")[2].strip("/")
    async with somebody(world) as ada:
        view = await sent(ada, url, wait=0.3)
        assert (view.delivery, view.state) == (Delivery.QUEUED, Moment.QUEUED)
        assert f"127.0.0.1:{port} could not be reached" in view.tried[0]
        with pytest.raises(NoRouteError, match="could not be reached"):
            await sent(ada, url, queue=False)
        listed = (await ada.api.call(DiscoverRequest(settle_seconds=0))).agents
        assert [agent.online for agent in listed] == [False]


async def test_a_task_that_nobody_takes_for_a_week_expires(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
    async with somebody(world) as ada:
        view = await sent(ada, url, wait=0.1)
        world.clock.advance(7.1 * 86_400)
        view = await looked(ada, view)
    assert (view.state, view.delivery) == (Moment.FAILED, Delivery.EXPIRED)


async def test_a_task_that_its_agent_has_forgotten_ends(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation == "send":
            return {"task": task("TASK_STATE_WORKING")}
        error = {"code": -32001, "message": "Task not found"}
        return web.json_response({"jsonrpc": "2.0", "id": "1", "error": error}, status=404)

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert (view.state, view.delivery) == (Moment.FAILED, Delivery.DELIVERED)
    assert "no longer knows this task" in view.error.message
    assert "half done" in view.error.message
    assert (view.error.code, view.error.retryable) == ("task_lost", True)
    assert "Send it again" in view.error.hint


async def test_a_task_survives_the_node_before_and_after_it_was_taken(world: World) -> None:
    taken = anyio.Event()
    stuck = True

    async def answer(heard: Heard) -> object:
        if heard.operation == "get":
            return task(text="later")
        taken.set()
        if stuck:
            await anyio.sleep_forever()
        return {"task": task("TASK_STATE_WORKING")}

    async with Agent(answer).serve() as other:
        async with somebody(world) as ada:
            view = await sent(ada, await added(ada, other), wait=0)
            with anyio.fail_after(30):
                await taken.wait()
        stuck = False
        async with somebody(world) as ada:
            view = await looked(ada, view)
        assert (view.state, view.text) == (Moment.COMPLETED, "later")
    first, second = (heard.params["message"]["messageId"] for heard in other.heard[:2])
    assert first == second
    assert other.asked == ["send", "send", "get"]


@pytest.mark.parametrize(
    ("response", "state", "code", "sentence"),
    [
        (lambda: web.Response(text="<html>", content_type="text/html"), "FAILED", "web_answer", "a web page"),
        (lambda: web.Response(status=401), "REJECTED", "web_refused", "--token-stdin"),
        (lambda: web.json_response({"error": {"code": -32603, "message": "boom"}}), "FAILED", "web_failed", "boom"),
        (lambda: web.json_response({"jsonrpc": "2.0", "result": {}}), "FAILED", "web_answer", "has no id"),
    ],
)
async def test_what_an_agent_does_wrong_is_said(
    world: World, response: object, state: str, code: str, sentence: str
) -> None:
    async def answer(_: Heard) -> object:
        assert callable(response)
        return response()

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert (view.state, view.error.code) == (state.lower(), code)
    assert sentence in f"{view.error.message} {view.error.hint}"


async def test_an_agent_that_cannot_even_write_a_header_fails_its_own_task_only(world: World) -> None:
    async def answer(heard: Heard) -> object:
        await raw(heard, b"HTTP/1.1 302 Found\r\nLocation: http://[bad\r\nContent-Length: 0\r\n\r\n")

    async with Agent(answer).serve() as other, Agent(shout).serve() as kind, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
        assert view.error is not None
        assert (view.state, view.error.code) == (Moment.FAILED, "web_answer")
        assert (await sent(ada, await added(ada, kind))).text == "HELLO"


LOST = {
    "a 500": b"HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "half a stream": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\ndata: {",
    "no stream": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("way", list(LOST))
async def test_what_an_agent_may_have_done_it_is_told_a_few_times_only(
    world: World, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.05))

    async def answer(heard: Heard) -> object:
        return await raw(heard, LOST[way])

    async with Agent(answer, streaming="stream" in way).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert (view.state, view.delivery, view.error.retryable) == (Moment.FAILED, Delivery.DELIVERED, False)
    assert "told 5 times, and may have done it" in view.error.message
    assert len(other.asked) == 5


async def test_an_agent_that_says_not_now_is_asked_until_it_can(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.05))
    busy = iter([429, 502, 503, 504] * 2)

    async def answer(heard: Heard) -> object:
        said = next(busy, None)
        return await shout(heard) if said is None else web.Response(status=said)

    async with Agent(answer).serve() as other, somebody(world) as ada:
        assert (await sent(ada, await added(ada, other))).text == "HELLO"
    assert len(other.asked) == 9


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (lambda: web.json_response({"task": task(text="x" * 10_000)}), "more than 10,000 bytes"),
        (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), "not followed"),
    ],
)
async def test_what_will_not_change_is_not_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch, response: object, sentence: str
) -> None:
    monkeypatch.setattr("mcp_a2a.a2a.client.MAX_ANSWER", 10_000)

    async def answer(_: Heard) -> object:
        assert callable(response)
        return response()

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
    assert view.error is not None
    assert (view.state, sentence in view.error.message) == (Moment.FAILED, True)
    assert other.asked == ["send"]


class Broken(WebClient):
    """Has a fault that nobody has thought of."""

    faults = 0

    @override
    async def send(self, agent: WebAgent, request: WebRequest) -> TaskDocument | Message:
        raise ValueError("whatever")

    @override
    async def find_card(self, url: str, *, within: Range, headers: Mapping[str, str]) -> FoundCard:
        if not urlsplit(url).path.startswith("/fault"):
            return await super().find_card(url, within=within, headers=headers)
        Broken.faults += 1
        raise ValueError("whatever")


async def test_a_fault_of_ours_ends_the_task_and_leaves_the_node_running(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world, calls=Broken) as ada:
        url = await added(ada, other)
        for _ in range(2):
            view = await sent(ada, url)
            assert view.error is not None
            assert (view.state, view.error.message) == (Moment.FAILED, "It failed inside this node.")
    async with Agent(shout).serve() as other, somebody(world) as ada:
        assert (await looked(ada, view)).state == Moment.FAILED
        assert (await sent(ada, await added(ada, other))).text == "HELLO"


async def test_a_fault_of_ours_with_what_is_announced_leaves_the_node_running(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world, calls=Broken) as ada:
        ada.node.web.sighted(WebSighting("x", "127.0.0.1", 9, "/fault", tls=False))
        with anyio.fail_after(30):
            while not Broken.faults:
                await anyio.lowlevel.checkpoint()
        assert await added(ada, other) == other.url


class Public(WebClient):
    """A client for which this machine, where a task names it, is a host of the Internet."""

    @override
    async def find_card(self, url: str, *, within: Range, headers: Mapping[str, str]) -> FoundCard:
        here = Range.ANYWHERE if within == Range.PUBLIC_HTTPS else within
        return await super().find_card(url, within=here, headers=headers)


async def test_an_agent_that_is_named_by_a_page_of_its_host_keeps_what_a_person_gave_it(world: World) -> None:
    async with Agent(shout).serve() as other:
        async with somebody(world, calls=Public) as ada:
            secret = {"Authorization": "Bearer s3cret"}
            await ada.api.call(AddPeerRequest(address=other.url, headers=secret))
            named = await ada.node.web.find(f"{other.url}some/page")
            assert (named.url, named.is_added, named.row.headers) == (other.url, True, secret)
            again = await ada.api.call(AddPeerRequest(address=f"{other.url}some/page"))
            assert again.did == other.url
        async with somebody(world) as ada:
            kept = ada.node.web.known(other.url)
    assert kept is not None
    assert (kept.is_added, kept.row.headers) == (True, secret)


@dataclass
class Gate:
    """Holds back the cards that were read behind it."""

    is_shut: bool = False
    reached: anyio.Event = field(default_factory=anyio.Event)
    opened: anyio.Event = field(default_factory=anyio.Event)


class Held(WebClient):
    """A client whose cards come through a gate."""

    def __init__(self, gate: Gate, *, idle_seconds: float) -> None:
        super().__init__(idle_seconds=idle_seconds)
        self._gate = gate

    @override
    async def find_card(self, url: str, *, within: Range, headers: Mapping[str, str]) -> FoundCard:
        found = await super().find_card(url, within=within, headers=headers)
        if self._gate.is_shut:
            self._gate.reached.set()
            await self._gate.opened.wait()
        return found


async def test_an_agent_that_is_removed_while_its_card_is_read_stays_removed_and_is_sent_nothing(world: World) -> None:
    gate = Gate()
    async with Agent(shout).serve() as other:
        async with somebody(world, calls=partial(Held, gate)) as ada:
            secret = AddPeerRequest(address=other.url, headers={"Authorization": "Bearer s3cret"})
            peer = ada.node.web.known((await ada.api.call(secret)).did)
            assert peer is not None
            gate.is_shut, peer.read_at = True, float("-inf")  # it was read long ago
            view = await sent(ada, peer.url, wait=0)
            with anyio.fail_after(30):
                await gate.reached.wait()
                await ada.api.call(SetTrustRequest(agent=peer.url, level="stranger"))
                gate.opened.set()
                while ada.node.outbox.http._tasks:
                    await anyio.lowlevel.checkpoint()
            assert ada.node.web.known(peer.url) is None
            assert (await looked(ada, view)).state == Moment.CANCELED
        async with somebody(world) as ada:
            assert ada.node.web.known(other.url) is None
    assert other.asked == []


async def test_a_stream_of_an_agent_that_is_removed_is_left_at_once(world: World) -> None:
    async def answer(heard: Heard) -> object:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        body = web.json_response({"jsonrpc": "2.0", "id": "1", "result": {"task": task("TASK_STATE_WORKING")}}).body
        await response.write(b"data: " + body + b"\n\n")
        await anyio.sleep_forever()
        return response

    # The agent says nothing more, and its silence is not what ends the stream.
    patient = partial(WebClient, idle_seconds=60)
    async with Agent(answer, streaming=True).serve() as other, somebody(world, calls=lambda **_: patient()) as ada:
        view = await sent(ada, await added(ada, other), wait=0.3)
        assert view.state == Moment.WORKING
        await ada.api.call(SetTrustRequest(agent=other.url, level="blocked"))
        with anyio.fail_after(10):
            while ada.node.outbox.http._tasks:
                await anyio.lowlevel.checkpoint()
        assert (await looked(ada, view)).state == Moment.CANCELED


async def test_a_credential_is_sent_to_its_origin_and_kept_for_the_next_start(world: World) -> None:
    async with Agent(shout).serve() as other:
        async with somebody(world) as ada:
            headers = {"Authorization": "Bearer s3cret"}
            await ada.api.call(AddPeerRequest(address=other.url, headers=headers))
            await added(ada, other)  # once more, without saying anything about credentials
        async with somebody(world) as ada:
            await sent(ada, other.url)
    assert other.heard[0].request.headers["Authorization"] == "Bearer s3cret"


async def test_files_travel_in_the_message(world: World, tmp_path: Path) -> None:
    async def answer(heard: Heard) -> object:
        raws = [part["raw"] for part in heard.params["message"]["parts"] if "raw" in part]
        return {"task": task(text=" ".join(str(len(base64.b64decode(raw))) for raw in raws))}

    small, large = tmp_path / "small.bin", tmp_path / "large.bin"
    small.write_bytes(b"x" * 100)
    large.write_bytes(b"y" * 200_000)
    async with Agent(answer).serve() as other, somebody(world) as ada:
        files = [{"path": str(small)}, {"path": str(large)}]
        view = await sent(ada, await added(ada, other), files=files)
    assert view.text == "100 200000"


async def test_a_card_that_is_signed_by_somebody_else_than_before_is_a_hard_stop(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        peer = ada.node.web.known(url)
        assert peer is not None
        peer.row.key = world.did("somebody")
        with pytest.raises(CardError, match="was signed by did:key"):
            await added(ada, other)


async def test_an_agent_that_shouts_a_name_on_the_lan_does_not_take_it_from_anybody(world: World) -> None:
    async with Agent(shout).serve() as typed, Agent(shout).serve() as other, somebody(world) as ada:
        sighting = WebSighting("x", "127.0.0.1", int(other.url.split(":")[2].strip("/")), "/", tls=False)
        ada.node.web.sighted(replace(sighting, path="/.well-known/agent-card.json"))
        with anyio.fail_after(30):
            while ada.node.web.known(other.url) is None:
                await ada.node.directory.changes.event().wait()
        by_shout = (await sent(ada, "stranger")).agent.did
        by_person = await added(ada, typed)
        assert (by_shout, (await sent(ada, "stranger")).agent.did) == (other.url, by_person)
        trust = {agent.did: agent.trust for agent in (await ada.api.call(DiscoverRequest())).agents}
        assert trust == {other.url: "stranger", by_person: "trusted"}
        ada.node.web.lost("x")
        assert [agent.online for agent in (await ada.api.call(DiscoverRequest())).agents] == [True, False]


async def test_an_agent_that_made_room_for_others_is_told_nothing_more_without_consent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(_: Heard) -> object:
        return {"task": task("TASK_STATE_INPUT_REQUIRED")}

    monkeypatch.setattr("mcp_a2a.node.peers.web_book.MAX_KNOWN", 1)
    async with Agent(ask).serve() as first, Agent(shout).serve() as second, somebody(world) as ada:
        for name, agent in (("1", first), ("2", second)):
            port = urlsplit(agent.url).port or 0
            ada.node.web.sighted(WebSighting(name, "127.0.0.1", port, "/.well-known/agent-card.json", tls=False))
            with anyio.fail_after(30):
                while ada.node.web.known(agent.url) is None:
                    await ada.node.directory.changes.event().wait()
            if agent is first:
                asked = await sent(ada, first.url)
        assert ada.node.web.known(first.url) is None
        with pytest.raises(AddressNotAllowedError):  # it has to be met again first, and only a person opens its address
            await ada.node.sending.reply(asked.task_id, ReplyRequest(task_id=asked.task_id, message="secret"))
        record = ada.node.sending.latest(asked.task_id)
    assert [message.text for message in record.said] == ["hello"]


async def test_an_agent_that_does_not_listen_at_the_first_address_of_its_host_is_read_at_another(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        port = int(other.url.split(":")[2].strip("/"))
        path = "/.well-known/agent-card.json"
        ada.node.web.sighted(WebSighting("x", "127.0.0.9", port, path, tls=False, others=("::1", "127.0.0.1")))
        with anyio.fail_after(30):
            while ada.node.web.known(other.url) is None:
                await ada.node.directory.changes.event().wait()


async def test_a_machine_that_announces_much_and_answers_nothing_keeps_no_other_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.a2a.client.CARD_SECONDS", 300.0)
    async with Agent(shout).serve() as other, somebody(world) as ada:
        with socket.create_server(("127.0.0.9", 0)) as mute:
            for number in range(8):
                ada.node.web.sighted(WebSighting(str(number), "127.0.0.9", mute.getsockname()[1], "/card", tls=False))
            port = int(other.url.split(":")[2].strip("/"))
            ada.node.web.sighted(WebSighting("x", "127.0.0.1", port, "/.well-known/agent-card.json", tls=False))
            with anyio.fail_after(30):
                while ada.node.web.known(other.url) is None:
                    await ada.node.directory.changes.event().wait()


class Late(Agent):
    """An agent behind something that stands in for it until it is started."""

    @override
    async def _card(self, request: web.Request) -> web.Response:
        card = await super()._card(request)
        return card if self.cards_read > 5 else web.Response(status=503)


async def test_an_agent_that_is_started_long_after_its_machine_announced_it_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.peers.web_book.READ_AFTER_SECONDS", (0.0, 0.0))
    monkeypatch.setattr("mcp_a2a.node.peers.web_book.READ_AGAIN_SECONDS", 0.01)
    async with Late(shout).serve() as other, somebody(world) as ada:
        port = urlsplit(other.url).port or 0
        ada.node.web.sighted(WebSighting("x", "127.0.0.1", port, "/.well-known/agent-card.json", tls=False))
        with anyio.fail_after(30):
            while ada.node.web.known(other.url) is None:
                await ada.node.directory.changes.event().wait()


async def test_an_announced_agent_is_called_where_it_announced_itself_only(world: World) -> None:
    card = {"name": "liar", "supportedInterfaces": [
        {"url": "http://127.0.0.2:1/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    ]}  # fmt: skip
    async with Agent(shout, card=card).serve() as other, somebody(world) as ada:
        port = int(other.url.split(":")[2].strip("/"))
        ada.node.web.sighted(WebSighting("x", "127.0.0.1", port, "/.well-known/agent-card.json", tls=False))
        with anyio.fail_after(30):
            while not other.cards_read:
                await anyio.lowlevel.checkpoint()
        assert (await ada.api.call(DiscoverRequest(settle_seconds=0.1))).agents == ()


async def test_a_ping_reads_the_card(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        pong = await ada.api.call(PingRequest(agent="stranger"))
    assert (pong.route, pong.address, other.cards_read) == ("http", url, 2)
    async with somebody(world) as ada:
        silence = await ada.api.call(PingRequest(agent=url))
    assert "connection refused" in (silence.detail or "")


async def test_an_agent_that_sends_a_byte_at_a_time_holds_nobody_up(world: World) -> None:
    async def answer(heard: Heard) -> object:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(heard.request)
        while True:
            await response.write(b" ")
            await anyio.sleep(0.01)

    async with Agent(answer).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        with anyio.fail_after(30):
            view = await sent(ada, url, wait=0.2)
            view = await ada.api.call(CancelRequest(task_id=view.task_id))
    assert view.state == Moment.CANCELED


async def test_an_agent_that_is_never_silent_can_be_interrupted(world: World) -> None:
    begun = anyio.Event()

    async def answer(heard: Heard) -> object:
        return task("TASK_STATE_CANCELED")

    class Restless(WebClient):
        """The next event is there before the last one was stored."""

        @override
        @asynccontextmanager
        async def stream(self, agent: WebAgent, request: WebRequest) -> AsyncIterator[Events]:
            yield self.events()

        async def events(self) -> Events:
            for number in range(1_000):
                yield [read_event(status("WORKING", f"{number}"))]
                begun.set()
            yield [read_event(status("COMPLETED"))]

    async with Agent(answer, streaming=True).serve() as other, somebody(world, calls=Restless) as ada:
        view = await sent(ada, await added(ada, other), wait=0)
        with anyio.fail_after(30):
            await begun.wait()
        view = await ada.api.call(CancelRequest(task_id=view.task_id))
        assert (await looked(ada, view, wait=10)).state == Moment.CANCELED


async def test_more_tasks_than_streams_are_polled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_a2a.node.delivery.http_calls.MAX_LISTENING", 0)
    async with Agent(shout, streaming=True).serve() as other, somebody(world) as ada:
        assert (await sent(ada, await added(ada, other))).text == "HELLO"
    assert other.asked == ["send"]


async def test_a_task_that_was_withdrawn_while_it_was_handed_over_is_stopped_there_too(world: World) -> None:
    handing, go_on, stopped = anyio.Event(), anyio.Event(), anyio.Event()

    async def answer(heard: Heard) -> object:
        if heard.operation == "cancel":
            stopped.set()
            return task("TASK_STATE_CANCELED")
        handing.set()
        await go_on.wait()
        return {"task": task("TASK_STATE_WORKING")}

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=0)
        with anyio.fail_after(30):
            await handing.wait()
            view = await ada.api.call(CancelRequest(task_id=view.task_id))
            assert view.state == Moment.CANCELED
            go_on.set()
            await stopped.wait()
        assert (await looked(ada, view)).state == Moment.CANCELED
    assert other.asked == ["send", "cancel"]


@pytest.mark.parametrize("word", ["stop", "more"])
async def test_what_is_said_while_a_look_fails_is_told(world: World, word: str) -> None:
    looking, said = anyio.Event(), anyio.Event()

    async def answer(heard: Heard) -> object:
        if heard.operation == "cancel":
            return task("TASK_STATE_CANCELED")
        if heard.operation == "send":
            return {"task": task(text="heard") if heard.text == "more" else task("TASK_STATE_WORKING")}
        looking.set()
        await said.wait()
        return web.json_response({"jsonrpc": "2.0", "id": "1", "error": {"code": -32005, "message": "no"}})

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=0)
        with anyio.fail_after(30):
            await looking.wait()
            if word == "stop":
                await ada.node.sending.cancel(view.task_id)
            else:
                await ada.node.sending.reply(view.task_id, ReplyRequest(task_id=view.task_id, message=word))
            said.set()
        view = await looked(ada, view)
    assert view.state == (Moment.CANCELED if word == "stop" else Moment.COMPLETED)
    assert [heard.text for heard in other.heard if heard.operation == "send"][1:] == ([word] if word == "more" else [])


async def test_a_word_more_reaches_an_agent_that_is_still_streaming(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if heard.text == "more":
            return [{"task": task("TASK_STATE_WORKING")}, grown("heard", append=False), status("COMPLETED")]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        body = web.json_response({"jsonrpc": "2.0", "id": "1", "result": {"task": task("TASK_STATE_WORKING")}}).body
        await response.write(b"data: " + body + b"\n\n")
        await anyio.sleep_forever()
        return response

    async with Agent(answer, streaming=True).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=0.3)
        assert view.state == Moment.WORKING
        done = await ada.api.call(ReplyRequest(task_id=view.task_id, message="more", wait_seconds=30))
    assert (done.state, done.text, done.task_id) == (Moment.COMPLETED, "heard", view.task_id)
    assert other.heard[1].params["message"]["taskId"] == "t-1"
