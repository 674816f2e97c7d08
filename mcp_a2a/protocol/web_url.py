"""URLs that stand for agents: one spelling each, and where a card may be below one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from urllib.parse import SplitResult, urlsplit

from mcp_a2a.errors.web import AddressNotAllowedError
from mcp_a2a.protocol.naming import kind_of_agent
from mcp_a2a.protocol.paths import ip_of, ip_text
from mcp_a2a.protocol.text import clean

MAX_URL = 2048

WRITTEN = "An address is https:// and a host (agent.example, or agent.example:8443), then a path where it has one."
"""The form of a URL in words. No example of one: a sentence would show it as its origin and a hash."""

WELL_KNOWN = "/.well-known/"
CARD_PATHS = ("/.well-known/agent-card.json", "/.well-known/agent.json")
"""A2A 8.2, and where agents before 0.3 had it."""

MAX_HOST_SHOWN = 64
HASH_CHARS = 12
"""48 bits: enough to tell the agents of one origin apart, and two that are made to be alike are refused."""

_HASH = "#"
_SHORTENED = re.compile(rf"{_HASH}[0-9a-f]{{{HASH_CHARS}}}\Z")
_NO_HOST = re.compile(r"[^\w.:%\[\]-]")
_ZONE = re.compile(r"(?<=\[)([0-9a-f:.]*)%[^\]/]*(?=\])", re.IGNORECASE)
_IN_A_SENTENCE = re.compile(r"https?://[^\s\"'<>()]*[^\s\"'<>().,:;]", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


def host_in_url(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets, the % of its zone written %25 (RFC 6874, 2)."""
    if ":" not in host:
        return host
    address, percent, zone = host.partition("%")
    return f"[{address}{percent and '%25'}{zone}]"


def own_host_in_url(host: str) -> str:
    """The same of an address of ours, for others: without a zone; what came through an IPv6 socket in IPv4 is IPv4."""
    return host_in_url(_one_spelling(host.partition("%")[0]))


def host_from_url(host: str) -> str:
    """The host that stands in a URL, as a system call takes it. A zone is taken as most people write it, too: %v0."""
    address, percent, zone = host.partition("%")
    is_written = zone.startswith("25") and len(zone) > len("25")
    return f"{address}{percent}{zone[2:] if is_written else zone}"


def with_plain_zone(url: str) -> str:
    """The URL as our HTTP client takes it, and no standard has it: the % of a zone as it is."""
    return _with_host(url, lambda host: f"[{host_from_url(host)}]")


def with_written_zone(url: str) -> str:
    """The other way round."""
    return _with_host(url, host_in_url)


def _with_host(url: str, write: Callable[[str], str]) -> str:
    parts = split_url(url)
    host, port = parts.hostname or "", "" if parts.port is None else f":{parts.port}"
    return parts._replace(netloc=f"{write(host)}{port}").geturl() if "%" in host and ":" in host else url


def without_zone(text: str) -> str:
    """A host, or a URL, without the zone of its IPv6 address: that means something on one machine only."""
    return _ZONE.sub(r"\1", text)


def spelled(url: str) -> str:
    """The canonical spelling of a URL: equal places have equal spellings."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return url.strip()
    shown = host_in_url(_one_spelling((parts.hostname or "").rstrip(".")))
    netloc = shown if port is None or port == _PORTS.get(parts.scheme) else f"{shown}:{port}"
    if parts.username is not None or parts.password is not None:
        netloc = parts.netloc  # refused where it is checked, and nothing is made of it before
    return SplitResult(parts.scheme, netloc, parts.path or "/", parts.query, "").geturl()


def shown_url(url: str) -> str:
    """The URL as it is shown: its origin, and a hash in place of whatever words its owner put behind that.

    An agent can be called by it (`is_shortened`). What is no URL is shown with what stands where a host would.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        shown = f"{_beginning(url)}{_HASH}"
        is_shown = is_shortened(url) and url.strip()[:-HASH_CHARS] == shown
        return url.strip() if is_shown else f"{shown}{_hash_of(url)}"
    if _SHORTENED.search(url.strip()) and not parts.path.strip("/") and not parts.query:
        return url.strip()
    host = clean(host_from_url(parts.hostname or ""))
    host = host if len(host) <= MAX_HOST_SHOWN else f"{host[: MAX_HOST_SHOWN - 1]}…"
    shown = host_in_url(host)
    where = f"{parts.scheme}://{shown}" + (f":{port}" if port not in (None, _PORTS.get(parts.scheme)) else "")
    says_more = parts.path.strip("/") or parts.query or parts.fragment or parts.username or "…" in host
    return f"{where}/{_HASH}{_hash_of(url)}" if says_more else f"{where}/"


