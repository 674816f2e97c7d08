"""A relay's listener: accepts connections and reads frames into sessions, with one task per connection.

A hostile client meets, in this order: the limits of hosts (`connection_limits`), aiohttp's limits on an HTTP request,
the handshake (`relay_session`), and then the limits of its key (`service`). `relay_loop` drives all of it.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

import anyio
from aiohttp import WSMsgType, web
from typing_extensions import override

from mcp_a2a.accepting import Tls, accept
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.mailbox_ports import MailboxStore
from mcp_a2a.ports import Credentials
from mcp_a2a.protocol.admission import Admission
from mcp_a2a.protocol.aging import SoundClock
from mcp_a2a.protocol.control import MAX_FRAME, NONCE_SIZE, ByeCode, Role
from mcp_a2a.protocol.crypto import sha256
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.handshake import Handshake, Side, Target
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.pending_connections import WAIT_SECONDS, host_of, is_here
from mcp_a2a.protocol.relay_limits import HERE, HOST, KEY, NETWORK, RelayLimits
from mcp_a2a.protocol.relay_session import RelaySession
from mcp_a2a_transports._link_server import LinkServer, address_of
from mcp_a2a_transports._tasks import background_tasks
from mcp_a2a_transports._websocket import Connection
from mcp_a2a_transports.relay.connection_limits import ConnectionLimits
from mcp_a2a_transports.relay.relay_loop import CLOSE_SECONDS, RelayLoop
from mcp_a2a_transports.relay.server_http import Pages, RelayFacts, real_host
from mcp_a2a_transports.relay.server_wire import ServerWire
from mcp_a2a_transports.relay.service import RelayKey, RelayService

logger = logging.getLogger(__name__)

MAX_MESSAGE = MAX_FRAME + 64 * 1024
"""A little more than any frame has: an envelope that is a little too large is refused by its id."""

ADMITTED = (NETWORK, KEY)
ROLE = Target(role=Role.RELAY)
_HOST_LABEL = b"mcp-a2a/relay-host\0"
_DATA = (WSMsgType.BINARY, WSMsgType.TEXT)


@dataclass(frozen=True)
class RelayOptions:
    """The options of a relay's listener."""

    limits: RelayLimits
    closed: bool = False
    behind_proxy: bool = False
    tls: Tls | None = None
    may_look: Sequence[str] = ()
    """Networks that may read metrics, beside this machine."""
    host: str = ""
    """The host by which others reach it."""


class _Heard(Protocol):
    """A message of a WebSocket: a frame of ours, or what ends it."""

    type: WSMsgType
    data: str | bytes


