"""No other program of this user reads the keys of a node, a relay or an agent from memory, nor from a core file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.command import MCP_A2A, environment

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or (os.getuid() == 0 and shutil.which("setpriv") is None),
    reason="only Linux tells whether memory can be read, and root gives up its rights with setpriv",
)

AGENT = """
from mcp_a2a import Agent

agent = Agent("script")


@agent.skill
def shout(text: str) -> str:
    return text.upper()


agent.run()
"""

WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"] if os.getuid() == 0 else []
"""Root may read all memory by this right, which no other user has; and the reader needs all rights of the other."""

PROGRAMS = {
    "node": [MCP_A2A, "--no-mdns", "serve", "--listen", "127.0.0.1:0"],
    "relay": [MCP_A2A, "relay", "serve", "--listen", "127.0.0.1:0"],
    "command as an agent": [MCP_A2A, "--no-mdns", "agent", "exec", "--name", "rev", "--", "sleep", "60"],
    "script": [sys.executable, "agent.py"],
}


@contextmanager
def started(folder: Path, program: str, **variables: str) -> Iterator[int]:
    (folder / "agent.py").write_text(AGENT)
    process = subprocess.Popen(
        [*WITHOUT_RIGHTS, *PROGRAMS[program]],
        cwd=folder,
        env=environment(folder / "home", MCP_A2A_MDNS="0", **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline()  # it is ready
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def is_read_by_others(pid: int) -> bool:
    """Whether another program of this user reads it; by the same right it may attach, and the kernel dumps a core."""
    words = [*WITHOUT_RIGHTS, "sh", "-c", f"exec < /proc/{pid}/mem"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def core_limit(pid: int) -> str:
    (line,) = [
        line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max core file size")
    ]
    return line.split()[4]


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_its_memory_is_its_own(tmp_path: Path, program: str) -> None:
    with started(tmp_path, program) as pid:
        assert not is_read_by_others(pid)
        assert core_limit(pid) == "0"


def test_a_debugger_may_attach_where_a_person_says_so(tmp_path: Path) -> None:
    with started(tmp_path, "script", MCP_A2A_DUMPABLE="1") as pid:
        assert is_read_by_others(pid)


def test_what_a_task_has_started_stays_visible_to_the_node_that_ends_it(tmp_path: Path) -> None:
    with started(tmp_path, "script", MCP_A2A_RUN="a-run-of-a-task") as pid:
        assert is_read_by_others(pid)
        assert core_limit(pid) == "0"
