"""Exit codes of commands, by which a script can tell the outcome.

| code | meaning |
|---|---|
| 0 | done |
| 1 | unexpected error |
| 2 | usage |
| 3 | no such agent, skill, task or network |
| 4 | agent or relay unreachable |
| 5 | refused: not trusted, blocked, not admitted, a ticket that does not count, or an answer of yours |
| 6 | still running when the wait ended (the task id was printed) |
| 7 | the remote task failed or was rejected, or ended before it could be canceled |
| 8 | the remote agent needs input |
| 9 | this machine or the data folder does not allow it: a port in use, no room, a damaged or newer database |
| 130 | interrupted |
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING

from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.state import Delivery

if TYPE_CHECKING:
    from mcp_a2a.api.tasks import TaskView


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    REFUSED = 5
    RUNNING = 6
    FAILED = 7
    NEEDS_INPUT = 8
    UNUSABLE = 9
    INTERRUPTED = 130


BY_DELIVERY = {
    Delivery.REFUSED: Exit.REFUSED,
    Delivery.EXPIRED: Exit.UNREACHABLE,
}
"""The exit code by the delivery of the message, which decides first: work that never began did not fail."""

BY_STATE = {
    Moment.QUEUED: Exit.RUNNING,
    Moment.STORED: Exit.RUNNING,
    Moment.HELD: Exit.RUNNING,
    Moment.SUBMITTED: Exit.RUNNING,
    Moment.WORKING: Exit.RUNNING,
    Moment.COMPLETED: Exit.DONE,
    Moment.FAILED: Exit.FAILED,
    Moment.CANCELED: Exit.FAILED,
    Moment.INPUT_REQUIRED: Exit.NEEDS_INPUT,
    Moment.REJECTED: Exit.FAILED,
    Moment.AUTH_REQUIRED: Exit.NEEDS_INPUT,
}


def exit_of(task: TaskView) -> Exit:
    """The exit code of a command that shows a task. One we received is shown, which is all that was asked."""
    if task.direction == "received":
        return Exit.DONE
    if task.delivery == Delivery.QUEUED and task.tried and not task.done:
        return Exit.UNREACHABLE
    return BY_DELIVERY.get(task.delivery, BY_STATE[task.state])


def exit_of_error(error: BaseException) -> int:
    """The exit code of a command that raised."""
    match error:
        case McpA2AError():
            return error.exit_code
        case KeyboardInterrupt():
            return Exit.INTERRUPTED
        case _:
            return Exit.UNEXPECTED


# The end of a command that ran other people's functions: what they left running does not hold it up.

GRACE_SECONDS = 2.0
"""Seconds that threads of a skill may go on once its node is closed."""

_own_process = False


def own_this_process() -> None:
    """Say that nothing but this command runs in this process."""
    global _own_process  # noqa: PLW0603  it is a fact about the process
    _own_process = True


def leave_soon() -> None:
    """End this process a little later, though threads still run: nothing can interrupt one that blocks.

    Python waits for threads of `asyncio.to_thread` and for those that are no daemons, without a limit.
    """
    if _own_process:
        timer = threading.Timer(GRACE_SECONDS, _leave)
        timer.daemon = True
        timer.start()


def _leave() -> None:
    with suppress(OSError):
        os.write(2, b"Threads that a skill had started were still running; they ended with this process.\n")
    os._exit(Exit.DONE)
