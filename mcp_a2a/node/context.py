"""What every service of a node shares, and how they tell each other that something changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.store.database import Database


class Changes:
    """Wake-ups by key. Take the event *before* you read the state, or you may sleep through the change."""

    def __init__(self) -> None:
        self._events: dict[str, anyio.Event] = {}

    def event(self, key: str = "") -> anyio.Event:
        """The event that the next `notify(key)` sets."""
        return self._events.setdefault(key, anyio.Event())

    def notify(self, key: str = "") -> None:
        """Wake everybody who took the event of this key."""
        event = self._events.pop(key, None)
        if event is not None:
            event.set()


@dataclass(frozen=True)
class Context:
    """The world of one node. Nothing below it reads a clock or draws randomness by itself."""

    identity: Identity
    database: Database
    clock: Callable[[], float]
    """Wall clock that never goes back below what this identity has seen (requirement S9), seconds since the epoch."""
    randomness: Callable[[int], bytes]
    tasks: TaskGroup
    """Owns everything that runs in the background; ends with the node."""
    task_changes: Changes
    """Notified with a task's id after each committed change of it."""

    @property
    def me(self) -> PeerId:
        """Our own key."""
        return self.identity.peer_id

    def fresh_id(self) -> str:
        """A new message id."""
        return self.randomness(16).hex()


async def wait_until(event: anyio.Event, seconds: float) -> bool:
    """Wait for the event at most so long; whether it came."""
    with anyio.move_on_after(seconds):
        await event.wait()
        return True
    return False
