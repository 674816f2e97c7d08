"""Messages that wait for one destination, indexed so that the next one to send is found without a search.

    waiting --offered, sent--> under way --answer--> gone, or waiting again
                                   +--stored--> a copy is at a relay --answer--> gone, or waiting again

A destination has tasks, and a task has messages in the order of journalling. What may go next:

* Of a task, its *head*: the oldest message that waits. It may go unless it pauses, or something in front of it gates
  it: a task or message whose answer is awaited, or a piece of a file that is not over there yet.
* A cancellation passes a gate that is a copy at the relay which it goes to itself: the relay keeps the order.
* Pieces go in front of their message, a few at a time, and gate it. If the recipient's owner must allow them first,
  the held piece and those behind it neither go nor gate: the message goes ahead, for the owner decides by it.

Each heap holds candidates. An entry is checked again when it is at the top, so nothing has to be found and removed in
the middle of a heap when it changes its state. An entry is pushed when it becomes a candidate, once for each change
of its state, and popped once: O(log n) for each change, whatever else waits.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from enum import Enum, auto

from mcp_a2a.node.delivery.model import Fault, Kind, Obstacle, Outgoing, Route

Order = tuple[int, int]
"""Number of journalling, and of queueing."""


class State(Enum):
    """The states of a message."""

    WAITING = auto()
    OFFERED = auto()
    """Given to a courier that has not said yet whether it went."""
    UNDER_WAY = auto()
    STORED = auto()
    GONE = auto()


class Pending:
    """A waiting message."""

    __slots__ = (
        "address", "anew", "as_is", "counts", "held", "is_piece", "is_ready", "judged", "line", "nacks", "obstacle",
        "order", "paused", "probed_at", "redating", "route", "since", "some", "stale_since", "state", "strangers",
        "token", "tries",
    )  # fmt: skip

    def __init__(self, some: Outgoing, serial: int) -> None:
        self.some = some
        self.order: Order = (some.n, serial)
        self.is_piece = some.kind is Kind.PIECE
        self.line: TaskLine
        """Its task, once its destination has it."""
        self.state = State.GONE
        self.since = 0.0
        """Ticks: since when it is in this state."""
        self.probed_at = -math.inf
        self.token: bytes | None = None
        """While it is under way or stored: what an answer to it names."""
        self.route: Route | None = None
        """The route that it is offered to or under way on."""
        self.address = ""
        """Of the relay that stores it."""
        self.paused = False
        self.held = False
        self.is_ready = False
        """True if it is among the candidates of its destination."""
        self.anew = False
        self.redating = False
        """The shell was asked for other dates."""
        self.judged = False
        """Its recipient refused its dates, and they do not fit this machine's clock either."""
        self.as_is = False
        """It has no better dates."""
        self.tries = 0
        """Failures of every kind: pauses grow with them."""
        self.counts: dict[Fault, int] = {}
        """Failures that have a limit, each kind by itself."""
        self.nacks = 0
        self.stale_since: float | None = None
        """Uptime of the first refusal because of a clock."""
        self.strangers: set[int] = set()
        """Routes whose other end does not know the task."""
        self.obstacle: Obstacle | None = None

    @property
    def is_flying(self) -> bool:
        """True if it is with a courier, or unanswered on a route."""
        return self.state in (State.OFFERED, State.UNDER_WAY)

    def went_by(self, route: Route) -> bool:
        """True if this route carries it, or leads to the relay that stores it or is to store it."""
        if self.route is not None and self.route.id == route.id:
            return True
        own = self.route.address if self.route is not None and self.route.is_relayed else self.address
        return route.is_relayed and own == route.address


Heap = list[tuple[Order, Pending]]


SPARE = 64
"""Dead items below which a heap is never built anew."""


