"""The states of a task and of its delivery, as plain words: what only shows a task needs no models of it."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """The state of the work (A2A 4.1.3). That of its message is `Delivery`."""

    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    REJECTED = "TASK_STATE_REJECTED"
    AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"


class Delivery(StrEnum):
    """The state of the envelope. Never mixed into `TaskState`."""

    QUEUED = "QUEUED"
    STORED = "STORED"
    HELD = "HELD"
    DELIVERED = "DELIVERED"
    EXPIRED = "EXPIRED"
    REFUSED = "REFUSED"


INTERRUPTED = frozenset({TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED})
"""States in which the agent waits for its caller."""

TERMINAL = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED})
"""States that no other state follows (A2A 4.1.3)."""


def is_terminal(state: TaskState) -> bool:
    """True if no other state can follow."""
    return state in TERMINAL


def at_rest(state: TaskState) -> bool:
    """True if a task changes only when its caller says something: it has ended, or its agent waits for its caller."""
    return state in TERMINAL or state in INTERRUPTED
