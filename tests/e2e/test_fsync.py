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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.agents import AddPeerRequest
from mcp_a2a.api.networks import InviteRequest, JoinRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.runtime.context import delivery_of
from mcp_a2a.protocol.model import Delivery
from tests.e2e.command import answer, environment
from tests.node.world import Person, World

ACKNOWLEDGEMENTS = 100
PROGRAMS = Path(__file__).parent / "programs"
CALLS = "write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]


def audit(trace: str, log: str, word: str) -> tuple[int, int]:
    """Acknowledgements sent, and those that were sent while the log had writes that no fsync had covered."""
    acknowledged = early = 0
    unsynced, syncing = False, set()
    for line in trace.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if log in call and re.match(r"p?write", call):
            unsynced = True
        elif log in call and re.match(r"f(data)?sync\(", call):
            if "unfinished" in call:
                syncing.add(thread)
            else:
                unsynced = False
        elif re.match(r"<\.\.\. f(data)?sync resumed>", call) and thread in syncing:
            syncing.discard(thread)
            unsynced = False
        elif word in call and re.match(r"(write|writev|sendto|sendmsg)\(", call):
            acknowledged += 1
            early += unsynced
    return acknowledged, early


@contextmanager
def traced(trace: Path, home: Path, program: str, *arguments: str, **env: str) -> Iterator[str]:
    """A program under strace, and the first line it prints."""
    watched = [sys.executable, str(PROGRAMS / program), *arguments]
    process = subprocess.Popen(
        ["strace", "-f", "-y", "-s", "400", "-e", f"trace={CALLS}", "-o", str(trace), *watched],
        env=environment(home, **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line
        yield line
    finally:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


async def acknowledge_under_trace(home: Path, folder: Path, **env: str) -> tuple[int, int]:
    trace = folder / "trace.txt"
    env |= {"MCP_A2A_NO_MDNS": "1", "MCP_A2A_MDNS": "false", "MCP_A2A_ACCEPT": "anyone", "MCP_A2A_ACCEPT_RATE": "10000"}
    with traced(trace, home, "acknowledger.py", **env):
        listening = answer(home, "--identity", "acknowledger", "--no-mdns", "status")["listening"][0]
        # A folder of its own, so that the sender dials: what a listener sends is not masked, and can be read.
        async with open_node(Settings(home=folder / "sender", identity="sender", mdns=False)) as node:
            await node.call(AddPeerRequest(address=f"127.0.0.1:{listening.rpartition(':')[2]}"))
            for number in range(ACKNOWLEDGEMENTS):
                view = await node.call(SendTaskRequest(agent="acknowledger", message=str(number), wait_seconds=20))
                assert view.text == str(number)
    return audit(trace.read_text(errors="replace"), "node.db-wal", "delivered")


async def test_every_acknowledgement_follows_an_fsync(tmp_path: Path) -> None:
    acknowledged, early = await acknowledge_under_trace(tmp_path / "home", tmp_path)
    assert acknowledged >= ACKNOWLEDGEMENTS
    assert early == 0


async def test_a_database_that_does_not_wait_for_the_disk_is_noticed(tmp_path: Path) -> None:
    acknowledged, early = await acknowledge_under_trace(tmp_path / "home", tmp_path, CARELESS="1")
    assert acknowledged >= ACKNOWLEDGEMENTS
    assert early >= ACKNOWLEDGEMENTS * 0.9


# --- the same at a relay --------------------------------------------------------------------------


async def store_under_trace(folder: Path, **env: str) -> tuple[int, int]:
    trace, world = folder / "trace.txt", World(folder)
    with traced(trace, folder, "relay.py", str(folder / "relay"), **env) as url:
        async with world.person("alice") as alice:
            ticket = (await alice.api.call(InviteRequest(network="shop", relays=(url,)))).ticket
        async with world.person("bob") as bob:
            await bob.api.call(JoinRequest(ticket=ticket))
        async with world.person("alice") as alice:
            for number in range(ACKNOWLEDGEMENTS):
                await left_for(alice, bob.did, str(number))
    return audit(trace.read_text(errors="replace"), "relay.db-wal", "stored")


async def left_for(alice: Person, did: str, text: str) -> None:
    """Send a task to somebody who is away, and wait until the relay says that it has it."""
    sent = await alice.api.call(SendTaskRequest(agent=did, message=text, wait_seconds=0))
    with anyio.fail_after(30):
        while True:
            changed = alice.node.context.task_changes.event(delivery_of(sent.task_id))
            if (await alice.api.call(GetTaskRequest(task_id=sent.task_id))).delivery == Delivery.STORED:
                return
            await changed.wait()


async def test_a_relay_says_stored_after_an_fsync_only(tmp_path: Path) -> None:
    said, early = await store_under_trace(tmp_path)
    assert said >= ACKNOWLEDGEMENTS
    assert early == 0


async def test_a_relay_that_does_not_wait_for_the_disk_is_noticed(tmp_path: Path) -> None:
    said, early = await store_under_trace(tmp_path, CARELESS="1")
    assert said >= ACKNOWLEDGEMENTS
    assert early >= ACKNOWLEDGEMENTS * 0.9
