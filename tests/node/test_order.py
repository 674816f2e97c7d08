"""Updates that arrive late, twice or in another order never move a task backwards (promise R12)."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_a2a.protocol.model import TaskState
from mcp_a2a.store.records import TaskRecord, find_task
from mcp_a2a.views import SendTaskRequest
from mcp_a2a_transports.memory import MemoryNetwork
from tests.node.outsider import outsider, update_letter
from tests.node.world import Person, World

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


def _record(person: Person, task_id: str) -> TaskRecord:
    record = person.node.context.database.read(lambda connection: find_task(connection, task_id))
    assert record is not None
    return record
