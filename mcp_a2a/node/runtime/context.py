"""The context that all services of a node share, and the changes of which they notify each other."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token

from mcp_a2a.node.runtime.clocks import Clocks
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.database import Database
from mcp_a2a.store.spool import Spool

logger = logging.getLogger(__name__)

ID_SIZE = 16
IDS_AT_ONCE = 64


class Change:
    """A change of a task to come; `record` is the task after it, where the author of the change had it at hand."""

    def __init__(self) -> None:
        self._happened = anyio.Event()
        self.record: Task | None = None

    def happen(self, record: Task | None) -> None:
        """Wake the waiters; `record` is the task after the change, if it is known."""
        self.record = record
        self._happened.set()

    async def wait(self) -> None:
        """Wait until it happened."""
        await self._happened.wait()


class Changes:
    """Wake-ups by key. Take the event *before* you read the state, or you may sleep through the change."""

    def __init__(self) -> None:
        self._events: dict[str, Change] = {}
        self.listeners: list[Callable[[str, Task | None], None]] = []
        """Called with every change of a task, before any waiter wakes."""

    def event(self, key: str = "") -> Change:
        """The event of the next `notify(key)`."""
        change = self._events.get(key)
        if change is None:
            change = self._events[key] = Change()
        return change

    def notify(self, key: str = "", record: Task | None = None) -> None:
        """Wake the waiters of the event of this key, or of `delivery_of` it, also if a listener fails."""
        for listener in self.listeners:
            try:
                listener(key, record)
            except Exception:
                logger.exception("a change of %s could not be told", key)
        self.wake(key, record)
        self.notify_delivery(key, record)

    def notify_delivery(self, task_id: str, record: Task | None = None) -> None:
        """Wake those who took the event of `delivery_of` this task, and no others."""
        self.wake(delivery_of(task_id), record)

    def wake(self, key: str, record: Task | None = None) -> None:
        """Wake those who took the event of exactly this key, and tell no listener."""
        change = self._events.pop(key, None)
        if change is not None:
            change.happen(record)


def delivery_of(task_id: str) -> str:
    """The key of how far a task's envelope got. Who waits for the work need not wake for that."""
    return f"{task_id}/delivery"


@dataclass(frozen=True)
class Context:
    """The world of one node. Nothing below it reads a clock or draws randomness by itself."""

    identity: Identity
    database: Database
    clock: Callable[[], float]
    """Wall clock, seconds since the epoch. What we make is dated by it; it may jump."""
    clocks: Clocks
    """The clocks by which records are deleted for their age and dates of others are judged."""
    started_at: float
    """Higher than at any start before, whatever the wall clock says: seconds since the epoch, or later. Numbers that
    must rise over restarts start from it."""
    randomness: Callable[[int], bytes]
    tasks: TaskGroup
    """Owns everything that runs in the background; ends with the node."""
    numbers: Iterator[int]
    """Rising, from `first_number`."""
    task_changes: Changes
    """Notified with a task's id after each committed change of it."""
    ids: IdPool = field(default_factory=lambda: IdPool())  # noqa: PLW0108  it is defined below

    @cached_property
    def spool(self) -> Spool:
        """The folder of files in flight."""
        return Spool(self.database.path.parent)

    @property
    def first_number(self) -> int:
        """The first value of `next_number`: a message with a lower one was journalled before the last start."""
        return first_number(self.started_at)

    @cached_property
    def me(self) -> PeerId:
        """Our own key."""
        return self.identity.peer_id

    def next_number(self) -> int:
        """A number that rises with each call, also over restarts. Safe in any thread."""
        return next(self.numbers)

    def fresh_id(self) -> str:
        """A new message id."""
        return self.ids.take(self.randomness)


def first_number(started_at: float) -> int:
    """The first number of a node."""
    return int(started_at * 1_000_000_000)


@dataclass
class IdPool:
    """Ids from randomness that is fetched for many at once: asking the system costs more than making a task."""

    _left: bytes = b""

    def take(self, randomness: Callable[[int], bytes]) -> str:
        """The next id: 128 bits that cannot be guessed."""
        if not self._left:
            self._left = randomness(ID_SIZE * IDS_AT_ONCE)
        taken, self._left = self._left[:ID_SIZE], self._left[ID_SIZE:]
        return taken.hex()


def pause_after(failures: int, backoff: Backoff) -> float:
    """A pause after so many failures in a row, in seconds."""
    return backoff.pause(failures, random.random())  # noqa: S311  spreads load; nothing secret depends on it


def ticks_of_loop() -> Callable[[], float]:
    """The clock of the running event loop, in seconds; `anyio.current_time` asks four functions which loop that is."""
    return getattr(current_token().native_token, "time", anyio.current_time)


async def wait_until(event: anyio.Event | Change, seconds: float) -> bool:
    """Wait for the event at most so long; whether it came."""
    with anyio.move_on_after(seconds):
        await event.wait()
        return True
    return False
