"""An operation that waits for its commit, and its way back to the caller."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from mcp_a2a.errors import McpA2AError

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """An operation and what to do with its outcome, which is a value or an exception."""

    run: Callable[[sqlite3.Connection], object]
    done: Callable[[object], None]
    awaited: bool = False


class Landing(Generic[T]):
    """An operation on its way to the disk."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._outcome: list[T | Exception] = []

    def land(self, outcome: T | Exception) -> None:
        """The commit is done."""
        self._outcome.append(outcome)
        self._event.set()

    async def landed(self) -> T:
        """Wait for the disk, come what may. The operation's exception is raised here."""
        with anyio.CancelScope(shield=True):
            await self._event.wait()
        outcome = self._outcome[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def log_failure(outcome: object) -> None:
    """Log the failure of an operation without a caller that waits."""
    if isinstance(outcome, McpA2AError):
        logger.warning("not stored: %s", outcome)
    elif isinstance(outcome, Exception):
        logger.error("an operation without a caller that waits failed", exc_info=outcome)
