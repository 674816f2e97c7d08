"""What an owner hears of a node: each thing once, nothing of its content, and never more than a reader can use."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.agents import SetTrustRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.news import EventView, NewsRequest, NewsView
from mcp_a2a.api.tasks import ReplyRequest, SendTaskRequest
from mcp_a2a.node.tasks.contact_requests import HELD_SECONDS
from mcp_a2a.node.tasks.news import MAX_EVENTS
from tests.node.outsider import outsider, task_letter
from tests.node.world import Person, World, acquainted

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def begin(person: Person) -> NewsView:
    return await person.api.call(NewsRequest())


async def heard(person: Person, since: NewsView, *kinds: str) -> list[EventView]:
    """The events since then, once the last of these kinds has come."""
    found: list[EventView] = []
    with anyio.fail_after(30):
        while not found or found[-1].kind != kinds[-1] or len(found) < len(kinds):
            since = await person.api.call(NewsRequest(after=since.number, run=since.run, wait_seconds=10))
            found += since.events
    assert [event.kind for event in found] == [*kinds]
    return found


async def test_a_task_is_told_when_it_comes_when_it_asks_and_when_it_is_answered(world: World) -> None:
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        here, there = await begin(bob), await begin(alice)
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="a secret", wait_seconds=0))
        (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
        given = {"task_id": item.task_id}
        await bob.api.call(AnswerRequest(**given, status="input_required", text="a secret question"))
        await heard(alice, there, "question_received")
        await alice.api.call(ReplyRequest(task_id=sent.task_id, message="yes", wait_seconds=0))
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        await bob.api.call(AnswerRequest(**given, status="completed", text="a secret answer"))
        events = await heard(bob, here, "task_received", "question_asked", "task_answered")
        told = await heard(alice, there, "question_received", "answer_received")
    assert {event.task_id for event in (*events, *told)} == {sent.task_id}
    assert {event.agent.name for event in events if event.agent} == {"alice"}
    assert "secret" not in str(events) + str(told)


async def test_an_agent_is_told_of_by_what_its_owner_calls_it(world: World) -> None:
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        bob.node.directory.aliases.give("the boss", alice.did)
        since = await begin(bob)
        await alice.api.call(SendTaskRequest(agent="bob", message="hi", wait_seconds=0))
        (event,) = await heard(bob, since, "task_received")
    assert event.agent is not None
    assert (event.agent.name, event.agent.did) == ("the boss", alice.did)


async def test_a_contact_request_is_told_once_however_often_the_stranger_writes(world: World) -> None:
    async with world.person("bob") as bob, outsider(world.network, "loud") as stranger:
        since = await begin(bob)
        link = await stranger.dial(bob)
        for number in range(5):
            await stranger.send(link, task_letter(stranger.peer_id, bob.node.context.me, f"let me in, {number}"))
        (event,) = await heard(bob, since, "contact_request")
        assert event.agent is not None
        assert event.agent.did == stranger.did
        await bob.api.call(SetTrustRequest(agent=stranger.did, level="blocked"))
        _, decision = await heard(bob, since, "contact_request", "agent_blocked")
        assert decision.detail == "5 waiting messages dropped"


async def test_a_contact_request_is_told_anew_once_the_one_before_has_expired(world: World) -> None:
    async with world.person("bob") as bob, outsider(world.network, "loud") as stranger:
        link = await stranger.dial(bob)
        for text in ("let me in", "let me in today"):
            since = await begin(bob)
            await stranger.send(link, task_letter(stranger.peer_id, bob.node.context.me, text))
            (event,) = await heard(bob, since, "contact_request")
            assert event.agent is not None
            assert event.agent.did == stranger.did
            world.clock.advance(HELD_SECONDS + 60)


async def test_a_blocked_agent_is_told_of_once_a_minute(world: World) -> None:
    async with world.person("bob") as bob, outsider(world.network, "loud") as stranger:
        link = await stranger.dial(bob)
        since = await begin(bob)
        bob.node.directory.get(stranger.peer_id).row.trust = "blocked"  # with its link still open
        for number in range(5):
            await stranger.send(link, task_letter(stranger.peer_id, bob.node.context.me, f"again, {number}"))
        await heard(bob, since, "message_refused")


async def test_a_clock_that_is_set_back_silences_nothing(world: World) -> None:
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        here = await begin(bob)
        world.clock.jump(-200)
        await alice.api.call(SendTaskRequest(agent="bob", message="hello", wait_seconds=0))
        (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="here"))
        await heard(bob, here, "task_received", "task_answered")


async def test_a_node_that_nobody_watches_notes_nothing(world: World) -> None:
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await alice.api.call(SendTaskRequest(agent="bob", message="hello", wait_seconds=0))
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert (await begin(bob)).number == 0


async def test_a_reader_that_wants_no_received_tasks_hears_of_none_and_none_is_noted_for_it(world: World) -> None:
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        since = await bob.api.call(NewsRequest(received=False))
        await alice.api.call(SendTaskRequest(agent="bob", message="hello", wait_seconds=0))
        (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="here"))
        assert (await begin(bob)).number == since.number
        await alice.api.call(SendTaskRequest(agent="bob", message="hello again", wait_seconds=0))
        await heard(bob, since, "task_received")
        view = await bob.api.call(NewsRequest(after=since.number, run=since.run, received=False))
    assert (view.events, view.missed) == ((), 0)


async def test_a_reader_that_is_late_hears_how_much_it_has_missed(world: World) -> None:
    async with world.person("bob") as bob:
        since = await begin(bob)
        peer = bob.node.directory.get(world.identity("alice").peer_id)
        for _ in range(MAX_EVENTS + 7):
            bob.node.news.member_joined(peer, "shop")
        view = await bob.api.call(NewsRequest(after=since.number, run=since.run))
    assert (len(view.events), view.missed) == (MAX_EVENTS, 7)


async def test_the_numbers_of_an_earlier_run_mean_nothing(world: World) -> None:
    async with world.person("bob") as bob:
        await begin(bob)
        bob.node.news.member_joined(bob.node.directory.get(world.identity("alice").peer_id), "shop")
        view = await bob.api.call(NewsRequest(after=4_000, run="of another process"))
    assert (view.events, view.number, view.missed) == ((), 1, 0)
