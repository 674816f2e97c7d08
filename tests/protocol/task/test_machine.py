"""One task, whatever happens to it: any event, legal or not, doubled, with a clock that goes back."""

from __future__ import annotations

from typing import Any

from hypothesis import event as seen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.errors.tasks import TransitionError
from mcp_a2a.protocol.model import Delivery, TaskState
from mcp_a2a.protocol.payload import UpdateBody
from mcp_a2a.protocol.state import INTERRUPTED, TERMINAL
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change, apply, opened
from mcp_a2a.protocol.task.table import DELIVERIES, SIDES, SILENT, TRANSITIONS, can
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.task.updates import facts_of
from tests.protocol.task.samples import ERROR, T0, artifact, chunk, message, opening, said

times = st.integers(-100, 100).map(lambda seconds: T0 + seconds)
"""The wall clock may be set back."""

words = st.sampled_from(["a", "b", None])
small = st.integers(0, 4)


def statuses(*states: TaskState) -> st.SearchStrategy[Any]:
    return st.builds(said, st.sampled_from(states), words, times)


chunks = st.lists(st.sampled_from("ab").map(chunk), max_size=3).map(tuple)
artifacts = st.lists(st.builds(artifact, st.sampled_from("ab"), st.sampled_from(["result", "notes"])), max_size=2)
ends = {"status": st.none(), "error": st.sampled_from([None, ERROR]), "delivered": st.booleans()}

EVENTS: dict[type[Event], st.SearchStrategy[Any]] = {
    e.Stored: st.builds(e.Stored),
    e.Held: st.builds(e.Held),
    e.Delivered: st.builds(e.Delivered),
    e.Declined: st.builds(e.Declined, st.just(ERROR)),
    e.Refused: st.builds(e.Refused, st.just(ERROR)),
    e.Expired: st.builds(e.Expired, st.just(ERROR)),
    e.Entrusted: st.just(e.Entrusted("did:key:z6MkCarol", "carol", "near", ("bob",), message("hi"))),
    e.Told: st.builds(e.Told, small, small, st.booleans(), st.one_of(st.none(), small)),
    e.Named: st.builds(e.Named, st.sampled_from("ab")),
    e.Heard: st.builds(e.Heard, st.sampled_from(TaskState), st.just("then")),
    e.Leased: st.builds(e.Leased, st.sampled_from("ab"), st.booleans(), times),
    e.LeaseRenewed: st.builds(e.LeaseRenewed, times),
    e.LeaseEnded: st.builds(e.LeaseEnded, st.booleans()),
    e.LeaseReturned: st.builds(e.LeaseReturned),
    e.Accepted: st.builds(e.Accepted, st.one_of(st.none(), statuses(TaskState.SUBMITTED))),
    e.Progressed: st.builds(e.Progressed, st.one_of(st.none(), statuses(TaskState.WORKING))),
    e.ArtifactsGrown: st.builds(e.ArtifactsGrown, chunks, small, st.booleans()),
    e.ArtifactsReplaced: st.builds(e.ArtifactsReplaced, artifacts.map(tuple)),
    e.Asked: st.builds(e.Asked, statuses(TaskState.INPUT_REQUIRED)),
    e.AuthorizationAsked: st.builds(e.AuthorizationAsked, statuses(TaskState.AUTH_REQUIRED)),
    e.Replied: st.builds(e.Replied, st.builds(message, st.sampled_from("ab")), st.one_of(st.none(), small), small),
    e.CancelAsked: st.builds(e.CancelAsked),
    e.Spoken: st.builds(e.Spoken),
    e.Completed: st.builds(e.Completed, **ends, direct=st.sampled_from([None, False, True])),
    e.Failed: st.builds(e.Failed, **ends),
    e.Rejected: st.builds(e.Rejected, **ends),
    e.Canceled: st.builds(e.Canceled, **ends),
    e.FileLost: st.builds(e.FileLost, st.just("blob:1"), st.just("no room")),
    e.Resent: st.builds(e.Resent, small, artifacts.map(tuple), statuses(*TaskState)),
    e.Forgotten: st.just(e.Forgotten(message("(removed)"), message("gone"))),
}
ENDING = tuple(event for event in EVENTS if TRANSITIONS[TaskState.WORKING].get(event) in TERMINAL)
GENTLE = [strategy for event, strategy in EVENTS.items() if event not in ENDING]

bodies = st.builds(
    UpdateBody,
    status=statuses(*TaskState),
    artifacts=artifacts,
    attempt=st.integers(0, 3),
    chunks=chunks,
    streamed=small,
    whole=st.one_of(st.none(), small),
    direct=st.booleans(),
)


