"""Deadlines of many owners, one for each, in one heap.

A heap cannot remove an item from its middle, so a deadline that is moved leaves its old item behind, and a table says
which item of an owner counts. Items that no longer count are dropped when they reach the top. When more than half of
the heap are such items it is built anew, which costs O(1) for each `set` that made one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

Owner = TypeVar("Owner", bound=Hashable)

SPARE = 64
"""Dead items below which the heap is never built anew."""


class Timers(Generic[Owner]):
    """One deadline for each owner. All times are of the caller's clock, in seconds."""

    __slots__ = ("_due", "_heap", "_serial")

    def __init__(self) -> None:
        self._due: dict[Owner, float] = {}
        self._heap: list[tuple[float, int, Owner]] = []
        self._serial = 0

    def set(self, owner: Owner, due: float) -> None:
        """Give `owner` this deadline in place of the one that it has. Infinity is none."""
        if self._due.get(owner, math.inf) == due:
            return
        if due == math.inf:
            del self._due[owner]
            return
        self._due[owner] = due
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, owner))
        if len(self._heap) > 2 * len(self._due) + SPARE:
            self._heap = [item for item in self._heap if self._due.get(item[2]) == item[0]]
            heapq.heapify(self._heap)

    def cancel(self, owner: Owner) -> None:
        """Remove the deadline of `owner`, if it has one."""
        self._due.pop(owner, None)

    def next(self) -> float:
        """The earliest deadline; infinity without one."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def due(self, owner: Owner, without: float = math.inf) -> float:
        """The deadline of `owner`; `without` if it has none."""
        return self._due.get(owner, without)

    def pop_all(self, now: float) -> list[Owner]:
        """Remove the deadlines that are not after `now`; their owners, the earliest first."""
        owners = []
        while self.next() <= now and self._heap:
            owner = heapq.heappop(self._heap)[2]
            del self._due[owner]
            owners.append(owner)
        return owners
