"""Ending on a signal, in the same way on every transport."""

from __future__ import annotations

import sys
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus

from mcp_a2a.front.signals import ending_signals


async def stop_on_signal(stop: Callable[[], None], *, task_status: TaskStatus[None]) -> None:
    """Call `stop` at SIGTERM, SIGINT or SIGHUP; every time, so that who asks twice is heard twice."""
    if sys.platform == "win32":  # its event loop has no signal handlers; Ctrl-C arrives as KeyboardInterrupt
        task_status.started()
        return
    with anyio.open_signal_receiver(*ending_signals()) as received:
        task_status.started()
        async for _ in received:
            stop()
