"""Runs a relay: the composition root of `mcp-a2a relay serve`.

A relay lives in `<home>/relay`: its key, its database, a lock that keeps a second one out, and a socket over which
its operator's commands reach it (`relay_admin`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from mcp_a2a.accepting import MAX_HANDSHAKES, RESERVED_FILES, raise_open_files
from mcp_a2a.certificates import ServerTls
from mcp_a2a.config import RelaySettings
from mcp_a2a.errors.machine import ConfigurationError, RelayRunsError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.ports import Credentials
from mcp_a2a.protocol.admission_secret import ADMISSION_SECRET_SIZE, admission_key
from mcp_a2a.protocol.bundle import KeyBundle, KeyRing
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.rates import Rate
from mcp_a2a.protocol.relay_limits import HOUR, MIB, RelayLimits
from mcp_a2a.protocol.relay_url import RelayUrl, parse_relay_url
from mcp_a2a.relay_operator import Operator, ServingRelay, answer_operator
from mcp_a2a.server.address import seen_address
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.folder_lock import lock_folder
from mcp_a2a.store.keyfile import load_identity
from mcp_a2a.store.relay_store import RelayStore, open_relay_store
from mcp_a2a.uptime import Uptime
from mcp_a2a.wall_clock import stamp_of_now, wall_clock
from mcp_a2a_transports._link_server import bind
from mcp_a2a_transports.direct import own_addresses
from mcp_a2a_transports.relay.server import RelayOptions, open_relay

DATABASE = "relay.db"
DAY = 86_400


@asynccontextmanager
async def serve_relay(settings: RelaySettings) -> AsyncIterator[ServingRelay]:
    """Run the relay of this data folder until the context ends, which takes less than two seconds.

    Raises:
        ConfigurationError: it cannot run here, and why.
    """
    tls = _tls(settings)
    with _own_folder(settings.home) as folder:
        identity = load_identity(folder, os.urandom(32))
        most = _allow_connections(settings)
        host, port = settings.address
        with ExitStack() as bound:
            listening = [bound.enter_context(one) for one in bind(host, port)]
            port = listening[0].getsockname()[1]
            url = _url(settings, host, port, identity.peer_id)
            async with _open_store(settings, folder) as store:
                options = RelayOptions(
                    _limits(settings), settings.closed, settings.behind_proxy, tls, settings.metrics_allow, url.host
                )
                credentials = Credentials(identity, _Bundles(identity), wall_clock, os.urandom)
                fresh = await _first_secret(store) if settings.closed else None
                async with open_relay(listening, credentials, store, options, store.clock) as listener:
                    warnings = tuple(_warnings(settings, url, host, most))
                    serving = ServingRelay(url, identity.peer_id, port, folder, warnings, listener, fresh)
                    async with answer_operator(Operator(folder, identity.peer_id, store, wall_clock, serving)):
                        yield serving


@asynccontextmanager
async def open_unattended(home: Path) -> AsyncIterator[Operator]:
    """The folder of a relay that does not run.

    Raises:
        ConfigurationError: there is none, it runs after all, or it cannot be opened.
    """
    if not (home / "relay" / DATABASE).exists():
        raise ConfigurationError(
            f"There is no relay in {home}.", Remedy("mcp-a2a relay serve makes one; --home names another data folder.")
        )
    with _own_folder(home) as folder:
        identity = load_identity(folder, os.urandom(32))
        async with _open_store(RelaySettings(home=home), folder) as store:
            yield Operator(folder, identity.peer_id, store, wall_clock)


# --- parts ----------------------------------------------------------------------------------------


@contextmanager
def _own_folder(home: Path) -> Iterator[Path]:
    open_folder(home)
    folder = open_folder(home / "relay")
    try:
        lock = lock_folder(folder)
    except OSError as error:
        raise refused(folder, error) from error
    if lock is None:
        raise RelayRunsError(str(folder))
    try:
        yield folder
    finally:
        lock.release()


@asynccontextmanager
async def _open_store(settings: RelaySettings, folder: Path) -> AsyncIterator[RelayStore]:
    stamp = stamp_of_now()
    epoch = int.from_bytes(os.urandom(8))
    kept = settings.ttl_days * DAY
    async with open_relay_store(folder / DATABASE, stamp, epoch, kept, wall_clock, Uptime()) as store:
        yield store


async def _first_secret(store: RelayStore) -> bytes | None:
    """The admission secret of a relay that has none yet."""
    if store.admission_key() is not None:
        return None
    secret = os.urandom(ADMISSION_SECRET_SIZE)
    await store.set_admission_key(admission_key(secret), wall_clock())
    return secret


class _Bundles:
    """The relay's own key bundle. Nothing is sealed to a relay, so only its signature matters and nothing is kept."""

    def __init__(self, identity: Identity) -> None:
        self._ring = KeyRing(identity)

    def __call__(self) -> KeyBundle:
        self._ring.handle_timeout(wall_clock(), os.urandom)
        return self._ring.current


