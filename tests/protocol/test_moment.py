"""Each moment of a task has one word, which every view shows and every filter takes."""

from __future__ import annotations

import pytest

from mcp_a2a.errors.tasks import NotAwaitingReplyError, TransitionError
from mcp_a2a.protocol import state as states
from mcp_a2a.protocol.model import Delivery, TaskState
from mcp_a2a.protocol.moment import ASKING, ENDED, MOMENTS, Moment, at_rest, delivery_of, moment_of, state_of
from mcp_a2a.protocol.state import INTERRUPTED, is_terminal


def test_every_state_and_delivery_has_a_word_and_every_word_a_state():
    assert set(MOMENTS) == {(state, delivery) for state in TaskState for delivery in Delivery}
    assert set(MOMENTS.values()) == set(Moment)
    for moment in Moment:
        delivery = delivery_of(moment) or Delivery.DELIVERED
        assert moment_of(state_of(moment), delivery) == moment


@pytest.mark.parametrize("state", TaskState)
def test_a_word_says_whether_the_task_is_over_and_whether_it_asks(state: TaskState):
    for delivery in Delivery:
        assert (moment_of(state, delivery) in ENDED) == is_terminal(state)
        assert (moment_of(state, delivery) in ASKING) == (state in INTERRUPTED)


def test_a_task_rests_when_it_has_ended_or_asks_and_at_no_other_moment():
    resting = {"input_required", "auth_required", "completed", "failed", "canceled", "rejected"}
    assert {moment.value for moment in Moment if at_rest(moment)} == resting
    assert {state.name.lower() for state in TaskState if states.at_rest(state)} == resting


def test_how_far_the_message_got_counts_until_its_agent_says_something():
    shown = [moment_of(TaskState.SUBMITTED, delivery) for delivery in list(Delivery)[:4]]
    assert shown == ["queued", "stored", "held", "submitted"]
    assert {moment_of(TaskState.WORKING, delivery) for delivery in Delivery} == {"working"}


def test_a_task_that_is_worked_on_here_is_not_said_to_wait():
    assert moment_of(TaskState.SUBMITTED, Delivery.DELIVERED, leased=True) == "working"
    assert moment_of(TaskState.COMPLETED, Delivery.DELIVERED, leased=True) == "completed"


@pytest.mark.parametrize("state", TaskState)
def test_errors_say_the_word_and_not_what_a2a_spells(state: TaskState):
    errors = (TransitionError(state, TaskState.CANCELED), NotAwaitingReplyError("task-a", state))
    for error in errors:
        assert f" {Moment[state.name]} " in str(error)
        assert "TASK_STATE" not in str(error)
