"""What a courier has in mind of a task on its way, beside what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from mcp_a2a.errors import WebError, WebRefusedError

MAX_NONSENSE = 5
"""Answers in a row that are none, about a task that was taken; then it is given up."""


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
    streams: bool = True
    """What its card says of streaming has not turned out to be wrong."""
    tried: str = ""
    broken: bool = False
    """It failed in a way that nobody has thought of."""

    def is_hopeless(self, error: WebError, *, undelivered: bool) -> bool:
        """Whether trying again would be in vain."""
        if error.retryable:
            return False
        if undelivered or (isinstance(error, WebRefusedError) and error.reason == "TASK_NOT_FOUND"):
            return True
        self.nonsense += 1
        return self.nonsense >= MAX_NONSENSE


async def interrupt(events: Sequence[anyio.Event], scope: anyio.CancelScope) -> None:
    """Something is to be told while a stream goes on: it can wait for nothing but what is being told, and a name.

    What is being told may be the very thing that there is news of: broken off, it would be told twice.
    """
    for event in events:
        await event.wait()
    scope.cancel()
