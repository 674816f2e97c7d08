"""What each event changes of a task beside its state and its delivery."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcp_a2a.errors.tasks import ConversationFullError, TransitionError
from mcp_a2a.protocol.model import Artifact, Delivery, Part, Role, TaskState, TaskStatus, text_of_result
from mcp_a2a.protocol.payload import LAST_SEQ
from mcp_a2a.protocol.task import effects
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import WITHDRAWN, Change, apply, opened, refusal, withdrawal
from mcp_a2a.protocol.task.task import Task, with_
from mcp_a2a.protocol.times import iso
from tests.protocol.task.samples import ERROR, T0, T1, a_task, artifact, chunk, message, opening, said

WORKING, ASKING = TaskState.WORKING, TaskState.INPUT_REQUIRED


def after(task: Task, *events: Event) -> Task:
    for event in events:
        task = apply(task, event, T1)
    return task


# --- the value ------------------------------------------------------------------------------------


def test_the_quick_copy_is_the_copy_of_the_standard_library() -> None:
    task = a_task()
    copied, known = with_(task, streamed=3, error=ERROR), replace(task, streamed=3, error=ERROR)
    assert (copied, vars(copied)) == (known, vars(known))
    assert (task.streamed, task.error) == (0, None)


def test_a_task_begins_submitted_with_its_message() -> None:
    task = opened(opening("received", hop=2, skill="sum", dated=T0 + 5), T0)
    assert (task.state, task.status) == (TaskState.SUBMITTED, TaskStatus(state=TaskState.SUBMITTED, timestamp=iso(T0)))
    assert (task.messages, task.said, task.opening_id) == ((message("hi"),), (message("hi"),), "m-hi")
    assert (task.created, task.updated, task.events, task.hop, task.skill) == (T0, T0, 1, 2, "sum")
    assert (task.done, task.leased(T0), task.sent) == (False, False, False)


# --- delivery and choice --------------------------------------------------------------------------


def test_a_refusal_and_an_expiry_end_a_task_with_their_reason() -> None:
    for event, state in ((e.Refused(ERROR), TaskState.REJECTED), (e.Expired(ERROR), TaskState.FAILED)):
        ended = after(a_task(WORKING), event)
        assert (ended.error, ended.status) == (ERROR, TaskStatus(state=state, timestamp=iso(T1)))


def test_a_refusal_ends_no_task_whose_sender_is_still_choosing() -> None:
    declined = after(a_task(), refusal(a_task(), ERROR, choosing=True))
    assert (declined.state, declined.delivery, declined.error) == (TaskState.SUBMITTED, Delivery.REFUSED, ERROR)
    assert after(declined, e.Refused(ERROR)).state == TaskState.REJECTED
    assert isinstance(refusal(a_task(), ERROR, choosing=False), e.Refused)
    assert isinstance(refusal(a_task(WORKING), ERROR, choosing=True), e.Refused)
    assert isinstance(refusal(with_(a_task(), delivery=Delivery.DELIVERED), ERROR, choosing=True), e.Refused)


def test_a_task_that_was_declined_goes_to_the_next_agent_as_if_it_was_opened_there() -> None:
    first = a_task(seq_in=4, seq_out=2, attempts=1, chosen="bob: is here", delivery=Delivery.HELD)
    entrusted = e.Entrusted("did:key:z6MkCarol", "carol", "carol: is near", ("bob: held",), message("again"))
    moved = after(first, entrusted)
    fresh = opened(opening("sent", peer="did:key:z6MkCarol", peer_name="carol", message=message("again")), T1)
    assert moved == with_(fresh, created=T0, chosen="carol: is near", tried=("bob: held",), events=2)


# --- leases ---------------------------------------------------------------------------------------


def test_a_lease_is_an_attempt_and_a_renewal_is_not() -> None:
    leased = after(a_task(direction="received"), e.Leased("claude", worker=True, until=T1 + 60))
    assert (leased.attempts, leased.holder, leased.worker, leased.lease_until) == (1, "claude", True, T1 + 60)
    renewed = after(leased, e.LeaseRenewed(T1 + 90))
    assert (renewed.attempts, renewed.lease_until, renewed.leased(T1 + 89), renewed.leased(T1 + 90)) == (
        1, T1 + 90, True, False,
    )  # fmt: skip


def test_a_lease_that_ended_counts_and_one_that_was_returned_does_not() -> None:
    leased = after(a_task(direction="received"), e.Leased("claude", worker=True, until=T1 + 60))
    for event, attempts in ((e.LeaseEnded(), 1), (e.LeaseEnded(crashed=True), 1), (e.LeaseReturned(), 0)):
        ended = after(leased, event)
        assert (ended.attempts, ended.holder, ended.worker, ended.lease_until) == (attempts, None, False, None)


def test_a_second_attempt_begins_the_artifacts_anew() -> None:
    lease = e.Leased("claude", worker=False, until=T1 + 60)
    first = after(a_task(direction="received"), lease, e.ArtifactsGrown((chunk("half"),), 1), e.LeaseEnded())
    second = after(first, lease)
    assert (first.streamed, text_of_result(first.artifacts)) == (1, "half")
    assert (second.streamed, second.artifacts, second.size, second.attempts) == (0, (), 0, 2)


def test_the_first_attempt_of_a_new_turn_goes_on_with_the_artifacts() -> None:
    lease = e.Leased("claude", worker=False, until=T1 + 60)
    asked = after(
        a_task(WORKING, "received", attempts=2, streamed=1, artifacts=(artifact("half"),)), e.Asked(said(ASKING))
    )
    resumed = after(asked, e.Replied(message("go on")), lease)
    assert (resumed.attempts, resumed.streamed, text_of_result(resumed.artifacts)) == (1, 1, "half")


@pytest.mark.parametrize(
    "event",
    [e.Asked(said(ASKING, "which?")), e.AuthorizationAsked(said(TaskState.AUTH_REQUIRED)), e.Completed(), e.Failed(),
     e.Rejected(), e.Canceled()],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_no_holder_has_a_task_that_asks_or_ended(event: Event) -> None:
    leased = after(a_task(direction="received"), e.Leased("claude", worker=True, until=T1 + 60))
    assert after(leased, event).lease_until is None


# --- the work -------------------------------------------------------------------------------------


def test_progress_without_words_keeps_what_was_said_while_it_works() -> None:
    told = after(a_task(), e.Progressed(said(WORKING, "half done")))
    assert after(told, e.Progressed()).status == told.status
    asked = after(told, e.Asked(said(ASKING, "which?")))
    assert after(asked, e.Progressed()).status == TaskStatus(state=WORKING, timestamp=iso(T1))


def test_a_task_that_was_begun_and_is_submitted_again_is_worked_on() -> None:
    again = e.Accepted(said(TaskState.SUBMITTED, "ok"))
    assert after(a_task(), again).status == said(TaskState.SUBMITTED, "ok")
    assert after(a_task(ASKING), again).status == said(WORKING, "ok")


def test_artifacts_grow_behind_what_there_is_and_are_replaced_whole() -> None:
    grown = after(a_task(), e.ArtifactsGrown((chunk("one "), chunk("two")), 2), e.ArtifactsGrown((chunk("!"),), 3))
    assert (text_of_result(grown.artifacts), grown.streamed) == ("one two!", 3)
    whole = after(grown, e.ArtifactsReplaced((artifact("all"), artifact("more", "notes"))))
    assert ([one.artifact_id for one in whole.artifacts], whole.streamed) == (["result", "notes"], 3)
    assert text_of_result(whole.artifacts) == "all\nmore"


def test_the_size_of_a_task_is_never_less_than_its_artifacts_have() -> None:
    task = after(a_task(), e.ArtifactsGrown((chunk("one"), chunk("two")), 2), e.ArtifactsReplaced((artifact("all"),)))
    assert task.size >= sum(len(one.to_json()) for one in task.artifacts)


def test_an_answer_to_a_question_is_a_new_turn_and_keeps_the_question() -> None:
    question = message("which one?", Role.AGENT)
    asked = a_task(ASKING, attempts=2, status=TaskStatus(state=ASKING, message=question), messages=(message("hi"),))
    replied = after(asked, e.Replied(message("the blue one"), seq=7, made=12))
    assert replied.messages == (message("hi"), question, message("the blue one"))
    assert (replied.state, replied.attempts, replied.seq_in, replied.made) == (WORKING, 0, 7, 12)
    assert replied.status == TaskStatus(state=WORKING, timestamp=iso(T1))


def test_a_word_while_the_agent_works_is_no_new_turn() -> None:
    working = a_task(WORKING, attempts=2, seq_in=9, status=said(WORKING, "half done"))
    replied = after(working, e.Replied(message("hurry"), seq=7))
    assert (replied.attempts, replied.seq_in, replied.status) == (2, 9, working.status)
    assert replied.messages[-1] == message("hurry")


def test_a_conversation_that_is_full_takes_no_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "MAX_CONVERSATION", 400)
    with pytest.raises(ConversationFullError):
        after(a_task(), e.Replied(message("x" * 400)))


# --- ends, and after them -------------------------------------------------------------------------


def test_an_end_without_words_has_its_state_and_time_and_keeps_the_error() -> None:
    for kind, state in ((e.Completed, TaskState.COMPLETED), (e.Failed, TaskState.FAILED)):
        ended = after(a_task(WORKING, error=ERROR), kind())
        assert (ended.status, ended.error) == (TaskStatus(state=state, timestamp=iso(T1)), ERROR)
    other = ErrorDetail(code="other", message="other")
    assert after(a_task(error=ERROR), e.Failed(error=other)).error == other


def test_an_answer_is_direct_where_its_agent_says_so() -> None:
    assert after(a_task(), e.Completed(direct=True)).direct
    assert after(a_task(direct=True), e.Completed()).direct
    assert not after(a_task(direct=True), e.Completed(direct=False)).direct


def test_a_lost_file_leaves_a_sentence_in_its_place_and_no_other_part_changes() -> None:
    file, note = Part(url="blob:1", filename="a.txt"), Part(text="see it")
    made = Artifact(artifact_id="result", parts=(note, file))
    words = message("done", Role.AGENT).model_copy(update={"parts": (file, Part(url="blob:2"))})
    task = a_task(
        TaskState.COMPLETED, "received", artifacts=(made,), status=TaskStatus(state=TaskState.COMPLETED, message=words)
    )
    lost = after(task, e.FileLost("blob:1", "no room"))
    gone = Part(text="(The file a.txt was not kept: no room.)")
    assert lost.artifacts[0].parts == (note, gone)
    assert lost.status.message is not None
    assert lost.status.message.parts == (gone, Part(url="blob:2"))


def test_numbers_go_on_from_what_the_other_side_knows() -> None:
    task = a_task(TaskState.COMPLETED, "received", seq_out=5)
    for known, spoken in ((9, 10), (3, 6), (-1, 6), (LAST_SEQ, 6)):
        resent = after(task, e.Resent(known, task.artifacts, task.status), e.Spoken())
        assert resent.seq_out == spoken


def test_what_is_forgotten_is_gone_and_the_task_keeps_its_end() -> None:
    task = after(a_task(WORKING, skill="sum"), e.ArtifactsGrown((chunk("secret"),), 1), e.Failed(error=ERROR))
    note = message("It was removed.", Role.AGENT)
    forgotten = after(task, e.Forgotten(message("(removed)"), note))
    assert forgotten.messages == (message("(removed)"),)
    assert (forgotten.artifacts, forgotten.error, forgotten.skill, forgotten.streamed) == ((), None, None, 0)
    assert (forgotten.state, forgotten.forgotten, forgotten.opening_id) == (task.state, T1, task.opening_id)
    assert forgotten.status == TaskStatus(state=task.state, timestamp=task.status.timestamp, message=note)
    assert after(forgotten, e.Forgotten(message("again"), note)) is forgotten


def test_a_status_never_says_another_state_than_the_task() -> None:
    assert after(a_task(WORKING, "received"), e.Resent(1, (), said(ASKING))).status.state == WORKING


# --- changes --------------------------------------------------------------------------------------


def test_a_change_folds_its_events_and_leaves_repetitions_out() -> None:
    before = a_task()
    grown = e.ArtifactsGrown((chunk("one"),), 1)
    change = Change.of(before, e.Delivered(), e.Delivered(), e.Progressed(), grown, now=T1)
    assert change.before is before
    assert change.events == (e.Delivered(), e.Progressed(), grown)
    assert (change.task.state, change.task.delivery, change.task.events) == (WORKING, Delivery.DELIVERED, 4)
    assert (change.chunks, change.replaced, change.is_spoken) == ((chunk("one"),), (), False)


def test_a_change_that_opens_a_task_has_none_before() -> None:
    withdrawn = Change.opening(opening("received", seq_out=LAST_SEQ - 1), e.Canceled(), e.Spoken(), now=T1)
    assert withdrawn.before is None
    assert (withdrawn.task.state, withdrawn.task.seq_out) == (TaskState.CANCELED, LAST_SEQ)
    assert withdrawn.is_spoken
    assert [type(event) for event in withdrawn.events] == [e.Opened, e.Canceled, e.Spoken]


def test_a_change_that_is_refused_changes_nothing() -> None:
    task = a_task(TaskState.COMPLETED)
    with pytest.raises(TransitionError):
        Change.of(task, e.Spoken(), e.Progressed(), now=T1)
    assert task == a_task(TaskState.COMPLETED)


@pytest.mark.parametrize(
    ("task", "ends"),
    [
        (a_task(), True),
        (a_task(delivery=Delivery.HELD), True),
        (a_task(WORKING, delivery=Delivery.DELIVERED), False),
        (a_task(peer="https://a.example/", delivery=Delivery.DELIVERED), True),
        (a_task(peer="https://a.example/", remote="theirs-1"), False),
    ],
)
def test_a_task_is_withdrawn_here_unless_its_agent_has_it(task: Task, *, ends: bool) -> None:
    assert withdrawal(task) == (e.Canceled(error=WITHDRAWN) if ends else e.CancelAsked())


def test_a_change_goes_on_in_the_same_transaction() -> None:
    begun = Change.opening(opening("received"), now=T0)
    change = begun.then(e.Leased("claude", worker=False, until=T1), e.ArtifactsGrown((chunk("a"),), 1))
    assert change == Change.opening(
        opening("received"), e.Leased("claude", worker=False, until=T1), e.ArtifactsGrown((chunk("a"),), 1), now=T0
    )
    assert (change.before, change.at, change.chunks) == (None, T0, (chunk("a"),))