class RelayListener(LinkServer):
    """Everything of a relay but the opening of its socket and its disk."""

    max_message = MAX_MESSAGE
    close_seconds = CLOSE_SECONDS
    autoclose = False

    def __init__(self, credentials: Credentials, store: MailboxStore, options: RelayOptions, clock: SoundClock) -> None:
        super().__init__()
        self._credentials = credentials
        self._options = options
        admission = Admission(closed=options.closed)
        admission.key = store.admission_key()
        for entry in store.members():
            if entry.admitted:
                admission.admit(entry.member, entry.sponsor)
            else:
                admission.revoke(entry.member)
        relay = credentials.identity.peer_id
        key = RelayKey(relay, partial(_account_of_host, credentials.identity))
        self.service = RelayService(key, store, admission, options.limits, clock)
        self._relay_loop = RelayLoop(self.service)
        self._limits = ConnectionLimits(options.limits, behind_proxy=options.behind_proxy)
        self._pages = Pages(self.facts, options.may_look, options.host)
        self._relay_loop.ticked, self._relay_loop.swept = self._evict_overdue, self._limits.forget
        self._started_at = time.monotonic()

    # --- for the operator -------------------------------------------------------------------------

    def facts(self) -> RelayFacts:
        """The counts of this moment."""
        mail, totals = self.service.mail, self.service.totals()
        messages, size = mail.messages
        return RelayFacts(
            uptime_seconds=round(time.monotonic() - self._started_at, 1),
            connections=len(self.service.sessions),
            agents_online=self.service.connections.online,
            keys=self.service.connections.registered,
            mailboxes=mail.mailboxes,
            messages=messages,
            message_bytes=size,
            listings=totals.listings,
            networks=totals.networks,
            invitations=totals.invitations,
            deposited=mail.accounting.totals.deposited,
            delivered=mail.accounting.totals.answered,
            stored=mail.accounting.totals.stored,
            refused=mail.accounting.totals.refused,
        )

    def admit(self, member: PeerId) -> None:
        """Serve a key or a network from now on."""
        self.service.admission.admit(member)

    def revoke(self, member: PeerId) -> int:
        """Shut a key or a network out, now: how many sessions that ended."""
        self.service.admission.revoke(member)
        return self.service.end_revoked(member, time.monotonic())

    async def leave(self) -> None:
        """Say goodbye on every connection."""
        self.is_serving = False
        await self._relay_loop.leave()

    # --- connections without a proven key ---------------------------------------------------------

    @override
    def _lets_in(self, handler: web.RequestHandler, connection: Connection, now: float) -> bool:
        address = address_of(connection).host
        if not self._limits.lets_in(address, len(self._connections), now):
            return False
        leaves = self._limits.arrived(handler, address, now)
        if leaves is not None:
            self._limits.settled(leaves)
            self._evict(leaves, ByeCode.BUSY)
        return True

    @override
    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._limits.left(handler, time.monotonic())

    def _evict_overdue(self, now: float) -> None:
        for handler in self._limits.overdue(now):
            self._evict(handler, ByeCode.TIMEOUT)

    # --- requests ---------------------------------------------------------------------------------

    def _host(self, request: web.BaseRequest, connection: Connection) -> str:
        return real_host(request, address_of(connection).host, behind_proxy=self._options.behind_proxy)

    @override
    def _page(self, request: web.BaseRequest, connection: Connection) -> web.Response | None:
        page = self._pages.answer(request, address_of(connection).host, self._host(request, connection))
        if page is not None:
            self._limits.settled(request.protocol)
        return page

    @override
    async def _accompany(
        self, request: web.BaseRequest, websocket: web.WebSocketResponse, connection: Connection
    ) -> None:
        now, handler, host = time.monotonic(), request.protocol, host_of(self._host(request, connection))
        secret = self._credentials.randomness(NONCE_SIZE)
        handshake = Handshake(Side.LISTENER, self._credentials.identity, self._credentials.bundle(), secret, ROLE)
        session = RelaySession(self.service, handshake, now, self._relay_loop.has_output)
        session.host = host
        self._goodbyes[handler] = lambda code: session.close(code, time.monotonic())
        wire = ServerWire(session, connection)
        self._limits.linked(handler, host)
        self._relay_loop.add(wire)
        try:
            if len(self.service.sessions) >= self._options.limits.max_connections or self._limits.is_full(host, now):
                self._limits.settled(handler)
                session.close(ByeCode.BUSY, now)
            await self._read(handler, websocket, session)
        finally:
            self._relay_loop.remove(wire)
            self._limits.unlinked(handler)
            if session.peer is None and self._limits.is_counted(handler):
                self._limits.settled(handler)  # it was counted here, by the host that it really has
                self._limits.failed(host, time.monotonic())
            if not connection.is_closing():
                connection.close()

    async def _read(self, handler: web.RequestHandler, websocket: web.WebSocketResponse, session: RelaySession) -> None:
        read = _source(websocket)
        try:
            while not session.is_closed:
                if session.is_congested or session.read_at:
                    await self._hold(session)
                try:
                    message = await read()
                except Exception:  # noqa: BLE001  the end, or no WebSocket: the queue says it again, and aiohttp acts on it
                    message = cast("_Heard", await websocket.receive())
                if message.type not in _DATA:
                    return
                was_opening = session.peer is None
                session.receive_frame_untrusted(message.data, time.monotonic())
                del message  # an idle connection must not keep what it said last
                self._relay_loop.touch()
                proven = was_opening and session.peer is not None
                if session.is_excused or proven:
                    self._limits.settled(handler)
                if proven and session.account[:1] in ADMITTED:
                    self._limits.unlinked(handler)  # an office may be behind one address
        except RemoteProtocolError as error:
            logger.info("closing a connection: %s", error)
        except Exception:
            logger.exception("a connection failed")  # a bug of ours, or the disk; the others go on
            session.close(ByeCode.CLOSED, time.monotonic())
        await _drain(websocket)

    async def _hold(self, session: RelaySession) -> None:
        """Read nothing more for now."""
        while session.is_congested and not session.is_closed:
            await self._relay_loop.relieved()
        pause, session.read_at = session.read_at - time.monotonic(), 0.0
        if pause > 0:
            await anyio.sleep(pause)


def _account_of_host(identity: Identity, host: str) -> bytes:
    """See `RelayKey.account_of_host`."""
    kind = HERE if is_here(host) else HOST
    return kind + sha256(identity.sign(_HOST_LABEL, host.encode()))[:16]


# Work-around (aiohttp), look again 2027-06: not reported
def _source(websocket: web.WebSocketResponse) -> Callable[[], Awaitable[_Heard]]:
    """The source of its messages: the queue that `receive` reads from, if this aiohttp has it.

    A relay hears two frames per message, and the layers of `receive` take a twelfth of its time for one.
    """
    queue = getattr(websocket, "_reader", None)
    return cast("Callable[[], Awaitable[_Heard]]", websocket.receive if queue is None else queue.read)


async def _drain(websocket: web.WebSocketResponse) -> None:
    """Read on until the other end closes: the last frames are lost when a connection ends with unread bytes."""
    with anyio.move_on_after(CLOSE_SECONDS):
        while (await websocket.receive()).type in _DATA:
            pass


@asynccontextmanager
async def open_relay(
    listening: Sequence[socket.socket],
    credentials: Credentials,
    store: MailboxStore,
    options: RelayOptions,
    clock: SoundClock,
) -> AsyncIterator[RelayListener]:
    """Serve on bound sockets until the context ends, which takes less than two seconds."""
    listener = RelayListener(credentials, store, options, clock)
    runner = web.ServerRunner(listener, shutdown_timeout=CLOSE_SECONDS)
    await runner.setup()
    async with background_tasks() as tasks:
        for bound in listening:
            tasks.start_soon(partial(accept, bound, listener, options.tls, handshake_seconds=WAIT_SECONDS))
        try:
            yield listener
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await listener.leave()
                await runner.cleanup()
