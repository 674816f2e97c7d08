"""The loop of a relay: writes frames to sockets and orders to the disk, and acts at the next deadline.

Two callbacks of the event loop. `_settle` runs once per round in which anything happened, however much that was, so
that frames and commits go out in batches; `_turn` runs at the next time that anything is due.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol, cast

import anyio
import anyio.lowlevel

from mcp_a2a.protocol.control import ByeCode
from mcp_a2a.protocol.relay_session import RelaySession
from mcp_a2a_transports.relay.server_wire import ServerWire
from mcp_a2a_transports.relay.service import RelayService

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
RELIEF_SECONDS = 0.02
"""Seconds between looks at a connection that reads slowly."""
SWEEP_TICKS = 5
FORGET_TICKS = 600
CLOSE_SECONDS = 0.5
LEAVE_SECONDS = 1.0


class _Handle(Protocol):
    def cancel(self) -> None: ...


class _Loop(Protocol):
    """The part of asyncio's event loop that is needed here."""

    def call_soon(self, callback: Callable[[], None]) -> object: ...
    def call_later(self, delay: float, callback: Callable[[], None]) -> _Handle: ...


class RelayLoop:
    """Drives a relay's service and the wires of its sessions.

    `ticked` is called every `TICK_SECONDS`, `swept` once in `SWEEP_TICKS` of them.
    """

    def __init__(self, service: RelayService) -> None:
        self._loop = cast("_Loop", anyio.lowlevel.current_token().native_token)
        self.service = service
        self.wires: dict[RelaySession, ServerWire] = {}
        self.ticked: Callable[[float], None] = lambda now: None
        self.swept: Callable[[float], None] = lambda now: None
        self._dirty: list[RelaySession] = []
        self._congested: dict[RelaySession, ServerWire] = {}
        self._closing: dict[RelaySession, ServerWire] = {}
        self._relieved = anyio.Event()
        self._settled = anyio.Event()
        self._is_leaving = self._settles = False
        self._timer: _Handle | None = None
        self._turn_at = float("inf")
        self._ticks = 0
        self._ticked_at = time.monotonic()
        self._schedule()

    def add(self, wire: ServerWire) -> None:
        """Drive a new session."""
        self.wires[wire.session] = wire
        if wire.session.has_frames:
            self.has_output(wire.session)  # its first words came before its wire

    def remove(self, wire: ServerWire) -> None:
        """Forget a connection that has ended."""
        session, now = wire.session, time.monotonic()
        session.receive_eof(now)
        wire.flush(now)
        for known in (self.wires, self._congested, self._closing):
            known.pop(session, None)
        self.touch()

    def touch(self) -> None:
        """Something happened that may have to be written."""
        if not self._settles:
            self._settles = True
            self._loop.call_soon(self._settle)

    async def relieved(self) -> None:
        """Wait until some connection was read by the other side."""
        await self._relieved.wait()

    async def leave(self) -> None:
        """Write what is not written, say goodbye, and wait for neither for long."""
        self._is_leaving = True
        self.service.mail.leave()
        self.touch()
        with anyio.move_on_after(LEAVE_SECONDS):
            while self.service.mail.unwritten:
                await self._settled.wait()
        now = time.monotonic()
        for session in list(self.wires):
            session.close(ByeCode.LEAVING, now)
        self._settle()
        with anyio.move_on_after(CLOSE_SECONDS):
            while self.wires:
                await self._settled.wait()
        for wire in list(self.wires.values()):
            wire.transport.abort()
        if self._timer is not None:
            self._timer.cancel()

    # --- once per round ---------------------------------------------------------------------------

    def has_output(self, session: RelaySession) -> None:
        """A session has something to send."""
        self._dirty.append(session)
        self.touch()

    def _settle(self) -> None:
        self._settles = False
        try:
            self._write()
        except Exception:
            logger.exception("a round of the relay failed")  # the next one must come
        if self._is_leaving:
            self._settled.set()
            self._settled = anyio.Event()
        self._schedule()

    def _write(self) -> None:
        self.service.settle()
        now = time.monotonic()
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for session in dirty:
                wire = self.wires.get(session)
                if wire is not None:
                    wire.flush(now)
                    if session.is_congested or session.is_closed:
                        self._watch(session, wire, now)
        if self.service.directory.sync():
            self.touch()

    def _watch(self, session: RelaySession, wire: ServerWire, now: float) -> None:
        """Look after one that reads slowly, or ends."""
        if session.is_congested:
            self._congested[session] = wire
        if session.is_closed:
            self._closing[session] = wire
            wire.close_at = now + CLOSE_SECONDS

    # --- when it is time --------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Have `_turn` called when the next time comes."""
        due = min(self.service.next_timeout(), self._ticked_at + TICK_SECONDS)
        if self._congested:
            due = min(due, time.monotonic() + RELIEF_SECONDS)
        if self._timer is not None:
            if self._turn_at <= due:
                return
            self._timer.cancel()
        self._turn_at = due
        self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = time.monotonic()
        try:
            self.service.handle_timeout(now)
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
        self.service.tick(now)
        for session in list(self.wires):
            session.handle_timeout(now)
        for session, wire in list(self._closing.items()):
            if wire.close_at is not None and now >= wire.close_at:
                wire.transport.abort()
                del self._closing[session]
        self.ticked(now)
        if self._ticks % SWEEP_TICKS == 1:
            self.service.sweep(now)
            self.swept(now)
        elif self.service.has_more_to_sweep:
            self.service.sweep_mail()
        if self._ticks % FORGET_TICKS == 0:
            self.service.forget_unused()
