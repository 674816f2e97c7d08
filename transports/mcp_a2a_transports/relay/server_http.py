"""What a relay says over HTTP: that it lives, and to its operator how much it does. No keys, no names."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from mcp_a2a_transports._reception import AGENT

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class RelayFacts:
    """How much a relay holds and has done."""

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

    def __init__(self, facts: Callable[[], RelayFacts], allowed: Sequence[str]) -> None:
        self._facts = facts
        self._registry = CollectorRegistry()
        self._registry.register(_Facts(facts))
        self._allowed = [ipaddress.ip_network(network) for network in allowed]

    def answer(self, request: web.BaseRequest, host: str) -> web.Response | None:
        """The page that is asked for; None when there is none for this caller. `host` is where it really comes from."""
        if request.method not in ("GET", "HEAD"):
            return None
        match request.path:
            case "/healthz":
                return _page(b"ok\n", "text/plain; charset=utf-8")
            case "/metrics" if self._may_look(request, host):
                return _page(generate_latest(self._registry), METRICS_TYPE)
            case "/status" if self._may_look(request, host):
                return _page(json.dumps(asdict(self._facts())).encode(), "application/json; charset=utf-8")
            case _:
                return None

    def _may_look(self, request: web.BaseRequest, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if any(address in network for network in self._allowed):
            return True
        # A page in a browser of this machine, or a proxy on it that passes on somebody else, is not its operator.
        was_forwarded = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "Via", "Origin"))
        return address.is_loopback and not was_forwarded


def _page(body: bytes, kind: str) -> web.Response:
    response = web.Response(body=body, headers={"Server": AGENT, "Content-Type": kind})
    response.force_close()  # whoever only reads pages must not hold places that agents need
    return response


def real_host(request: web.BaseRequest, peer: str, *, behind_proxy: bool) -> str:
    """Where a request comes from. Only a proxy beside us is believed, and only what it wrote itself: the last entry."""
    forwarded = request.headers.getall("X-Forwarded-For", [])
    if not behind_proxy or not forwarded or not may_be_proxy(peer):
        return peer
    return forwarded[-1].rpartition(",")[2].strip()


def may_be_proxy(peer: str) -> bool:
    """Whether a proxy of ours could be at this address."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return address.is_loopback or address.is_private
