"""An acknowledgement means that it is on the disk: between the last write to the log and the receipt there is an fsync.

kill -9 cannot show this (the page cache survives), so the system calls of a real receiver are read (promise R3).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.views import AddPeerRequest, SendTaskRequest
from tests.e2e.command import answer, environment

ACKNOWLEDGEMENTS = 100
PROGRAM = Path(__file__).parent / "programs" / "acknowledger.py"
CALLS = "write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]


def audit(trace: str) -> tuple[int, int]:
    """Acknowledgements sent, and those that were sent while the log had writes that no fsync had covered."""
    acknowledged = early = 0
    unsynced, syncing = False, set()
    for line in trace.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if "node.db-wal" in call and re.match(r"p?write", call):
            unsynced = True
        elif "node.db-wal" in call and re.match(r"f(data)?sync\(", call):
            if "unfinished" in call:
                syncing.add(thread)
            else:
                unsynced = False
        elif re.match(r"<\.\.\. f(data)?sync resumed>", call) and thread in syncing:
            syncing.discard(thread)
            unsynced = False
        elif "delivered" in call and re.match(r"(write|writev|sendto|sendmsg)\(", call):
            acknowledged += 1
            early += unsynced
    return acknowledged, early


async def acknowledge_under_trace(home: Path, folder: Path, **env: str) -> tuple[int, int]:
    trace = folder / "trace.txt"
    receiver = subprocess.Popen(  # noqa: ASYNC220  started and stopped in no time
        ["strace", "-f", "-y", "-s", "400", "-e", f"trace={CALLS}", "-o", str(trace), sys.executable, str(PROGRAM)],
        env=environment(home, MCP_A2A_NO_MDNS="1", MCP_A2A_MDNS="false", MCP_A2A_ACCEPT="anyone", **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert receiver.stdout is not None
        assert receiver.stdout.readline()
        listening = answer(home, "--identity", "acknowledger", "--no-mdns", "status")["listening"][0]
        # A folder of its own, so that the sender dials: what a listener sends is not masked, and can be read.
        async with open_node(Settings(home=folder / "sender", identity="sender", mdns=False)) as node:
            await node.add_peer(AddPeerRequest(address=f"127.0.0.1:{listening.rpartition(':')[2]}"))
            for number in range(ACKNOWLEDGEMENTS):
                view = await node.send_task(SendTaskRequest(agent="acknowledger", message=str(number), wait_seconds=20))
                assert view.text == str(number)
    finally:
        for child in Path(f"/proc/{receiver.pid}/task/{receiver.pid}/children").read_text().split():  # noqa: ASYNC240
            os.kill(int(child), signal.SIGTERM)
        receiver.wait(10)
        if receiver.stdout is not None:
            receiver.stdout.close()
    return audit(trace.read_text(errors="replace"))


async def test_every_acknowledgement_follows_an_fsync(tmp_path: Path) -> None:
    acknowledged, early = await acknowledge_under_trace(tmp_path / "home", tmp_path)
    assert acknowledged >= ACKNOWLEDGEMENTS
    assert early == 0


async def test_a_database_that_does_not_wait_for_the_disk_is_noticed(tmp_path: Path) -> None:
    acknowledged, early = await acknowledge_under_trace(tmp_path / "home", tmp_path, CARELESS="1")
    assert acknowledged >= ACKNOWLEDGEMENTS
    assert early >= ACKNOWLEDGEMENTS * 0.9
