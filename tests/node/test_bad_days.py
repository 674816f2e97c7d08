"""Cut links, restarts and calls that nobody waits for any more: no task is lost, and none is done twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import override

from mcp_a2a.api.agents import SetTrustRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest, InboxItem
from mcp_a2a.api.tasks import CancelRequest, GetTaskRequest, ListTasksRequest, SendTaskRequest
from mcp_a2a.node.peers import dialer
from mcp_a2a.node.runtime.context import delivery_of, pause_after
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.store.pending_write import PendingWrite
from tests.node.patience import set_patience
from tests.node.world import Person, World, acquainted
from tests.transports.memory import Faults, MemoryNetwork


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, network=MemoryNetwork(seed=7))
    world.make_own("alice", "bob")
    return world


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries in hundredths of seconds: what is tried again is what counts here, not how late."""
    soon = Backoff(0.01, 0.05)
    monkeypatch.setattr("mcp_a2a.node.peers.dialer.RETRY", soon)
    set_patience(monkeypatch, retry=soon, put_off=soon, dial=soon, away=soon, answer=1.0)


def task(text: str, **more: object) -> SendTaskRequest:
    return SendTaskRequest.model_validate({"agent": "bob", "message": text, "wait_seconds": 0, **more})


class Diligent:
    """Answers whatever comes into an inbox, and remembers what it was offered."""

    def __init__(self) -> None:
        self.offers: Counter[str] = Counter()
        self.done = 0
        self.progress = anyio.Event()

    async def work(self, person: Person) -> None:
        while True:
            request = CheckInboxRequest(wait_seconds=60, limit=20, holder="diligent", worker=True)
            for item in (await person.api.call(request)).items:
                await self.answer(person, item)

    async def answer(self, person: Person, item: InboxItem) -> None:
        self.offers[item.text] += 1
        await person.api.call(
            AnswerRequest(
                task_id=item.task_id,
                status="completed",
                text=f"did {item.text}",
                attempt=item.attempt,
                holder="diligent",
            )
        )
        self.done += 1
        self.progress.set()
        self.progress = anyio.Event()

    async def until(self, done: int) -> None:
        while self.done < done:
            await self.progress.wait()

    @asynccontextmanager
    async def at(self, person: Person) -> AsyncIterator[None]:
        await person.node.inbox.release(lambda holder: holder != "diligent")  # what it held before a restart
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.work, person)
            yield
            tasks.cancel_scope.cancel()


async def results(person: Person, ids: dict[str, str]) -> dict[str, str | None]:
    """What became of each text that was sent."""
    return {
        text: (await person.api.call(GetTaskRequest(task_id=task_id, wait_seconds=30))).text
        for text, task_id in ids.items()
    }


async def all_tasks(person: Person) -> list[str]:
    found: list[str] = []
    page = await person.api.call(ListTasksRequest(limit=100))
    while True:
        found += [view.task_id for view in page.tasks]
        if page.next_cursor is None:
            return found
        page = await person.api.call(ListTasksRequest(limit=100, cursor=page.next_cursor))


async def parted(one: Person, other: Person) -> None:
    """Both have noticed that there is no link."""
    for person, seen in ((one, other), (other, one)):
        peer = person.node.directory.get(PeerId.parse_untrusted(seen.did))
        while peer.links:
            await person.node.directory.changes.event().wait()


# --- the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("silently", [False, True])
async def test_two_hundred_tasks_survive_a_network_that_loses_delays_doubles_and_breaks(
    world: World,
    silently: bool,  # noqa: FBT001  pytest passes it
) -> None:
    tasks, worker = 200, Diligent()
    async with world.person("alice") as alice, world.person("bob") as bob, worker.at(bob):
        await acquainted(alice, bob)
        world.network.faults = Faults(loss=0.01, delay_seconds=0.001, jitter_seconds=0.003, duplication=0.3)

        async def storm() -> None:
            for done in range(10, tasks, 15):
                await worker.until(done)
                world.network.cut("alice", "bob", silently=silently)
                if not silently:
                    await parted(alice, bob)
                world.network.heal()

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(storm)
                ids = {str(n): (await alice.api.call(task(str(n)))).task_id for n in range(tasks)}
                assert await results(alice, ids) == {text: f"did {text}" for text in ids}
        assert worker.offers == Counter(ids.keys())
        assert sorted(await all_tasks(bob)) == sorted(await all_tasks(alice)) == sorted(ids.values())


