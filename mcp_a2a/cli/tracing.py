"""The trace of a command with -v: the process that answers, the time of each request, and each change of a task.

Only what was asked is told, never what was said: no text, no ticket, no credential is in a step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from mcp_a2a.protocol.paths import route_word
from mcp_a2a.store.owner_file import read_owner

if TYPE_CHECKING:
    from mcp_a2a.api.request import A, Request
    from mcp_a2a.api.tasks import TaskView
    from mcp_a2a.config import Settings
    from mcp_a2a.node.ipc.owner import SharedNode

logger = logging.getLogger(__name__)


class _Told:
    """A node whose answers are timed."""

    def __init__(self, node: SharedNode) -> None:
        self._node = node

    async def call(self, request: Request[A], /) -> A:
        """Ask the node; the time counts by the operation of the question."""
        with _timed(request.operation):
            return await self._node.call(request)

    @property
    def owner(self) -> bool:
        """True if this process runs the node."""
        return self._node.owner


def told(node: SharedNode, settings: Settings) -> SharedNode:
    """The same node; logs which process runs it and the time of every call, if INFO is logged."""
    if not logger.isEnabledFor(logging.INFO):
        return node
    if node.owner:
        logger.info("no process runs the node of %r, so this command runs it", settings.identity)
    else:
        logger.info("process %s runs the node of %r, and answers", read_owner(settings.folder), settings.identity)
    return cast("SharedNode", _Told(node))


@contextmanager
def _timed(name: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        logger.info("%s: %.0f ms", name, (time.monotonic() - began) * 1000)


class Progress:
    """The progress of a task, logged when it changes."""

    def __init__(self) -> None:
        self._told: tuple[object, ...] = ()
        self._tried = 0

    def look(self, task: TaskView) -> None:
        """Tell what is new of a task."""
        for attempt in task.tried[self._tried :]:
            logger.info("tried %s", attempt)
        self._tried = max(self._tried, len(task.tried))
        now = (task.state, task.delivery, task.route)
        if now != self._told:
            self._told = now
            way = f" via {route_word(task.route)}" if task.route else ""
            logger.info("%s is %s; message %s%s", task.task_id, task.state, task.delivery.lower(), way)
