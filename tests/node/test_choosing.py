"""Work by skill is one task, whichever agents were asked before the one that does it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.agents import SetTrustRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import (
    CancelRequest,
    GetTaskRequest,
    ReplyRequest,
    SendTaskBySkillRequest,
    SendTaskRequest,
    TaskView,
)
from mcp_a2a.errors.tasks import NotAwaitingReplyError
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.ports import Link
from mcp_a2a.protocol.model import Delivery, TaskState
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.journal import OutboxRow, pending_outbox
from tests.node.world import Person, World, acquainted

SINGING = SendTaskBySkillRequest(skill="sing", message="la", wait_seconds=1, idempotency_key="k")
WAITING = 30.0

Then = Callable[[str, Person, Person], Awaitable[object]]
"""What happens to a task (its id) when the first agent has said no, and before the second one is reached."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent keeps a message of a stranger for its owner: it refuses it for good."""
    monkeypatch.setattr("mcp_a2a.node.tasks.contact_requests.MAX_HELD_EACH", 0)


@dataclass
class Scene:
    """Alice, who knows two singers. They do not trust her."""

    alice: Person
    singers: tuple[Person, Person]
    then: Then | None = None
    reached: list[Person] = field(default_factory=list)

    async def connect(self, peer: Peer) -> Link:
        """Reach an agent for the choice, in the place of the dialer."""
        self.reached.append(next(singer for singer in self.singers if singer.did == peer.row.did))
        if self.then is not None and len(self.reached) == 2:
            await self.then(self.task.id, *self.reached)
        return await self.alice.node.dialer.connect(peer)

    @property
    def task(self) -> Task:
        """The task as it is."""
        task = self.alice.node.choosing.sent_by_skill(SINGING)
        assert task is not None
        return task

    @property
    def ending(self) -> tuple[TaskState, Delivery, str]:
        """How the task ended."""
        assert self.task.error is not None
        return self.task.state, self.task.delivery, self.task.error.code

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that happened to the task makes it true."""
        await until(self.alice, self.task.id, condition)


@asynccontextmanager
async def scene(world: World) -> AsyncIterator[Scene]:
    async with (
        world.person("alice") as alice,
        world.person("bob", "sing") as bob,
        world.person("carol", "sing") as carol,
    ):
        await acquainted(alice, bob)
        await acquainted(alice, carol)
        scene = Scene(alice, (bob, carol))
        alice.node.couriers["sealed"].dialer = scene  # type: ignore[assignment]
        yield scene


async def until(person: Person, task_id: str, condition: Callable[[], object]) -> None:
    with anyio.fail_after(WAITING):
        while True:
            changed = person.node.context.task_changes.event(f"{task_id}/delivery")
            if condition():
                return
            await changed.wait()


async def trust_alice(_: str, __: Person, second: Person) -> None:
    await second.api.call(SetTrustRequest(agent="alice", level="trusted"))


async def answer(singer: Person, status: str, text: str) -> None:
    (item,) = (await singer.api.call(CheckInboxRequest(wait_seconds=WAITING))).items
    said = {"task_id": item.task_id, "status": status, "text": text}
    await singer.api.call(AnswerRequest.model_validate(said))


# --- it was refused -------------------------------------------------------------------------------


@pytest.mark.usefixtures("refusing")
async def test_a_reader_of_a_task_by_skill_hears_of_the_answer_of_the_second_agent(world: World) -> None:
    async with scene(world) as there, anyio.create_task_group() as tasks:
        node, seen, told = there.alice.node, list[TaskView](), list[bool]()

        async def look(task_id: str) -> None:
            seen.append(await there.alice.api.call(GetTaskRequest(task_id=task_id, wait_seconds=WAITING)))

        async def follow(task: Task) -> None:
            reading = await node.events.read(task.id, None, WAITING, to_end=True)
            while not reading.over:
                reading = await node.events.read(task.id, reading.cursor, WAITING, to_end=True)
                told.extend(event.artifact_update is not None for event in reading.events)

        async def read_it(task_id: str, first: Person, second: Person) -> None:
            assert there.task.is_declined
            assert there.task.error is not None
            tasks.start_soon(look, task_id)
            tasks.start_soon(follow, there.task)
            await anyio.wait_all_tasks_blocked()
            await trust_alice(task_id, first, second)

        there.then = read_it
        view = await there.alice.api.call(SINGING)
        second = there.reached[1]
        assert (view.agent.did, view.delivery, view.done) == (second.did, Delivery.DELIVERED, False)
        await answer(second, "completed", "la la")
    assert [(view.agent.did, view.state, view.text, view.error) for view in seen] == [
        (second.did, Moment.COMPLETED, "la la", None)
    ]
    assert any(told)


@pytest.mark.usefixtures("refusing")
async def test_a_task_by_skill_that_every_agent_refuses_is_rejected_with_the_reason_of_the_last(world: World) -> None:
    async with scene(world) as there:
        view = await there.alice.api.call(SINGING)
        assert (view.agent.did, view.state, view.delivery) == (there.reached[1].did, Moment.REJECTED, Delivery.REFUSED)
        assert view.error is not None
        assert view.error.message.startswith(f"{view.agent.name} refused the message: its owner has not trusted you")
        assert there.alice.node.outcomes.choosing == []


@pytest.mark.usefixtures("refusing")
async def test_a_task_by_skill_ends_with_the_refusal_where_its_call_is_broken_off(world: World) -> None:
    async with scene(world) as there:
        call = anyio.CancelScope()

        async def broken_off(*_: object) -> None:
            assert there.task.is_declined
            call.cancel()
            await anyio.lowlevel.checkpoint()

        there.then = broken_off
        with call:
            await there.alice.api.call(SINGING)
        assert call.cancelled_caught
        assert there.ending == (TaskState.REJECTED, Delivery.REFUSED, "refused")


@pytest.mark.usefixtures("refusing")
async def test_a_node_that_dies_between_two_agents_rejects_the_task_at_its_next_start(world: World) -> None:
    async with scene(world) as there:

        async def as_it_dies(*_: object) -> None:
            assert there.task.is_declined
            world.back_up("alice")

        there.then = as_it_dies
        await there.alice.api.call(SINGING)
    world.restore("alice")
    async with world.person("alice") as alice:
        again = Scene(alice, there.singers)
        await again.until(lambda: again.task.done)
        assert again.ending == (TaskState.REJECTED, Delivery.REFUSED, "refused")


async def test_a_refusal_that_is_written_when_the_choice_is_over_ends_the_task(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob", "sing") as bob:
        await acquainted(alice, bob)
    async with world.person("alice") as alice:
        sent = await alice.api.call(SendTaskRequest(agent=world.did("bob"), message="la", wait_seconds=0))
        (row,) = alice.node.context.database.read(pending_outbox)
        outcomes = alice.node.outcomes
        outcomes.choosing.append(sent.task_id)
        outcomes.refused(row, "bob", "not_trusted")
        outcomes.choosing.remove(sent.task_id)
        await until(alice, sent.task_id, lambda: alice.node.sending.latest(sent.task_id).done)
        task = alice.node.sending.latest(sent.task_id)
        assert (task.state, task.delivery) == (TaskState.REJECTED, Delivery.REFUSED)


@pytest.mark.usefixtures("refusing")
async def test_a_task_by_skill_that_is_withdrawn_between_two_agents_goes_to_no_other(world: World) -> None:
    async with scene(world) as there:

        async def withdrawn(task_id: str, first: Person, second: Person) -> None:
            await trust_alice(task_id, first, second)
            with pytest.raises(NotAwaitingReplyError):
                await there.alice.api.call(ReplyRequest(task_id=task_id, message="more", wait_seconds=0))
            await there.alice.api.call(CancelRequest(task_id=task_id))

        there.then = withdrawn
        view = await there.alice.api.call(SINGING)
        first, second = there.reached
        assert (view.agent.did, view.state) == (first.did, Moment.CANCELED)
        assert (await second.api.call(CheckInboxRequest())).items == ()


# --- it is held -----------------------------------------------------------------------------------


async def test_an_update_beside_the_move_to_the_next_agent_is_not_lost(world: World) -> None:
    async with scene(world) as there:

        async def asked(_: str, first: Person, second: Person) -> None:
            assert there.task.delivery == Delivery.HELD
            await trust_alice("", second, first)
            await answer(first, "input_required", "In which key?")
            await there.until(lambda: there.task.state == TaskState.INPUT_REQUIRED)

        there.then = asked
        view = await there.alice.api.call(SINGING)
        first, second = there.reached
        assert (view.agent.did, view.state, view.question) == (first.did, Moment.INPUT_REQUIRED, "In which key?")
        assert (await second.api.call(CheckInboxRequest())).items == ()


async def test_what_its_caller_added_beside_the_move_is_told_to_the_next_agent(world: World) -> None:
    async with scene(world) as there:

        async def added(task_id: str, first: Person, second: Person) -> None:
            await trust_alice(task_id, first, second)
            await there.alice.api.call(ReplyRequest(task_id=task_id, message="in C", wait_seconds=0))

        there.then = added
        view = await there.alice.api.call(SINGING)
        second = there.reached[1]
        assert view.agent.did == second.did
        await until(second, view.task_id, lambda: len(said(second, view.task_id)) == 2)
        assert said(second, view.task_id) == said(there.alice, view.task_id) == ["la", "in C"]


async def test_an_agent_that_refuses_what_was_added_as_well_leaves_the_task_to_the_next_one(world: World) -> None:
    async with scene(world) as there:

        async def refused(task_id: str, first: Person, second: Person) -> None:
            await trust_alice(task_id, first, second)
            await there.alice.api.call(ReplyRequest(task_id=task_id, message="in C", wait_seconds=0))
            rows = there.alice.node.context.database.read(pending_outbox)
            there.alice.node.outbox.drop([row.id for row in rows])
            for row in reversed(rows):
                there.alice.node.outcomes.refused(row, "the first", "unanswered")
            await there.until(lambda: there.task.is_declined)

        there.then = refused
        view = await there.alice.api.call(SINGING)
        second = there.reached[1]
        assert (view.agent.did, view.error) == (second.did, None)
        await until(second, view.task_id, lambda: said(second, view.task_id) == ["la", "in C"])


def said(person: Person, task_id: str) -> list[str]:
    task = person.node.sending.find(task_id)
    return [] if task is None else [message.text for message in task.said]


async def test_a_refusal_of_the_agent_before_does_not_end_the_task_of_the_next_one(world: World) -> None:
    async with scene(world) as there:
        database, of_the_first = there.alice.node.context.database, list[OutboxRow]()

        async def noted(task_id: str, first: Person, second: Person) -> None:
            await trust_alice(task_id, first, second)
            of_the_first.extend(database.read(pending_outbox))

        there.then = noted
        view = await there.alice.api.call(SINGING)
        (row,) = of_the_first
        changed = there.alice.node.context.task_changes.event(view.task_id)
        there.alice.node.outcomes.refused(row, "the first", "unanswered")
        await changed.wait()
        assert (there.task.peer, there.task.done, there.task.error) == (there.reached[1].did, False, None)