def _one_spelling(host: str) -> str:
    """An address in its one spelling; a name as it is."""
    host = host_from_url(host)
    ip = ip_of(host)
    return host if ip is None else ip_text(ip)


def _beginning(url: str) -> str:
    """As much of what is no URL as its writer needs to know it again: no password, and no more words than of a host."""
    scheme, _, rest = url.strip().partition("://")
    host = _NO_HOST.split(rest.rpartition("@")[2], maxsplit=1)[0][:MAX_HOST_SHOWN]
    return f"{scheme.lower()}://{host}/" if kind_of_agent(url) == "url" and host else ""


def with_short_urls(sentence: str, typed: Collection[str] = ()) -> str:
    """A sentence of ours in which every URL of the web is as it is shown, but for what its reader `typed`."""
    own = {spelled(url).rstrip("/") for url in typed if kind_of_agent(url) == "url"}
    return _IN_A_SENTENCE.sub(
        lambda found: found[0] if spelled(found[0]).rstrip("/") in own else shown_url(found[0]), sentence
    )


def is_shortened(url: str) -> bool:
    """True if this is how a URL is shown that says more."""
    return bool(_SHORTENED.search(url.strip()))


def _hash_of(url: str) -> str:
    return hashlib.sha256(url.strip().encode("utf-8", "surrogatepass")).hexdigest()[:HASH_CHARS]


def agent_url(card_url: str) -> str:
    """The URL of the agent that has its card there: the origin, if the card is in its well-known place.

    Raises:
        AddressNotAllowedError: it is no URL.
    """
    url = spelled(card_url)
    parts = split_url(url)
    for path in CARD_PATHS:
        if parts.path.endswith(path):
            folder = f"{parts.path.removesuffix(path)}/"
            return SplitResult(parts.scheme, parts.netloc, folder, parts.query, "").geturl()
    return url


def card_urls(url: str) -> tuple[str, ...]:
    """The URLs at which the card of an agent may be, the likeliest first.

    Raises:
        AddressNotAllowedError: it is no URL.
    """
    parts = split_url(spelled(url))
    path = parts.path.rstrip("/")
    if WELL_KNOWN in parts.path or path.endswith(".json"):
        return (spelled(url),)

    def below(folder: str) -> list[str]:
        # With the query: where it names a tenant, each has a card of its own.
        return [
            SplitResult(parts.scheme, parts.netloc, f"{folder}{name}", parts.query, "").geturl() for name in CARD_PATHS
        ]

    root = below("") if path else []  # the URL may be that of an interface
    return tuple(dict.fromkeys((*below(path), spelled(url), *root)))


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: whom a credential is for.

    Raises:
        AddressNotAllowedError: it is no URL.
    """
    parts = split_url(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme)


def split_url(url: str) -> SplitResult:
    """The parts of a URL, port and all.

    Raises:
        AddressNotAllowedError: it is no URL.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise unreadable(url) from None
    return parts


def unreadable(url: str) -> AddressNotAllowedError:
    """The error for a text that is no URL. The place of its host is unknown, so a possible password is left out."""
    return AddressNotAllowedError(url.rpartition("@")[2][:MAX_URL], "it is not written as a URL", WRITTEN)
