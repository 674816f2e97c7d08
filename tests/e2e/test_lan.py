"""A real LAN, with nothing set up: three hosts find each other by mDNS, and work for each other in every direction."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.command import agent, answer, until
from tests.e2e.lan import lan, why_not

HOSTS = ("ann", "ben", "cat")

pytestmark = [pytest.mark.lan, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)


def test_three_hosts_find_each_other_and_work_in_every_direction(tmp_path: Path) -> None:
    with lan(*HOSTS) as on, ExitStack() as stack:
        running = {
            host: stack.enter_context(
                agent(
                    tmp_path / host,
                    "exec",
                    "--name",
                    host,
                    "--skill",
                    f"reverse-{host}=Reverses text",
                    "--accept",
                    "anyone",
                    "--",
                    "rev",
                    on=on[host],
                )
            )
            for host in HOSTS
        }

        def seen_by(host: str) -> set[str]:
            found = answer(tmp_path / host, "--identity", host, "discover", on=on[host])
            return {seen["name"] for seen in found["agents"] if seen["online"] and seen["skills"]}

        for host in HOSTS:
            until(lambda: seen_by(host) == set(HOSTS) - {host}, 30, f"{host} sees the others")  # noqa: B023

        for sender in HOSTS:
            for receiver in set(HOSTS) - {sender}:
                view = answer(
                    tmp_path / sender, "--identity", sender, "send", receiver, "abc", "--wait", "10", on=on[sender]
                )
                assert (view["text"], view["route"]) == ("cba", "lan")

        running["ben"].process.send_signal(signal.SIGTERM)
        until(lambda: "ben" not in seen_by("ann") | seen_by("cat"), 20, "whoever says goodbye is gone at once")

        running["cat"].process.send_signal(signal.SIGKILL)
        until(lambda: "cat" not in seen_by("ann"), 45, "whoever is killed is gone within 45 s")
