"""Two homes behind routers that masquerade, and a relay on the wide network between them.

    ann 192.168.1.10 -- router 203.0.113.1 --+
                                             bridge -- relay 203.0.113.10
    ben 192.168.2.10 -- router 203.0.113.2 --+

The routers pass on what was asked for from inside, and drop everything else. There is no route between the homes.
All of it lives in namespaces that are made here, and go when the context ends.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e import lan

RELAY = "203.0.113.10"
HOMES = {"ann": 1, "ben": 2}

NFT = """
table ip nat {
  chain post {
    type nat hook postrouting priority srcnat;
    oifname "w0" masquerade
  }
}
table ip filter {
  chain passing {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "l0" oifname "w0" accept
  }
  chain arriving {
    type filter hook input priority filter; policy accept;
    iifname "w0" ct state new drop
  }
}
"""

IPTABLES = (
    "-t nat -A POSTROUTING -o w0 -j MASQUERADE",
    "-P FORWARD DROP",
    "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "-A FORWARD -i l0 -o w0 -j ACCEPT",
    "-A INPUT -i w0 -m conntrack --ctstate NEW -j DROP",
)


def why_not() -> str | None:
    """Why this cannot be built here, or None."""
    if reason := lan.why_not():
        return reason
    if shutil.which("nft") is None and shutil.which("iptables") is None:
        return "neither nft nor iptables is installed"
    try:
        with _spaces("probe") as spaces:
            _masquerade(spaces["probe"])
    except subprocess.CalledProcessError as error:
        return f"this kernel does not masquerade in a namespace: {error.stderr.decode().strip()[:200]}"
    return None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def _spaces(*names: str) -> Iterator[dict[str, str]]:
    prefix = f"a2a{uuid.uuid4().hex[:5]}"
    spaces = {name: f"{prefix}-{name}" for name in names}
    made: list[str] = []
    try:
        for space in spaces.values():
            _ip("netns", "add", space)
            made.append(space)
            _ip("-n", space, "link", "set", "lo", "up")
        yield spaces
    finally:
        for space in made:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def _masquerade(space: str) -> None:
    inside = ["ip", "netns", "exec", space]
    if shutil.which("nft") is not None:
        subprocess.run([*inside, "nft", "-f", "-"], input=NFT.encode(), check=True, capture_output=True)
        return
    for rule in IPTABLES:
        subprocess.run([*inside, "iptables", *rule.split()], check=True, capture_output=True)


def _join_wide(spaces: dict[str, str], name: str, address: str) -> None:
    space, port = spaces[name], f"p-{name}"
    _ip("link", "add", "w0", "netns", space, "type", "veth", "peer", "name", port, "netns", spaces["wan"])
    _ip("-n", spaces["wan"], "link", "set", port, "master", "br0", "up")
    _ip("-n", space, "addr", "add", f"{address}/24", "dev", "w0")
    _ip("-n", space, "link", "set", "w0", "up")


def _build_home(spaces: dict[str, str], home: str, number: int) -> None:
    router, inside, net = spaces[f"r-{home}"], spaces[home], f"192.168.{number}"
    _join_wide(spaces, f"r-{home}", f"203.0.113.{number}")
    _ip("link", "add", "l0", "netns", router, "type", "veth", "peer", "name", "e0", "netns", inside)
    _ip("-n", router, "addr", "add", f"{net}.1/24", "dev", "l0")
    _ip("-n", router, "link", "set", "l0", "up")
    _ip("-n", inside, "addr", "add", f"{net}.10/24", "dev", "e0")
    _ip("-n", inside, "link", "set", "e0", "up")
    _ip("-n", inside, "route", "add", "default", "via", f"{net}.1")
    forward = ["ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1"]
    subprocess.run(forward, check=True, capture_output=True)
    _masquerade(router)


@contextmanager
def two_homes() -> Iterator[dict[str, list[str]]]:
    """`ann`, `ben` and `relay`, each with the command prefix that runs a program there."""
    with _spaces("wan", "relay", *HOMES, *(f"r-{home}" for home in HOMES)) as spaces:
        _ip("-n", spaces["wan"], "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", spaces["wan"], "link", "set", "br0", "up")
        _join_wide(spaces, "relay", RELAY)
        for home, number in HOMES.items():
            _build_home(spaces, home, number)
        yield {name: ["ip", "netns", "exec", spaces[name]] for name in ("relay", *HOMES)}


def reaches(on: list[str], address: str, port: int) -> bool:
    """Whether a TCP connection from there comes about."""
    program = f"import socket; socket.create_connection(({address!r}, {port}), 2).close()"
    return not subprocess.run([*on, "python3", "-c", program], capture_output=True, check=False).returncode