class OneTask(RuleBasedStateMachine):
    """A task of one side, and what is true of it after each event."""

    @initialize(direction=st.sampled_from(["sent", "received"]), now=times)
    def begin(self, direction: str, now: float) -> None:
        self.task = opened(opening(direction), now)
        self.last: Event | None = None

    @rule(happened=st.one_of(GENTLE), now=times)
    def goes_on(self, happened: Event, now: float) -> None:
        self._apply(happened, now)

    @rule(happened=st.one_of(list(EVENTS.values())), now=times)
    def anything(self, happened: Event, now: float) -> None:
        self._apply(happened, now)

    @rule(now=times)
    def again(self, now: float) -> None:
        if self.last is not None:
            self._apply(self.last, now)

    @rule(seq=small, body=bodies, now=times)
    def told(self, seq: int, body: UpdateBody, now: float) -> None:
        if not self.task.sent:
            return
        before = self.task
        facts = facts_of(before, seq, body)
        if facts is None:
            seen("waits for chunks")
            return
        for fact in facts:
            assert can(self.task.state, type(fact)), fact
            self._apply(fact, now)
        assert facts_of(self.task, seq, body) == (), "told twice is told once"
        if seq <= before.seq_in:
            assert {type(fact) for fact in facts} <= {e.ArtifactsGrown, e.Failed}

    def _apply(self, happened: Event, now: float) -> None:
        before, shown, kind = self.task, dict(vars(self.task)), type(happened)
        is_legal = can(before.state, kind) and before.direction in SIDES[kind]
        moved = DELIVERIES.get(kind)
        is_repetition = moved is not None and before.delivery not in moved.sources
        try:
            after = apply(before, happened, now)
        except TransitionError:
            assert not can(before.state, kind) or (kind is e.Entrusted and is_repetition)
            after = before
        except LocalProtocolError:
            assert before.direction not in SIDES[kind]
            after = before
        else:
            assert is_legal
            assert after is not before or is_repetition or (kind is e.Forgotten and before.forgotten is not None)
        assert vars(before) == shown, "an event leaves the task before it untouched"
        if after is not before:
            seen(f"{before.state.name} {kind.__name__}")
            check_step(before, happened, after)
        self.task, self.last = after, happened

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "task"):
            return
        task = self.task
        assert task.status.state == task.state
        if task.lease_until is not None or task.holder is not None:
            assert not task.sent
            assert task.state in (TaskState.SUBMITTED, TaskState.WORKING)
        assert task.attempts >= 0
        assert (task.delivery == Delivery.DELIVERED) or task.sent


def check_step(before: Task, happened: Event, after: Task) -> None:
    """What is true of each event that changed a task."""
    kind = type(happened)
    if before.state in TERMINAL:
        assert after.state == before.state
        if kind not in (e.FileLost, e.Resent, e.Forgotten):
            kept = ("status", "error", "artifacts", "messages", "direct", "tried", "chosen", "streamed")
            assert all(getattr(after, name) == getattr(before, name) for name in kept)
    assert after.state != TaskState.SUBMITTED or before.state == TaskState.SUBMITTED, "no task is submitted again"
    assert after.events - before.events == (kind not in SILENT)
    if kind is not e.Entrusted:
        assert after.seq_in >= before.seq_in
        assert after.seq_out >= before.seq_out
        assert after.messages[: len(before.messages)] == before.messages or kind is e.Forgotten
    if after.streamed < before.streamed:
        assert kind in (e.Told, e.Leased, e.Entrusted, e.Forgotten, e.ArtifactsGrown)
    if after.delivery != before.delivery:
        moved = DELIVERIES.get(kind)
        if moved is None:
            assert isinstance(happened, e.Completed | e.Failed | e.Rejected | e.Canceled)
            assert happened.delivered
            moved = DELIVERIES[e.Delivered]
        assert before.delivery in moved.sources
        assert after.delivery == moved.target
        assert after.delivery not in (Delivery.REFUSED, Delivery.EXPIRED) or after.done or kind is e.Declined
    if after.state in INTERRUPTED and before.state not in INTERRUPTED:
        assert kind in (e.Asked, e.AuthorizationAsked)
    same = ("id", "direction", "context_id", "hop", "caller", "opened", "dated", "created", "opening_id")
    assert all(getattr(after, name) == getattr(before, name) for name in same if kind is not e.Entrusted)


TestOneTask = OneTask.TestCase
TestOneTask.settings = settings(max_examples=150, stateful_step_count=50)


def test_a_change_is_its_events_one_after_the_other() -> None:
    task = opened(opening("sent"), T0)
    events = (e.Stored(), e.Delivered(), e.Told(1, 1), e.Progressed(), e.Completed())
    folded = task
    for one in events:
        folded = apply(folded, one, T0 + 1)
    assert Change.of(task, *events, now=T0 + 1).task == folded
