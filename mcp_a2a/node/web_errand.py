"""What a courier has in mind of a task on its way, beside what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio


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


async def interrupt(events: Sequence[anyio.Event], scope: anyio.CancelScope) -> None:
    """Something is to be told while a stream goes on: it can wait for nothing but what is being told, and a name.

    What is being told may be the very thing that there is news of: broken off, it would be told twice.
    """
    for event in events:
        await event.wait()
    scope.cancel()
