"""Answers come back: whichever side was away, whoever can dial whom, and whatever a journal has forgotten."""

from __future__ import annotations

import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mcp_a2a.api.agents import AddPeerRequest, DiscoverRequest, GetAgentRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import CancelRequest, GetTaskRequest, ReplyRequest, SendTaskRequest, TaskView
from mcp_a2a.node.delivery.model import Fault, Send
from mcp_a2a.node.delivery.sealed import SealedCourier
from mcp_a2a.node.files import pieces
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Part, TaskState
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.payload import AskBody, Asked
from mcp_a2a.store.journal import pending_outbox
from mcp_a2a.store.records import find_task
from tests.files.scenes import until
from tests.node.patience import set_patience
from tests.node.world import Person, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    return world


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts in hundredths of seconds: that there are some is what counts here, not how late."""
    soon = Backoff(0.01)
    monkeypatch.setattr("mcp_a2a.node.peers.dialer.RETRY", soon)
    set_patience(monkeypatch, retry=soon, put_off=soon, dial=soon, away=Backoff(0.01, 0.05))
    monkeypatch.setattr("mcp_a2a.node.peers.dialer.SEEK_PAUSE_SECONDS", 0.0)


async def added(alice: Person, bob: Person) -> None:
    """Alice knows where Bob listens. Nothing ever tells Bob where Alice does."""
    await alice.api.call(AddPeerRequest(address=str(bob.addresses[0])))


async def send(alice: Person, text: str = "x") -> TaskView:
    return await alice.api.call(SendTaskRequest(agent="bob", message=text, wait_seconds=0))


async def leased(bob: Person) -> str:
    (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
    return item.task_id


async def at_work(alice: Person, bob: Person) -> tuple[TaskView, str]:
    """Bob has begun a task of Alice's, and nothing is left to tell him; the task at either end."""
    await added(alice, bob)
    sent = await send(alice)
    task_id = await leased(bob)
    await until(lambda: not alice.node.outbox)
    return sent, task_id


async def answered(bob: Person, task_id: str, text: str = "done") -> None:
    await bob.api.call(AnswerRequest(task_id=task_id, status="completed", text=text))


def waiting_for(alice: Person, bob: Person) -> set[str]:
    """What kinds of messages Bob has for Alice."""
    return {row.type for row in bob.node.outbox._rows.values() if row.peer == alice.did}


def failures(alice: Person, bob: Person) -> int:
    """Attempts of Alice in a row that brought no answer of Bob."""
    return alice.node.outbox._queue.failures(bob.did)


def hold_updates_back(patch: pytest.MonkeyPatch) -> list[str]:
    """A link takes no message of the kinds in the list that is returned: updates, until it is empty."""
    set_patience(patch, full=0.02)
    carry, held_back = SealedCourier.carry, ["update"]

    def carry_others(self: SealedCourier, send: Send) -> None:
        if self.rows[send.id].type in held_back:
            self.queue.not_sent(send.id, Fault.ROUTE_FULL, self.at())
        else:
            carry(self, send)

    patch.setattr(SealedCourier, "carry", carry_others)
    return held_back


def updates_of(person: Person) -> list[str]:
    """Ids of the updates that wait in the journal."""
    rows = person.node.context.database.read(pending_outbox)
    return [row.id for row in rows if row.type == "update"]


def text_of(person: Person, task_id: str) -> str | None:
    """What the record says, without asking anybody."""
    record = person.node.context.database.read(lambda connection: find_task(connection, task_id))
    return record.artifacts[0].parts[0].text if record is not None and record.artifacts else None


def state_of(person: Person, task_id: str) -> TaskState | None:
    """Likewise."""
    record = person.node.context.database.read(lambda connection: find_task(connection, task_id))
    return record.state if record is not None else None


def cut(person: Person) -> None:
    for peer in person.node.directory:
        for link in list(peer.links):
            link.close("cut by a test")


async def test_an_answer_comes_over_a_link_that_only_the_asker_can_open_after_a_restart_of_the_asker(
    world: World,
) -> None:
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            await added(alice, bob)
            sent = await send(alice)
            task_id = await leased(bob)
        await answered(bob, task_id)
        async with world.person("alice") as alice:
            await until(lambda: text_of(alice, sent.task_id) == "done")


