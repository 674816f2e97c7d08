"""When the process of an agent ends."""

from __future__ import annotations

import signal

import anyio
import pytest

from mcp_a2a.agent.hosting import until_signalled


@pytest.mark.parametrize("ignored", [True, False])
async def test_an_agent_that_nohup_started_outlives_its_terminal(ignored: bool) -> None:  # noqa: FBT001
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        async with until_signalled() as stopping:
            await anyio.wait_all_tasks_blocked()
            still_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert still_ignored is ignored
            signal.raise_signal(signal.SIGTERM)
            with anyio.fail_after(10):
                await stopping.wait()
    finally:
        signal.signal(signal.SIGHUP, before)
