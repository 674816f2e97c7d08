"""Carries sealed envelopes over links, and reads the answers about them.

It knows keys, signatures and links; the queue knows none of them. It checks the recipient's signature before it
reports an answer: a relay that carries an envelope can claim anything about it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from mcp_a2a.errors.delivery import LinkError, NoRouteError
from mcp_a2a.node.delivery import patience
from mcp_a2a.node.delivery.answers import Answered, Word
from mcp_a2a.node.delivery.letters import piece_payload
from mcp_a2a.node.delivery.model import At, Fault, Outgoing, Route, Send, Way
from mcp_a2a.node.delivery.queue import DeliveryQueue
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.ports import Link
from mcp_a2a.protocol import heartbeat
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import Answer, Delivered, Held, Refused, Stored
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import seal
from mcp_a2a.protocol.paths import route_word
from mcp_a2a.protocol.receipt import (
    HELD_VERDICT,
    UNKNOWN_TASK,
    envelope_id_of,
    postmark_of,
    receipt_is_valid,
    verdict_is_valid,
)
from mcp_a2a.protocol.replay import stale_difference
from mcp_a2a.store.journal import OutboxRow
from mcp_a2a.system_limits import limit_behind

logger = logging.getLogger(__name__)

ENDED = -1
"""Number of the route of a link that has ended, and brings the last answers."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope, and the key it was sealed to."""

    postmark: bytes
    envelope: bytes
    bundle: KeyBundle


