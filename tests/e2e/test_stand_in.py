"""Any process of a data folder delivers for all its identities."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from mcp_a2a.cli.machine import is_locked
from mcp_a2a.store.owner_file import has_stand_in, read_owner
from tests.cli.inside import answer, run
from tests.e2e.command import MCP_A2A, agent, environment, until
from tests.e2e.relays import GENEROUS, relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "an app", "version": "1"}},
}
QUIET = {"MCP_A2A_MDNS": "false"}
REV = ("exec", "--name", "rev", "--skill", "reverse=Reverses text", "--accept", "anyone", "--", "rev")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def far_agent(home: Path, port: int) -> Iterator[Any]:
    """An agent of another person at a known address."""
    with agent(home, *REV, MCP_A2A_LINK_PORT=str(port), MCP_A2A_LINK_HOST="127.0.0.1", **QUIET) as running:
        yield running


@contextmanager
def bystander(home: Path, name: str = "idle") -> Iterator[Any]:
    """Another identity of the sender's folder, with a process of its own."""
    with agent(home, "exec", "--name", name, "--skill", "nothing", "--", "cat", **QUIET) as running:
        yield running


def met(folder: Path, port: int, *identity: str) -> None:
    """The sender knows the far agent, which is away again."""
    with far_agent(folder / "far", port):
        added = run(folder / "here", *identity, "peers", "add", f"127.0.0.1:{port}", **QUIET)
        assert added.returncode == 0, added.stderr


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Two data folders whose agents have met once, and the port of the far one."""
    folder, port = tmp_path_factory.mktemp("met"), free_port()
    met(folder, port)
    return folder, port


@pytest.fixture
def port(before: tuple[Path, int], tmp_path: Path) -> int:
    """The same for one test."""
    folder, port = before
    for home in ("here", "far"):
        shutil.copytree(folder / home, tmp_path / home)
    return port


def sent(tmp_path: Path, text: str, *identity: str) -> str:
    view = answer(tmp_path / "here", *identity, "send", "rev", text, "--detach", **QUIET)
    assert view["delivery"] == "QUEUED", view
    return str(view["task_id"])


def state_of(home: Path, identity: str, task_id: str) -> tuple[str, str]:
    """What the database says: to ask a command would be to run the identity's own process."""
    database = home / "identities" / identity / "node.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT state, delivery FROM tasks WHERE id=?", (task_id,)).fetchone()
    return (str(row[0]), str(row[1])) if row else ("", "")


def done(home: Path, identity: str, task_id: str) -> bool:
    return state_of(home, identity, task_id)[0] == "TASK_STATE_COMPLETED"


def stands(home: Path, identity: str, pid: int) -> bool:
    folder = home / "identities" / identity
    return has_stand_in(folder) and read_owner(folder) == pid


def test_a_task_is_delivered_and_its_answer_received_by_the_process_of_another_identity(
    tmp_path: Path, port: int
) -> None:
    here = tmp_path / "here"
    task_id = sent(tmp_path, "desserts")
    stays_out = ("exec", "--name", "quiet", "--skill", "nothing", "--", "cat")
    with agent(here, *stays_out, MCP_A2A_NETWORKS="false", **QUIET), bystander(here) as other:
        until(lambda: stands(here, "default", other.process.pid), 20, "the one that is in networks stands in")
        assert [one["running"] for one in answer(here, "list")["identities"]] == [False, True, True]
        with far_agent(tmp_path / "far", port):
            until(lambda: done(here, "default", task_id), 40, "the answer is here")
            received = answer(tmp_path / "far", "--identity", "rev", "tasks", "--received", **QUIET)["tasks"]
            assert len(received) == 1
        until(lambda: not stands(here, "default", other.process.pid) or not _locked(here), 20, "nothing is left to do")
        view = answer(here, "task", task_id, **QUIET)  # the far agent is away
    assert (view["text"], view["attempts"]) == ("stressed", 1)


def _locked(home: Path, identity: str = "default") -> bool:
    return is_locked(home / "identities" / identity)


