"""A relay keeps what an agent that is away must get, also when it is killed itself, and when the sender has gone."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inside import answer, run
from tests.e2e.command import agent, until
from tests.e2e.relays import GENEROUS, Relay, relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NO_LAN = {"MCP_A2A_MDNS": "false"}
REV = ("exec", "--name", "rev", "--skill", "reverse=Reverses text", "--", "rev")


def ask(home: Path, *words: str) -> Any:
    return answer(home, *words, **NO_LAN)


def join_both(tmp_path: Path, serving: Relay) -> None:
    """Ann's folder makes the network, Ben's joins it; his agent shows itself, and goes away again."""
    ticket = run(tmp_path / "ann", "invite", "--network", "shop", "--relay", serving.url, **NO_LAN)
    joined = run(tmp_path / "ben", "join", "-", stdin=ticket.stdout, **NO_LAN)
    assert joined.returncode == 0, joined.stderr
    with agent(tmp_path / "ben", *REV, **NO_LAN):
        until(lambda: "rev" in names(tmp_path / "ann"), 30, "ann knows the agent")


def names(home: Path) -> set[str]:
    return {seen["name"] for seen in ask(home, "discover")["agents"]}


def send(tmp_path: Path, text: str, *more: str) -> Any:
    return ask(tmp_path / "ann", "send", "rev", text, "--detach", *more)


def test_five_tasks_wait_through_a_crash_and_five_results_wait_for_their_sender(tmp_path: Path) -> None:
    with relay(tmp_path / "relay", "--listen", "127.0.0.1:0", *GENEROUS) as serving:
        port = serving.url.partition("#")[0].rstrip("/").rpartition(":")[2]
        join_both(tmp_path, serving)
        sent = [send(tmp_path, f"task {number}") for number in range(5)]
        assert [task["delivery"] for task in sent] == ["STORED"] * 5
        serving.end(signal.SIGKILL)

        again = Relay(tmp_path / "relay", "--listen", f"127.0.0.1:{port}", *GENEROUS)
        try:
            assert again.start() == serving.url.partition("&admit=")[0], "the secret is shown once"
            with agent(tmp_path / "ben", *REV, **NO_LAN):
                until(lambda: results_kept(tmp_path) == 5, 30, "five results wait at the relay")
            assert again.end() == 0
            again.start()
            for number, task in enumerate(sent):
                view = ask(tmp_path / "ann", "task", task["task_id"], "--wait", "10")
                assert (view["text"], view["delivery"]) == (f"task {number}"[::-1], "DELIVERED")
            received = ask(tmp_path / "ben", "--identity", "rev", "tasks", "--received")["tasks"]
            assert [task["text"] for task in reversed(by_creation(received))] == [f"task {n}" for n in range(5)]
        finally:
            again.end(signal.SIGKILL)


def caught_up(home: Path) -> list[Any]:
    """What was sent, once a node has run for a moment: a list of tasks alone starts none."""
    assert run(home, "status", **NO_LAN).returncode == 0
    return list(ask(home, "tasks", "--sent")["tasks"])


def by_creation(tasks: list[Any]) -> list[Any]:
    return sorted(tasks, key=lambda task: task["created"], reverse=True)


def results_kept(tmp_path: Path) -> int:
    """How many results the relay keeps for Ann, whose node would fetch them if it were asked."""
    received = ask(tmp_path / "ben", "--identity", "rev", "tasks", "--received")["tasks"]
    if [task["state"] for task in received] != ["completed"] * 5:
        return 0
    return int(ask(tmp_path / "relay", "relay", "status")["messages"])


def test_a_retry_runs_once_and_one_more_than_the_mailbox_takes_is_refused_on_that_call_with_the_reason(
    tmp_path: Path,
) -> None:
    limits = ("--max-per-sender", "3", "--rate", "1000", "--burst", "1000")
    with relay(tmp_path / "relay", "--listen", "127.0.0.1:0", *limits) as serving:
        join_both(tmp_path, serving)
        sent = [send(tmp_path, f"task {number}", "--idempotency-key", f"k{number}") for number in range(3)]
        assert [task["delivery"] for task in sent] == ["STORED"] * 3
        assert send(tmp_path, "task 0", "--idempotency-key", "k0")["task_id"] == sent[0]["task_id"]
        assert ask(tmp_path / "relay", "relay", "status")["messages"] == 3
        start = time.monotonic()
        refused = run(tmp_path / "ann", "send", "rev", "one more", **NO_LAN)
        assert refused.returncode == 4
        assert "holds as many messages from you as it may" in refused.stderr
        assert time.monotonic() - start < 10, "it does not wait for an answer that cannot come"
        with agent(tmp_path / "ben", *REV, **NO_LAN):
            until(
                lambda: all(task["done"] for task in caught_up(tmp_path / "ann")),
                60,
                "it was kept here, and goes when there is room",
            )
        assert "erom eno" in [task["text"] for task in ask(tmp_path / "ann", "tasks", "--sent")["tasks"]]
        received = ask(tmp_path / "ben", "--identity", "rev", "tasks", "--received")["tasks"]
        assert len(received) == 4


def test_a_relay_keeps_a_task_for_its_time_and_its_sender_keeps_it_still(tmp_path: Path) -> None:
    with relay(tmp_path / "relay", "--listen", "127.0.0.1:0", "--ttl-days", str(3 / 86_400), *GENEROUS) as serving:
        join_both(tmp_path, serving)
        sent = send(tmp_path, "late")
        assert sent["delivery"] == "STORED"
        until(lambda: ask(tmp_path / "relay", "relay", "status")["messages"] == 0, 60, "its time at the relay is over")
        with agent(tmp_path / "ben", *REV, **NO_LAN):
            view = ask(tmp_path / "ann", "task", sent["task_id"], "--wait", "20")
            assert (view["text"], view["delivery"]) == ("etal", "DELIVERED")
