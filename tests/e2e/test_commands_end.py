"""Agents that are commands, as a person runs them: killed in the middle, and asking each other in a circle."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.agent.jobs import gone
from tests.cli.inside import answer
from tests.e2e.command import MCP_A2A, agent, environment, run

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")


def until(condition, seconds: float = 30.0) -> None:
    """Other processes give no event to wait for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.timeout(300)
def test_a_command_does_not_outlive_its_killed_node_and_the_next_attempt_runs_alone(tmp_path: Path) -> None:
    """The first attempt would take a minute; the second sees that nothing of the first is left, and answers."""
    home, program = tmp_path / "home", tmp_path / "program.py"
    program.write_text(
        "import os, pathlib, sys, time\n"
        "attempt, here = os.environ['MCP_A2A_ATTEMPT'], pathlib.Path(sys.argv[1])\n"
        "if attempt == '1':\n"
        "    (here / 'first.part').write_text(str(os.getpid())); (here / 'first.part').rename(here / 'first')\n"
        "    time.sleep(60)\n"
        "first = (here / 'first').read_text()\n"
        "state = pathlib.Path(f'/proc/{first}/stat')\n"
        "alive = state.exists() and state.read_text().rpartition(')')[2].split()[0] not in 'ZX'\n"
        "print(attempt, 'beside the first' if alive else 'alone')\n"
    )
    words = ("exec", "--name", "slow", "--no-mdns", "--", sys.executable, str(program), str(tmp_path))
    with agent(home, *words) as killed:
        sent = answer(home, "send", "slow", "x", "--detach", "--no-mdns")
        until((tmp_path / "first").exists)
        killed.process.kill()
        killed.process.wait()
        assert gone(int((tmp_path / "first").read_text()))
    with agent(home, *words):
        done = answer(home, "task", sent["task_id"], "--wait", "30", "--no-mdns")
    assert done["text"] == "2 alone"


@pytest.mark.timeout(300)
def test_two_commands_that_ask_each_other_stop(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "log"
    passing = ("--concurrency", "4", "--env", "MCP_A2A_HOME", "--env", "MCP_A2A_MDNS", "--no-mdns")

    def script(to: str) -> str:
        return f"echo $MCP_A2A_HOP >> {log}; cat > /dev/null; exec {MCP_A2A} send {to} again --wait 60"

    assert "MCP_A2A_HOP" not in environment(home)
    with (
        agent(home, "exec", "--name", "ping", *passing, "--", "sh", "-c", script("pong"), MCP_A2A_MDNS="0"),
        agent(home, "exec", "--name", "pong", *passing, "--", "sh", "-c", script("ping"), MCP_A2A_MDNS="0"),
    ):
        ended = run(home, "send", "ping", "hello", "--wait", "60", MCP_A2A_MDNS="0", timeout=100)
    assert log.read_text().split() == ["1", "2", "3", "4"]
    assert ended.returncode == 7
    assert "passed on 4 times" in ended.stdout + ended.stderr