async def test_an_answer_comes_over_a_link_that_only_the_asker_can_open_after_a_restart_of_its_agent(
    world: World,
) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await added(alice, bob)
            sent = await send(alice)
            task_id = await leased(bob)
        async with world.person("bob") as bob:
            await answered(bob, task_id)
            await until(lambda: text_of(alice, sent.task_id) == "done")


async def test_a_look_at_a_task_from_a_clock_that_was_ahead_asks_its_agent_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    async with world.person("alice") as alice, world.person("bob") as bob:
        world.clock.jump(5 * 86_400)
        await added(alice, bob)
        sent = await send(alice)
        await leased(bob)
        world.clock.jump(-5 * 86_400)
        monkeypatch.setattr(alice.node.inquiry, "_ask", lambda _, tasks: asked.extend(tasks))
        await alice.api.call(GetTaskRequest(task_id=sent.task_id))
    assert [task_id for task_id, _ in asked] == [sent.task_id]


async def test_a_look_at_a_task_dials_its_agent_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the pause between attempts has grown while the agent was away."""
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await added(alice, bob)
            sent = await send(alice)
            await answered(bob, await leased(bob), "first")
            await until(lambda: text_of(alice, sent.task_id) == "first")
            sent = await send(alice)
            task_id = await leased(bob)
        monkeypatch.setattr("mcp_a2a.node.peers.dialer.pause_after", lambda *_: 3600.0)
        await until(lambda: failures(alice, bob) > 1)
        async with world.person("bob") as bob:
            await answered(bob, task_id)
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
            assert (view.state, view.text) == (Moment.COMPLETED, "done")


@pytest.mark.parametrize("tasks", [1, 60])
async def test_all_open_tasks_at_one_agent_are_one_reason_to_dial_it(world: World, tasks: int) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await added(alice, bob)
            ids = [(await send(alice, str(number))).task_id for number in range(tasks)]
            await until(lambda: not alice.node.outbox)
        dialled = Counted(alice)
        await until(lambda: dialled.times >= 3)
        assert dialled.most_at_once == 1
        assert len(ids) == tasks


async def test_nobody_is_dialled_when_no_task_is_open(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await added(alice, bob)
        sent = await send(alice)
        await answered(bob, await leased(bob))
        await until(lambda: text_of(alice, sent.task_id) == "done")
        dialled = Counted(alice)
        cut(alice)
        await anyio.wait_all_tasks_blocked()
        await until(lambda: not alice.node.directory.get(PeerId.parse_untrusted(bob.did)).links)
        await anyio.sleep(0.2)  # ten times the pause after which an open task would have been a reason
        assert dialled.times == 0


async def test_an_agent_that_closes_every_link_is_dialled_ever_less_often(world: World) -> None:
    pauses: list[int] = []
    async with world.person("alice") as alice, world.person("bob") as bob:
        await added(alice, bob)
        await send(alice)
        await leased(bob)
        peer = alice.node.directory.get(bob.node.context.me)
        for _ in range(4):
            pauses.append(failures(alice, bob))
            cut(bob)
            await until(lambda: failures(alice, bob) > pauses[-1])
            await until(lambda: bool(peer.links))
        assert pauses == sorted(set(pauses))


async def test_an_agent_that_a_person_added_is_there_when_somebody_asks(world: World) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob", "reverse") as bob:
            await added(alice, bob)
        assert not (await alice.api.call(DiscoverRequest())).agents
        async with world.person("bob", "reverse"):
            (found,) = (await alice.api.call(DiscoverRequest())).agents
            assert (found.name, found.online) == ("bob", True)
            cut(alice)
            await until(lambda: not alice.node.directory.get(PeerId.parse_untrusted(bob.did)).links)
            node = (await alice.api.call(GetAgentRequest(agent="self"))).node
            assert node is not None
            assert node.agents_online == 1


# --- a journal that went back in time, and a key that runs twice ----------------------------------


async def test_a_restored_asker_is_told_the_results_that_it_has_forgotten(world: World) -> None:
    """The backup was made after the task was delivered: nothing is left to send that could bring the answer back."""
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            sent, task_id = await at_work(alice, bob)
        world.back_up("alice")
        async with world.person("alice") as alice:
            await answered(bob, task_id)
            await until(lambda: text_of(alice, sent.task_id) == "done" and not bob.node.outbox)
        world.restore("alice")
        async with world.person("alice") as alice:
            await until(lambda: text_of(alice, sent.task_id) == "done")


@pytest.mark.parametrize("is_here", [True, False], ids=["with its file", "without a file that is gone"])
async def test_a_restored_asker_is_told_an_answer_that_is_a_message_with_a_file(world: World, *, is_here: bool) -> None:
    raw = base64.b64encode(bytes(200_000)).decode()
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            sent, task_id = await at_work(alice, bob)
        world.back_up("alice")
        async with world.person("alice") as alice:
            message = AnswerRequest(
                task_id=task_id, status="completed", text="done", parts=(Part(raw=raw, filename="a.bin"),), direct=True
            )
            await bob.api.call(message)
            await until(lambda: state_of(alice, sent.task_id) == TaskState.COMPLETED and not bob.node.outbox)
        world.restore("alice")
        if not is_here:
            bob.node.context.spool.remove(bob.node.context.spool.folder.iterdir())
        async with world.person("alice") as alice:
            await until(lambda: state_of(alice, sent.task_id) == TaskState.COMPLETED)
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id))
            assert (view.text or "").startswith("done")
            assert ("no longer at its agent" in (view.text or "")) != is_here
            assert [file.here for file in view.files] == [True] * is_here


@pytest.mark.parametrize("is_told_twice", [False, True], ids=["of one message", "of a message and the one after it"])
async def test_a_restored_asker_gets_a_result_whose_files_it_had_signed_for(
    world: World, monkeypatch: pytest.MonkeyPatch, *, is_told_twice: bool
) -> None:
    """The backup was made before the pieces came, and the messages that name them are still to be taken."""
    raw = base64.b64encode(bytes(200_000)).decode()
    held_back = hold_updates_back(monkeypatch)
    monkeypatch.setattr(pieces, "GONE_AFTER", 2)
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            sent, task_id = await at_work(alice, bob)
        world.back_up("alice")
        async with world.person("alice") as alice:
            parts = (Part(raw=raw, filename="a.bin"),)
            answer = AnswerRequest(task_id=task_id, status="completed", text="done", parts=parts)
            await bob.api.call(answer)
            await until(lambda: waiting_for(alice, bob) == {"update"})
            if is_told_twice:
                (link,) = alice.node.directory.get(bob.node.context.me).links
                alice.node.inquiry.files_are_gone(link, sent.task_id)
                await until(lambda: len(bob.node.outbox) > 1 and waiting_for(alice, bob) == {"update"})
        world.restore("alice")
        held_back.clear()
        async with world.person("alice") as alice:
            await until(lambda: state_of(alice, sent.task_id) == TaskState.COMPLETED and not bob.node.outbox)
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id))
            assert (view.text, [file.here for file in view.files]) == ("done", [True])


async def test_a_sender_that_takes_files_and_never_the_letter_that_names_them_has_one_letter_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = base64.b64encode(bytes(200_000)).decode()
    hold_updates_back(monkeypatch)
    async with world.person("alice") as alice, world.person("bob") as bob:
        sent, task_id = await at_work(alice, bob)
        await bob.api.call(
            AnswerRequest(task_id=task_id, status="completed", text="done", parts=(Part(raw=raw, filename="a.bin"),))
        )
        (link,) = alice.node.directory.get(bob.node.context.me).links
        seen: set[str] = set()
        for _ in range(4):
            await until(lambda: waiting_for(alice, bob) == {"update"})
            seen.update(updates_of(bob))
            alice.node.inquiry.files_are_gone(link, sent.task_id)
            await until(lambda: not seen.issuperset(updates_of(bob)))
        await until(lambda: waiting_for(alice, bob) == {"update"})
        assert len(bob.node.outbox) == 2  # the answer as it was given, and the one letter that tells it again
        assert len(updates_of(bob)) == 2


async def test_a_task_that_its_agent_lost_with_its_database_can_be_canceled(world: World) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await added(alice, bob)
            sent = await send(alice)
            await leased(bob)
            await until(lambda: not alice.node.outbox)
        (world.folder / "bob" / "node.db").unlink()
        async with world.person("bob") as bob:
            await added(alice, bob)
            await alice.api.call(CancelRequest(task_id=sent.task_id))
            await until(lambda: state_of(alice, sent.task_id) == TaskState.CANCELED)
            assert not (await bob.api.call(CheckInboxRequest(wait_seconds=0))).items


async def test_a_restored_asker_that_sends_the_same_task_again_gets_its_result(world: World) -> None:
    """The backup is older than the task: the same key makes the same task, which its agent has finished."""
    request = SendTaskRequest(agent="bob", message="x", wait_seconds=0, idempotency_key="k")
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            await added(alice, bob)
        world.back_up("alice")
        async with world.person("alice") as alice:
            sent = await alice.api.call(request)
            await answered(bob, await leased(bob))
            await until(lambda: text_of(alice, sent.task_id) == "done" and not bob.node.outbox)
        world.restore("alice")
        async with world.person("alice") as alice:
            again = await alice.api.call(request)
            assert again.task_id == sent.task_id
            await until(lambda: text_of(alice, sent.task_id) == "done")
        assert not (await bob.api.call(CheckInboxRequest())).items  # the work was done once


async def test_a_restored_asker_that_sends_the_same_task_again_gets_what_is_streamed_meanwhile(world: World) -> None:
    request = SendTaskRequest(agent="bob", message="x", wait_seconds=0, idempotency_key="k")
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            await added(alice, bob)
        world.back_up("alice")
        async with world.person("alice") as alice:
            await alice.api.call(request)
            task_id = await leased(bob)
            await steps(bob, task_id, "a", "b")
            await until(lambda: not bob.node.outbox)
        world.restore("alice")
        await steps(bob, task_id, "c", since=2)
        async with world.person("alice") as alice:
            await alice.api.call(request)
            await until(lambda: text_of(alice, task_id) == "abc", 10)


async def test_a_restored_asker_that_uses_a_key_for_another_request_is_not_told_the_result_of_the_first(
    world: World,
) -> None:
    request = SendTaskRequest(agent="bob", message="x", wait_seconds=0, idempotency_key="k")
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            await added(alice, bob)
        world.back_up("alice")
        async with world.person("alice") as alice:
            await alice.api.call(request)
            await answered(bob, await leased(bob))
            await until(lambda: not bob.node.outbox)
        world.restore("alice")
        async with world.person("alice") as alice:
            other = await alice.api.call(request.model_copy(update={"message": "y", "wait_seconds": 30}))
            assert (other.state, other.text) == (Moment.REJECTED, None)
            assert "idempotency key" in str(other.error)


async def test_what_was_streamed_is_told_again_as_a_whole(world: World) -> None:
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            sent, task_id = await at_work(alice, bob)
        world.back_up("alice")
        async with world.person("alice") as alice:
            for number, text in enumerate(("a", "b", "c")):
                chunk = ArtifactChunk(
                    artifact=Artifact(artifact_id="result", parts=(Part(text=text),)),
                    append=number > 0,
                    last_chunk=False,
                )
                await bob.api.call(AnswerRequest(task_id=task_id, status="working", chunks=(chunk,), streamed=number))
            await bob.api.call(AnswerRequest(task_id=task_id, status="completed", streamed=3))
            await until(lambda: not bob.node.outbox)
        world.restore("alice")
        async with world.person("alice") as alice:
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
            assert (view.state, (view.text or "").replace("\n", "")) == (Moment.COMPLETED, "abc")


@pytest.mark.parametrize("meanwhile", [("b",), ("b", "c")])
async def test_a_restored_asker_is_told_what_was_streamed_and_what_follows(
    world: World, meanwhile: tuple[str, ...]
) -> None:
    """Also where the next piece is on its way already, which would wait for ever for those before it."""
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            sent, task_id = await at_work(alice, bob)
        world.back_up("alice")
        async with world.person("alice") as alice:
            await steps(bob, task_id, "a", "b")
            await until(lambda: not bob.node.outbox and alice.node.sending.latest(task_id).streamed == 2)
        world.restore("alice")
        if "c" in meanwhile:
            await steps(bob, task_id, "c", since=2)
        async with world.person("alice") as alice:
            await until(lambda: (text_of(alice, task_id) or "").endswith(meanwhile[-1]), 10)
            await steps(bob, task_id, "d", since=len(meanwhile) + 1)
            await bob.api.call(AnswerRequest(task_id=task_id, status="completed", streamed=len(meanwhile) + 2))
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=10))
            assert (view.state, view.text) == (Moment.COMPLETED, f"a{''.join(meanwhile)}d")


async def test_a_question_is_told_again_too(world: World) -> None:
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            sent, task_id = await at_work(alice, bob)
        world.back_up("alice")
        async with world.person("alice") as alice:
            await bob.api.call(AnswerRequest(task_id=task_id, status="input_required", text="which?"))
            await until(lambda: not bob.node.outbox)
        world.restore("alice")
        async with world.person("alice") as alice:
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
            assert view.question == "which?"


async def steps(bob: Person, task_id: str, *texts: str, since: int = 0) -> None:
    """Bob's worker writes its answer piece by piece."""
    for number, text in enumerate(texts, since):
        chunk = ArtifactChunk(
            artifact=Artifact(artifact_id="result", parts=(Part(text=text),)), append=number > 0, last_chunk=False
        )
        await bob.api.call(AnswerRequest(task_id=task_id, status="working", chunks=(chunk,), streamed=number))


