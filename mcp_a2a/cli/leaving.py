"""The end of a command that ran other people's functions: what they left running does not hold it up."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from mcp_a2a.cli.exits import Exit

GRACE_SECONDS = 2.0
"""How long threads that a skill started may go on once its node is closed."""

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