def push(heap: Heap, entry: Pending, alive: int) -> None:
    """Add a candidate. Of `alive` entries in all, so at most half of a long heap are dead items."""
    heapq.heappush(heap, (entry.order, entry))
    if len(heap) > 2 * alive + SPARE:
        heap[:] = sorted({one.order: one for _, one in heap if one.state is State.WAITING}.items())


def top(heap: Heap, is_valid: Callable[[Pending], bool]) -> Pending | None:
    """The first candidate that still is one; those before it are dropped."""
    while heap:
        if is_valid(heap[0][1]):
            return heap[0][1]
        heapq.heappop(heap)
    return None


class TaskLine:
    """The messages of one task to one destination."""

    __slots__ = ("awaited", "due", "entries", "flying", "follows", "key", "merging", "messages", "offered", "pieces",
                 "stops", "unmerged", "updates")  # fmt: skip

    def __init__(self, key: str) -> None:
        self.key = key
        self.entries: dict[str, Pending] = {}
        self.messages: Heap = []
        """Those that wait, without pieces."""
        self.pieces: Heap = []
        """Pieces that wait."""
        self.due: tuple[Heap, Heap] = ([], [])
        """Of these, pieces without a pause: of files that a relay takes, and of larger ones."""
        self.stops: Heap = []
        """The held pieces."""
        self.awaited: dict[str, Pending] = {}
        """Tasks and messages that are unanswered: one at a time, but for what an earlier process left."""
        self.flying: dict[str, Pending] = {}
        """Pieces that are under way."""
        self.updates: dict[str, Pending] = {}
        """Updates that wait."""
        self.unmerged = False
        """True if an update came since they were last to be merged."""
        self.merging = False
        """True if the shell was asked to merge them."""
        self.offered: Pending | None = None
        """The message that a courier has yet to say of whether it went: if not, none may have overtaken it."""
        self.follows = ""
        """Address of the relay that its cancellation could go to now."""

    def head(self) -> Pending | None:
        """The oldest message that waits."""
        while self.messages:
            if self.messages[0][1].state is State.WAITING:
                return self.messages[0][1]
            heapq.heappop(self.messages)
        return None

    def next_piece(self, size: int) -> Pending | None:
        """The oldest piece that may go, of smaller (0) or larger (1) files."""
        if not self.due[size]:
            return None
        piece = top(self.due[size], lambda one: one.state is State.WAITING and not one.paused)
        return piece if piece is not None and not self._is_stopped(piece) else None

    def gate(self, head: Pending) -> Pending | None:
        """The last message or piece in front of the head that keeps it from going.

        Of pieces that wait, only the first is looked at: any of them is enough to stop the head.
        """
        gates = [one for one in (*self.awaited.values(), *self.flying.values()) if one.order < head.order]
        piece = top(self.pieces, lambda one: one.state is State.WAITING) if self.pieces else None
        if piece is not None and piece.order < head.order and not self._is_stopped(piece):
            gates.append(piece)
        return max(gates, default=None, key=order_of)

    def is_sendable(self, entry: Pending, address: str | None) -> bool:
        """True if a waiting message or piece may go now, by a relay at `address` (None: by another route)."""
        if entry.state is not State.WAITING or entry.paused or entry.redating:
            return False
        if entry.is_piece:
            return not self._is_stopped(entry)
        if self.merging or self.offered is not None or self.head() is not entry:
            return False
        if not (self.awaited or self.flying or self.pieces):
            return True
        gate = self.gate(entry)
        return gate is None or (may_pass(entry, gate) and gate.address == address)

    def _is_stopped(self, piece: Pending) -> bool:
        stop = top(self.stops, lambda one: one.state is State.WAITING and one.paused and one.held)
        return stop is not None and stop.order <= piece.order


def may_pass(entry: Pending, gate: Pending) -> bool:
    """True if this is a cancellation behind a copy at a relay: there it may follow."""
    return entry.some.kind is Kind.CANCEL and gate.state is State.STORED


def order_of(entry: Pending) -> Order:
    """The place of an entry among all."""
    return entry.order