async def goes_back_in_time(world: World, alice: Person) -> str:
    """Bob said more of a task than his data folder, which comes from a backup now, knows of."""
    async with world.person("bob") as bob:
        await added(alice, bob)
        sent = await send(alice)
        await until(lambda: not alice.node.outbox)
    world.back_up("bob")
    async with world.person("bob") as bob:
        await steps(bob, await leased(bob), "lost ", "with ", "the disk")
        await until(lambda: not bob.node.outbox and alice.node.sending.latest(sent.task_id).streamed == 3)
    world.restore("bob")
    return sent.task_id


async def test_a_restored_agent_that_finishes_a_task_again_is_heard(world: World) -> None:
    async with world.person("alice") as alice:
        task_id = await goes_back_in_time(world, alice)
        async with world.person("bob") as bob:
            assert await leased(bob) == task_id
            await answered(bob, task_id)
            await until(lambda: state_of(alice, task_id) == TaskState.COMPLETED)
            assert (text_of(alice, task_id) or "").endswith("done")


async def test_a_restored_agent_that_has_a_question_is_heard(world: World) -> None:
    async with world.person("alice") as alice:
        task_id = await goes_back_in_time(world, alice)
        async with world.person("bob") as bob:
            assert await leased(bob) == task_id
            await bob.api.call(AnswerRequest(task_id=task_id, status="input_required", text="which?"))
            view = await alice.api.call(GetTaskRequest(task_id=task_id, wait_seconds=30))
            assert view.question == "which?"
            await alice.api.call(ReplyRequest(task_id=task_id, message="that", wait_seconds=0))
            assert await leased(bob) == task_id
            await answered(bob, task_id)
            await until(lambda: state_of(alice, task_id) == TaskState.COMPLETED)


