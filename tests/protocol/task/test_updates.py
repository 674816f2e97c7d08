"""The order law: updates that come late, twice, in another order, or from a journal that went back in time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_a2a.protocol.model import Delivery, TaskState, text_of_result
from mcp_a2a.protocol.payload import TaskFailure, UpdateBody
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task import updates
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change, apply
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.task.updates import ENDINGS, facts_of
from tests.protocol.task.samples import ERROR, T1, a_task, artifact, chunk, said

WORKING, ASKING, COMPLETED = TaskState.WORKING, TaskState.INPUT_REQUIRED, TaskState.COMPLETED
STATUS = said(WORKING)


def update(*texts: str, streamed: int | None = None, **values: object) -> UpdateBody:
    """An update of an agent that works, in its first attempt, with these chunks."""
    count = len(texts) if streamed is None else streamed
    return UpdateBody(**{"status": STATUS, "attempt": 1, "chunks": [*map(chunk, texts)], "streamed": count, **values})


def heard(task: Task, seq: int, body: UpdateBody) -> Task:
    facts = facts_of(task, seq, body)
    assert facts is not None
    return Change.of(task, *facts, now=T1).task


def kinds(facts: tuple[Event, ...] | None) -> list[str]:
    return [type(fact).__name__ for fact in facts or ()]


def streaming(*texts: str, **changes: object) -> Task:
    """A task whose agent has told these chunks in one update."""
    return heard(a_task(**changes), 5, update(*texts))


# --- one rule after the other ---------------------------------------------------------------------


def test_a_task_that_ended_or_was_refused_hears_nothing_more() -> None:
    for task in (a_task(COMPLETED), a_task(delivery=Delivery.REFUSED)):
        assert facts_of(task, 9, update("late")) == ()


def test_a_newer_attempt_begins_its_artifacts_anew() -> None:
    task = heard(streaming("half", " of"), 6, update("all", attempt=2))
    assert (text_of_result(task.artifacts), task.streamed, task.attempts) == ("all", 1, 2)


def test_a_newer_attempt_that_made_nothing_yet_drops_what_the_one_before_made() -> None:
    task = heard(streaming("half"), 6, update(attempt=2))
    assert (task.artifacts, task.streamed) == ((), 0)


def test_a_whole_answer_sets_the_count_and_later_chunks_follow_on_it() -> None:
    whole = update(whole=7, artifacts=[artifact("all of it")])
    task = heard(streaming("half"), 6, whole)
    assert (text_of_result(task.artifacts), task.streamed) == ("all of it", 7)
    assert text_of_result(heard(task, 7, update("!", streamed=8)).artifacts) == "all of it!"


def test_chunks_of_a_journal_that_went_back_follow_on_what_there_is() -> None:
    task = heard(streaming("a", "b", "c"), 6, update("B", streamed=2))
    assert (text_of_result(task.artifacts), task.streamed) == ("abcB", 2)


def test_a_journal_that_went_back_may_be_in_an_earlier_attempt() -> None:
    second = heard(streaming("x"), 6, update("a", "b", "c", attempt=2))
    task = heard(second, 7, update("B", streamed=2))
    assert (text_of_result(task.artifacts), task.streamed, task.attempts) == ("abcB", 2, 1)


def test_chunks_of_an_older_attempt_are_no_news() -> None:
    task = heard(streaming("half"), 6, update("all", attempt=2))
    assert facts_of(task, 4, update("a", "b", "c")) == ()


def test_chunks_that_are_known_are_no_news_and_only_the_rest_of_an_update_is() -> None:
    task = streaming("a", "b")
    assert facts_of(task, 3, update("a", "b")) == ()
    assert text_of_result(heard(task, 6, update("a", "b", "c")).artifacts) == "abc"


@pytest.mark.parametrize("seq", [3, 6])
def test_an_update_behind_chunks_that_have_not_come_waits_for_them(seq: int) -> None:
    assert facts_of(streaming("a"), seq, update("c", streamed=3)) is None


def test_a_late_update_brings_its_chunks_and_moves_the_task_nowhere() -> None:
    task = heard(a_task(), 5, UpdateBody(status=said(ASKING, "which?"), attempt=1))
    facts = facts_of(task, 3, update("a"))
    assert kinds(facts) == ["ArtifactsGrown"]
    late = heard(task, 3, update("a"))
    assert (late.status, late.seq_in, late.updated) == (task.status, 5, task.updated)
    assert text_of_result(late.artifacts) == "a"


def test_a_late_update_from_before_a_reply_drops_nothing() -> None:
    asked = heard(streaming("half"), 6, update("all", attempt=2, status=said(ASKING, "go on?")))
    replied = apply(asked, e.Replied(asked.messages[0]), T1)
    assert replied.attempts == 0
    assert facts_of(replied, 5, update("all", attempt=2)) == ()


def test_the_first_attempt_behind_a_reply_goes_on_with_what_there_is() -> None:
    asked = heard(streaming("half"), 6, update("half", attempt=1, status=said(ASKING, "go on?")))
    replied = apply(asked, e.Replied(asked.messages[0]), T1)
    assert text_of_result(heard(replied, 7, update(" done", streamed=2)).artifacts) == "half done"


def test_an_agent_that_has_the_reply_earlier_than_it_is_counted_here_loses_no_chunk() -> None:
    second = heard(streaming("half"), 6, update("all", attempt=2))
    assert text_of_result(heard(second, 7, update(" of it", streamed=2, attempt=1)).artifacts) == "all of it"


def test_more_than_is_kept_ends_the_task_with_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    task = streaming("some")
    monkeypatch.setattr(updates, "MAX_RESULT", 500)
    for seq in (3, 6):
        body = update("some", "x" * 1000) if seq == 3 else update("x" * 1000, streamed=2)
        failed = heard(task, seq, body)
        assert (failed.state, failed.artifacts, failed.seq_in) == (TaskState.FAILED, task.artifacts, 5)
        assert failed.error is not None
        assert failed.error.code == "result_too_large"


def test_what_is_replaced_again_and_again_is_measured_by_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "MAX_RESULT", 500)
    task = a_task()
    for seq in range(20):
        task = heard(task, seq, UpdateBody(status=STATUS, attempt=1, artifacts=(artifact("x" * 100),)))
    assert (task.state, len(task.artifacts)) == (WORKING, 1)


# --- what the newest one says ---------------------------------------------------------------------


def test_an_update_is_as_good_as_a_receipt() -> None:
    for delivery in (Delivery.QUEUED, Delivery.STORED, Delivery.HELD):
        assert heard(a_task(delivery=delivery), 0, update()).delivery == Delivery.DELIVERED
    assert kinds(facts_of(a_task(delivery=Delivery.DELIVERED), 0, update())) == ["Told", "Progressed"]


def test_a_status_that_the_task_has_is_no_news_of_the_work() -> None:
    task = streaming("a")
    assert kinds(facts_of(task, 6, update("b", streamed=2))) == ["Told", "ArtifactsGrown"]


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (TaskState.SUBMITTED, "Accepted"),
        (WORKING, "Progressed"),
        (ASKING, "Asked"),
        (TaskState.AUTH_REQUIRED, "AuthorizationAsked"),
        (COMPLETED, "Completed"),
        (TaskState.FAILED, "Failed"),
        (TaskState.CANCELED, "Canceled"),
        (TaskState.REJECTED, "Rejected"),
    ],
)
def test_each_state_that_is_told_is_an_event(state: TaskState, event: str) -> None:
    assert kinds(facts_of(a_task(), 1, UpdateBody(status=said(state))))[-1] == event
    assert heard(a_task(), 1, UpdateBody(status=said(state))).state == state


def test_a_task_that_was_begun_and_is_told_submitted_is_worked_on() -> None:
    assert heard(a_task(ASKING), 1, UpdateBody(status=said(TaskState.SUBMITTED))).state == WORKING


def test_an_end_without_success_has_a_reason() -> None:
    for state, (code, otherwise) in ENDINGS.items():
        error = heard(a_task(), 1, UpdateBody(status=said(state))).error
        assert error is not None
        assert (error.code, error.message) == (code, otherwise)
    worded = heard(a_task(), 1, UpdateBody(status=said(TaskState.FAILED, "no paper\x1b[2J")))
    assert worded.error is not None
    assert worded.error.message == "no paper"
    failure = TaskFailure(code="jam", message="It jammed.")
    coded = heard(a_task(error=ERROR), 1, UpdateBody(status=said(TaskState.FAILED, "no paper"), error=failure))
    assert coded.error is not None
    assert coded.error.code == "jam"
    assert heard(a_task(error=ERROR), 1, UpdateBody(status=said(TaskState.FAILED))).error == ERROR


def test_a_reader_is_told_of_work_before_what_was_made_and_of_the_end_behind_it() -> None:
    made = update("a", artifacts=[artifact("b", "notes")])
    assert kinds(facts_of(a_task(), 1, made))[2:] == ["Progressed", "ArtifactsGrown", "ArtifactsReplaced"]
    ended = update("a", artifacts=[artifact("b", "notes")], status=said(COMPLETED, "done"))
    assert kinds(facts_of(a_task(), 1, ended))[2:] == ["Progressed", "ArtifactsGrown", "ArtifactsReplaced", "Completed"]
    assert kinds(facts_of(a_task(WORKING), 1, ended))[2:] == ["ArtifactsGrown", "ArtifactsReplaced", "Completed"]


# --- any order ------------------------------------------------------------------------------------


class Agent:
    """The other end: a task of its own, and the update about each change of it, as a node writes them."""

    def __init__(self) -> None:
        self.task = a_task(direction="received")
        self.updates: list[tuple[int, UpdateBody]] = []
        self.now = T1

    def record(self, *events: Event) -> None:
        self.now += 1
        change = Change.of(self.task, *events, e.Spoken(), now=self.now)
        self.task = change.task
        body = UpdateBody(
            status=self.task.status,
            artifacts=change.replaced if self.task.streamed else self.task.artifacts,
            attempt=self.task.attempts,
            chunks=change.chunks,
            streamed=self.task.streamed,
        )
        self.updates.append((self.task.seq_out, body))

    def attempt(self, steps: list[str | int]) -> None:
        """One attempt: each text is told as progress, each number is so many chunks."""
        self.task = apply(self.task, e.Leased("claude", worker=True, until=self.now + 60), self.now)
        for number, step in enumerate(steps):
            if isinstance(step, str):
                self.record(e.Progressed(said(WORKING, step, self.now)))
                continue
            first = self.task.streamed
            chunks = tuple(chunk(f"{self.task.attempts}{number}{one}.") for one in range(step))
            begun = () if self.task.state == WORKING else (e.Progressed(said(WORKING, at=self.now)),)
            self.record(*begun, e.ArtifactsGrown(chunks, first + step))


attempts = st.lists(
    st.lists(st.one_of(st.sampled_from(["reading", "writing"]), st.integers(1, 3)), max_size=5), min_size=1, max_size=3
)
ends = st.sampled_from([e.Completed(), e.Completed(said(COMPLETED, "done")), e.Failed(), e.Rejected()])


def _journal(drawn: tuple[list[list[str | int]], Event, bool]) -> Agent:
    tries, end, with_result = drawn
    agent = Agent()
    for steps in tries:
        if agent.task.attempts:
            agent.task = apply(agent.task, e.LeaseEnded(crashed=True), agent.now)
        agent.attempt(steps)
    agent.record(*([e.ArtifactsReplaced((artifact("result", "answer"),))] if with_result else []), end)
    return agent


@settings(max_examples=200)
@given(st.data())
def test_the_updates_of_an_agent_come_to_one_end_in_any_order_and_however_often(data: st.DataObject) -> None:
    agent = _journal(data.draw(st.tuples(attempts, ends, st.booleans())))
    count = len(agent.updates)
    again = data.draw(st.lists(st.integers(0, count - 1), max_size=3))
    waiting = [agent.updates[at] for at in data.draw(st.permutations([*range(count), *again]))]
    task, told_of = a_task(), list[Event]()
    while waiting:
        left: list[tuple[int, UpdateBody]] = []
        for seq, body in waiting:
            facts = facts_of(task, seq, body)
            if facts is None:
                left.append((seq, body))  # it is sent again behind those before it
                continue
            told_of += facts
            task = Change.of(task, *facts, now=T1).task
            assert facts_of(task, seq, body) == ()
        assert len(left) < len(waiting), "an update waits for chunks that no other brings"
        waiting = left
    assert (task.state, task.status, task.direct) == (agent.task.state, agent.task.status, agent.task.direct)
    assert task.artifacts == agent.task.artifacts
    work = [kind for kind in kinds(tuple(told_of)) if kind not in ("Told", "Delivered")]
    assert work[0] == "Progressed" or len(work) == 1, "a reader is told of work before what it made"
    assert work[-1] in ("Completed", "Failed", "Rejected")
