"""The user of this machine at the other end of a loopback connection, by the kernel's word.

Linux keeps the owner of every socket. `NETLINK_SOCK_DIAG` looks one connection up by its two ends (sock_diag(7)), which
takes 11 µs; reading /proc/net/tcp takes 1.5 ms and grows with the sockets of the machine. Other systems have no such
question that any program may ask, and a kernel without it, another network namespace or a socket that is closed already
leave the answer out: then nothing is proven, and the token decides.

A socket that its program has closed shows the user 0 and no inode, whichever user made it, so only a socket with an
inode counts. A connection of another user that takes over the same two ends is none of ours: while our end is open, the
kernel lets no second one get past its handshake.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

End = tuple[str, int]
"""An IP address and a port."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1

_ENDS = struct.Struct("!HH16s16s")
"""Ports and addresses of struct inet_diag_sockid (linux/inet_diag.h); interface and cookie follow."""
_ANY_COOKIE = struct.pack("=III", 0, 0xFFFF_FFFF, 0xFFFF_FFFF)
_HEADER = struct.Struct("=IHHII")
_FOUND = struct.Struct("=BBBB")
"""Family, state, timer and retransmissions, at the start of struct inet_diag_msg."""
_OWNER = struct.Struct("=II")
"""User and inode, at its end."""
_OWNER_AT = _HEADER.size + _FOUND.size + _ENDS.size + len(_ANY_COOKIE) + 12

_CONNECTED = frozenset({1, 4, 5, 8})
"""ESTABLISHED, FIN_WAIT1, FIN_WAIT2 and CLOSE_WAIT: past the handshake, of a program that may wait for an answer."""

_SECONDS = 0.5
"""The kernel answers within the call; this is for one that does not."""


def can_tell() -> bool:
    """True if this system can say whose a connection is: asked once, with a connection of our own."""
    return sys.platform == "linux" and _answers()


def is_this_user(peer: End, here: End) -> bool:
    """True if the socket at `peer`, connected to `here`, was made by the user of this process.

    Root is not this user, unless this process is root's: the daemons that pass on what comes from elsewhere are its.
    """
    if sys.platform != "linux":
        return False
    uid = os.getuid()
    # The user of another namespace is shown as this one number (user_namespaces(7)).
    return uid != _unmapped_uid() and _owner_of(peer, here) == uid


@cache
def _answers() -> bool:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        return is_this_user(client.getsockname(), server.getsockname())


@cache
def _unmapped_uid() -> int | None:
    try:
        mapping = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
        if mapping == ["0", "0", "4294967295"]:
            return None
        return int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 65534


def _owner_of(peer: End, here: End) -> int | None:
    """The user who made the socket at `peer` that is connected to `here`; None where that is not to be known."""
    try:
        ends = _plain(peer), _plain(here)
        wanted = _ENDS.pack(peer[1], here[1], *(end.packed for end in ends))
        if not all(end.is_loopback for end in ends) or ends[0].version != ends[1].version:
            return None
        return _read(_ask(socket.AF_INET if ends[0].version == 4 else socket.AF_INET6, wanted), peer[1], here[1])
    except (OSError, ValueError, struct.error):
        return None


def _ask(family: int, ends: bytes) -> bytes:
    query = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFF_FFFF) + ends + _ANY_COOKIE
    head = _HEADER.pack(_HEADER.size + len(query), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.sendto(head + query, (0, 0))
        answer, (sender, _) = kernel.recvfrom(8192)
    return answer if sender == 0 else b""  # 0 is the kernel


def _read(answer: bytes, port: int, here_port: int) -> int | None:
    if len(answer) < _OWNER_AT + _OWNER.size or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    state = _FOUND.unpack_from(answer, _HEADER.size)[1]
    # Where no such connection is, the lookup falls back to a listener on that port.
    ports = _ENDS.unpack_from(answer, _HEADER.size + _FOUND.size)[:2]
    uid, inode = _OWNER.unpack_from(answer, _OWNER_AT)
    return int(uid) if state in _CONNECTED and ports == (port, here_port) and inode else None


def _plain(end: End) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address without its zone; an IPv4 address that came through an IPv6 socket is one again."""
    address = ipaddress.ip_address(end[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


# A proxy or a tunnel on this machine connects as its own user, and not as the one who sent the request.
_FORWARDED = frozenset(
    {"client-ip", "do-connecting-ip", "eagleid", "early-data", "forwarded", "front-end-https", "pc-remote-addr",
     "rndr-id", "surrogate-capability", "true-client-ip", "via", "x-coming-from", "x-comingfrom", "x-fd-healthprobe",
     "x-rewrite-url", "x-source-ip"}
)  # fmt: skip
_FORWARDED_PREFIXES = (
    "akamai-", "ali-cdn-", "cdn-", "cf-", "cloudfront-", "fastly-", "fly-", "forwarded-", "http-client-",
    "http-forwarded", "http-via", "http-x-", "incap-", "l5d-", "ngrok-", "ocp-apim-", "proxy-", "remote-",
    "ssl-client-", "tailscale-", "teleport-", "wl-proxy-", "x-accel-", "x-akamai-", "x-amz-cf-", "x-amzn-",
    "x-appengine-", "x-arr-", "x-auth-request-", "x-authentik-", "x-azure-", "x-bluecoat-", "x-cdn", "x-client-",
    "x-cloud-trace-", "x-cluster-", "x-consumer-", "x-edge-", "x-envoy-", "x-fastly-", "x-forward", "x-goog-auth",
    "x-goog-iap-", "x-haproxy-", "x-host", "x-inlets-", "x-istio-", "x-kong-", "x-ms-", "x-nf-", "x-nginx-",
    "x-original-", "x-originating-", "x-pagekite-", "x-pomerium-", "x-proxy", "x-railway-", "x-real-", "x-remote-",
    "x-replit-", "x-request-start", "x-scheme", "x-ssl-", "x-sucuri-", "x-true-client-", "x-tunnel-", "x-url-scheme",
    "x-varnish", "x-vercel-", "x-webauth-", "z-forwarded",
)  # fmt: skip
"""Beginnings of headers that proxies, tunnels and content networks add to a request."""


def is_passed_on(headers: Iterable[str]) -> bool:
    """True if headers of these names are of a request that a proxy or a tunnel passed on."""
    return any(map(_is_proxys, headers))


@lru_cache(maxsize=1024)
def _is_proxys(header: str) -> bool:
    name = header.lower().replace("_", "-")
    return name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES)
