"""The client's lines: each until it is done with, in order, so that a new session can be told them again.

A session that begins behind a front is told all of these lines. To a request that has its answer already, the session
answers a second time, and that answer is dropped: the request is told only for what it does to the session
(`initialize`). Does no I/O; times are those of the caller's clock, in seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from mcp_a2a.front.splitting import Whole

STATE = ("initialize", "notifications/initialized", "logging/setLevel")
"""Methods whose lines make a session what it is: a session that begins later is told them too."""

MAX_STATE = 8
"""Lines of each of these methods that are kept, where a client sends them again and again."""

MAX_KEPT = 4096
"""Lines that no session is done with, beyond which nothing more is read of the client."""

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""The most bytes of all those lines."""


@dataclass(slots=True)
class Line:
    """One line of the client, by its number, which no other line of this process has."""

    number: int
    content: Whole
    method: str | None
    """None where it is no request or notification."""
    is_due: bool
    """True if an answer is due: it is a request, or nothing that can be read."""
    at: float
    """The time at which it came."""
    answered: bool = False
    """True if the client has its answer."""
    settled: bool = False
    """True if the present session is done with it."""

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        content = self.content
        return len(content) if isinstance(content, bytes) else len(content.head) + len(content.tail)

    @property
    def is_state(self) -> bool:
        """True if it is told to each session."""
        return self.method in STATE


class Journal:
    """The lines of one client that are not done with."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._numbers = 0
        self.size = 0
        """Bytes of them."""

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def is_full(self) -> bool:
        """True if nothing more is to be read of the client."""
        return len(self) >= MAX_KEPT or self.size >= MAX_KEPT_BYTES

    def add(self, content: Whole, method: str | None, at: float, *, is_due: bool) -> Line:
        """Note the next line."""
        self._numbers += 1
        line = self._lines[self._numbers] = Line(self._numbers, content, method, is_due, at)
        self.size += line.size
        return line

    def thin(self, line: Line) -> None:
        """Forget earlier lines of its method where the client has their answers: they tell a session nothing new."""
        for other in [one for one in self if one.method == line.method and one.answered and not one.is_state]:
            if other is not line:
                self._forget(other)

    def takes_answer(self, number: int) -> bool:
        """True if the client still waits for the answer to this line, which it now gets."""
        line = self._lines.get(number)
        if line is None or line.answered:
            return False
        line.answered = True
        return True

    def settle(self, number: int) -> None:
        """The session is done with this line."""
        line = self._lines.get(number)
        if line is None:
            return
        line.answered = line.settled = True
        if not line.is_state:
            self._forget(line)
            return
        earlier = [one for one in self if one.method == line.method and one.settled]
        for old in earlier[1:-MAX_STATE]:  # but for the first: of `initialize` it is the one that counted
            self._forget(old)

    def _forget(self, line: Line) -> None:
        del self._lines[line.number]
        self.size -= line.size

    def fresh_numbers(self) -> Iterator[int]:
        """Numbers for the lines that come behind these."""
        return itertools.count(self._numbers + 1)

    @property
    def due(self) -> int:
        """The number of answers that the client waits for."""
        return sum(line.is_due and not line.answered for line in self._lines.values())
