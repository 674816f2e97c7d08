"""A relay's listener: accepts connections, reads frames into sessions, and turns the wheel.

One task per connection, which reads. Everything else happens in two callbacks of the event loop: `_settle`, once per
round in which anything happened, writes what there is to write, to the disk and to the sockets; `_turn` runs when a
time has come. A hostile client meets, in this order: the waiting room (`_door`), aiohttp's limits on an HTTP request,
the limits of its host, the handshake, and then the limits of its key.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import anyio
import anyio.lowlevel
from aiohttp import WSMsgType, web
from typing_extensions import override

from mcp_a2a.errors import RemoteProtocolError
from mcp_a2a.ports import Credentials
from mcp_a2a.protocol.admission import Admission
from mcp_a2a.protocol.control import MAX_FRAME, NONCE_SIZE, ByeCode, Role
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.handshake import Handshake, Side, Target
from mcp_a2a.protocol.rates import Buckets
from mcp_a2a.protocol.relay_limits import RelayLimits
from mcp_a2a.protocol.relay_session import Phase, RelaySession
from mcp_a2a.relay_ports import MailboxStore
from mcp_a2a_transports._door import Door, host_of
from mcp_a2a_transports._reception import AGENT, PATH, address_of, asks_for_link, refusal
from mcp_a2a_transports._websocket import Connection
from mcp_a2a_transports.relay.server_desk import RelayDesk
from mcp_a2a_transports.relay.server_http import Pages, RelayFacts, is_here, may_be_proxy, real_host
from mcp_a2a_transports.relay.server_wire import ServerWire, Transport

logger = logging.getLogger(__name__)
_http_logger = logging.getLogger(f"{__name__}.http")
_http_logger.setLevel(logging.CRITICAL)  # aiohttp would quote whatever a stranger sent

BACKLOG = 1024
MAX_MESSAGE = MAX_FRAME + 64 * 1024
"""A little more than any frame has: an envelope that is a little too large is refused by its id."""

TICK_SECONDS = 1.0
RELIEF_SECONDS = 0.02
"""How often a connection that reads slowly is looked at."""
SWEEP_TICKS = 20
FORGET_TICKS = 3600
CLOSE_SECONDS = 0.5
LEAVE_SECONDS = 1.0
MAX_HALF_OPEN_PER_HOST = 64
ROLE = Target(role=Role.RELAY)


@dataclass(frozen=True)
class RelayOptions:
    """How a relay listens."""

    limits: RelayLimits
    closed: bool = False
    behind_proxy: bool = False
    tls: ssl.SSLContext | None = None
    may_look: Sequence[str] = ()
    """Networks that may read metrics, beside this machine."""


class _Handle(Protocol):
    def cancel(self) -> None: ...


class _Loop(Protocol):
    """The part of asyncio's event loop that is needed here."""

    def call_soon(self, callback: Callable[[], None]) -> object: ...
    def call_later(self, delay: float, callback: Callable[[], None]) -> _Handle: ...