async def test_a_peer_that_was_out_of_reach_for_long_is_found_again_when_the_network_heals(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        world.network.cut("alice", "bob")
        await parted(alice, bob)
        while alice.node.dialer.busy or bob.node.dialer.busy:  # both try for a while, and give up
            await alice.node.directory.changes.event().wait()
        sent = await alice.api.call(task("still there?"))
        world.network.heal()
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.task_id for item in inbox.items] == [sent.task_id]


async def test_a_task_for_a_peer_that_was_forgotten_meanwhile_still_arrives(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.peers.directory.MAX_PEERS", 3)
    world.own.clear()
    async with world.person("alice") as alice:
        async with world.person("bob", accept="anyone") as bob:
            await acquainted(alice, bob)
        sent = await alice.api.call(task("hello"))
        for name in ("carol", "dave", "erin", "frank"):
            async with world.person(name) as passer_by:
                await acquainted(alice, passer_by)
        async with world.person("bob", accept="anyone") as bob:
            alice.sees(bob)
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
            assert [item.task_id for item in inbox.items] == [sent.task_id]


async def test_an_agent_that_closes_every_link_at_once_is_tried_ever_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: dict[str, list[int]] = {"dialer": [], "outbox": []}

    class Noted(Backoff):
        @override
        def pause(self, failures: int, chance: float) -> float:
            pauses["outbox"].append(failures)
            return 0.0

    monkeypatch.setattr(dialer, "pause_after", lambda count, _=0.0: pauses["dialer"].append(count) or 0.0)
    set_patience(monkeypatch, dial=Noted())
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await bob.api.call(SetTrustRequest(agent="alice", level="blocked"))
        await parted(alice, bob)
        sent = await alice.api.call(task("please"))
        with anyio.fail_after(30):
            while max(map(len, pauses.values())) < 6:
                await alice.node.directory.changes.event().wait()
        for failures in filter(None, pauses.values()):
            assert failures == list(range(failures[0], failures[0] + len(failures)))
        with anyio.fail_after(30):
            while not (view := await alice.api.call(GetTaskRequest(task_id=sent.task_id))).tried:
                await parted(alice, bob)  # while a link is open for its moment, nothing was tried in vain
        assert view.delivery == Delivery.QUEUED
        assert "closed the link" in view.tried[0]


def test_a_pause_stays_short_however_often_something_failed() -> None:
    assert all(pause_after(failures, dialer.RETRY) <= dialer.RETRY.cap for failures in (1, 100, 10_000, 10**9))


# --- restarts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["alice", "bob"])
async def test_tasks_survive_restarts_of_either_side_in_the_middle_of_them(world: World, victim: str) -> None:
    tasks, worker, ids = 60, Diligent(), dict[str, str]()
    with anyio.fail_after(30):
        for start in range(0, tasks, 12):
            async with AsyncExitStack() as stack:
                people = {
                    name: await stack.enter_async_context(world.person(name))
                    for name in (["bob", "alice"] if victim == "alice" else ["alice", "bob"])
                }
                alice, bob = people["alice"], people["bob"]
                await acquainted(alice, bob)
                await stack.enter_async_context(worker.at(bob))
                for number in range(start, start + 12):
                    ids[str(number)] = (await alice.api.call(task(str(number)))).task_id
                await worker.until(start + 6)
        async with world.person("alice") as alice, world.person("bob") as bob, worker.at(bob):
            await acquainted(alice, bob)
            assert await results(alice, ids) == {text: f"did {text}" for text in ids}
            assert sorted(await all_tasks(bob)) == sorted(ids.values())
    assert set(worker.offers) == set(ids)


# --- check_inbox ----------------------------------------------------------------------------------


async def test_two_waiting_calls_share_the_work_without_a_task_in_both(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        taken: dict[str, list[str]] = {"one": [], "two": []}

        async def collect(holder: str, scope: anyio.CancelScope) -> None:
            while sum(map(len, taken.values())) < 40:
                inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30, limit=2, holder=holder))
                taken[holder] += [item.text for item in inbox.items]
            scope.cancel()

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for holder in taken:
                    tasks.start_soon(collect, holder, tasks.cancel_scope)
                for number in range(40):
                    tasks.start_soon(alice.api.call, task(str(number)))
        assert Counter(taken["one"] + taken["two"]) == Counter(map(str, range(40)))
        assert min(map(len, taken.values())) > 0  # how evenly, the machine decides


