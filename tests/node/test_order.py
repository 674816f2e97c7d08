"""Updates that arrive late, twice or in another order never move a task backwards (promise R12)."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_a2a.api.tasks import ReplyRequest, SendTaskRequest
from mcp_a2a.protocol.control import Delivered
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Part, TaskState, TaskStatus
from mcp_a2a.protocol.payload import UpdateBody
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.records import find_task
from tests.node.outsider import letter, outsider, update_letter
from tests.node.world import Person, World
from tests.transports.memory import MemoryNetwork

OPEN = (TaskState.SUBMITTED, TaskState.WORKING, TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED)
TERMINAL = (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED)

Life = tuple[list[TaskState], TaskState]

lives = st.tuples(st.lists(st.sampled_from(OPEN), max_size=5), st.sampled_from(TERMINAL))
"""What a worker says about one task, in order: some open states, then an end."""


def arrivals(count: int) -> st.SearchStrategy[list[int]]:
    """Every message at least once, some twice, in any order."""
    twice = st.lists(st.integers(0, count - 1), max_size=3)
    return twice.flatmap(lambda again: st.permutations([*range(count), *again]))


def with_arrivals(life: Life) -> st.SearchStrategy[tuple[Life, list[int]]]:
    """Drawn before the test begins: a draw that ends an example must not pass through an event loop."""
    return st.tuples(st.just(life), arrivals(len(life[0]) + 1))


@settings(max_examples=60)
@given(lives.flatmap(with_arrivals))
async def test_updates_in_any_order_never_move_a_task_backwards(drawn: tuple[Life, list[int]]) -> None:
    (opening, end), order = drawn
    states = [*opening, end]
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), network=MemoryNetwork())
        async with (
            world.person("alice") as alice,
            outsider(world.network, "bob", world.identity("bob")) as bob,
        ):
            link = await bob.dial(alice)
            sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hi", wait_seconds=0))
            await bob.until(lambda: bob.received_of("task"))
            letters = [
                update_letter(
                    bob.peer_id, alice.node.context.me, sent.task_id, seq=number, state=state, text=f"said {number}"
                )
                for number, state in enumerate(states, start=1)
            ]
            seen = [_record(alice, sent.task_id)]
            for position in order:
                await bob.send(link, letters[position])
                seen.append(_record(alice, sent.task_id))
    for before, after in pairwise(seen):
        assert after.seq_in >= before.seq_in
        assert after == before if before.done else True
    assert (seen[-1].state, seen[-1].seq_in) == (end, len(states))


ASKING, WORKING = TaskState.INPUT_REQUIRED, TaskState.WORKING

Step = tuple[int, UpdateBody] | str
"""An update with its number, or what the caller replies."""


def grown(attempt: int, streamed: int, *texts: str, state: TaskState = WORKING) -> UpdateBody:
    """An update with these chunks as the last ones of so many."""
    chunks = tuple(
        ArtifactChunk(artifact=Artifact(artifact_id="story", parts=(Part(text=text),)), append=True) for text in texts
    )
    return UpdateBody(status=TaskStatus(state=state), attempt=attempt, chunks=chunks, streamed=streamed)


AGAIN_FROM_THE_ATTEMPT_BEFORE_A_REPLY: tuple[Step, ...] = (
    (1, grown(2, 1, "one ")),
    (2, grown(2, 2, "two ")),
    (3, grown(2, 2, state=ASKING)),
    "go on",
    (1, grown(2, 1, "one ")),
    (4, grown(1, 3, "three")),
)
ATTEMPTS_THAT_COUNT_ANEW_AT_THE_AGENT_FIRST: tuple[Step, ...] = (
    (1, grown(2, 1, "one ")),
    (2, grown(1, 2, "two ")),
    (3, grown(1, 3, "three")),
)
JOURNAL_THAT_WENT_BACK_TO_AN_EARLIER_ATTEMPT: tuple[Step, ...] = (
    (1, grown(2, 2, "one ", "two ")),
    (4, grown(1, 1, "three ")),
    (5, grown(1, 2, "four")),
)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (AGAIN_FROM_THE_ATTEMPT_BEFORE_A_REPLY, "one two three"),
        (ATTEMPTS_THAT_COUNT_ANEW_AT_THE_AGENT_FIRST, "one two three"),
        (JOURNAL_THAT_WENT_BACK_TO_AN_EARLIER_ATTEMPT, "one two three four"),
    ],
    ids=["again", "counted anew", "went back"],
)
async def test_no_chunk_of_an_artifact_is_lost_to_the_number_of_an_attempt(
    tmp_path: Path, steps: tuple[Step, ...], text: str
) -> None:
    world = World(tmp_path, network=MemoryNetwork())
    async with world.person("alice") as alice, outsider(world.network, "bob", world.identity("bob")) as bob:
        link = await bob.dial(alice)
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="tell me", wait_seconds=0))
        await bob.until(lambda: bob.received_of("task"))
        for step in steps:
            if isinstance(step, str):
                await alice.api.call(ReplyRequest(task_id=sent.task_id, message=step, wait_seconds=0))
                continue
            seq, body = step
            update = letter("update", bob.peer_id, alice.node.context.me, body, task=sent.task_id, seq=seq)
            assert isinstance(await bob.send(link, update), Delivered)
        (artifact,) = _record(alice, sent.task_id).artifacts
    assert artifact.parts == (Part(text=text),)


def _record(person: Person, task_id: str) -> Task:
    record = person.node.context.database.read(lambda connection: find_task(connection, task_id))
    assert record is not None
    return record