async def test_what_a_restored_agent_streams_takes_the_place_of_what_it_has_forgotten(world: World) -> None:
    async with world.person("alice") as alice:
        task_id = await goes_back_in_time(world, alice)
        async with world.person("bob") as bob:
            assert await leased(bob) == task_id
            await until(lambda: bool(bob.node.directory.get(alice.node.context.me).links))
            await until(lambda: bob.node.sending.latest(task_id).seq_out > 3)
            await steps(bob, task_id, "made ", "anew")
            await bob.api.call(AnswerRequest(task_id=task_id, status="completed", streamed=2))
            await until(lambda: state_of(alice, task_id) == TaskState.COMPLETED)
            assert (text_of(alice, task_id) or "").replace("\n", "") == "made anew"


async def test_what_a_restored_agent_streams_at_once_is_not_taken_for_what_it_has_forgotten(world: World) -> None:
    async with world.person("alice") as alice:
        task_id = await goes_back_in_time(world, alice)
        async with world.person("bob") as bob:
            assert await leased(bob) == task_id
            await until(lambda: bob.node.sending.latest(task_id).seq_out > 3)
            texts = ("made ", "anew ", "by ", "bob")
            pieces = [Artifact(artifact_id="result", parts=(Part(text=text),)) for text in texts]
            chunks = tuple(
                ArtifactChunk(artifact=piece, append=number > 0, last_chunk=False)
                for number, piece in enumerate(pieces)
            )
            await bob.api.call(AnswerRequest(task_id=task_id, status="working", chunks=chunks, streamed=0))
            await bob.api.call(AnswerRequest(task_id=task_id, status="completed", streamed=len(chunks)))
            await until(lambda: state_of(alice, task_id) == TaskState.COMPLETED)
            assert text_of(alice, task_id) == "made anew by bob"