def test_the_own_process_of_an_identity_takes_over_at_once_and_there_is_never_a_second_owner(
    tmp_path: Path, port: int
) -> None:
    here = tmp_path / "here"
    task_id = sent(tmp_path, "one")
    with bystander(here) as other:
        until(lambda: stands(here, "default", other.process.pid), 20, "the agent stands in")
        server = subprocess.Popen(
            [MCP_A2A, "--no-mdns"],
            env=environment(here),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert server.stdin is not None
        server.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        server.stdin.flush()
        try:
            until(lambda: read_owner(here / "identities" / "default") == server.pid, 20, "its own process owns it")
            assert not has_stand_in(here / "identities" / "default")
            until(lambda: answer(here, "status", **QUIET).get("pid") == server.pid, 20, "it answers")
            assert answer(here, "status", **QUIET).get("runs_twice") is None
            assert answer(here, "task", task_id, **QUIET)["delivery"] == "QUEUED"
        finally:
            server.kill()
            server.communicate()
        until(lambda: stands(here, "default", other.process.pid), 20, "it was killed: the agent stands in again")
        assert run(here, "repair", **QUIET).returncode == 0


def test_one_process_stands_in_for_all_and_the_next_when_it_is_killed(tmp_path: Path, port: int) -> None:
    here = tmp_path / "here"
    names = ["default", "second"]
    met(tmp_path, port, "--identity", "second")
    tasks = {name: sent(tmp_path, name, "--identity", name) for name in names}
    with bystander(here, "one") as one, bystander(here, "two") as two:
        hosts = {one.process.pid: one, two.process.pid: two}
        until(lambda: all(read_owner(here / "identities" / name) in hosts for name in names), 20, "one stands in")
        (host,) = {read_owner(here / "identities" / name) for name in names}
        assert host is not None
        other = next(pid for pid in hosts if pid != host)
        files = psutil.Process(other).num_fds()
        os.kill(host, signal.SIGKILL)
        until(lambda: all(stands(here, name, other) for name in names), 20, "the other process does now")
        with far_agent(tmp_path / "far", port):
            until(lambda: all(done(here, name, task) for name, task in tasks.items()), 40, "both are answered")
        until(lambda: psutil.Process(other).num_fds() <= files + 2, 20, "its nodes are closed again")


def test_what_is_not_ours_or_cannot_be_read_is_left_alone_and_harms_no_other(tmp_path: Path, port: int) -> None:
    here = tmp_path / "here"
    task_id = sent(tmp_path, "one")
    identities, elsewhere = here / "identities", tmp_path / "elsewhere"
    for copy in (identities / "broken", elsewhere):
        shutil.copytree(identities / "default", copy)
        copy.chmod(0o700)
    broken = identities / "broken" / "node.db"
    broken.write_bytes(broken.read_bytes()[:100] + b"\xff" * 9000)
    (identities / "linked").symlink_to(elsewhere)
    (identities / "empty").mkdir(mode=0o700)
    before = broken.read_bytes()
    with bystander(here), far_agent(tmp_path / "far", port):
        until(lambda: done(here, "default", task_id), 40, "the sound one is delivered")
    assert broken.read_bytes() == before
    assert not (elsewhere / "owner").read_text().strip().endswith("stands-in")
    assert state_of(here, "linked", task_id) == ("TASK_STATE_SUBMITTED", "QUEUED")


def test_a_task_kept_at_a_relay_is_answered_into_the_inbox_of_an_identity_that_never_runs(tmp_path: Path) -> None:
    here, far = tmp_path / "here", tmp_path / "far"
    with relay(tmp_path / "relay", "--listen", "127.0.0.1:0", *GENEROUS) as serving:
        ticket = run(here, "invite", "--network", "shop", "--relay", serving.url, **QUIET)
        assert run(far, "join", "-", stdin=ticket.stdout, **QUIET).returncode == 0
        with agent(far, *REV, **QUIET):
            until(lambda: "rev" in {one["name"] for one in answer(here, "discover", **QUIET)["agents"]}, 30, "known")
        view = answer(here, "send", "rev", "desserts", "--detach", **QUIET)
        assert view["delivery"] == "STORED"
        with bystander(here), agent(far, *REV, **QUIET):
            until(lambda: done(here, "default", view["task_id"]), 40, "the answer is here")
    assert answer(here, "task", view["task_id"], **QUIET)["text"] == "stressed"  # and the relay is gone
