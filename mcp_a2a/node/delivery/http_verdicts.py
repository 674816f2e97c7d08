"""What a courier has in mind of a task on its way, beside what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from mcp_a2a.errors.web import TaskLostError, WebAnswerError, WebError, WebFailedError, WebRefusedError
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.web_ports import AUTH, AnswerLostError

MAX_NONSENSE = 5
"""Answers in a row that are none, about a task that was taken; then it is given up."""

MAX_LOCKED_OUT = 60
"""Of those, answers that our credential is not taken: it ran out, say, and for an hour a person can give another."""

MAX_GONE = 9
"""Of those, a bare 404 of the task's path: a gateway says that for a minute or two while it starts the agent anew."""

_PATIENCE = {AUTH: MAX_LOCKED_OUT, "NOT_FOUND": MAX_GONE}

MAX_LOST = 5
"""Times that an agent is told something that it took without a proper answer: each time it may have done it."""


TASK_IS_GONE = frozenset({"TASK_NOT_FOUND", "NOT_FOUND"})
"""What an agent says of a task that it took and has no more. The second is a bare 404 of its path: that can also be
the word of a gateway while the agent is away, so it counts when it was said `MAX_GONE` times."""


@dataclass
class Errand:
    """What is known of a task on its way, beside what is stored."""

    task: str
    news: anyio.Event = field(default_factory=anyio.Event)
    taken: anyio.Event = field(default_factory=anyio.Event)
    """The agent has told us its name for the task."""
    failures: int = 0
    looks: int = 0
    """In a row that showed nothing new."""
    nonsense: int = 0
    lost: int = 0
    """Times that what is to be told was taken, and no proper answer came."""
    broke: WebFailedError | None = None
    """What the agent said while it told of the task: that it failed, though the task went on."""
    streams: bool = True
    """What its card says of streaming has not turned out to be wrong."""
    tried: str = ""
    broken: bool = False
    """True after an unexpected error: an errand that failed so is not repeated."""

    def is_hopeless(self, error: WebError, *, undelivered: bool) -> bool:
        """True if trying again would be in vain, or do more harm than good."""
        if undelivered and isinstance(error, AnswerLostError):
            self.lost += 1
            return self.lost >= MAX_LOST
        if error.retryable and not isinstance(error, WebFailedError):
            return False
        if undelivered or (isinstance(error, WebRefusedError) and error.reason == "TASK_NOT_FOUND"):
            return True
        self.nonsense += 1
        reason = error.reason if isinstance(error, WebRefusedError) else ""
        return self.nonsense >= _PATIENCE.get(reason, MAX_NONSENSE)


def given_up(record: Task, error: WebError, *, lost: int) -> WebError:
    """Why a task ends: what went wrong the last time, when an answer to it had been `lost` so many times."""
    if record.remote is not None and isinstance(error, WebRefusedError) and error.reason in TASK_IS_GONE:
        return TaskLostError(record.peer)
    if not lost:
        return error
    # Also where it refuses the last time, as a message that it knows already.
    times = lost if isinstance(error, AnswerLostError) else lost + 1
    return WebAnswerError(
        f"{error.message} It was told {times} times, and may have done it.",
        "Look there, or ask its owner, before you send it again.",
    )


async def interrupt(events: Sequence[anyio.Event], scope: anyio.CancelScope) -> None:
    """Something is to be told while a stream goes on: it can wait for nothing but what is being told, and a name.

    What is being told may be the very thing that there is news of: broken off, it would be told twice.
    """
    for event in events:
        await event.wait()
    scope.cancel()
