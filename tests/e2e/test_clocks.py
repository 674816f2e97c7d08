"""The installed command under a clock that is off (libfaketime), and after it (promise R8)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inside import answer
from tests.e2e.command import agent, run

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (apt-get install faketime)"),
]

NO_LAN = {"MCP_A2A_MDNS": "false"}
ECHO = ("exec", "--name", "echo", "--skill", "echo=Echoes", "--", "cat")


SHARED = Path("/dev/shm")  # noqa: S108  where libfaketime keeps what it shares with the children of a process


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """A process that ends by a signal leaves what it shared behind."""
    before = set(SHARED.glob("*faketime_s*"))
    yield
    for left in set(SHARED.glob("*faketime_s*")) - before:
        if not Path("/proc", left.name.rpartition("_")[2]).exists():
            left.unlink(missing_ok=True)


def ahead(days: int) -> dict[str, str]:
    """The clock of one process is so far ahead; what tells its uptime is not."""
    return {**NO_LAN, "LD_PRELOAD": str(LIBRARY), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME": f"+{days}d"}


def send(home: Path, text: str, *more: str) -> Any:
    return answer(home, "send", "echo", text, *more, **NO_LAN)


@pytest.mark.parametrize("days", [30, 366])
def test_an_agent_whose_clock_was_ahead_is_named_and_works_when_it_is_right(tmp_path: Path, days: int) -> None:
    with agent(tmp_path, *ECHO, **ahead(days)):
        waiting = send(tmp_path, "early", "--wait", "2")
        for _ in range(10):  # a loaded machine takes longer to be refused
            if waiting["tried"]:
                break
            waiting = answer(tmp_path, "task", waiting["task_id"], "--wait", "2", **NO_LAN)
        assert waiting["state"] == "queued"
        assert f"its clock is {days} d 0 h ahead of this machine's" in " ".join(waiting["tried"])
        found = answer(tmp_path, "discover", **NO_LAN)
        assert f"The clock of echo is {days} d 0 h ahead of this machine's" in found["reason"]
    with agent(tmp_path, *ECHO, **NO_LAN):
        assert send(tmp_path, "late", "--wait", "20")["text"] == "late"
        view = answer(tmp_path, "task", waiting["task_id"], "--wait", "20", **NO_LAN)
        assert (view["state"], view["text"]) == ("completed", "early")


def test_a_clock_that_is_ahead_for_a_while_deletes_no_task(tmp_path: Path) -> None:
    with agent(tmp_path, *ECHO, **NO_LAN):
        done = send(tmp_path, "kept", "--wait", "20")
    for _ in range(2):
        run(tmp_path, "inbox", "--wait", "1", **ahead(400))
    tasks = answer(tmp_path, "tasks", **NO_LAN)["tasks"]
    assert [task["task_id"] for task in tasks] == [done["task_id"]]