Meanwhile = Callable[[Person, Person], AsyncIterator[None]]


@pytest.mark.parametrize("already_there", [True, False])
async def test_what_a_cancelled_call_was_about_to_get_is_offered_again_as_the_same_attempt(
    world: World,
    already_there: bool,  # noqa: FBT001  pytest passes it
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        if already_there:
            sent = await alice.api.call(task("hello"))
            while (await alice.api.call(GetTaskRequest(task_id=sent.task_id))).delivery != Delivery.DELIVERED:
                await alice.node.context.task_changes.event(delivery_of(sent.task_id)).wait()
        async with anyio.create_task_group() as tasks:

            async def call(scope: anyio.CancelScope) -> None:
                with scope:
                    await bob.api.call(CheckInboxRequest(wait_seconds=30))

            scope = anyio.CancelScope()
            tasks.start_soon(call, scope)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            if already_there:
                scope.cancel()  # the lease is on its way to the disk
            else:
                sent = await alice.api.call(task("hello"))
                while not bob.node.inbox._orders[0].reserved:
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [(item.task_id, item.attempt) for item in inbox.items] == [(sent.task_id, 1)]


async def test_an_answer_counts_once_however_often_it_is_given(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("hello"))
        item = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items[0]
        answer = AnswerRequest(task_id=item.task_id, status="completed", text="olleh", attempt=1)
        first = await bob.api.call(answer)
        assert await bob.api.call(answer) == first
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        assert (view.state, view.text) == (Moment.COMPLETED, "olleh")


async def test_what_is_long_over_is_forgotten_and_what_is_open_is_not(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        over = await alice.api.call(task("over"))
        still_open = await alice.api.call(task("open"))
        await alice.api.call(CancelRequest(task_id=over.task_id))
        await alice.api.call(GetTaskRequest(task_id=over.task_id, wait_seconds=30))
    world.clock.advance(31 * 86_400)
    async with world.person("alice") as alice:
        await alice.node.context.database.write(lambda _: None)
        with anyio.fail_after(30):
            while len(listed := (await alice.api.call(ListTasksRequest())).tasks) > 1:
                await alice.node.context.database.write(lambda _: None)
    assert [one.task_id for one in listed] == [still_open.task_id]


@contextmanager
def a_slow_disk(person: Person) -> Iterator[threading.Event]:
    """Commits of this person take their time, so that a test can come in between. Set when one has begun."""
    database, began = person.node.context.database, threading.Event()
    commit = database._commit

    def slowly(batch: Sequence[PendingWrite]) -> list[object]:
        began.set()
        time.sleep(0.02)
        return commit(batch)

    database._commit = slowly
    yield began
    database._commit = commit


async def give_up_in_the_middle(person: Person, call: Callable[[], Awaitable[object]]) -> None:
    """Begin a call, and cancel it while what it writes is on its way to the disk."""
    with a_slow_disk(person) as began:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            while not began.is_set():
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()


async def test_a_task_whose_call_was_given_up_is_sent_and_called_again_the_same(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await give_up_in_the_middle(alice, lambda: alice.api.call(task("hello", idempotency_key="k")))
        again = await alice.api.call(task("hello", idempotency_key="k"))
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.task_id for item in inbox.items] == [again.task_id]


async def test_an_answer_whose_call_was_given_up_reaches_the_sender(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("hello"))
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        answer = AnswerRequest(task_id=sent.task_id, status="completed", text="olleh")
        await give_up_in_the_middle(bob, lambda: bob.api.call(answer))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        assert view.text == "olleh"
