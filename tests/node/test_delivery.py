"""A task from one node to another and back, over an in-memory network."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mcp_a2a.api.agents import DiscoverRequest, PeersRequest, SetTrustRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import (
    CancelRequest,
    GetTaskRequest,
    ListTasksRequest,
    ReplyRequest,
    SendTaskBySkillRequest,
    SendTaskRequest,
)
from mcp_a2a.errors.agents import PeerNotFoundError
from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.errors.tasks import KeyReusedError, LeaseLostError, SelfSendError
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.ports import Link
from mcp_a2a.protocol.model import AgentSkill, Delivery
from mcp_a2a.protocol.moment import Moment
from tests.node.world import Person, World, acquainted, card_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob", "carol")
    return world


def task(text: str, wait: float = 5, **more: object) -> SendTaskRequest:
    return SendTaskRequest.model_validate({"agent": "bob", "message": text, "wait_seconds": wait, **more})


async def test_a_task_is_answered_through_the_inbox(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob", "echo") as bob:
        await acquainted(alice, bob)

        async def answer() -> None:
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
            item = inbox.items[0]
            assert (item.text, item.attempt, item.agent.name, item.trust) == ("hello", 1, "alice", "own")
            await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="olleh"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            view = await alice.api.call(task("hello"))
        assert (view.state, view.text, view.done) == (Moment.COMPLETED, "olleh", True)
        assert (view.delivery, view.agent.name) == (Delivery.DELIVERED, "bob")


async def test_a_task_behind_an_answer_that_could_not_be_stored_in_time_is_offered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise StorageFullError("/data")

    async with world.person("alice") as alice, world.person("bob", "echo") as bob:
        await acquainted(alice, bob)
        await alice.api.call(task("one", wait=0))
        (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=30, limit=1))).items
        world.clock.advance(1)
        second = await alice.api.call(task("two", wait=0))
        with anyio.fail_after(30):
            while (await alice.api.call(GetTaskRequest(task_id=second.task_id))).delivery != Delivery.DELIVERED:
                await anyio.lowlevel.checkpoint()
        with monkeypatch.context() as patch, pytest.raises(StorageFullError):
            patch.setattr(bob.node.context.database, "write", full)
            await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="done"))
        assert bob.node.inbox.kept == 1
        world.clock.advance(world.lease_seconds + 1)
        (item,) = (await bob.api.call(CheckInboxRequest(limit=1))).items
        assert item.task_id == second.task_id


async def test_discover_shows_who_is_there_with_skills_both_ways(world: World) -> None:
    async with world.person("alice", "sing") as alice, world.person("bob", "echo") as bob:
        await acquainted(alice, bob)
        seen_by_alice = (await alice.api.call(DiscoverRequest())).agents
        seen_by_bob = (await bob.api.call(DiscoverRequest())).agents
    assert [(agent.name, [skill.id for skill in agent.skills]) for agent in seen_by_alice] == [("bob", ["echo"])]
    assert [(agent.name, [skill.id for skill in agent.skills]) for agent in seen_by_bob] == [("alice", ["sing"])]


async def test_an_agent_with_more_skills_than_an_advert_holds_is_found_with_those_that_fit(world: World) -> None:
    skills = tuple(AgentSkill(id=f"s{number}", name="s", description="x" * 1000) for number in range(200))
    card = card_of("bob").model_copy(update={"skills": skills})
    async with world.person("alice") as alice, world.person("bob", card=card) as bob:
        await acquainted(alice, bob)
        peer = alice.node.directory.known(bob.node.context.me)
        assert peer is not None
        assert 20 < len(peer.skills) < 100
        assert [skill.id for skill in peer.skills] == [f"s{number}" for number in range(len(peer.skills))]
        shown = bob.node.own_advert.advert()
        assert bob.node.own_advert.advert() is shown, "it says what is so, and is not signed anew each time"


async def test_an_empty_discover_says_why(world: World) -> None:
    async with world.person("alice") as alice:
        found = await alice.api.call(DiscoverRequest())
    assert found.agents == ()
    assert found.reason is not None
    assert "No other agent" in found.reason


async def test_a_task_for_an_absent_agent_waits_and_is_delivered_when_it_is_back(world: World) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await acquainted(alice, bob)
        view = await alice.api.call(task("later", wait=0))
        assert (view.state, view.delivery) == (Moment.QUEUED, Delivery.QUEUED)
        async with world.person("bob") as bob:
            alice.sees(bob)
            item = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items[0]
            await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="here"))
            view = await alice.api.call(GetTaskRequest(task_id=view.task_id, wait_seconds=30))
    assert view.text == "here"


async def test_a_queued_task_survives_a_restart_of_its_sender(world: World) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await acquainted(alice, bob)
        sent = await alice.api.call(task("later", wait=0))
    async with world.person("bob") as bob, world.person("alice") as alice:
        alice.sees(bob)
        item = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items[0]
        assert item.task_id == sent.task_id


async def test_without_queue_an_unreachable_agent_is_an_error_that_lists_the_attempts(world: World) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await acquainted(alice, bob)
        with pytest.raises(NoRouteError):
            await alice.api.call(task("now", queue=False))
        assert (await alice.api.call(ListTasksRequest())).tasks == ()


async def test_the_same_idempotency_key_is_the_same_task(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        first = await alice.api.call(task("once", wait=0, idempotency_key="k"))
        again = await alice.api.call(task("once", wait=0, idempotency_key="k"))
        assert first.task_id == again.task_id
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert len(inbox.items) + inbox.waiting == 1


@pytest.mark.parametrize(
    "other",
    [
        task("twice", wait=0, idempotency_key="k"),
        task("once", wait=0, idempotency_key="k", skill="reverse"),
        task("once", wait=0, idempotency_key="k", context_id="ctx-of-another"),
        task("once", wait=0, idempotency_key="k", parts=({"data": {"a": 1}},)),
        task("once", wait=0, idempotency_key="k", files=({"path": __file__},)),
    ],
)
async def test_another_request_under_a_key_that_was_used_is_refused(world: World, other: SendTaskRequest) -> None:
    """It would be told the answer to a question that it did not ask."""
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        first = await alice.api.call(task("once", wait=0, idempotency_key="k"))
        with pytest.raises(KeyReusedError, match=first.task_id):
            await alice.api.call(other)
        assert len((await alice.api.call(ListTasksRequest())).tasks) == 1
        keyless = other.model_copy(update={"idempotency_key": "another", "context_id": None})
        assert (await alice.api.call(keyless)).task_id != first.task_id


@pytest.mark.parametrize("skill", [None, "reverse"])
async def test_of_two_requests_under_one_key_at_once_one_is_refused(world: World, skill: str | None) -> None:
    refused: list[str] = []

    async def send(alice: Person, text: str) -> None:
        try:
            if skill is None:
                await alice.api.call(task(text, wait=0, idempotency_key="k"))
            else:
                asked = SendTaskBySkillRequest(skill=skill, message=text, wait_seconds=0, idempotency_key="k")
                await alice.api.call(asked)
        except KeyReusedError:
            refused.append(text)

    async with world.person("alice") as alice, world.person("bob", "reverse") as bob:
        await acquainted(alice, bob)
        async with anyio.create_task_group() as tasks:
            for text in ("once", "twice"):
                tasks.start_soon(send, alice, text)
        (kept,) = (await alice.api.call(ListTasksRequest())).tasks
        assert {kept.request, *refused} == {"once", "twice"}


async def test_a_reply_that_is_repeated_is_said_once_whatever_became_of_its_file_and_task(
    world: World, tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("as it was")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("once", wait=0))
        (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
        more = ReplyRequest.model_validate(
            {"task_id": sent.task_id, "message": "more", "wait_seconds": 0, "idempotency_key": "r"}
            | {"files": ({"path": str(file)},)}
        )
        await alice.api.call(more)
        file.write_text("as it is now")
        await alice.api.call(more)
        file.unlink()
        await alice.api.call(more)
        assert [said.text for said in alice.node.sending.latest(sent.task_id).said] == ["once", "more"]
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="done"))
        await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        assert (await alice.api.call(more)).task_id == sent.task_id
        with pytest.raises(KeyReusedError):
            await alice.api.call(more.model_copy(update={"message": "less"}))
        assert len((await alice.api.call(ListTasksRequest())).tasks) == 1


async def test_a_key_for_a_skill_and_one_for_a_reply_name_one_request_each(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob", "reverse") as bob:
        await acquainted(alice, bob)
        asked = SendTaskBySkillRequest(skill="reverse", message="once", wait_seconds=0, idempotency_key="k")
        sent = await alice.api.call(asked)
        assert (await alice.api.call(asked)).task_id == sent.task_id
        with pytest.raises(KeyReusedError):
            await alice.api.call(asked.model_copy(update={"message": "twice"}))
        more = ReplyRequest(task_id=sent.task_id, message="more", wait_seconds=0, idempotency_key="r")
        for _ in range(2):
            await alice.api.call(more)
        with pytest.raises(KeyReusedError):
            await alice.api.call(more.model_copy(update={"message": "less"}))
        record = alice.node.sending.latest(sent.task_id)
        assert [message.text for message in record.said] == ["once", "more"]


async def test_an_unanswered_lease_is_offered_again_and_the_third_time_the_task_fails(world: World) -> None:
    world.lease_seconds = 0.05
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("silence", wait=0))
        attempts = []
        for _ in range(3):
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
            attempts.append(inbox.items[0].attempt)
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
    assert attempts == [1, 2, 3]
    assert view.state == Moment.FAILED
    assert view.error is not None
    assert "3 times" in view.error.message


async def test_working_reports_progress_and_keeps_the_lease(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("dig", wait=0))
        item = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items[0]
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="working", text="half way"))
        with anyio.fail_after(30):
            while (view := await alice.api.call(GetTaskRequest(task_id=sent.task_id))).progress is None:
                await alice.node.context.task_changes.event(sent.task_id).wait()
    assert (view.state, view.progress) == (Moment.WORKING, "half way")


async def test_a_question_goes_to_the_sender_and_its_reply_back(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("paint it", wait=0))
        item = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items[0]
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="input_required", text="which color?"))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        assert (view.state, view.question) == (Moment.INPUT_REQUIRED, "which color?")
        await alice.api.call(ReplyRequest(task_id=sent.task_id, message="blue", wait_seconds=0))
        item = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items[0]
        assert (item.text, item.attempt) == ("paint it\nblue", 1)
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="painted"))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
    assert view.text == "painted"


async def test_cancel_reaches_whoever_works_on_it(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("dig", wait=0))
        item = (await bob.api.call(CheckInboxRequest(wait_seconds=30, holder="me"))).items[0]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alice.api.call, CancelRequest(task_id=sent.task_id))
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30, holder="me", limit=0))
        assert inbox.canceled == (item.task_id,)
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
    assert view.state == Moment.CANCELED


async def test_an_answer_to_an_older_attempt_is_refused(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await alice.api.call(task("dig", wait=0))
        item = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items[0]
        with pytest.raises(LeaseLostError):
            await bob.api.call(
                AnswerRequest(task_id=item.task_id, status="completed", text="late", attempt=item.attempt + 1)
            )


async def test_a_strangers_task_is_held_until_a_person_trusts_it(world: World) -> None:
    world.own.clear()
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        view = await alice.api.call(task("please"))
        assert (view.delivery, view.done) == (Delivery.HELD, False)
        inbox = await bob.api.call(CheckInboxRequest())
        assert (inbox.items, inbox.held) == ((), 1)
        contact = (await bob.api.call(PeersRequest())).contacts[0]
        assert (contact.did, contact.preview) == (alice.did, "please")
        trusted = await bob.api.call(SetTrustRequest(agent=alice.did, level="trusted"))
        assert (trusted.released, trusted.agent.trust) == (1, "trusted")
        item = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items[0]
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="welcome"))
        view = await alice.api.call(GetTaskRequest(task_id=view.task_id, wait_seconds=30))
    assert (view.text, view.delivery) == ("welcome", Delivery.DELIVERED)


async def test_a_blocked_agent_is_cut_off_at_once_and_its_tasks_end(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("please", wait=0))
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        await bob.api.call(SetTrustRequest(agent="alice", level="blocked"))
        assert (await bob.api.call(DiscoverRequest())).agents == ()
        received = await bob.api.call(GetTaskRequest(task_id=sent.task_id))
    assert received.state == Moment.REJECTED


async def test_work_by_skill_goes_to_the_agent_that_has_it(world: World) -> None:
    async with (
        world.person("alice") as alice,
        world.person("bob", "echo") as bob,
        world.person("carol", "sing") as carol,
    ):
        await acquainted(alice, bob)
        await acquainted(alice, carol)
        request = SendTaskBySkillRequest(skill="sing", message="la", wait_seconds=0)
        view = await alice.api.call(request)
        assert view.agent.name == "carol"
        assert view.chosen is not None
        assert "only agent" in view.chosen


async def test_work_by_skill_goes_to_the_next_agent_while_nobody_has_accepted(world: World) -> None:
    world.own.clear()
    async with (
        world.person("alice") as alice,
        world.person("bob", "sing", accept="trusted") as bob,
        world.person("carol", "sing", accept="anyone") as carol,
    ):
        await acquainted(alice, bob)
        await acquainted(alice, carol)
        view = await alice.api.call(SendTaskBySkillRequest(skill="sing", message="la", wait_seconds=1))
        assert (view.agent.name, view.delivery) == ("carol", Delivery.DELIVERED)
        assert (await bob.api.call(CheckInboxRequest())).items == ()
        assert len((await carol.api.call(CheckInboxRequest())).items) == 1


async def test_work_by_skill_stays_with_an_agent_that_accepts_it_while_the_next_one_is_reached(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.own.clear()
    async with (
        world.person("alice") as alice,
        world.person("bob", "sing", accept="trusted") as bob,
        world.person("carol", "sing", accept="trusted") as carol,
    ):
        await acquainted(alice, bob)
        await acquainted(alice, carol)
        singers = {bob.did: bob, carol.did: carol}
        dialer, asked = alice.node.dialer, list[Person]()
        connect = dialer.connect

        async def connect_slowly(peer: Peer) -> Link:
            asked.append(singers[peer.row.did])
            if len(asked) == 2:
                first = asked[0]
                await first.api.call(SetTrustRequest(agent="alice", level="trusted"))
                (item,) = (await first.api.call(CheckInboxRequest(wait_seconds=30))).items
                await first.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="la la"))
                await alice.api.call(GetTaskRequest(task_id=item.task_id, wait_seconds=30))
            return await connect(peer)

        monkeypatch.setattr(dialer, "connect", connect_slowly)
        view = await alice.api.call(SendTaskBySkillRequest(skill="sing", message="la", wait_seconds=1))
        assert (view.agent.did, view.state, view.text) == (asked[0].did, Moment.COMPLETED, "la la")
        assert (await asked[1].api.call(CheckInboxRequest())).items == ()


async def test_a_young_node_waits_for_a_name_while_somebody_who_was_seen_is_being_dialled(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob", accept="anyone") as bob:
        world.network.faults.delay_seconds = 0.1  # a handshake and a card take several times that
        alice.sees(bob)
        view = await alice.api.call(SendTaskRequest(agent="bob", message="hi", wait_seconds=0))
        assert view.agent.did == bob.did


async def test_an_unknown_name_gets_the_closest_ones(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        with pytest.raises(PeerNotFoundError, match="bob"):
            await alice.api.call(SendTaskRequest(agent="bobb", message="hi"))
        with pytest.raises(SelfSendError):
            await alice.api.call(SendTaskRequest(agent="alice", message="hi"))