async def test_who_claims_to_know_ever_more_of_a_task_does_not_fill_the_outbox(world: World) -> None:
    async with world.person("bob") as bob:
        async with world.person("alice") as alice:
            await added(alice, bob)
            task_id = (await send(alice)).task_id
            await leased(bob)
            asker = alice.node.context.me
        for seq in range(1, 40):
            bob.node.intake._memory.asked(
                bob.node.directory.get(asker), AskBody(tasks=(Asked(task=task_id, seq=100 * seq),))
            )
            await bob.node.context.database.write(lambda _: None)
            await anyio.lowlevel.checkpoint()
        assert len(bob.node.outbox) <= 2


@asynccontextmanager
async def twins(world: World) -> AsyncIterator[tuple[Person, Person]]:
    """Two machines with one key: the second is a copy of the first."""
    async with world.person("alice") as one:
        shutil.copytree(world.folder / "alice", world.folder / "copy" / "alice")
        other = World(world.folder / "copy", network=world.network, clock=world.clock, own=world.own)
        async with other.person("alice", transport=world.network.transport("copy")) as two:
            yield one, two


async def test_of_two_machines_with_one_key_each_gets_the_answers_to_what_it_asked(world: World) -> None:
    async with world.person("bob") as bob, twins(world) as (one, two), anyio.create_task_group() as tasks:
        await added(one, bob)
        await added(two, bob)

        async def work() -> None:
            while True:
                for item in (await bob.api.call(CheckInboxRequest(wait_seconds=30, limit=20))).items:
                    await answered(bob, item.task_id, f"did {item.text}")

        sent = [(person, await send(person, str(number))) for number, person in enumerate((one, two) * 6)]
        tasks.start_soon(work)
        await until(
            lambda: all(text_of(person, task.task_id) == f"did {n}" for n, (person, task) in enumerate(sent)),
        )
        tasks.cancel_scope.cancel()


