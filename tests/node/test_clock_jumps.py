"""Whatever clocks do: nothing is lost, doubled or deleted, and when they are right again all goes on (promise R8)."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup, TaskStatus
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.moment import Moment
from tests.node.patience import set_patience
from tests.node.world import Clock, Person, World, acquainted
from tests.transports.memory import MemoryNetwork

DAY = 86_400
NAMES = ("alice", "bob")

offsets = st.sampled_from([-20_000, -400, -31, -8, -2, -0.5, 0, 0.5, 2, 8, 31, 400]).map(lambda days: days * DAY)
steps = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(NAMES), offsets),
    st.tuples(st.sampled_from(("stop", "start")), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(("send", "answer"))),
)


@dataclass
class Life:
    """One run of a node."""

    person: Person
    ends: anyio.Event
    over: anyio.Event


@dataclass
class Town:
    """Alice, who asks, and Bob, who answers; each has a machine with a clock of its own."""

    world: World
    group: TaskGroup
    clocks: dict[str, Clock] = field(default_factory=lambda: {name: Clock() for name in NAMES})
    here: dict[str, Life] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    async def take(self, step: tuple[object, ...]) -> None:
        match step:
            case ("set", str() as name, float() | int() as offset):
                self.clocks[name].offset = float(offset)
            case ("start", str() as name):
                await self.start(name)
            case ("stop", str() as name):
                await self.stop(name)
            case ("send",):
                await self.send()
            case _:
                await self.answer(0)

    async def start(self, name: str) -> None:
        if name not in self.here:
            self.here[name] = await self.group.start(self._live, name)
        if len(self.here) == len(NAMES):
            await acquainted(*(life.person for life in self.here.values()))

    async def _live(self, name: str, *, task_status: TaskStatus[Life]) -> None:
        over = anyio.Event()
        async with self.world.person(name, clock=self.clocks[name]) as person:
            life = Life(person, anyio.Event(), over)
            task_status.started(life)
            await life.ends.wait()
        over.set()

    async def stop(self, name: str) -> None:
        if name in self.here:
            life = self.here.pop(name)
            life.ends.set()
            await life.over.wait()

    async def send(self) -> None:
        if "alice" in self.here:
            request = SendTaskRequest(agent=self.world.did("bob"), message=f"{len(self.asked)}", wait_seconds=0)
            self.asked.append((await self.here["alice"].person.api.call(request)).task_id)

    async def answer(self, wait_seconds: float) -> None:
        if "bob" not in self.here:
            return
        bob = self.here["bob"].person
        for item in (await bob.api.call(CheckInboxRequest(wait_seconds=wait_seconds))).items:
            await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text=item.task_id))
            self.done.append(item.task_id)

    async def put_right(self) -> None:
        for name in NAMES:
            self.clocks[name].offset = 0.0
            await self.start(name)
            self.here[name].person.node.context.clocks.now()
        while len(set(self.done)) < len(self.asked):
            await self.answer(5)


@settings(max_examples=20)
@given(st.lists(steps, max_size=14))
@example([("set", "alice", 400 * DAY), ("send",), ("stop", "alice")])
@example([("send",), ("set", "bob", 31 * DAY), ("answer",), ("stop", "bob"), ("start", "bob"), ("stop", "alice")])
@example([("start", "bob"), ("set", "alice", -8 * DAY), ("send",), ("answer",)])
@example([("stop", "bob"), ("send",), ("set", "alice", -31 * DAY), ("stop", "alice"), ("start", "alice")])
@example([("stop", "bob"), ("send",), ("set", "alice", -20_000 * DAY), ("start", "bob"), ("answer",)])
@example([("stop", "bob"), ("set", "bob", -20_000 * DAY), ("start", "bob"), ("send",), ("answer",)])
async def test_when_clocks_are_right_again_every_task_has_been_done_once(course: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), network=MemoryNetwork())
        world.make_own(*NAMES)
        with pytest.MonkeyPatch.context() as patch:
            set_patience(patch, clocks=Backoff(0.05, 300.0, jitter=0.0))
            async with anyio.create_task_group() as group:
                await play(Town(world, group), course)


async def play(town: Town, course: list[tuple[object, ...]]) -> None:
    for name in NAMES:
        await town.start(name)
    try:
        for step in course:
            await town.take(step)
        with anyio.fail_after(30):
            await town.put_right()
            alice = town.here["alice"].person
            for task_id in town.asked:
                view = await alice.api.call(GetTaskRequest(task_id=task_id, wait_seconds=30))
                assert (view.state, view.text) == (Moment.COMPLETED, task_id), view
        assert sorted(town.done) == sorted(town.asked)
    finally:
        for name in NAMES:
            await town.stop(name)
