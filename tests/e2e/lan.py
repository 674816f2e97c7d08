"""A LAN of network namespaces on one bridge: hosts that reach each other, multicast and all, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
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


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def lan(*hosts: str) -> Iterator[dict[str, list[str]]]:
    """The hosts, each with the command prefix that runs a program on it."""
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
            _ip("-n", space, "addr", "add", f"{NETWORK}.{number}/24", "brd", "+", "dev", "v0")
            _ip("-n", space, "link", "set", "v0", "up")
            _ip("-n", space, "route", "add", "default", "dev", "v0")
        yield {host: ["ip", "netns", "exec", space] for host, space in spaces.items()}
    finally:
        for space in made:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
