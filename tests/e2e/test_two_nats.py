"""Two homes that cannot reach each other: a ticket and a relay between them are enough, also when it keeps dying."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.inside import answer, run
from tests.e2e import nat
from tests.e2e.command import agent
from tests.e2e.command import until as soon
from tests.e2e.relays import GENEROUS, Relay, relay
from tests.e2e.storm import Process, ended_afterwards, plant_counters, tell_twins, until

TASKS = 200
KILLS = 5

NO_LAN = {"MCP_A2A_MDNS": "false"}
"""There is nobody else in either home."""

pytestmark = [pytest.mark.lan, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    reason = nat.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def on() -> Iterator[dict[str, list[str]]]:
    with nat.two_homes() as on:
        yield on


@pytest.fixture
def serving(on: dict[str, list[str]], tmp_path: Path) -> Iterator[Relay]:
    with relay(tmp_path / "relay", "--listen", "0.0.0.0:6060", *GENEROUS, on=on["relay"]) as serving:
        yield serving


def join_both(tmp_path: Path, on: dict[str, list[str]], serving: Relay) -> None:
    ticket = run(tmp_path / "ann", "invite", "--network", "shop", "--relay", serving.url, on=on["ann"], **NO_LAN)
    assert ticket.returncode == 0, ticket.stderr
    joined = run(tmp_path / "ben", "join", "-", on=on["ben"], **NO_LAN, stdin=ticket.stdout)
    assert joined.stdout == "Joined shop. 1 other agent visible.\n", joined.stderr


def test_the_homes_reach_the_relay_and_not_each_other(on: dict[str, list[str]], serving: Relay) -> None:
    assert serving.url.startswith(f"ws://{nat.RELAY}:6060/#did:key:z6Mk")
    for home, other in (("ann", 2), ("ben", 1)):
        assert nat.reaches(on[home], nat.RELAY, 6060)
        for address in (f"192.168.{other}.10", f"203.0.113.{other}"):
            assert not nat.reaches(on[home], address, 6060)


def test_two_agents_behind_their_routers_find_and_task_each_other(
    tmp_path: Path, on: dict[str, list[str]], serving: Relay
) -> None:
    join_both(tmp_path, on, serving)
    rev = ("exec", "--skill", "reverse=Reverses text")
    with (
        agent(tmp_path / "ann", *rev, "--name", "ann", "--", "rev", on=on["ann"]),
        agent(tmp_path / "ben", *rev, "--name", "ben", "--", "rev", on=on["ben"]),
    ):
        for home, other in (("ann", "ben"), ("ben", "ann")):

            def found() -> bool:
                seen = answer(tmp_path / home, "discover", on=on[home], **NO_LAN)["agents"]  # noqa: B023
                return any(it["name"] == other and it.get("route") == "relay" and it["online"] for it in seen)  # noqa: B023

            soon(found, 30, f"{home} sees {other}")
            view = answer(tmp_path / home, "send", other, "abc", "--wait", "10", on=on[home], **NO_LAN)
            assert (view["text"], view["route"], view["delivery"]) == ("cba", "relay", "DELIVERED")
            pinged = answer(tmp_path / home, "ping", other, "--count", "1", on=on[home], **NO_LAN)
            assert pinged["received"] == 1


def test_no_task_is_lost_or_doubled_while_the_relay_is_killed(
    tmp_path: Path, on: dict[str, list[str]], serving: Relay
) -> None:
    join_both(tmp_path, on, serving)
    sender = Process(tmp_path / "ann", "sender", str(tmp_path / "ann"), str(TASKS), on=on["ann"])
    receiver = Process(tmp_path / "ben", "receiver", on=on["ben"])
    choose = random.Random(os.environ.get("STORM_SEED", "3"))
    with ended_afterwards(sender, receiver):
        plant_counters(receiver)
        plant_counters(sender)
        receiver.start()
        introduced(tmp_path, on)
        sender.start()
        for _ in range(KILLS):
            calm = min(sender.witnessed("ended") + choose.randrange(10, 25), TASKS - 20)
            until(lambda: sender.witnessed("ended") >= calm, 60, "the storm makes progress")  # noqa: B023
            serving.end(signal.SIGKILL)
            assert sender.witnessed("ended") < TASKS, "the work ran out before the kills did"
            serving.start()
        assert sender.process is not None
        output, _ = sender.process.communicate(timeout=120)

    lines = [line.split(" ", 2) for line in output.decode().splitlines()]
    assert [(int(number), text) for number, _, text in lines] == [(n, f"done {n}") for n in range(TASKS)]
    for process in (sender, receiver):
        assert tell_twins(process) == {"stored": (TASKS, TASKS), "ended": (TASKS, TASKS)}


def introduced(tmp_path: Path, on: dict[str, list[str]]) -> None:
    """Until the sender's side knows the receiver by name."""
    soon(
        lambda: any(
            it["name"] == "receiver" for it in answer(tmp_path / "ann", "discover", on=on["ann"], **NO_LAN)["agents"]
        ),
        20,
        "ann sees the receiver",
    )