@dataclass(eq=False)
class SealedCourier:
    """The courier of agents with a key. Implements `Courier`; a destination is the did of an agent."""

    context: Context
    directory: Directory
    dialer: Dialer
    queue: DeliveryQueue
    rows: Mapping[str, OutboxRow]
    """The journal rows of the messages that wait, by id."""
    at: Callable[[], At]
    reported: Callable[[], None]
    """Called after a report that no link has caused."""
    limits: dict[str, str] = field(default_factory=dict)
    """By destination: the limit of the system, in words, that kept a file from going."""
    _ids: Iterator[int] = field(default_factory=itertools.count)
    _routes: dict[Link, Route] = field(default_factory=dict)
    _links: dict[int, Link] = field(default_factory=dict)
    _outdated: set[Link] = field(default_factory=set)
    """Links whose other end has a newer key than it has shown there."""
    _ahead: dict[str, tuple[int, Sealed]] = field(default_factory=dict)
    """By destination: a message that is being journalled, by its number, since two may be written under one id."""
    _sealed: dict[str, Sealed] = field(default_factory=dict)
    """Sealed for a link that was full or has ended: a relay knows an envelope by its id."""
    _postmarks: dict[str, bytes] = field(default_factory=dict)
    """By message: what its recipient must sign, of the envelope that went last."""
    _unknown: set[str] = field(default_factory=set)
    """Messages whose task a machine of the recipient did not know."""

    @property
    def patience(self) -> patience.Patience:
        """The numbers that the queue goes by."""
        return patience.SEALED

    # --- what the queue asks for -------------------------------------------------------------------

    def carry(self, send: Send) -> None:
        """Seal a message and put it on its link."""
        row, link, at = self.rows[send.id], self._links[send.route.id], self.at()
        sealed, bundle = self._taken(row), self._bundle_at(link)
        if send.anew or sealed is None or sealed.bundle is not bundle:
            try:
                sealed = self._seal(row, self.directory.get(link.peer), bundle)
            except OSError as error:
                self.queue.not_sent(send.id, self._fault_of(error, send.destination), at)
                return
        if sealed is None:
            self.queue.not_sent(send.id, Fault.KEY_NOT_VALID, at)
            return
        try:
            link.submit(sealed.envelope)
        except LinkError:
            self._sealed[send.id] = sealed
            self.queue.not_sent(send.id, Fault.ROUTE_FULL, at)
            return
        if link.is_relayed:
            self._sealed[send.id] = sealed
        self._postmarks[send.id] = sealed.postmark
        self.queue.sent(send.id, envelope_id_of(sealed.postmark), at)

    def dial(self, destination: str) -> None:
        """Begin to open a link."""
        self.context.tasks.start_soon(self._dial, destination)

    async def _dial(self, destination: str) -> None:
        try:
            await self.dialer.connect(self._peer(destination))
            # An open link was reported, and this changes nothing. It may have ended, or its agent is blocked by now.
            attempts = self.queue.attempts(destination)
        except NoRouteError as error:
            attempts = tuple(error.attempts)
        self.queue.unreachable(destination, attempts, self.at())
        self.reported()

    def probe(self, route: Route) -> None:
        """Have the other end of a link give a sign of life. Reports `route_closed` if there is none."""
        self._links[route.id].probe(heartbeat.PROBE_SECONDS)

    def check(self, destination: str, route: Route, tokens: tuple[bytes, ...]) -> None:
        """Ask a relay what became of the copies that it keeps. Reports `answered` for each."""
        try:
            self._links[route.id].check(tokens)
        except LinkError as error:
            logger.debug("could not ask %s about what it stores for %s: %s", route.address, destination, error)

    def _taken(self, row: OutboxRow) -> Sealed | None:
        """The envelope that was sealed for a message before, if any."""
        number, ahead = self._ahead.get(row.peer, (None, None))
        if number != row.n:
            return self._sealed.pop(row.id, None)
        del self._ahead[row.peer]
        return ahead

    # --- sealing -------------------------------------------------------------------------------------

    def seal_ahead(self, row: OutboxRow) -> None:
        """Seal a message while its journal entry is on its way to the disk."""
        peer = self.directory.known(PeerId.parse_untrusted(row.peer))
        link = peer.link if peer is not None else None
        if peer is None or link is None or link not in self._routes:
            return
        sealed = self._seal(row, peer, self._bundle_at(link))
        if sealed is not None:
            self._ahead[row.peer] = (row.n, sealed)

    def note_copy(self, row: OutboxRow, postmark: bytes) -> None:
        """A relay keeps an envelope of an earlier process."""
        self._postmarks[row.id] = postmark

    def postmark(self, message_id: str) -> bytes:
        """The postmark that the recipient of a message must sign, of the envelope that went last."""
        return self._postmarks[message_id]

    def drop_envelope(self, message_id: str) -> None:
        """Memory is not where files wait: a piece that a relay keeps is read again if it has to go again."""
        self._sealed.pop(message_id, None)

    def forget(self, message_id: str) -> None:
        """The message has left the queue."""
        self._sealed.pop(message_id, None)
        self._postmarks.pop(message_id, None)
        self._unknown.discard(message_id)

    def _seal(self, row: OutboxRow, peer: Peer, bundle: KeyBundle | None) -> Sealed | None:
        """None while no usable key of the peer is known.

        Raises:
            OSError: it is a piece of a file that is gone.
        """
        if bundle is None or not (bundle.usable(self.context.clocks.aged()) or _is_shown(bundle, peer)):
            return None
        payload = row.payload or piece_payload(self.context, row)
        envelope = seal(self.context.identity, payload, bundle, self.context.randomness(16), row.expires)
        return Sealed(postmark_of(self.context.me, row.id, envelope), envelope, bundle)

    def _bundle_at(self, link: Link) -> KeyBundle | None:
        """The key bundle to seal to.

        A direct link shows which key its other end has. That of a machine that was restored from a backup, or of one
        of two machines with one identity, may not be the newest that we know.
        """
        is_newest_needed = link.is_relayed or link in self._outdated
        return self.directory.get(link.peer).bundle if is_newest_needed else link.bundle

    def _fault_of(self, error: OSError, destination: str) -> Fault:
        limit = limit_behind(error)
        if limit is not None:  # the file is there, and cannot be opened now
            self.limits[destination] = limit.message
            return Fault.SYSTEM_LIMIT
        logger.error("a file that was to be sent to %s cannot be read: %s", self._peer(destination).name, error)
        return Fault.FILE_LOST

    # --- what links report -----------------------------------------------------------------------

    def link_opened(self, link: Link) -> None:
        """A route to a peer is there."""
        present = link.address in self.directory.get(link.peer).attends
        shown = f"{route_word(link.route)} {link.address}"
        route = Route(next(self._ids), link.address, _way_of(link), present=present, shown=shown)
        self._routes[link], self._links[route.id] = route, link
        self.queue.route_opened(str(link.peer), route, self.at())

    def link_closed(self, link: Link, reason: str) -> None:
        """Report the messages under way on the link, which may be lost with it."""
        at = self.at()  # it may show that the clock was set, and then messages are sent, also on this route
        route = self._routes.pop(link, None)
        self._outdated.discard(link)
        self._ahead.pop(str(link.peer), None)
        if route is not None:
            del self._links[route.id]
            self.queue.route_closed(str(link.peer), route.id, at, (f"{route.shown}: {reason}",))

    def attended(self, peer: Peer) -> None:
        """A relay has said whether this peer is connected to it."""
        for link in peer.links:
            route = self._routes.get(link)
            present = link.address in peer.attends
            if route is not None and route.is_relayed and route.present != present:
                self._routes[link] = changed = replace(route, present=present)
                self.queue.route_opened(str(peer.peer_id), changed, self.at())

    def answer_received(self, link: Link, answer: Answer, at: At) -> None:
        """Apply an answer about envelopes of ours, from a relay or from their recipient."""
        route = self._routes.get(link) or Route(ENDED, link.address, _way_of(link))
        match answer:
            case Delivered(postmarks, signature):
                self._delivered(route, postmarks, signature, at)
            case Held(token, signature):
                self._held(route, token, signature, at)
            case Refused():
                self._refused(link, route, answer, at)
            case Stored(token):
                self.queue.answered(token, Answered(Word.STORED), route, at)

    def _delivered(self, route: Route, postmarks: tuple[bytes, ...], signature: bytes, at: At) -> None:
        named = [(mark, some) for mark in postmarks if (some := self.queue.carried(envelope_id_of(mark))) is not None]
        if not named:
            return
        recipient = named[0][1].destination
        is_valid = receipt_is_valid(PeerId.parse_untrusted(recipient), postmarks, signature)
        for mark, some in named:
            if some.destination == recipient:  # its signature counts for envelopes to itself only
                signed = is_valid and self._postmarks.get(some.id) == mark
                self._answered(envelope_id_of(mark), Answered(Word.DELIVERED, signed), route, at)

    def _held(self, route: Route, token: bytes, signature: bytes, at: At) -> None:
        some = self.queue.carried(token)
        if some is not None:
            signed = self._has_signed(some, HELD_VERDICT, signature)
            self._answered(token, Answered(Word.HELD, signed), route, at)

    def _answered(self, token: bytes, answered: Answered, route: Route, at: At) -> None:
        if not answered.signed:
            logger.warning("%s brought an answer that the recipient did not sign for this message", route.address)
        self.queue.answered(token, answered, route, at)

    def _refused(self, link: Link, route: Route, answer: Refused, at: At) -> None:
        some = self.queue.carried(answer.envelope)
        if some is None:
            return
        signed, peer = self._has_signed(some, answer.code, answer.signature), self._peer(some.destination)
        answered = Answered.refused(answer.code, signed=signed, retry_after=answer.retry_after)
        if answer.code == "unknown_key" and answer.bundle is not None and answer.bundle.peer == peer.peer_id:
            if self.queue.may_answer(answer.envelope, route, signed=signed):
                peer.learn_bundle(answer.bundle)
                is_newer = link in self._routes and answer.bundle.supersedes(link.bundle)
                (self._outdated.add if is_newer else self._outdated.discard)(link)
            answered = Answered(Word.NEWER_KEY, signed)
        elif signed and answered.word is Word.STALE:
            self._hear_clock(some, answer.code)
        elif signed and answer.code == UNKNOWN_TASK and some.id not in self._unknown:
            self._unknown.add(some.id)
            logger.warning("%s does not know the task %s; its update is kept", peer.name, some.task)
        self.queue.answered(answer.envelope, answered, route, at)

    def _hear_clock(self, some: Outgoing, code: str) -> None:
        """The recipient names its clock relative to the date that it read."""
        _, difference = stale_difference(code)
        if difference is not None:
            date = some.created if difference > 0 else some.expires
            self.context.clocks.hear(PeerId.parse_untrusted(some.destination), date - difference)

    def _has_signed(self, some: Outgoing, verdict: str, signature: bytes | None) -> bool:
        postmark = self._postmarks.get(some.id)
        recipient = PeerId.parse_untrusted(some.destination)
        return postmark is not None and verdict_is_valid(recipient, postmark, verdict, signature)

    def _peer(self, destination: str) -> Peer:
        return self.directory.get(PeerId.parse_untrusted(destination))


def _way_of(link: Link) -> Way:
    return Way.RELAY if link.is_relayed else Way.DIRECT


def _is_shown(bundle: KeyBundle, peer: Peer) -> bool:
    """True if the peer shows this key on a link of its own right now: then it has it, whatever its dates say."""
    return any(link.bundle is bundle and not link.is_relayed for link in peer.links)
