"""What an agent says to its owner cannot end it."""

from __future__ import annotations

import io
import sys

import pytest

from mcp_a2a.agent.console import console
from mcp_a2a.node.worker import TaskEvent
from tests.agent.jobs import task_of


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, _closed()])
async def test_a_stream_that_a_skill_has_put_away_or_closed_is_not_written_to(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    console().task(TaskEvent("completed", task_of("x")._job.item, 0.1))
