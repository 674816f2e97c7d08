"""A LAN that changes while agents run: in both families, with interfaces and addresses that come and go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Agent, agent, answer, until
from tests.e2e.lan import NETWORK, lan, why_not

pytestmark = [pytest.mark.lan, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)


@contextmanager
def worker(folder: Path, host: str, on: Sequence[str], *options: str) -> Iterator[Agent]:
    """An agent of that name that reverses text."""
    words = ("exec", "--name", host, "--skill", f"reverse-{host}=Reverses text", "--accept", "anyone", *options)
    with agent(folder / host, *words, "--", "rev", on=on) as running:
        yield running


class Pair:
    """Ann and Ben, who are agents on two hosts."""

    def __init__(self, folder: Path, on: dict[str, list[str]]) -> None:
        self._folder, self.on = folder, on

    def ask(self, host: str, *words: str) -> Any:
        return answer(self._folder / host, "--identity", host, *words, on=self.on[host])

    def send(self, sender: str, receiver: str) -> Any:
        return self.ask(sender, "send", receiver, "abc", "--wait", "20")

    def reach(self, sender: str, receiver: str) -> None:
        """Send a task as soon as the receiver is found, and get its answer over the LAN."""

        def answered() -> bool:
            view = self.send(sender, receiver)
            return (view.get("text"), view.get("route")) == ("cba", "lan")

        until(answered, 30, f"{receiver} answers {sender}")


@contextmanager
def pair(folder: Path, **families: bool) -> Iterator[Pair]:
    with lan("ann", "ben", **families) as on, ExitStack() as stack:
        for host in ("ann", "ben"):
            stack.enter_context(worker(folder, host, on[host]))
        yield Pair(folder, on)


# --- families -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("families", "spoken", "address"),
    [
        ({"ipv6": False}, "by IPv4", f"{NETWORK}.11"),
        ({"ipv4": False}, "by IPv6", "[fe80::"),
        ({"ipv4": False, "ula": True}, "by IPv6", "[fd77::11]"),
        ({"ula": True}, "by IPv4 and IPv6", f"{NETWORK}.11"),
    ],
    ids=["IPv4 only", "link-local IPv6 only", "IPv6 with addresses of its own", "both"],
)
def test_two_hosts_find_each_other_in_whichever_family_there_is(
    tmp_path: Path, families: dict[str, bool], spoken: str, address: str
) -> None:
    with pair(tmp_path, **families) as both:
        for sender, receiver in (("ann", "ben"), ("ben", "ann")):
            both.reach(sender, receiver)
        status = both.ask("ann", "status")
        assert status["lookups"]["mdns"] == f"on, {spoken}"
        checks = {check["name"]: check for check in both.ask("ann", "netcheck")["checks"]}
        assert (checks["addresses"]["ok"], checks["mdns"]["ok"]) == (True, True)
        assert address in checks["addresses"]["detail"]
