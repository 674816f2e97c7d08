"""Tells the answer of an agent at a URL to our last message from its old question. No I/O.

An agent that does not stream is looked at, and shows the question until it has taken up our answer. Others tell their
answer on the way and end without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mcp_a2a.protocol.model import Message, Part, Role, StreamResponse, TaskState, TaskStatus
from mcp_a2a.protocol.state import INTERRUPTED
from mcp_a2a.protocol.task.artifacts import continued, size_of
from mcp_a2a.protocol.task.task import Task

OLD_QUESTION_SECONDS = 300.0
"""After our answer: how long a task that shows the question, and not since when, is taken not to have taken it up."""


_WORDED = INTERRUPTED | {TaskState.COMPLETED, TaskState.FAILED, TaskState.REJECTED}
"""States in which an agent has something to say: an answer, a question, a reason."""


def content_of(message: Message | None) -> object:
    """The content of a message, without its ids."""
    return None if message is None else (message.parts, message.metadata)


def heard_of(task: Task) -> tuple[TaskState | None, str]:
    """State and time of the newest status that its agent told, the time in the agent's words."""
    state, _, at = (task.heard or "").partition(" ")
    return next((one for one in TaskState if one.value == state), None), at


# --- answers that stand nowhere but in what was said on the way ----------------------------------


def wordless_rest(events: Sequence[StreamResponse]) -> TaskStatus | None:
    """The status in which these leave a task that rests, where it has no message and they show nothing of its history.

    What is said then may stand in the history alone: an answer, a question, or why it failed.
    """
    status: TaskStatus | None = None
    made = False
    for event in events:
        if event.task is not None and event.task.history:
            return None
        made = made or event.artifact_update is not None
        status = event.status_update.status if event.status_update else event.task.status if event.task else status
    if status is None or status.message is not None or status.state not in _WORDED:
        return None
    return None if made and status.state == TaskState.COMPLETED else status


def has_made_something(task: Task, events: Sequence[StreamResponse] = ()) -> bool:
    """True if there are artifacts since we spoke last, in the task or with these."""
    told = (artifact for event in events if event.task is not None for artifact in event.task.artifacts)
    return size_of(task.artifacts) != task.made or any(artifact not in task.artifacts for artifact in told)


def answered(task: Task, status: TaskStatus, since: tuple[Message, ...]) -> TaskStatus:
    """The status with what its agent says, where it tells that elsewhere.

    There are frameworks that tell all of it in statuses of WORKING, which end in the history, and then complete, ask or
    fail with neither an artifact nor a message. `since` is what the history has of the agent behind our last message.
    """
    completes = status.state == TaskState.COMPLETED
    if status.state not in _WORDED or (status.message is not None and not (completes and since)):
        return status
    made = has_made_something(task)
    if completes and made:
        return status
    told = [one for one in since if not _is_known(task, one)]
    if not told and not made and task.state == TaskState.WORKING and task.status.message is not None:
        told = [task.status.message]
    if not told:
        return status.model_copy(update={"message": None})
    parts = _whole(told) if completes else told[-1].parts
    return status.model_copy(update={"message": told[-1].model_copy(update={"parts": parts})})


def _whole(told: Sequence[Message]) -> tuple[Part, ...]:
    """The parts of all these messages. Those of one id are pieces of one, or all of it so far, each time with more."""
    wholes: list[tuple[str, tuple[Part, ...]]] = []
    for one in told:
        before, known = wholes[-1] if wholes else ("", ())
        if not one.message_id or one.message_id != before:
            wholes.append((one.message_id, one.parts))
        else:
            wholes[-1] = before, continued(known, one.parts)
    return tuple(part for _, parts in wholes for part in parts)


def _is_known(task: Task, message: Message) -> bool:
    """True if it was told before we spoke last: not all agents keep what we said in their history."""
    return any(
        known.parts == message.parts
        and (known.message_id == message.message_id != "" or known.metadata == message.metadata)
        for known in task.messages
        if known.role == Role.AGENT
    )


# --- questions that were answered ----------------------------------------------------------------


def is_old_question(task: Task, told: TaskStatus, now: float) -> bool:
    """True if this is the question that we have answered: agents show it until they have taken up the answer.

    A status that is not newer than the question is no news, however long the agent works. By its time that is sure;
    by its message, or where the time went back, it is believed after a while.
    """
    state, at = heard_of(task)
    moved_on = state is not None and state not in INTERRUPTED
    if told.state not in INTERRUPTED or task.state in INTERRUPTED or moved_on or not _has_replied(task):
        return False
    asked, order = _asked(task), _order(told.timestamp, at)
    if order == 0 and (told.message is None or content_of(told.message) == content_of(asked)):
        return True
    if abs(now - task.updated) > OLD_QUESTION_SECONDS:  # or the clock was set back, and tells nothing of it
        return False
    return order == -1 or _looks_old(task, told.message, asked, later=order == 1)


def _looks_old(task: Task, told: Message | None, asked: Message | None, *, later: bool) -> bool:
    if told is None or asked is None:
        return told is None and not later
    if told.parts != asked.parts:
        return False  # whatever it is called: there are agents that give all their messages one id
    if told.message_id and not asked.message_id.startswith(task.id):
        return told.message_id == asked.message_id
    return content_of(told) == content_of(asked) and not later


def asks_again(task: Task) -> bool:
    """True if nothing tells the question of a task from the one that was answered: it may be asked no more."""
    told, asked = task.status.message, _asked(task)
    if not _has_replied(task):
        return False
    if told is None or asked is None:
        return told is asked
    has_id = not told.message_id.startswith(task.id)
    if has_id:
        return told.message_id == asked.message_id and told.parts == asked.parts
    return content_of(told) == content_of(asked)


def _has_replied(task: Task) -> bool:
    return len(task.said) > 1 and task.messages[-1].role == Role.USER


def _asked(task: Task) -> Message | None:
    return next((one for one in reversed(task.messages) if one.role == Role.AGENT), None)


def _order(one: str | None, other: str) -> int | None:
    """The order of two times of an agent: 1 if the first is later, -1 if the second is, 0 if equal, None if unknown."""
    if one and one == other:
        return 0
    first, second = _time(one or ""), _time(other)
    return None if first is None or second is None else (first > second) - (first < second)


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
