"""A LAN that changes while agents run: in both families, with interfaces and addresses that come and go."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import MCP_A2A, Agent, agent, answer, environment, run, until
from tests.e2e.lan import NETWORK, ip_on, lan, link_local, why_not

pytestmark = [pytest.mark.lan, pytest.mark.slow, pytest.mark.timeout(120)]

MOVED_SECONDS = 5.0
"""In which a task arrives after an address has changed."""


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

    def say(self, host: str, *words: str) -> str:
        return run(self._folder / host, "--identity", host, *words, on=self.on[host]).stdout

    def sees(self, host: str, other: str) -> bool:
        found = self.ask(host, "discover")
        return any(seen["name"] == other and seen["online"] and seen["skills"] for seen in found["agents"])

    def meet(self) -> None:
        """Wait until both see each other."""
        until(lambda: self.sees("ann", "ben") and self.sees("ben", "ann"), 30, "both see each other")

    def send(self, sender: str, receiver: str) -> Any:
        return self.ask(sender, "send", receiver, "abc", "--wait", "20")


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
        ({"ipv6": False}, "by IPv4", f"{NETWORK}.12"),
        ({"ipv4": False}, "by IPv6", "[fe80::"),
        ({"ipv4": False, "ula": True}, "by IPv6", "[fd77::12]"),
        ({"ula": True}, "by IPv4 and IPv6", f"{NETWORK}.12"),
    ],
    ids=["IPv4 only", "link-local IPv6 only", "IPv6 with addresses of its own", "both"],
)
def test_two_hosts_find_each_other_in_whichever_family_there_is(
    tmp_path: Path, families: dict[str, bool], spoken: str, address: str
) -> None:
    with pair(tmp_path, **families) as both:
        both.meet()
        for sender, receiver in (("ann", "ben"), ("ben", "ann")):
            view = both.send(sender, receiver)
            assert (view["text"], view["route"]) == ("cba", "lan")
        assert both.ask("ann", "status")["lookups"]["mdns"] == f"on, {spoken}"
        (reply,) = both.ask("ann", "ping", "ben", "-c", "1")["replies"]
        assert address in reply["address"] or "[fe80::" in reply["address"]
        checks = {check["name"]: check for check in both.ask("ann", "netcheck")["checks"]}
        assert checks["addresses"]["ok"]
        assert checks["mdns"]["ok"]
