"""The address of the HTTP server, and the names by which it may be called there."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from dataclasses import dataclass
from functools import lru_cache

from mcp_a2a.errors.machine import ConfigurationError, PortInUseError
from mcp_a2a.protocol.paths import ip_text
from mcp_a2a.protocol.web_url import own_host_in_url

_NAMES_OF_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SOMEWHERE = {"0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")}  # noqa: S104  compared
"""An address that is not here, for each that stands for all of them."""
PORTS_UNSAID = frozenset({80, 443})
"""Ports that a client may leave out, of http and https."""


@dataclass(frozen=True, slots=True)
class Listen:
    """An IP address and a port; port 0 picks a free one."""

    host: str
    port: int
    also: str = ""
    """A second address with that port, where this machine has it: "localhost" is both, and a client may try either. The
    same with "*", every address in both families."""

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read `[HOST]:PORT` as a person writes it; without a host it is this machine only.

        Raises:
            ConfigurationError: it is not that.
        """
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ConfigurationError(
                f"{text!r} is not an address to listen on.", "Write it as :3000 or 127.0.0.1:3000."
            )
        also = {"localhost": "::1", "*": "::"}.get(host, "")
        host = {"": "127.0.0.1", "localhost": "127.0.0.1", "*": "0.0.0.0"}.get(host, host)  # noqa: S104  asked for
        try:
            return cls(str(ipaddress.ip_address(host)), int(port), also)
        except ValueError:
            raise ConfigurationError(
                f"{host!r} is not an IP address to listen on.",
                "Use 127.0.0.1 for this machine only, * for every network it is on (0.0.0.0 for IPv4 alone).",
            ) from None

    @property
    def local(self) -> bool:
        """True if only programs of this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    def bind_all(self) -> list[socket.socket]:
        """Bound sockets, the first at `host`.

        Raises:
            PortInUseError, ConfigurationError: as `bind`, about `host`.
        """
        bound = [self.bind()]
        if self.also:
            with contextlib.suppress(ConfigurationError):  # no IPv6 here, or another program has the port there
                bound.append(Listen(self.also, bound[0].getsockname()[1]).bind(beside_ipv4=True))
        return bound

    def bind(self, *, beside_ipv4: bool = False) -> socket.socket:
        """A bound socket; "::" is IPv4 as well, if that has no socket of its own with this port (`beside_ipv4`).

        Raises:
            PortInUseError: another program has the port.
            ConfigurationError: the address is not one of this machine's, or the port is not allowed.
        """
        version = ipaddress.ip_address(self.host).version
        bound = socket.socket(
            socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP
        )
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.host == "::":
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, beside_ipv4)
            # A zone is understood here, and is not where a socket is bound.
            end = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4]
            bound.bind(end)
        except OSError as error:
            bound.close()
            raise _refusal(self, error) from error
        return bound


def url_of(*bound: socket.socket, scheme: str = "http") -> str:
    """The URL at which sockets with one port are reached, by others too where they may."""
    host, port = bound[0].getsockname()[:2]
    seen = filter(None, (seen_address(one.getsockname()[0]) for one in bound))
    return f"{scheme}://{own_host_in_url(next(seen, None) or ('::1' if host == '::' else '127.0.0.1'))}:{port}"


def seen_address(host: str) -> str | None:
    """The address that others see of a listening server; None for one on all addresses without a route out of here."""
    if host not in _SOMEWHERE:
        return host
    for family, somewhere in (_SOMEWHERE[host], _SOMEWHERE["0.0.0.0"]):  # noqa: S104  "::" is IPv4 as well
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))  # sends nothing: it only picks the address that others would see
            return str(probe.getsockname()[0])
    return None


@lru_cache(maxsize=64)
def names_of(host: str, port: int) -> frozenset[str]:
    """Every `Host` by which a connection to this address of ours may call us.

    An address is taken from the connection, not from a list made at the start: a laptop changes networks. A page of
    a hostile site cannot send these: its browser sends the site's own name, whatever address that resolves to.
    """
    names = {own_host_in_url(host)}
    if ipaddress.ip_address(_plain(host)).is_loopback:
        names |= _NAMES_OF_LOOPBACK
    bare = names if port in PORTS_UNSAID else set()
    return frozenset(bare | {f"{name}:{port}" for name in names})


def _plain(host: str) -> str:
    return ip_text(ipaddress.ip_address(host.partition("%")[0]))


def _refusal(listen: Listen, error: OSError) -> ConfigurationError:
    where = f"{own_host_in_url(listen.host)}:{listen.port}"
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(where)
    if error.errno == errno.EACCES:
        return ConfigurationError(f"This user may not listen on {where}.", "Choose a port above 1023.")
    return ConfigurationError(
        f"Cannot listen on {where}: {error.strerror or error}.", "Use an address of this machine, or :PORT."
    )
