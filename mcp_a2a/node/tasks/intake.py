"""Received envelopes: opened, checked, and applied once; acknowledged only after the commit.

| type | accepted from |
|---|---|
| task | each peer that `TrustBook.admits`; of a stranger it is held until a person decides |
| message, cancel | the sender of the task |
| blob | each peer that may send a task; and one that has a task from here, or had one taken |
| update | the agent the task was sent to |
| advert | every peer: adverts make peers known |
| network | the owner of the network: it is its new secret |
| ask | every peer, about tasks of its own |

A message that names files is applied when they are all here, and are what it says (`pieces`).
A message that is not for this table is acknowledged and dropped: sending it again would change nothing.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.protocol import RemoteProtocolError, StaleError, UnknownKeyError
from mcp_a2a.node.delivery.inquiry import Memory
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.files.pieces import NOT_ADMITTED, Pieces
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.refusal import Refusal
from mcp_a2a.node.tasks.contact_requests import ContactRequests
from mcp_a2a.node.tasks.inbox import Inbox, Order
from mcp_a2a.node.tasks.quota import TaskQuota
from mcp_a2a.node.tasks.receipts import BUSY_RETRY_SECONDS, Receipts
from mcp_a2a.node.tasks.receive import (
    Applied,
    Receiver,
    check_repeated,
    check_task_untrusted,
)
from mcp_a2a.ports import Link
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.blob import BlobRef, refs_untrusted
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import Refused
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope
from mcp_a2a.protocol.payload import (
    AdvertBody,
    AskBody,
    BlobBody,
    MessageBody,
    NetworkBody,
    Payload,
    TaskBody,
    UpdateBody,
)
from mcp_a2a.protocol.receipt import (
    postmark_of,
)
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS, check_freshness, stale_code
from mcp_a2a.protocol.strict_json import base64url_untrusted
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.journal import (
    OutboxRow,
)

logger = logging.getLogger(__name__)


class Intake:
    """Takes envelopes from links, and answers each exactly once."""

    def __init__(
        self,
        context: Context,
        directory: Directory,
        trust: TrustBook,
        ring: KeyRing,
        queues: tuple[Inbox, Outbox],
        quota: TaskQuota,
    ) -> None:
        inbox, outbox = queues
        self._context = context
        self._directory = directory
        self._trust = trust
        self._ring = ring
        self._inbox = inbox
        self._outbox = outbox
        self._pieces = Pieces(context)
        self._memory = Memory(context, outbox)
        self._receiver = Receiver(context, directory, queues)
        self._quota = quota
        self._receipts = Receipts(context)
        self.contacts = ContactRequests(context, self._pieces, self._receiver, self._receipts)
        self.on_run: Callable[[Link, str, Sequence[str]], None] = lambda *_: None
        self.on_task: Callable[[Task], None] = lambda _: None
        """Called with every new task, once it is stored."""
        self.on_files_gone: Callable[[Link, str], None] = lambda *_: None
        """Called with a task of which an update comes again and again without its files."""
        self.on_blocked: Callable[[Peer], None] = lambda _: None
        """Called with which run of its node has introduced itself, and which of ours it has met."""
        self.on_vouchers: Callable[[Advert, Sequence[bytes], float], None] = lambda *_: None
        """Called with the advert and vouchers of a peer that introduces itself, and how long they are good for."""
        self.on_network: Callable[[PeerId, NetworkBody, Callable[[object], None]], None] = lambda *_: None
        """Called with the new secret of a network, and what to call with the outcome when it is stored."""

    def envelope_received(self, link: Link, envelope: Envelope) -> None:
        """Open an envelope and start what it asks for. The remote side learns no more than it must."""
        envelope_id = envelope.header.envelope_id
        try:
            payload = envelope.open_untrusted(self._ring, self._context.me).payload
        except UnknownKeyError:
            link.answer(Refused(envelope_id, "unknown_key", bundle=self._ring.current))
        except RemoteProtocolError as error:
            # Whose it is, is not known, so nothing can be signed that its sender would have to believe.
            logger.warning("refused an envelope from %s: %s", link.peer, error)
            link.answer(Refused(envelope_id, "rejected"))
        else:
            self._receive_opened(link, postmark_of(payload.from_, payload.id, envelope.data), payload)

    def _receive_opened(self, link: Link, postmark: bytes, payload: Payload) -> None:
        try:
            self._check_time(link, payload)
            self._receive(link, postmark, payload)
        except StaleError as error:
            logger.warning("refused a message from %s: %s", link.peer, error)
            self._receipts.refuse(link, postmark, Refusal(stale_code(error.difference)))
        except RemoteProtocolError as error:
            logger.warning("refused a message from %s: %s", link.peer, error)
            self._receipts.refuse(link, postmark, Refusal("rejected"))
        except Refusal as refusal:
            self._receipts.refuse(link, postmark, refusal)
        except Exception:
            # A bug of ours. The link goes on: through a relay, the same message would end every link that is to come.
            logger.exception("a message from %s could not be taken", link.peer)
            self._receipts.refuse(link, postmark, Refusal("busy", BUSY_RETRY_SECONDS))

    def _check_time(self, link: Link, payload: Payload) -> None:
        """Refuse what is too old or from the future, for now; and note what that says about clocks.

        Who introduces itself over its own link is there now, whatever its clock says.
        """
        clocks, is_advert = self._context.clocks, payload.type == "advert"
        if is_advert and link.peer == payload.from_ and not link.is_relayed:
            known = self._directory.known(payload.from_)
            trust = self._trust.of(known) if known is not None else "stranger"
            counts = trust in ("trusted", "member") and link.route != "local"
            clocks.hear(payload.from_, payload.created, counts=counts)
            return
        now, judging = clocks.judging()
        try:
            # An advert is short-lived and replayed in vain, so it need not wait until a clock set back has caught up.
            check_freshness(payload.created, payload.expires, now, now if is_advert else judging)
        except StaleError:
            if payload.created > now:
                clocks.hear(payload.from_, payload.created)
            clocks.refuse(payload.from_)
            raise

    def _receive(self, link: Link, postmark: bytes, payload: Payload) -> None:
        sender = self._directory.get(payload.from_)
        if sender.row.trust == "blocked":
            self.on_blocked(sender)
            raise Refusal("blocked")
        refs = refs_untrusted(payload)
        if refs and (payload.type != "task" or self._trust.admits(sender)):
            self._context.tasks.start_soon(self._await_files, link, postmark, payload, refs)
        else:
            self._dispatch(link, postmark, payload, sender)

    def _dispatch(self, link: Link, postmark: bytes, payload: Payload, sender: Peer) -> None:
        match payload.body:
            case AdvertBody() as body:
                self._introduce(link, payload, body)
                self._receipts.add(link, payload.from_, postmark)
                self._receipts.sign()
            case TaskBody():
                self._receive_task(link, postmark, payload, sender)
            case MessageBody(message=message):
                self._apply_within_limits(
                    link, postmark, payload, sender, lambda c, now: self._receiver.reply(c, payload, message, now)
                )
            case UpdateBody():
                self._apply(link, postmark, payload, lambda c, now: self._receiver.update(c, payload, now))
            case BlobBody():
                self._receive_piece(link, postmark, payload, sender)
            case NetworkBody() as body:
                self._renew(link, postmark, payload, body)
            case AskBody() as body:
                self._memory.asked(sender, body)
                self._receipts.conclude(link, postmark, payload.from_, None)
                self._receipts.sign()
            case _:
                admitted = self._trust.admits(sender)
                cancel = partial(self._receiver.cancel, admitted=admitted)
                self._apply_within_limits(link, postmark, payload, sender, lambda c, now: cancel(c, payload, now))

    def _introduce(self, link: Link, payload: Payload, body: AdvertBody) -> None:
        advert = Advert.parse_untrusted(body.advert)
        if advert.peer != payload.from_:
            raise RemoteProtocolError("the advert is of another peer than its sender")
        peer = self._directory.advert_received(advert)
        if peer is not None:
            self._directory.remember(self._context.database, peer)
        if link.peer == advert.peer:
            self.on_run(link, body.run, body.met)
        self._outbox.offer_held(advert.peer)
        good_until = self._context.clocks.stamp() + MAX_LIFETIME_SECONDS  # by our clock: its own may be wrong
        self.on_vouchers(advert, [base64url_untrusted(text) for text in body.vouchers], good_until)

    def _renew(self, link: Link, postmark: bytes, payload: Payload, body: NetworkBody) -> None:
        """A new secret for a network: who takes it says when it is on the disk."""

        def done(outcome: object) -> None:
            self._receipts.conclude(link, postmark, payload.from_, outcome)
            self._receipts.sign()

        self.on_network(payload.from_, body, done)

    # --- files -----------------------------------------------------------------------------------

    def _receive_piece(self, link: Link, postmark: bytes, payload: Payload, sender: Peer) -> None:
        admitted, now = self._trust.admits(sender), self._context.clock()

        def done(outcome: Exception | None) -> None:
            match outcome:
                case Refusal(code) if code == NOT_ADMITTED:
                    self._receipts.hold_back(link, postmark)
                case RemoteProtocolError():
                    logger.warning("refused a piece of a file from %s: %s", link.peer, outcome)
                    self._receipts.refuse(link, postmark, Refusal("rejected"))
                case _:
                    self._receipts.conclude(link, postmark, payload.from_, outcome)

        self._context.database.enqueue(lambda c: self._pieces.take(c, payload, now, admitted=admitted), done)

    async def _await_files(self, link: Link, postmark: bytes, payload: Payload, refs: Sequence[BlobRef]) -> None:
        """Apply a message when its files are here; until then it comes again."""
        try:
            payload = await self._pieces.awaited(payload, refs)
            self._dispatch(link, postmark, payload, self._directory.get(payload.from_))
        except Refusal as refusal:
            self._receipts.refuse(link, postmark, refusal)
            if link.peer == payload.from_ and self._pieces.are_gone(payload):
                self.on_files_gone(link, payload.task)
        except RemoteProtocolError as error:
            logger.warning("refused a message with files from %s: %s", link.peer, error)
            self._receipts.refuse(link, postmark, Refusal("rejected"))
        except (McpA2AError, OSError) as error:
            self._receipts.conclude(link, postmark, payload.from_, error)

    # --- tasks -----------------------------------------------------------------------------------

    def _receive_task(self, link: Link, postmark: bytes, payload: Payload, sender: Peer) -> None:
        check_task_untrusted(payload)
        if not self._trust.admits(sender):
            self.contacts.hold(link, postmark, payload, sender)
            return
        trust, uptime = self._trust.of(sender), self._context.clocks.uptime()
        wait = self._quota.take(sender.peer_id, trust, uptime)
        if wait:
            raise Refusal("busy", round(wait + 0.05, 1))
        order = self._inbox.reserve()

        def done(outcome: Change | OutboxRow | Exception | None) -> None:
            fresh = outcome.task if isinstance(outcome, Change) else None
            if isinstance(outcome, OutboxRow):
                self._memory.push(outcome)
            if fresh is None:
                self._quota.give_back(sender.peer_id, trust, uptime)
            self._taken(order, fresh)
            self._receipts.conclude(link, postmark, payload.from_, outcome)

        now, under_way = self._context.clock(), payload.task in self._outbox.updating(payload.from_)
        is_telling = self._memory.is_telling(payload.task)

        def admit(connection: sqlite3.Connection) -> Change | OutboxRow | None:
            change = self._receiver.admit(connection, payload, sender.name, order, now)
            if change is not None:
                return change
            # It was accepted before: its sender may have forgotten how it stands, and what was streamed.
            known = check_repeated(connection, payload)
            is_enough = is_telling or (under_way and not (known is not None and known.streamed))
            return None if is_enough else self._memory.tell_again(connection, payload.task, now)

        self._context.database.enqueue(admit, done)

    def _taken(self, order: Order | None, fresh: Task | None) -> None:
        """Hand a new task on, or the place back that was reserved for one."""
        if order is not None:
            self._inbox.filled(order, fresh)
        elif fresh is not None:
            self._inbox.offer()
        if fresh is not None:
            self.on_task(fresh)

    # --- messages about a task -------------------------------------------------------------------

    def _apply_within_limits(
        self,
        link: Link,
        postmark: bytes,
        payload: Payload,
        sender: Peer,
        change: Callable[[sqlite3.Connection, float], Applied | None],
    ) -> None:
        """The same for what a sender may make up any number of: it counts like a new task, unless it ends one."""
        trust, uptime = self._trust.of(sender), self._context.clocks.uptime()
        wait = self._quota.take(sender.peer_id, trust, uptime)
        if wait:
            raise Refusal("busy", round(wait + 0.05, 1))

        def settled(outcome: Applied | Exception | None) -> None:
            ended = isinstance(outcome, Applied) and outcome.change.before is not None
            if ended == (payload.type == "cancel"):
                self._quota.give_back(sender.peer_id, trust, uptime)

        self._apply(link, postmark, payload, change, settled)

    def _apply(
        self,
        link: Link,
        postmark: bytes,
        payload: Payload,
        change: Callable[[sqlite3.Connection, float], Applied | None],
        settled: Callable[[Applied | Exception | None], None] = lambda _: None,
    ) -> None:
        """Apply a message about a task, and what follows after the commit. A change refuses what it applied before."""
        now = self._context.clock()

        def done(outcome: Applied | Exception | None) -> None:
            settled(outcome)
            if isinstance(outcome, Applied):
                outcome.then()
                self._context.task_changes.notify(payload.task, outcome.change.task)
            self._receipts.conclude(link, postmark, payload.from_, outcome)

        self._context.database.enqueue(lambda connection: change(connection, now), done)