async def test_a_key_that_runs_twice_is_told_to_both_copies_and_a_restart_is_no_copy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.peers.duplicate_keys.SURE_SECONDS", 0.2)
    async with world.person("bob") as bob:
        for _ in range(2):
            async with world.person("alice") as alice:
                await added(alice, bob)
                await added(alice, bob)
        async with twins(world) as (one, two):
            await added(one, bob)
            await anyio.sleep(0.4)  # longer than a peer takes to be sure
            assert one.node.duplicate_keys.noticed_at is None
            await added(two, bob)
            await until(lambda: None not in (one.node.duplicate_keys.noticed_at, two.node.duplicate_keys.noticed_at))
            for copy in (one, two):
                status = (await copy.api.call(GetAgentRequest(agent="self"))).node
                assert status is not None
                assert status.runs_twice is not None
            assert bob.node.duplicate_keys.noticed_at is None


async def test_a_stranger_learns_nothing_by_asking_after_tasks_of_others(world: World) -> None:
    async with world.person("bob") as bob, world.person("alice") as alice, world.person("carol") as carol:
        await added(alice, bob)
        sent = await send(alice)
        await answered(bob, await leased(bob))
        await until(lambda: not bob.node.outbox)
        await carol.api.call(AddPeerRequest(address=str(bob.addresses[0])))
        link = carol.node.directory.get(PeerId.parse_untrusted(bob.did)).link
        assert link is not None
        carol.node.inquiry._ask(link, [(sent.task_id, -1)])
        await until(lambda: bool(bob.node.directory.get(PeerId.parse_untrusted(carol.did)).links))
        await anyio.wait_all_tasks_blocked()
        assert not bob.node.outbox.waiting(PeerId.parse_untrusted(carol.did))
        assert not bob.node.outbox.waiting(PeerId.parse_untrusted(alice.did))


class Counted:
    """Counts the attempts of a person to dial, and how many are under way at a time."""

    def __init__(self, person: Person) -> None:
        self.times = self.most_at_once = self._now = 0
        transport = person.node.parts.transports[0]
        self._dial = transport.dial
        transport.dial = self  # type: ignore[method-assign]  it is asked where calls go out

    async def __call__(self, *arguments: object) -> object:
        self.times, self._now = self.times + 1, self._now + 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self._dial(*arguments)
        finally:
            self._now -= 1
