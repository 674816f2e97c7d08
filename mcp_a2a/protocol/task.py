"""The law of tasks: which state may follow which, and how a task gets its id.

Rule 1: everything that decides whether a task may move lives in `TRANSITIONS`.
Rule 2: this module does not know whose task it is; sender and worker obey the same table.
"""

from __future__ import annotations

import base64
import hashlib

from mcp_a2a.errors import TransitionError
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.state import INTERRUPTED as INTERRUPTED  # noqa: PLC0414  a part of this law
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


def is_terminal(state: TaskState) -> bool:
    """Whether nothing can follow."""
    return not TRANSITIONS[state]


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


def task_id_of(sender: PeerId, message_id: str) -> str:
    """The id of the task that `sender` opens with this message.

    Derived, so that the sender has a handle before anybody was reached, and a message that arrives twice lands on
    the same task. 120 bits: no two tasks of one sender share it, and nobody finds a second message for it.
    """
    digest = hashlib.sha256(b"mcp-a2a/v1/task\0" + sender.key + message_id.encode()).digest()
    return "task-" + base64.b32encode(digest[:15]).decode().lower()