class RelayListener(web.Server):
    """Everything of a relay but its sockets' opening and its disk's."""

    def __init__(
        self, credentials: Credentials, store: MailboxStore, options: RelayOptions, wall_clock: Callable[[], float]
    ) -> None:
        super().__init__(self._serve, access_log=None, logger=_http_logger, lingering_time=0, keepalive_timeout=5)
        self._credentials = credentials
        self._options = options
        self._loop_now = cast("_Loop", anyio.lowlevel.current_token().native_token)
        limits = options.limits
        admission = Admission(closed=options.closed)
        for entry in store.members():
            (admission.admit if entry.admitted else admission.revoke)(entry.member)
        self.desk = RelayDesk(credentials.identity.peer_id, store, admission, limits, wall_clock, self._has_output)
        self._store = store
        self._pages = Pages(self.facts, options.may_look)
        self._door: Door[web.RequestHandler] = Door(
            limits.max_half_open, min(MAX_HALF_OPEN_PER_HOST, limits.max_half_open)
        )
        self._failures: Buckets[str] = Buckets(limits.failures)
        self._unproven: dict[web.RequestHandler, str] = {}
        self._hosts: dict[str, int] = {}
        self._wires: dict[RelaySession, ServerWire] = {}
        self._dirty: list[RelaySession] = []
        self._congested: dict[RelaySession, ServerWire] = {}
        self._closing: dict[RelaySession, ServerWire] = {}
        self._relieved = anyio.Event()
        self._settled = anyio.Event()
        self._settles = False
        self._timer: _Handle | None = None
        self._turn_at = float("inf")
        self._ticks = 0
        self._started_at = self._ticked_at = time.monotonic()
        self._is_leaving = False
        self._schedule()

    # --- what the operator sees -------------------------------------------------------------------

    def facts(self) -> RelayFacts:
        """As it is now."""
        office, totals = self.desk.office, self._store.totals()
        messages, size = office.messages
        return RelayFacts(
            uptime_seconds=round(time.monotonic() - self._started_at, 1),
            connections=len(self.desk.sessions),
            agents_online=self.desk.roster.online,
            keys=self.desk.roster.registered,
            mailboxes=office.mailboxes,
            messages=messages,
            message_bytes=size,
            listings=totals.listings,
            networks=totals.networks,
            invitations=totals.invitations,
            deposited=office.tally.deposited,
            delivered=office.tally.answered,
            stored=office.tally.stored,
            refused=office.tally.refused,
        )

    def revoke(self, member: PeerId) -> int:
        """Shut a key or a network out, now: how many sessions that ended."""
        self.desk.admission.revoke(member)
        return self.desk.end_revoked(member, time.monotonic())

    # --- the wheel --------------------------------------------------------------------------------

    def _has_output(self, session: RelaySession) -> None:
        self._dirty.append(session)
        if not self._settles:
            self._settles = True
            self._loop_now.call_soon(self._settle)

    def touch(self) -> None:
        """Something happened that may have to be written."""
        if not self._settles:
            self._settles = True
            self._loop_now.call_soon(self._settle)

    def _settle(self) -> None:
        self._settles = False
        try:
            self._write()
        except Exception:
            logger.exception("a round of the relay failed")  # the others of this round still get theirs
        if self._is_leaving:
            self._settled.set()
            self._settled = anyio.Event()
        self._schedule()

    def _write(self) -> None:
        self.desk.settle()
        now = time.monotonic()
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for session in dirty:
                wire = self._wires.get(session)
                if wire is not None:
                    self._flush(session, wire, now)
        if self.desk.directory.sync():
            self.touch()

    def _flush(self, session: RelaySession, wire: ServerWire, now: float) -> None:
        wire.flush(now)
        if session.is_congested:
            self._congested[session] = wire
        if session.is_closed:
            self._closing[session] = wire
            wire.close_at = now + CLOSE_SECONDS

    def _schedule(self) -> None:
        """Have `_turn` called when the next time comes."""
        due = min(self.desk.next_timeout(), self._ticked_at + TICK_SECONDS)
        if self._congested:
            due = min(due, time.monotonic() + RELIEF_SECONDS)
        if self._timer is not None:
            if self._turn_at <= due:
                return
            self._timer.cancel()
        self._turn_at = due
        self._timer = self._loop_now.call_later(max(0.0, due - time.monotonic()), self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = time.monotonic()
        try:
            self.desk.handle_timeout(now)
            self._relieve(now)
            if now >= self._ticked_at + TICK_SECONDS:
                self._ticked_at = now
                self._tick(now)
        except Exception:
            logger.exception("a turn of the relay failed")
        self._settle()

    def _relieve(self, now: float) -> None:
        relieved = [session for session, wire in self._congested.items() if wire.relieve(now)]
        for session in relieved:
            del self._congested[session]
        if relieved:
            self._relieved.set()
            self._relieved = anyio.Event()

    def _tick(self, now: float) -> None:
        self._ticks += 1
        self.desk.tick(now)
        for session in [session for session in self._wires if session.phase is Phase.CLAIMING]:
            session.handle_timeout(now)
        for handler in self._door.overdue(now):
            self._turn_out(handler, ByeCode.TIMEOUT)
        for session, wire in list(self._closing.items()):
            if wire.close_at is not None and now >= wire.close_at:
                wire.transport.abort()
                self._closing.pop(session, None)
        if self._ticks % SWEEP_TICKS == 1:
            self.desk.sweep(now)
            self._failures.forget_full(now)
        if self._ticks % FORGET_TICKS == 0:
            self.desk.forget_unused()

    # --- connections without a proven key ---------------------------------------------------------

    @override
    def connection_made(self, handler: web.RequestHandler, transport: Connection) -> None:
        super().connection_made(handler, transport)  # type: ignore[arg-type]  # the very same
        now = time.monotonic()
        host = host_of(address_of(transport).host)
        full = len(self.connections) > self._options.limits.max_connections + self._options.limits.max_half_open
        if full or self._has_failed_too_often(host, now):
            transport.abort()
            return
        self._unproven[handler] = host
        # All connections of a proxy come from one address.
        seat = f"{host}/{id(handler)}" if self._options.behind_proxy and may_be_proxy(host) else host
        leaves = self._door.arrived(handler, seat, now)
        if leaves is not None:
            self._turn_out(leaves, ByeCode.BUSY)

    @override
    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._door.left(handler)
        host = self._unproven.pop(handler, None)
        if host is not None:
            self._failed(host)

    def _turn_out(self, handler: web.RequestHandler, code: ByeCode) -> None:
        wire = next((wire for wire in self._wires.values() if wire.transport is handler.transport), None)
        if wire is not None:
            wire.session.close(code, time.monotonic())
        elif handler.transport is not None:
            handler.transport.abort()

    def _failed(self, host: str) -> None:
        """A connection of that host ended without a proven key (limit L10). This machine itself is not counted."""
        if not is_here(host) and not (self._options.behind_proxy and may_be_proxy(host)):
            now = time.monotonic()
            self._failures.of(host, now).take(1, now)

    def _has_failed_too_often(self, host: str, now: float) -> bool:
        return len(self._failures) > 0 and self._failures.of(host, now).wait_for(1, now) > 0

    # --- requests ---------------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.transport
        if connection is None or self._is_leaving:
            return refusal()
        peer = address_of(connection).host
        host = real_host(request, peer, behind_proxy=self._options.behind_proxy)
        if request.path != PATH:
            page = self._pages.answer(request, peer if host == peer else host)
            if page is not None:
                self._unproven.pop(request.protocol, None)
                self._door.left(request.protocol)
            return page or refusal()
        websocket = web.WebSocketResponse(
            timeout=CLOSE_SECONDS, autoclose=False, autoping=False, compress=False, max_msg_size=MAX_MESSAGE
        )
        if not asks_for_link(request, websocket):
            return refusal()
        websocket.headers["Server"] = AGENT
        await websocket.prepare(request)
        await self._accompany(request.protocol, websocket, connection, host_of(host))
        return websocket

    async def _accompany(
        self, handler: web.RequestHandler, websocket: web.WebSocketResponse, connection: Transport, host: str
    ) -> None:
        now = time.monotonic()
        nonce = self._credentials.randomness(NONCE_SIZE)
        handshake = Handshake(Side.LISTENER, self._credentials.identity, self._credentials.bundle(), nonce, ROLE)
        session = RelaySession(self.desk, handshake, now)
        self.desk.expect(session, nonce)
        wire = self._wires[session] = ServerWire(session, connection, host)
        self._hosts[host] = self._hosts.get(host, 0) + 1
        try:
            if self._is_full(host, now):
                session.close(ByeCode.BUSY, now)
            self.touch()
            await self._read(handler, websocket, wire)
        finally:
            self._ended(handler, wire)

    def _is_full(self, host: str, now: float) -> bool:
        limits = self._options.limits
        of_host = 0 if is_here(host) else self._hosts[host]
        return (
            len(self.desk.sessions) >= limits.max_connections
            or of_host > limits.max_connections_per_host
            or self._has_failed_too_often(host, now)
        )

    async def _read(self, handler: web.RequestHandler, websocket: web.WebSocketResponse, wire: ServerWire) -> None:
        session = wire.session
        try:
            while not session.is_closed:
                if session.is_congested or session.read_at:
                    await self._hold(session)
                message = await websocket.receive()
                if message.type is not WSMsgType.BINARY and message.type is not WSMsgType.TEXT:
                    return
                was_opening = session.phase is Phase.OPENING
                session.receive_frame_untrusted(message.data, time.monotonic())
                self.touch()
                if was_opening and session.phase in (Phase.OPEN, Phase.CLAIMING):
                    self._door.left(handler)
                    self._unproven.pop(handler, None)
        except RemoteProtocolError as error:
            logger.info("closing a connection: %s", error)
        await self._see_off(websocket)

    async def _hold(self, session: RelaySession) -> None:
        """Read nothing more for now."""
        while session.is_congested and not session.is_closed:
            await self._relieved.wait()
        pause, session.read_at = session.read_at - time.monotonic(), 0.0
        if pause > 0:
            await anyio.sleep(pause)

    async def _see_off(self, websocket: web.WebSocketResponse) -> None:
        """What was said last is lost when a connection ends with something unread in it."""
        with anyio.move_on_after(CLOSE_SECONDS):
            while (await websocket.receive()).type in (WSMsgType.BINARY, WSMsgType.TEXT):
                pass

    def _ended(self, handler: web.RequestHandler, wire: ServerWire) -> None:
        session, now = wire.session, time.monotonic()
        proven = session.peer is not None
        session.receive_eof(now)
        wire.flush(now)
        self.desk.forget(session)
        self.touch()
        del self._wires[session]
        self._congested.pop(session, None)
        self._closing.pop(session, None)
        self._hosts[wire.host] -= 1
        if not self._hosts[wire.host]:
            del self._hosts[wire.host]
        if self._unproven.pop(handler, None) is not None and not proven:
            self._failed(wire.host)
        if not wire.transport.is_closing():
            wire.transport.close()

    # --- the end ----------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Write what is not written, say goodbye, and wait for neither for long."""
        self._is_leaving = True
        self.desk.office.leave()
        self.touch()
        with anyio.move_on_after(LEAVE_SECONDS):
            while self.desk.office.unwritten:
                await self._settled.wait()
        now = time.monotonic()
        for session in list(self._wires):
            session.close(ByeCode.LEAVING, now)
        self._settle()
        with anyio.move_on_after(CLOSE_SECONDS):
            while self._wires:
                await self._settled.wait()
        for wire in list(self._wires.values()):
            wire.transport.abort()
        if self._timer is not None:
            self._timer.cancel()


@asynccontextmanager
async def open_relay(
    listener_socket: socket.socket,
    credentials: Credentials,
    store: MailboxStore,
    options: RelayOptions,
    wall_clock: Callable[[], float],
) -> AsyncIterator[RelayListener]:
    """Serve on a bound socket until the context ends, which takes less than two seconds."""
    listener = RelayListener(credentials, store, options, wall_clock)
    runner = web.ServerRunner(listener, shutdown_timeout=CLOSE_SECONDS)
    await runner.setup()
    try:
        site = web.SockSite(runner, listener_socket, ssl_context=options.tls, backlog=BACKLOG)
        await site.start()
        yield listener
    finally:
        with anyio.CancelScope(shield=True):
            await site.stop()
            await listener.leave()
            await runner.cleanup()
