"""What an agent says to its owner cannot end it, and never fills the terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import anyio
import pytest

from mcp_a2a.agent.console import console
from mcp_a2a.agent.reporting import LINES, Reporter
from mcp_a2a.node.worker.worker import TaskEvent
from tests.agent.jobs import task_of
from tests.node.world import World


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


async def _told(tmp_path: Path, tasks: int) -> None:
    """An agent that tells of so many tasks, and ends at once."""
    to = console()
    assert to.watch is not None
    async with World(tmp_path).person("rev") as rev, anyio.create_task_group() as group:
        group.start_soon(to.watch, rev.api)
        for _ in range(tasks):
            await anyio.lowlevel.checkpoint()
            to.task(TaskEvent("completed", task_of("x")._job.item, 0.1))
        group.cancel_scope.cancel()


@pytest.mark.parametrize("stream", [None, _closed()])
async def test_a_stream_that_a_skill_has_put_away_or_closed_is_not_written_to(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    await _told(tmp_path, 1)


async def test_each_task_has_its_line_also_the_last_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    await _told(tmp_path, 3)
    lines = sys.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 3
    assert all("completed  0.10 s" in line for line in lines)


async def test_a_flood_of_tasks_fills_no_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    await _told(tmp_path, 1_000)
    assert len(sys.stderr.getvalue().splitlines()) <= LINES.burst + 1  # type: ignore[attr-defined]


def test_a_thread_that_finds_nothing_left_to_write_writes_no_empty_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    Reporter(as_json=False)._put()
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_a_quiet_agent_tells_of_nothing() -> None:
    assert console(quiet=True).watch is None
