"""A LAN that changes while agents run: in both families, with interfaces and addresses that come and go."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_a2a.protocol.identity import Identity
from tests.e2e.command import Agent, agent, answer, until
from tests.e2e.lan import NETWORK, ip_on, lan, link_local, why_not
from tests.e2e.spoken import Spoken, spoken

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

LOST_SECONDS = 15.0
"""Well under the time in which a silent link is given up by itself, and well over that of a slow machine."""

FAMILIES: dict[str, tuple[dict[str, bool], str, str, tuple[str, str] | None]] = {
    "IPv4 only": ({"ipv6": False}, "IPv4", f"{NETWORK}.11", (f"{NETWORK}.12/24", f"{NETWORK}.66/24")),
    "link-local IPv6 only": ({"ipv4": False}, "IPv6", "[fe80::", None),
    "IPv6 only": ({"ipv4": False, "ula": True}, "IPv6", "[fd77::11]", ("fd77::12/64", "fd77::66/64")),
    "both": ({}, "IPv4 and IPv6", f"{NETWORK}.11", (f"{NETWORK}.12/24", f"{NETWORK}.66/24")),
}


@pytest.mark.parametrize("which", FAMILIES)
def test_two_hosts_find_each_other_in_whichever_family_there_is_and_stay_in_touch_when_an_address_changes(
    tmp_path: Path, which: str
) -> None:
    families, spoken_in, own, change = FAMILIES[which]
    ways = (("ann", "ben"), ("ben", "ann"))
    with pair(tmp_path, **families) as both:
        for sender, receiver in ways:
            both.reach(sender, receiver)
        assert both.ask("ann", "status")["lookups"]["mdns"] == f"on ({spoken_in})"
        checks = {check["name"]: check for check in both.ask("ann", "netcheck")["checks"]}
        assert (checks["addresses"]["ok"], checks["mdns"]["ok"]) == (True, True)
        assert own in checks["addresses"]["detail"]
        for sender, receiver in ways if change else ():
            old, new = change = change[::-1] if sender == "ben" else change  # type: ignore[index]
            ip_on(both.on["ben"], "addr", "del", old, "dev", "v0")
            ip_on(both.on["ben"], "addr", "add", new, "dev", "v0")
            begun = time.monotonic()
            assert both.send(sender, receiver)["text"] == "cba"
            assert time.monotonic() - begun < LOST_SECONDS


def test_an_agent_is_added_by_an_address_with_or_without_a_zone(tmp_path: Path) -> None:
    with lan("ann", "ben", ipv4=False, ula=True) as on, worker(tmp_path, "ben", on["ben"], "--no-mdns") as ben:
        port = ben.ready["listening"][0].rpartition(":")[2]
        zoned = f"[{link_local(on['ben'])}%v0]:{port}"
        for typed, address in ((zoned, zoned), (f"[FD77:0::12]:{port}", f"[fd77::12]:{port}")):
            home = tmp_path / typed
            assert answer(home, "--no-mdns", "peers", "add", typed, on=on["ann"])["name"] == "ben"
            (reply,) = answer(home, "--no-mdns", "ping", "ben", "-c", "1", on=on["ann"])["replies"]
            assert reply["address"] == address


# --- interfaces that come, change and go ----------------------------------------------------------

ANN, BEN = (str(Identity(name.encode().ljust(32, b".")).peer_id) for name in ("ann", "ben"))
SEEN_SECONDS = 15.0
"""For packets that may be lost, on a machine that does much else. A quiet one needs a second."""


@contextmanager
def hosts(**families: bool) -> Iterator[tuple[dict[str, list[str]], Spoken, Spoken]]:
    """Ann, who announces and looks from the start, with loopback alone; and Ben, on the network."""
    with lan("ann", "ben", **families) as on:
        ip_on(on["ann"], "link", "set", "v0", "down")
        ip_on(on["ann"], "addr", "flush", "dev", "v0")
        with (
            spoken(on["ann"], "lan_host.py", "ann", "7001") as ann,
            spoken(on["ben"], "lan_host.py", "ben", "7002") as ben,
        ):
            ann.until(lambda line: "me" in line, 30, "ann runs")
            ben.until(lambda line: "me" in line, 30, "ben runs")
            yield on, ann, ben


def at(who: str, *addresses: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line.get("peer") == who and all(address in line["at"] for address in addresses)


def web_at(url: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: "web" in line and any(one.startswith(url) for one in line["at"])


def test_an_interface_that_comes_after_the_start_is_announced_and_looked_at_for_both_kinds_of_records() -> None:
    with hosts() as (on, ann, ben):
        ip_on(on["ann"], "addr", "add", f"{NETWORK}.11/24", "brd", "+", "dev", "v0")
        ip_on(on["ann"], "link", "set", "v0", "up")
        ben.until(at(ANN, f"{NETWORK}.11:7001"), SEEN_SECONDS, "ben sees ann, who was plugged in")
        ben.until(web_at(f"http://{NETWORK}.11:7001/"), SEEN_SECONDS, "and her A2A server")
        ann.until(at(BEN, f"{NETWORK}.12:7002"), SEEN_SECONDS, "ann sees ben")
        ann.until(web_at(f"http://{NETWORK}.12:7002/"), SEEN_SECONDS, "and his A2A server")

        ben.forget()
        ip_on(on["ann"], "addr", "del", f"{NETWORK}.11/24", "dev", "v0")
        ip_on(on["ann"], "addr", "add", f"{NETWORK}.66/24", "brd", "+", "dev", "v0")
        ben.until(
            lambda line: at(ANN, f"{NETWORK}.66:7001")(line) and f"{NETWORK}.11:7001" not in line["at"],
            SEEN_SECONDS,
            "ben sees the address that ann has now, and not the one that she had",
        )
        ben.until(web_at(f"http://{NETWORK}.66:7001/"), SEEN_SECONDS, "and her A2A server there")

        ann.forget()
        ip_on(on["ann"], "link", "del", "v0")
        ann.until(lambda line: line == {"peer": BEN, "at": []}, SEEN_SECONDS, "ann has lost ben with her interface")
        ann.until(lambda line: "web" in line and line["at"] == [], SEEN_SECONDS, "and his A2A server")


def test_without_ipv4_everything_follows_as_well() -> None:
    with hosts(ipv4=False) as (on, ann, ben):
        # As it is by default: an address may not be used at once, but when no other machine has answered for it.
        switch = [f"net.ipv6.conf.v0.{name}=1" for name in ("accept_dad", "dad_transmits")]
        subprocess.run([*on["ann"], "sysctl", "-qw", *switch], check=True)
        ip_on(on["ann"], "link", "set", "v0", "up")
        there, here = link_local(on["ben"]), link_local(on["ann"])
        ann.until(at(BEN, f"[{there}%v0]:7002"), SEEN_SECONDS, "ann sees ben at an address with her zone")
        ann.until(web_at(f"http://[{there}%25v0]:7002/"), SEEN_SECONDS, "and his A2A server")
        ben.until(at(ANN, f"[{here}%v0]:7001"), SEEN_SECONDS, "ben sees ann")

        ip_on(on["ann"], "addr", "add", "fd77::66/64", "dev", "v0")
        ip_on(on["ben"], "addr", "add", "fd77::12/64", "dev", "v0")
        ben.until(at(ANN, "[fd77::66]:7001"), SEEN_SECONDS, "ben sees what ann has beside")


# --- several links --------------------------------------------------------------------------------


def add_link(on: dict[str, list[str]], one: str, other: str) -> None:
    """A second network, with these two on it: 10.78.0.11 and 10.78.0.13."""
    here, there = on[one][-1], on[other][-1]
    ip_on(on[one], "link", "add", "w0", "type", "veth", "peer", "name", "w0", "netns", there)
    for space, number in ((here, 11), (there, 13)):
        ip_on([], "-n", space, "addr", "add", f"10.78.0.{number}/24", "brd", "+", "dev", "w0")
        ip_on([], "-n", space, "link", "set", "w0", "up")


@contextmanager
def two_links() -> Iterator[dict[str, list[str]]]:
    """Ann is on a network with Ben, on another one with Cat, and has a bridge of containers."""
    with lan("ann", "ben", "cat") as on:
        ip_on(on["cat"], "link", "set", "v0", "down")
        add_link(on, "ann", "cat")
        ip_on(on["ann"], "link", "add", "docker0", "type", "bridge")
        ip_on(on["ann"], "addr", "add", "172.17.0.1/16", "dev", "docker0")
        ip_on(on["ann"], "link", "set", "docker0", "up")
        yield on


def test_each_link_hears_the_addresses_that_it_can_reach_and_no_other() -> None:
    with two_links() as on:
        heard = {"v0": on["ben"], "w0": on["cat"]}
        with ExitStack() as stack:
            ears = {device: stack.enter_context(spoken(host, "mdns_ears.py", device)) for device, host in heard.items()}
            for device, said in ears.items():
                said.until(lambda line: "ready" in line, 30, f"{device} listens")
            ann = stack.enter_context(spoken(on["ann"], "lan_host.py", "ann", "7001"))
            ann.until(lambda line: "me" in line, 30, "ann runs")
            for device, own in (("v0", f"{NETWORK}.11"), ("w0", "10.78.0.11")):
                allowed = {own, link_local(on["ann"], device)}
                for address in allowed:
                    ears[device].until(lambda line: line.get("address") == address, SEEN_SECONDS, f"{address} is told")  # noqa: B023
                ears[device].until(
                    lambda line: line.get("type") == "_a2a._tcp.local.", SEEN_SECONDS, "a server is told"
                )
                assert {line["address"] for line in ears[device].take() if "address" in line} == allowed


LIES = (
    "127.0.0.1", "::1", "0.0.0.0", "224.0.0.251", "ff02::fb", "169.254.169.254", "8.8.8.8", "172.17.0.1",  # noqa: S104
    "::ffff:10.77.0.12", "64:ff9b::a4d:c", "fd00:ec2::254", "fe80::a9fe:a9fe",
    *(f"10.99.{number}.1" for number in range(88)),
)  # fmt: skip


WAYS: dict[str, tuple[str, ...]] = {"in IPv4": (), "in IPv6": (), "to her other address": ("--to", f"{NETWORK}.11")}


@pytest.mark.parametrize("which", WAYS)
def test_a_liar_on_one_link_cannot_name_an_address_of_another_nor_of_no_machine(which: str) -> None:
    way = WAYS[which]
    with two_links() as on:
        mine = link_local(on["cat"], "w0") if which == "in IPv6" else "10.78.0.13"
        ip_on(on["cat"], "route", "add", f"{NETWORK}.0/24", "via", "10.78.0.11")
        with spoken(on["ann"], "lan_host.py", "ann", "7001") as ann:
            ann.until(lambda line: "me" in line, 30, "ann runs")
            told = (f"{NETWORK}.12", "10.78.0.13", *LIES)
            with spoken(on["cat"], "mdns_mouth.py", "eve", mine, *told, *way) as eve:
                liar = eve.until(lambda line: "me" in line, 30, "eve lies")["me"]
                if way:
                    eve.until(lambda line: line.get("times", 0) > 5, 30, "eve has lied some times")
                    honest = spoken(on["ben"], "mdns_mouth.py", "ben", f"{NETWORK}.12", f"{NETWORK}.12")
                    with honest as ben:
                        other = ben.until(lambda line: "me" in line, 30, "ben is there")["me"]
                        ann.until(at(other, f"{NETWORK}.12:7009"), SEEN_SECONDS, "ann sees ben")
                else:
                    ann.until(at(liar, "10.78.0.13:7009"), SEEN_SECONDS, "ann sees what is true of it")
                    ann.until(web_at("http://10.78.0.13:7009/card"), SEEN_SECONDS, "and of its A2A server")
            named = {address for line in ann.take() if line.get("peer") == liar for address in line["at"]}
            assert named <= {"10.78.0.13:7009"}


def test_a_cable_that_is_in_again_brings_those_who_came_meanwhile() -> None:
    with lan("ann", "ben") as on:
        switch = f"{on['ann'][-1].rpartition('-')[0]}-sw"
        with spoken(on["ann"], "lan_host.py", "ann", "7001") as ann:
            ann.until(lambda line: "me" in line, 30, "ann runs")
            ip_on([], "-n", switch, "link", "set", "v-ann", "down")
            with spoken(on["ben"], "lan_host.py", "ben", "7002") as ben:
                ben.until(lambda line: "me" in line, 30, "ben runs")
                ip_on([], "-n", switch, "link", "set", "v-ann", "up")
                ann.until(at(BEN, f"{NETWORK}.12:7002"), SEEN_SECONDS, "ann sees ben")
                ben.until(at(ANN, f"{NETWORK}.11:7001"), SEEN_SECONDS, "ben sees ann")
                ben.until(web_at(f"http://{NETWORK}.11:7001/"), SEEN_SECONDS, "and her A2A server")
