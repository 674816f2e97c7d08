"""The URL of a relay, and the key that must answer there.

    ws://host:6060/#did:key:z6Mk…        wss://relay.example/team/#did:key:z6Mk…&admit=SECRET

The secret admits a network (`admission_secret`). It is in no canonical spelling, and so in no ticket and no log.
The fragment pins the relay's key: the listener must prove it in the handshake. Without one the URL is taken only
for a relay on this machine.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from typing_extensions import override

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.protocol.admission_secret import secret_text, secret_untrusted
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import ip_of

PORTS = {"ws": 80, "wss": 443}
MAX_URL = 512

_ADMIT = "&admit="
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""As the last part of a name: resolvers read 127.1, 2130706433 and 0x7f.1 as addresses."""
_PATH = re.compile(r"(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True)
class RelayUrl:
    """A relay's address; `str()` is its one canonical spelling."""

    scheme: str
    host: str
    port: int
    path: str
    relay: PeerId | None
    admission: bytes | None = field(default=None, repr=False, compare=False)
    """The admission secret that was in the URL as it was given."""

    @override
    def __str__(self) -> str:
        pin = f"#{self.relay}" if self.relay is not None else ""
        return f"{self._origin}{self.path}/{pin}"

    def with_admission(self, secret: bytes) -> str:
        """The URL for who is to make networks there. It is shown once, and kept nowhere."""
        return f"{self}{_ADMIT}{secret_text(secret)}"

    @property
    def endpoint(self) -> str:
        """The URL to connect to, without the fragment."""
        return f"{self._origin}{self.path}/link"

    @property
    def place(self) -> str:
        """The URL without its key, for people."""
        return f"{self._origin}{self.path}"

    @property
    def is_loopback(self) -> bool:
        """True if it is on this machine, whichever machine that is."""
        ip = ip_of(self.host)
        if ip is None:
            return self.host == "localhost" or self.host.endswith(".localhost")
        return ip.is_loopback or ip.is_unspecified

    @property
    def is_private(self) -> bool:
        """True if only machines of one network can reach it."""
        ip = ip_of(self.host)
        named = self.host.endswith(".local") or "." not in self.host
        return self.is_loopback or (named if ip is None else not ip.is_global)

    @property
    def warning(self) -> str | None:
        """A warning about its privacy; None without a reason for one."""
        if self.scheme == "wss" or self.is_loopback:
            return None
        return (
            f"{self.place} is not encrypted in transit: an observer sees which keys talk, when, and rough sizes "
            "(never the content). Use wss:// to hide that too."
        )

    @property
    def _origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def parse_relay_url(text: str) -> RelayUrl:
    """The relay that a person, a ticket or a setting names.

    Raises:
        ConfigurationError: it cannot be one; says which part is wrong.
    """
    text = text.strip()
    if len(text) > MAX_URL or not text.isprintable():
        raise _unusable(text, "it is too long, or holds characters that no URL has")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _unusable(text, "it is not a URL") from None
    if parts.scheme not in PORTS:
        raise _unusable(text, "it does not begin with ws:// or wss://")
    if not parts.hostname or parts.username is not None or parts.query:
        raise _unusable(text, "it names no host, or has a user or a query, which a relay's URL has not")
    if port == 0:
        raise _unusable(text, "a port is a number from 1 to 65535")
    host, path = _host(text, parts.hostname), parts.path.rstrip("/")
    if not _PATH.fullmatch(path):
        raise _unusable(text, "its path holds characters that a relay's has not")
    relay, admission = _pin(text, parts.fragment)
    url = RelayUrl(parts.scheme, host, port or PORTS[parts.scheme], path, relay, admission)
    if relay is None and not url.is_loopback:
        raise _unusable(text, "it does not end with the relay's key")
    return url


def _host(text: str, host: str) -> str:
    """The one spelling of a host; nothing that a resolver would take for another address than we do."""
    ip, name = ip_of(host), host.rstrip(".")
    match ip:
        case ipaddress.IPv4Address():
            return str(ip)
        case ipaddress.IPv6Address(scope_id=None):  # a zone means something on one machine only
            return str(ip.ipv4_mapped or ip)
        case None if _NAME.fullmatch(name) and not _NUMERIC.fullmatch(name.rpartition(".")[2]):
            return name
        case _:
            raise _unusable(text, "its host is neither a name nor an IP address")


def _pin(text: str, fragment: str) -> tuple[PeerId | None, bytes | None]:
    key, admit, secret = fragment.partition(_ADMIT)
    try:
        relay = PeerId.parse_untrusted(key) if key else None
    except RemoteProtocolError:
        raise _unusable(text, "what follows the # is not the key of a relay") from None
    if admit and relay is None:
        raise _unusable(text, "it has an admission secret, but no key of a relay")
    try:
        return relay, secret_untrusted(secret) if admit else None
    except RemoteProtocolError:
        raise _unusable(text, "what follows &admit= is not a whole admission secret") from None


def _unusable(text: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{text.partition('admit=')[0][:128]!r} is not the URL of a relay: {reason}.",
        Remedy("Copy the line that `mcp-a2a relay serve` prints: ws://HOST:6060/#did:key:…"),
    )
