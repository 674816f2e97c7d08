"""The pages of a relay over HTTP: its health, and its metrics for the operator. No keys, no names."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from mcp_a2a.protocol.paths import ip_of
from mcp_a2a.protocol.pending_connections import is_here
from mcp_a2a_transports._link_server import AGENT

_FORWARDED = ("x-forwarded-", "forwarded", "x-real-ip", "via", "cf-", "true-client-ip")
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class RelayFacts:
    """The counts of a relay."""

    uptime_seconds: float
    connections: int
    agents_online: int
    keys: int
    mailboxes: int
    messages: int
    message_bytes: int
    listings: int
    networks: int
    invitations: int
    deposited: int
    delivered: int
    stored: int
    refused: int


_COUNTERS = {
    "deposited": "Messages taken from depositors.",
    "delivered": "Messages that their recipient has answered.",
    "stored": "Messages written to disk.",
    "refused": "Messages refused by the relay.",
}
_GAUGES = {
    "uptime_seconds": "Seconds since the start.",
    "connections": "Open connections with a proven key.",
    "agents_online": "Keys that are connected.",
    "keys": "Keys that have a mailbox.",
    "mailboxes": "Mailboxes with something in it.",
    "messages": "Messages that wait.",
    "message_bytes": "Their bytes.",
    "listings": "Entries of directories.",
    "networks": "Networks with an entry.",
    "invitations": "Invitations that are kept.",
}


class _Facts(Collector):
    """Asked by every scrape."""

    def __init__(self, facts: Callable[[], RelayFacts]) -> None:
        self._facts = facts

    @override
    def collect(self) -> Iterable[Metric]:
        return self._metrics()

    def _metrics(self) -> Iterator[Metric]:
        facts = asdict(self._facts())
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"mcp_a2a_relay_{name}", text, value=facts[name])
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"mcp_a2a_relay_{name}", text, value=facts[name])


class Pages:
    """The pages, and who may see them."""

    def __init__(self, facts: Callable[[], RelayFacts], allowed: Sequence[str], own_host: str = "") -> None:
        self._facts = facts
        self._registry = CollectorRegistry()
        self._registry.register(_Facts(facts))
        self._allowed = [ipaddress.ip_network(network) for network in allowed]
        self._own_host = own_host

    def answer(self, request: web.BaseRequest, peer: str, host: str) -> web.Response | None:
        """The page that is asked for; None when there is none for this caller.

        The connection comes from `peer`, and the request from `host`, as far as a proxy there is believed.
        """
        if request.method not in ("GET", "HEAD"):
            return None
        match request.path:
            case "/healthz":
                return _page(b"ok\n", "text/plain; charset=utf-8")
            case "/metrics" if self._may_look(request, peer, host):
                return _page(generate_latest(self._registry), METRICS_TYPE)
            case "/status" if self._may_look(request, peer, host):
                return _page(json.dumps(asdict(self._facts())).encode(), "application/json; charset=utf-8")
            case _:
                return None

    def _may_look(self, request: web.BaseRequest, peer: str, host: str) -> bool:
        # A page in a browser sends Origin, or the name by which it was made to find this machine.
        if "Origin" in request.headers or not self._is_own(request.host, peer):
            return False
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return False
        # Headers that pass a caller on are written by the caller itself, unless a proxy on this machine wrote them; and
        # whom that passes on is not its operator.
        was_forwarded = any(name.lower().startswith(_FORWARDED) for name in request.headers)
        if was_forwarded and not is_here(peer):
            return False
        address = ip_of(host)
        if address is None:
            return False
        is_allowed = any(address in network for network in self._allowed)
        return is_allowed or (address.is_loopback and not was_forwarded)

    def _is_own(self, asked: str, peer: str) -> bool:
        """True if a Host header can only mean this relay: no name of a domain, which may be made to point here.

        Nor, in a request of this machine, any name but localhost: a machine on the LAN may take such a name.
        """
        host = urlsplit(f"//{asked}").hostname or ""
        if ip_of(host) is not None or host in (self._own_host, "localhost") or host.endswith(".localhost"):
            return True
        return "." not in host and not is_here(peer)


def _page(body: bytes, kind: str) -> web.Response:
    response = web.Response(body=body, headers={"Server": AGENT, "Content-Type": kind})
    response.force_close()  # a reader of pages must not hold places that agents need
    return response


def real_host(request: web.BaseRequest, peer: str, *, behind_proxy: bool) -> str:
    """The host of a request. Only a proxy beside us is believed, and only the entry that it wrote itself: the last."""
    forwarded = request.headers.getall("X-Forwarded-For", [])
    if not behind_proxy or not forwarded or not may_be_proxy(peer):
        return peer
    said = forwarded[-1].rpartition(",")[2].strip()
    # This machine is not held to the limits of a host, so a header never makes a caller a part of it.
    return peer if is_here(said) else said


def may_be_proxy(peer: str) -> bool:
    """True if a proxy of ours could be at this address."""
    address = ip_of(peer)
    return address is not None and (address.is_loopback or address.is_private)
