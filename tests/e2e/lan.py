"""A LAN of network namespaces on one bridge: hosts that reach each other, multicast and all, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

NETWORK = "10.77.0"


def why_not() -> str | None:
    """Why no namespaces can be made here, or None."""
    if shutil.which("ip") is None:
        return "the ip command (iproute2) is not installed"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    probe = f"probe-{uuid.uuid4().hex[:6]}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "this machine does not allow network namespaces"
    subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return None


def link_local(on: Sequence[str], device: str = "v0") -> str:
    """The link-local address of a host's interface."""
    words = [*on, "ip", "-j", "-6", "addr", "show", "dev", device, "scope", "link"]
    shown = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return next(str(found["local"]) for one in shown for found in one.get("addr_info", ()) if "local" in found)


def _settle_ipv6(space: str, *, is_on: bool) -> None:
    # A new address is looked for on the link for a second or two before it may be used. Here it is the only one.
    switches = ("accept_dad=0",) if is_on else ("disable_ipv6=1",)
    settings = [f"net.ipv6.conf.{which}.{switch}" for which in ("all", "default", "v0") for switch in switches]
    subprocess.run(["ip", "netns", "exec", space, "sysctl", "-qw", *settings], check=True, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def ip_on(on: Sequence[str], *words: str) -> None:
    """The ip command on a host."""
    subprocess.run([*on, "ip", *words], check=True, capture_output=True)


@contextmanager
def lan(*hosts: str, ipv4: bool = True, ipv6: bool = True, ula: bool = False) -> Iterator[dict[str, list[str]]]:
    """The hosts, each with the command prefix that runs a program on it.

    They have `ipv4` addresses in 10.77.0.0/24 from 11 on; with `ipv6` those of the link, and with `ula` some in
    fd77::/64 as well, with the same last number.
    """
    prefix = f"a2a{uuid.uuid4().hex[:5]}"
    switch = f"{prefix}-sw"
    spaces = {host: f"{prefix}-{host}" for host in hosts}
    made: list[str] = []
    try:
        for space in (switch, *spaces.values()):
            _ip("netns", "add", space)
            made.append(space)
        # The switch lives in a namespace of its own: nothing leaks into this machine's network.
        _ip("-n", switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", switch, "link", "set", "br0", "up")
        for number, (host, space) in enumerate(spaces.items(), start=11):
            _ip("link", "add", "v0", "netns", space, "type", "veth", "peer", "name", f"v-{host}", "netns", switch)
            _ip("-n", switch, "link", "set", f"v-{host}", "master", "br0", "up")
            _ip("-n", space, "link", "set", "lo", "up")
            _settle_ipv6(space, is_on=ipv6)
            if ipv4:
                _ip("-n", space, "addr", "add", f"{NETWORK}.{number}/24", "brd", "+", "dev", "v0")
            if ula:
                _ip("-n", space, "addr", "add", f"fd77::{number}/64", "dev", "v0")
            _ip("-n", space, "link", "set", "v0", "up")
            if ipv4:
                _ip("-n", space, "route", "add", "default", "dev", "v0")
        yield {host: ["ip", "netns", "exec", space] for host, space in spaces.items()}
    finally:
        for space in made:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
