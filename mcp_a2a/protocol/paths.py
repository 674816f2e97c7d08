"""The addresses of a peer, and the order in which to try them.

An address is a hint from a lookup or a person; the handshake decides who is there. Attempts start
staggered (happy eyeballs, RFC 8305): the nearest route first, the next one a quarter of a second
later whether or not the first has failed, and the first link wins.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Literal, Protocol, TypeAlias

from typing_extensions import override

from mcp_a2a.errors import without_secrets
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.text import clean

Route: TypeAlias = Literal["local", "lan", "direct", "relay"]

ROUTES: tuple[Route, ...] = ("local", "lan", "direct", "relay")
"""Nearest first."""

ROUTE_WORDS: Mapping[str, tuple[str, str]] = {
    "local": ("this machine", "this machine"),
    "lan": ("LAN", "your local network"),
    "direct": ("direct", "directly, over the internet"),
    "relay": ("relay", "through a relay"),
    "http": ("web", "over HTTP, to its URL"),
}
"""The word for each route in tables and in sentences; `http` leads to an agent at a URL."""

STAGGER_SECONDS = 0.25
MAX_ATTEMPTS = 8
MAX_ZONE = 32

_HOST_NAME = re.compile(r"(?=.{1,253}$)(?!.*\.\d+$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
                        r"(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?", re.IGNORECASE)  # fmt: skip
_HOST_PORT = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^\[\]:]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class DirectAddr:
    """A listener that can be dialled: a host name or IP address, and a port."""

    host: str
    port: int

    @override
    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_zoned(self) -> bool:
        """True if it means something on this machine only, whose name of an interface is in it (RFC 4007, 11)."""
        return "%" in self.host


@dataclass(frozen=True, slots=True)
class RelayAddr:
    """A relay that holds a mailbox for the peer."""

    url: str

    @override
    def __str__(self) -> str:
        return self.url


Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
TransportAddr: TypeAlias = DirectAddr | RelayAddr


class Seen(Protocol):
    """A sighting of a peer by one lookup (`ports.Sighting`)."""

    @property
    def addresses(self) -> tuple[TransportAddr, ...]:
        """Best first."""

    @property
    def provenance(self) -> str:
        """Name of the lookup."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address to dial, and how long after the first attempt to start."""

    address: TransportAddr
    route: Route
    start_after_seconds: float


def route_word(route: str) -> str:
    """The word for a route."""
    return ROUTE_WORDS.get(route, (route,))[0]


SOURCE_WORDS: Mapping[str, str] = {"local": "this machine", "mdns": "LAN", "static": "added by hand"}
"""The words for the sources of addresses; any other source has its own name."""


def by_source(listed: Sequence[str]) -> tuple[str, ...]:
    """Addresses that are listed as "ADDRESS (SOURCE)", each source once: a relay's URL is long, and names the relay."""
    found: dict[str, list[str]] = {}
    for text in listed:
        plain = without_pins(text)
        said = _SEEN.fullmatch(plain)
        where, source = (said[1], said[2]) if said else (plain, "")
        found.setdefault(source, []).append(where)
    return tuple(_at_source(source, where) for source, where in found.items())


def without_pins(text: str) -> str:
    """URLs of relays without the keys that pin them, which no person compares by eye."""
    return _PIN.sub("", text)


def _at_source(source: str, places: Sequence[str]) -> str:
    others = [place for place in dict.fromkeys(places) if place != source.removeprefix("relay ")]
    listed, source = ", ".join(others), SOURCE_WORDS.get(source, source)
    return f"{listed} ({source})" if listed and source else listed or source


_SEEN = re.compile(r"(\S+) \((.+)\)")
_PIN = re.compile(r"#did:key:\w+")


def parse_address(text: str) -> DirectAddr:
    """The address that a person typed: HOST:PORT, with an IPv6 address in brackets.

    Raises:
        ConfigurationError: not of that form; says which part is wrong.
    """
    match = _HOST_PORT.fullmatch(text.strip())
    if match is None:
        raise _unusable(text, "it is not of the form HOST:PORT")
    port = int(match["port"])
    if not 1 <= port <= 65_535:
        raise _unusable(text, "a port is a number from 1 to 65535")
    host = _ipv6(match["bracketed"]) if match["bracketed"] else _host(match["plain"])
    if host is None:
        raise _unusable(text, "its host is neither a name nor an IP address")
    return DirectAddr(host, port)


def route_of(address: TransportAddr, provenance: str) -> Route:
    """The distance of an address, as far as it can be told without dialling it."""
    if isinstance(address, RelayAddr):
        return "relay"
    if provenance == "local":
        return "local"
    ip = ip_of(address.host)
    if ip is None:
        return _route_of_name(address.host, provenance)
    if ip.is_loopback:
        return "local"
    return "lan" if provenance == "mdns" or ip.is_private or ip.is_link_local else "direct"


def plan_paths(sightings: Iterable[Seen]) -> tuple[Attempt, ...]:
    """The attempts worth making, nearest route first, each address once."""
    by_route: dict[Route, dict[TransportAddr, None]] = {route: {} for route in ROUTES}
    for sighting in sightings:
        for address in sighting.addresses:
            by_route[route_of(address, sighting.provenance)][address] = None
    planned = sorted(_fair_choice(by_route), key=lambda pair: ROUTES.index(pair[1]))
    return tuple(Attempt(address, route, index * STAGGER_SECONDS) for index, (address, route) in enumerate(planned))


def _fair_choice(
    by_route: dict[Route, dict[TransportAddr, None]],
) -> list[tuple[TransportAddr, Route]]:
    """At most eight, the first of every route before the second of any.

    A spoofed record full of LAN addresses must not crowd out the relay.
    """
    columns = [[(address, route) for address in by_route[route]] for route in ROUTES]
    chosen: dict[TransportAddr, Route] = {}
    for pair in chain.from_iterable(zip_longest(*columns)):
        if pair is not None and len(chosen) < MAX_ATTEMPTS:
            chosen.setdefault(*pair)
    return list(chosen.items())


def _route_of_name(host: str, provenance: str) -> Route:
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return "local"
    return "lan" if provenance == "mdns" or name.endswith(".local") else "direct"


def ip_of(text: str) -> Ip | None:
    """The IP address that a text is; None for any other text."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def ip_text(ip: Ip) -> str:
    """The one spelling of an address (RFC 5952); an IPv4 address in an IPv6 one is that IPv4 address."""
    return str(ip if isinstance(ip, ipaddress.IPv4Address) else ip.ipv4_mapped or ip)


def zone_trouble(host: str) -> str | None:
    """Why no connection came about, if that may be because of the zone of a link-local address."""
    address, _, zone = host.partition("%")
    ip = ip_of(address)
    if ip is None or ip.version != 6 or not ip.is_link_local:
        return None
    if zone:
        return f"no way leads there by an interface named {clean(zone)[:MAX_ZONE]}"
    return f"it needs the name of the interface that leads there, as in [{address}%eth0]"


def _ipv6(text: str) -> str | None:
    try:
        return ip_text(ipaddress.IPv6Address(text))
    except ValueError:
        return None


def _host(text: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return text if _HOST_NAME.fullmatch(text) else None


def _unusable(text: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{without_secrets(text)[:128]!r} cannot be dialled: {reason}.",
        "Write it like 192.168.1.20:7301, printer.local:7301 or [fe80::1%eth0]:7301.",
    )
