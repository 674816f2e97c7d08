"""The commonest set-up of an agent on a server: it is known by its address, and cannot dial back.

No mDNS, no local lookup (each side has a data folder of its own), no relay: whatever is to come back must come over a
link that the asker opens. Both sides are killed at random; nothing is lost, doubled or stuck.
"""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import pytest

from tests.cli.inside import run
from tests.e2e.storm import Process, ended_afterwards, plant_counters, tell_twins, until

TASKS = 300
KILLS = 8


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_task_is_stuck_behind_a_link_that_only_its_asker_can_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, (here, there) = free_port(), (tmp_path / "here", tmp_path / "there")
    here.mkdir()
    there.mkdir()
    monkeypatch.setenv("MCP_A2A_LINK_HOST", "127.0.0.1")
    monkeypatch.setenv("WORK_SECONDS", "0.1")
    monkeypatch.setenv("MCP_A2A_ACCEPT_RATE", "6000")  # the asker is a stranger there
    sender = Process(here, "sender", str(here), str(TASKS))
    receiver = Process(there, "receiver", accept="anyone", port=port)
    choose = random.Random(os.environ.get("STORM_SEED", "11"))
    with ended_afterwards(sender, receiver):
        plant_counters(receiver)
        plant_counters(sender)
        receiver.start()
        until(lambda: receiver.announced, 30, "the receiver runs")
        added = run(
            here, "--identity", "sender", "peers", "add", f"127.0.0.1:{port}", MCP_A2A_MDNS="0",
            MCP_A2A_LINK_HOST="127.0.0.1",
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        sender.start()
        for _ in range(KILLS):
            calm = sender.witnessed("ended") + choose.randrange(4, 12)
            until(lambda: sender.witnessed("ended") >= min(calm, TASKS), 60, "answers come back")  # noqa: B023
            assert sender.witnessed("ended") < TASKS, "the work ran out before the kills did"
            victim = choose.choice((sender, receiver))
            victim.kill()
            victim.start()
        assert sender.process is not None
        output, _ = sender.process.communicate(timeout=90)

    lines = [line.split(" ", 2) for line in output.decode().splitlines()]
    assert [(int(number), text) for number, _, text in lines] == [(n, f"done {n}") for n in range(TASKS)]
    for process in (sender, receiver):
        assert tell_twins(process) == {"stored": (TASKS, TASKS), "ended": (TASKS, TASKS)}
