"""The law of tasks: which state may follow which.

Rule 1: everything that decides whether a task may move lives in `TRANSITIONS`.
Rule 2: this module does not know whose task it is; sender and worker obey the same table.
"""

from __future__ import annotations

from mcp_a2a.errors import TransitionError
from mcp_a2a.protocol.state import TaskState

_S = TaskState

_BEGUN = frozenset(TaskState) - {_S.SUBMITTED}

TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    _S.SUBMITTED: frozenset(TaskState),
    _S.WORKING: _BEGUN,
    _S.INPUT_REQUIRED: _BEGUN,
    _S.AUTH_REQUIRED: _BEGUN,
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELED: frozenset(),
    _S.REJECTED: frozenset(),
}
"""A2A 4.1.3: a terminal state is final, and nothing goes back to SUBMITTED. WORKING may follow itself (progress)."""


def check_transition(current: TaskState, proposed: TaskState) -> None:
    """Refuse a move that the table does not have.

    Raises:
        TransitionError: with both states.
    """
    if proposed not in TRANSITIONS[current]:
        raise TransitionError(current, proposed)


def going_on(known: TaskState, told: TaskState) -> TaskState:
    """The state that a task is in after this was told of it: one that was begun and is "submitted" again is worked on.

    Agents say so after a reply; A2A 4.1.3 has no way back.
    """
    return TaskState.WORKING if told == TaskState.SUBMITTED and known != TaskState.SUBMITTED else told