def _limits(settings: RelaySettings) -> RelayLimits:
    return RelayLimits(
        max_queue=settings.max_queue,
        max_per_sender=settings.max_per_sender,
        max_mailbox_bytes=settings.max_mailbox_mib * MIB,
        ttl_seconds=settings.ttl_days * DAY,
        deposits=Rate(settings.rate / 60, settings.burst),
        new_keys=Rate(settings.host_new_agents / HOUR, settings.host_new_agents),
        host_senders=settings.host_senders,
        network_senders=settings.network_senders,
        host_disk_share=settings.host_disk_percent / 100,
        network_disk_share=settings.network_disk_percent / 100,
        deposit_bytes=Rate(settings.rate_mib * MIB / 60, max(2, settings.rate_mib) * MIB),
        max_keys=settings.max_keys,
        max_disk_bytes=settings.max_disk_mib * MIB,
        max_memory_bytes=settings.max_memory_mib * MIB,
        max_connections=settings.max_connections,
        host_connections=settings.host_connections,
        agent_connections=settings.agent_connections,
        max_half_open=settings.max_half_open,
    )


def _tls(settings: RelaySettings) -> ServerTls | None:
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None:
        raise ConfigurationError("--tls-key names a key without its certificate.", "Add --tls-cert.")
    return ServerTls(settings.tls_cert, settings.tls_key)


def _url(settings: RelaySettings, host: str, port: int, relay: PeerId) -> RelayUrl:
    if settings.public_url is not None:
        url = parse_relay_url(settings.public_url.partition("#")[0].rstrip("/") + f"/#{relay}")
    else:
        scheme = "ws" if settings.tls_cert is None else "wss"
        url = RelayUrl(scheme, _reachable(host), port, "", relay)
    return url


def _reachable(host: str) -> str:
    """An address to tell others, for a relay that listens on all of them."""
    seen = seen_address("0.0.0.0" if host == "*" else host)  # noqa: S104  read
    # Without a way out of this network any address in it will do: a relay may serve a LAN alone. One with a zone is of
    # no use to others.
    own = next((address.host for address in own_addresses(0, host) if not address.is_zoned), None)
    return seen or own or ("::1" if host == "::" else "127.0.0.1")


def _allow_connections(settings: RelaySettings) -> int:
    """Ask the system for as many open files as there may be connections; how many there are."""
    others = settings.max_half_open + MAX_HANDSHAKES + RESERVED_FILES
    return min(settings.max_connections, raise_open_files(settings.max_connections + others) - others)


def _warnings(settings: RelaySettings, url: RelayUrl, host: str, most: int) -> Iterator[str]:
    here = host in ("127.0.0.1", "::1", "localhost")
    if not here and settings.tls_cert is None and not settings.behind_proxy:
        yield (
            "Connections to this relay are not encrypted in transit: an observer of the network sees which keys talk, "
            "when, and rough sizes (never the content). Use --tls-cert and --tls-key, or a proxy and --behind-proxy."
        )
    if not here and not settings.closed:
        yield "This relay is open: all who can reach it get a mailbox, within the limits. Without --open it is closed."
    if most < settings.max_connections:
        yield f"This system allows only {most:,} connections (open files): raise it with ulimit -n or LimitNOFILE=."
    if here and settings.public_url is None:
        yield "This relay can only be reached from this machine. Use --listen 0.0.0.0:6060 for others."
    if not here and url.is_loopback:
        yield (
            "This machine has no address that a URL for others could name, so the URL is for this machine alone. "
            "--public-url names one."
        )
