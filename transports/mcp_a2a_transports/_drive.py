"""Runs a `LinkSession` over any ordered channel of frames, and is the `ports.Link` of every transport.

A frame is written where it is queued, in the caller's turn of the event loop, as long as the wire takes it. While the
wire is full, one task of the link waits for it, and frames queue up in the session behind that, in their order: the
MACs count them. Two more tasks read and watch the clock. What the session reports is handed to the `LinkHandler` in
wire order, from the reading task. Whatever goes wrong with a link ends that link and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint, current_token
from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError
from mcp_a2a.ports import Link
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import NONCE_SIZE, Answer, ByeCode, ListingFrame, News, Reply, Request
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.handshake import Side, Target
from mcp_a2a.protocol.heartbeat import PROBE_SECONDS
from mcp_a2a.protocol.link import LinkSession
from mcp_a2a.protocol.link_events import (
    Answered,
    BundleChanged,
    Closed,
    EnvelopeReceived,
    Event,
    Opened,
    PeerLeft,
    RelayHeard,
)
from mcp_a2a_transports._channel import Channel, finished

if TYPE_CHECKING:
    from mcp_a2a_transports._links import LinkOwner

logger = logging.getLogger(__name__)

SLICE = 4
"""Frames handled in one go."""

NO_PEER = "This link has no peer before its handshake is complete."

STALL_SECONDS = 30.0
"""Seconds that a peer may leave one frame unread."""

FLUSH_SECONDS, CLOSE_SECONDS = 0.5, 0.4
"""Together under the second in which every link is closed when its transport is."""


class DrivenLink(Link):
    """A link over a channel: run it, and it lives until `ended`."""

    # Asked for with every message: attributes, where `ports.Link` has properties.
    address = ""
    route = ""
    is_relayed = False

    def __init__(
        self, owner: LinkOwner, channel: Channel, side: Side, target: Target, address: str, route: str
    ) -> None:
        self._owner = owner
        self._channel = channel
        self.here = channel.here
        """Our own address on it, where it has one."""
        # anyio would ask four functions which loop it is, for every frame.
        self._now: Callable[[], float] = getattr(current_token().native_token, "time", anyio.current_time)
        ours = owner.credentials
        secret = ours.randomness(NONCE_SIZE)
        self._session = LinkSession(side, ours.identity, ours.bundle(), secret, self._now(), target)
        self.name = self._session.name
        """Its name at a relay."""
        self.address, self.route = address, route
        self._opened: Opened | None = None
        self._bundle: KeyBundle | None = None
        self._goodbye = False
        self.reason = ""
        """Why it ended; empty while it has not."""
        self._unsent: tuple[Awaitable[None], Sequence[str | bytes]] | None = None
        """While the wire is full: what to await, and the frames behind that which the session has given out."""
        self._full_since: float | None = None
        self._wake, self._tick, self._resume = anyio.Event(), anyio.Event(), anyio.Event()
        self._is_paused = False
        """True while the reader waits until the session wants frames again."""
        self._settled, self._ending, self._flushed = anyio.Event(), anyio.Event(), anyio.Event()
        self.relay_heard: Callable[[Reply | News], None] | None = None
        """Of a link to a relay: who hears its replies and news, in the order of the wire."""
        self.code: ByeCode | None = None
        """Why it ended, for programs, as far as a side has said it."""
        self.ended = anyio.Event()
        """Set when nothing of the link is left."""

    # --- ports.Link -------------------------------------------------------------------------------

    @property
    @override
    def peer(self) -> PeerId:
        if self._opened is None:
            raise LocalProtocolError(NO_PEER)
        return self._opened.peer

    @property
    @override
    def bundle(self) -> KeyBundle:
        if self._bundle is None:
            raise LocalProtocolError(NO_PEER)
        return self._bundle

    @property
    @override
    def rtt_seconds(self) -> float | None:
        return self._session.rtt_seconds

    @override
    def check(self, envelope_ids: Sequence[bytes]) -> None:
        return

    @override
    def submit(self, envelope: bytes) -> None:
        self._session.submit(envelope)
        self._flush()

    @override
    def probe(self, seconds: float = PROBE_SECONDS) -> None:
        self._session.probe(self._now(), seconds)
        self._flush()
        self._tick.set()

    def request(self, frame: Request | ListingFrame) -> None:
        """Queue a request to the relay at the other end.

        Raises:
            LinkError: the link is closed.
        """
        self._session.request(frame)
        self._flush()

    @override
    def answer(self, answer: Answer) -> None:
        self._session.answer(answer)
        self._flush()
        if self._is_paused and self._session.wants_frames:
            self._resume.set()

    @override
    def close(self, reason: str, code: ByeCode = ByeCode.CLOSED) -> None:
        self._session.close(code, self._now(), reason)
        self._flush()
        self._wake.set()
        self._ending.set()

    # --- for the transport ------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """True if the handshake is complete and neither side has said goodbye."""
        return self._opened is not None and self._session.is_open

    async def opened(self) -> None:
        """Wait for the handshake; given up, the link is closed.

        Raises:
            LinkError: there is no link, and why.
        """
        try:
            await self._settled.wait()
        finally:
            if self._opened is None:
                self.close("the attempt was given up")
        if self._opened is None:
            raise LinkError(self.reason)

    async def run(self) -> None:
        """Carry frames until the link ends; `close` ends it, in less than a second."""
        try:
            async with anyio.create_task_group() as tasks:
                # A cancelled node still says goodbye: its transport closes every link on the way.
                tasks.cancel_scope.shield = True
                self._flush()
                tasks.start_soon(self._write)
                tasks.start_soon(self._watch_clock)
                tasks.start_soon(self._read)
                await self._ending.wait()
                self._dispatch()
                with anyio.move_on_after(FLUSH_SECONDS):
                    await self._flushed.wait()
                tasks.cancel_scope.cancel()
        finally:
            self._session.receive_eof(self._now())
            self._dispatch()
            if self._unsent is not None and isinstance(self._unsent[0], Coroutine):
                self._unsent[0].close()
            try:
                with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                    await self._channel.aclose()
            finally:
                self.ended.set()

    # --- the three tasks --------------------------------------------------------------------------

    async def _read(self) -> None:
        in_a_row = 0
        while not self._session.is_closed:
            if in_a_row == SLICE:
                # What is there already is received without waiting; the other tasks must get their turn as well.
                await checkpoint()
                in_a_row = 0
            if not self._session.wants_frames:
                self._is_paused = True
                await self._resume.wait()
                self._resume, self._is_paused = anyio.Event(), False
                continue
            try:
                receiving, in_a_row = self._channel.receive(), in_a_row + 1
                try:
                    awaited = receiving.send(None)
                except StopIteration as received:
                    frame: str | bytes = received.value
                else:
                    frame, in_a_row = await finished(receiving, awaited), 1
                self._session.receive_frame_untrusted(frame, self._now())
            except RemoteProtocolError as error:
                self._session.close(ByeCode.PROTOCOL, self._now(), f"it broke the protocol: {error}")
                logger.warning("closing the link with %s: %s", self.address, error)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._session.receive_eof(self._now())
            self._settle()

    async def _write(self) -> None:
        while not self._session.is_closed or self._session.has_frames or self._unsent is not None:
            if self._unsent is None:
                await self._wake.wait()
                self._wake = anyio.Event()
                continue
            full, frames = self._unsent
            # A peer that closed may have sent something before; the reader gets to the end of it, and
            # only the end of what comes in is the end of the link.
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await full
            self._unsent = self._full_since = None
            self._flush(frames)
            self._flush()
            self._resume.set()
        self._flushed.set()

    def _flush(self, frames: Sequence[str | bytes] = ()) -> None:
        """Write these frames, or what the session has queued, until the wire is full."""
        if self._unsent is not None:
            return
        frames = frames or self._session.frames_to_send()
        for sent, frame in enumerate(frames, 1):
            full = self._offer(frame)
            if full is not None:
                self._unsent, self._full_since = (full, frames[sent:]), self._now()
                self._wake.set()
                return

    def _offer(self, frame: str | bytes) -> Awaitable[None] | None:
        try:
            return self._channel.offer(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return None  # as above
        except Exception as error:  # noqa: BLE001  the writing task raises it: it ends this link, not what the caller does
            return _failed(error)

    async def _watch_clock(self) -> None:
        while not self._session.is_closed:
            now = self._now()
            self._session.announce(self._owner.credentials.bundle())
            self._session.handle_timeout(now)
            if now >= self._stalled_at:
                self._session.close(ByeCode.SLOW, now, f"the peer has read nothing for {STALL_SECONDS:.0f} s")
            self._settle()
            if not self._session.is_closed:
                self._tick = anyio.Event()
                with anyio.move_on_after(max(0.0, min(self._session.next_timeout(), self._stalled_at) - now)):
                    await self._tick.wait()

    @property
    def _stalled_at(self) -> float:
        return float("inf") if self._full_since is None else self._full_since + STALL_SECONDS

    # --- events -----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Pass on what the session has to say, to the handler and to the other tasks."""
        self._dispatch()
        self._flush()
        if self._session.is_closed:
            self._wake.set()
            self._ending.set()

    def _dispatch(self) -> None:
        while events := self._session.events_received():
            for event in events:
                try:
                    self._hand_over(event)
                except Exception:
                    # A bug of ours must not take the other links along.
                    logger.exception("the handler of the link with %s failed", self.address)
                    self._session.close(ByeCode.CLOSED, self._now(), "our own handler failed")

    def _hand_over(self, event: Event) -> None:
        handler = self._owner.handler
        match event:
            case EnvelopeReceived(envelope):
                handler.envelope_received(self, envelope)
            case Answered(answer):
                handler.answer_received(self, answer)
            case Opened():
                self._open(event)
            case BundleChanged(bundle):
                self._bundle = bundle
            case RelayHeard(frame):
                if self.relay_heard is not None:
                    self.relay_heard(frame)
            case PeerLeft():
                self._goodbye = True
            case Closed():
                self._close(event)

    def _close(self, event: Closed) -> None:
        self.reason, self.code = event.reason, event.code
        if event.code is ByeCode.VERSION:
            logger.warning("no link with %s: %s", self.address, event.reason)
        self._settled.set()
        if self._opened is not None:
            self._owner.handler.link_closed(self, event.reason, goodbye=self._goodbye)

    def _open(self, event: Opened) -> None:
        if not self._owner.admit(self, event.peer):
            self._session.close(ByeCode.BUSY, self._now(), "there are too many links already")
            return
        self._opened, self._bundle = event, event.bundle
        self._settled.set()
        self._owner.handler.link_opened(self)


async def _failed(error: Exception) -> None:
    raise error
