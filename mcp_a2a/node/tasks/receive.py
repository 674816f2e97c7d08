"""The change of a task by a received message, within one transaction.

Each method returns the change, or None where the message changes nothing: it was applied before, or is not for this
task. Then it is acknowledged all the same, because sending it again would change nothing. A `Refusal` stores nothing.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.errors.tasks import ConversationFullError, KeyReusedError
from mcp_a2a.node.delivery.letters import cancel_letter, post_update
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.refusal import Refusal
from mcp_a2a.node.tasks.inbox import Inbox, Order
from mcp_a2a.node.tasks.receipts import BUSY_RETRY_SECONDS
from mcp_a2a.node.tasks.repeated import check_message
from mcp_a2a.protocol.model import Delivery, Message, Part, Role
from mcp_a2a.protocol.payload import (
    LAST_SEQ,
    MAX_HOP,
    CancelBody,
    Payload,
    TaskBody,
    UpdateBody,
)
from mcp_a2a.protocol.replay import MAX_REDATED_SECONDS, Forgotten
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task, task_id_of
from mcp_a2a.protocol.task.updates import facts_of
from mcp_a2a.store.journal import (
    OutboxRow,
    drop_held,
    drop_outbox_of_task,
    get_meta,
    put_outbox,
)
from mcp_a2a.store.records import count_open, count_open_and_read, find_task, has_task, save

logger = logging.getLogger(__name__)

MAX_OPEN_PER_PEER = 2_000
MAX_OPEN = 10_000
"""Unfinished tasks of one peer and of all."""

FORGOTTEN = "forgotten"
"""A fact of the database: the dates of messages that are no longer remembered (`replay.Forgotten`)."""

WITHDRAWN = "(withdrawn by its sender before it arrived)"

GAP_RETRY_SECONDS = 0.2
"""Seconds after which a chunk of an artifact that overtook another is asked for again."""


@dataclass(frozen=True)
class Applied:
    """A change that a message made, and what is to be done once it is on the disk."""

    change: Change
    then: Callable[[], None]


class Receiver:
    """Applies messages to the tasks that they are about."""

    def __init__(self, context: Context, directory: Directory, queues: tuple[Inbox, Outbox]) -> None:
        self._context = context
        self._directory = directory
        self._inbox, self._outbox = queues

    def admit(
        self, connection: sqlite3.Connection, payload: Payload, name: str, order: Order | None, now: float
    ) -> Change | None:
        """Open a task that its sender may send, unless too many are open."""
        leased = (self._inbox.lease(order, now),) if order is not None else ()
        change = self.accept(connection, payload, name, now, *leased)
        if change is None:
            return None
        theirs, all_open, forgotten = count_open_and_read(connection, change.task.peer, FORGOTTEN)
        if forgotten is not None and _forgotten(forgotten).covers(payload.created):
            raise Refusal("stale")
        if _are_too_many(theirs, all_open):
            raise Refusal("busy", BUSY_RETRY_SECONDS)
        return change

    def accept(
        self, connection: sqlite3.Connection, payload: Payload, name: str, now: float, *events: Event
    ) -> Change | None:
        """Store a task, and what happens to it at once; None if it was accepted before."""
        if not isinstance(payload.body, TaskBody):
            raise TypeError(payload.type)
        change = Change.opening(_opening(payload, payload.body, name), *events, now=now)
        return change if save(connection, change) else None

    def reply(self, connection: sqlite3.Connection, payload: Payload, message: Message, now: float) -> Applied | None:
        """Add what the sender of a task says further."""
        task = find_task(connection, payload.task)
        if task is None or task.sent or task.peer != str(payload.from_) or task.done or task.has_heard(message):
            return None
        reply = e.Replied(message.model_copy(update={"role": Role.USER}), seq=payload.seq)
        try:
            change = Change.of(task, reply, now=now)
        except ConversationFullError as error:
            raise Refusal(error.code) from error
        save(connection, change)
        return Applied(change, self._inbox.offer)

    def cancel(self, connection: sqlite3.Connection, payload: Payload, now: float, *, admitted: bool) -> Applied | None:
        """End a task that its sender withdrew; one that has not come is ended before it comes."""
        drop_held(connection, str(payload.from_), payload.task)
        task = find_task(connection, payload.task)
        if task is None and admitted and _is_of_its_sender(payload):
            change = self._cancel_ahead(payload, now)
        elif task is None or task.sent or task.peer != str(payload.from_) or task.done:
            return None
        else:
            change = Change.of(task, e.Canceled(), e.Spoken(), now=now)
        save(connection, change)
        row = post_update(self._context, connection, change)
        return Applied(change, lambda: self._canceled(change.before, row))

    def _cancel_ahead(self, payload: Payload, now: float) -> Change:
        """The task itself is still on its way, by a slower path: it is over before it comes.

        Or it was here, and the database was lost: its sender, who may know any update of it, has no other way to end
        it.
        """
        peer = self._directory.get(payload.from_)
        opening = TaskBody(message=Message(message_id=payload.id, role=Role.USER, parts=(Part(text=WITHDRAWN),)))
        opened = _opening(payload, opening, peer.name, seq_out=LAST_SEQ - 1)
        return Change.opening(opened, e.Canceled(), e.Spoken(), now=now)

    def _canceled(self, leased: Task | None, row: OutboxRow | None) -> None:
        if leased is not None:
            self._inbox.withdraw(leased)
        if row is not None:
            self._outbox.push(row)

    def update(self, connection: sqlite3.Connection, payload: Payload, now: float) -> Applied | None:
        """Apply what the agent of a task says of it."""
        task = find_task(connection, payload.task)
        if task is None:
            # Another one with our key may have asked for it (a copied machine), or we before our journal went back in
            # time: the agent keeps it until that one is there, or it expires.
            logger.warning("an update of %s is about a task that is not known here", payload.from_)
            raise Refusal("unknown_task")
        if not task.sent or task.peer != str(payload.from_):
            logger.warning("ignored an update about a task that was not sent to %s", payload.from_)
            return None
        facts = facts_of(task, payload.seq, payload.body) if isinstance(payload.body, UpdateBody) else ()
        if facts is None:
            raise Refusal("busy", GAP_RETRY_SECONDS)
        if not facts:
            return None
        if isinstance(facts[0], e.Failed):
            return self._overflow(connection, Change.of(task, *facts, e.Spoken(), now=now))
        change = Change.of(task, *facts, now=now)
        save(connection, change)
        # The agent's word about the task is as good as its receipt for it.
        has_arrived = any(isinstance(fact, e.Delivered) for fact in facts)
        dropped = drop_outbox_of_task(connection, task.id, "task") if has_arrived else []
        return Applied(change, lambda: self._outbox.drop(dropped))

    def _overflow(self, connection: sqlite3.Connection, change: Change) -> Applied:
        """The agent sends more than is kept: the task fails here with what there was, and is withdrawn there."""
        dropped = drop_outbox_of_task(connection, change.task.id, "task", "message", "blob")
        letter = cancel_letter(self._context, change)
        save(connection, change)
        put_outbox(connection, letter)

        def then() -> None:
            self._outbox.drop(dropped)
            self._outbox.push(letter)

        return Applied(change, then)


def _opening(payload: Payload, body: TaskBody, name: str, seq_out: int = 0) -> e.Opened:
    message = body.message
    if message.role != Role.USER:
        message = message.model_copy(update={"role": Role.USER})
    return e.Opened(
        id=payload.task, direction="received", peer=str(payload.from_), peer_name=name, skill=body.skill,
        context_id=message.context_id or f"ctx-{payload.id}", hop=payload.hop + 1, delivery=Delivery.DELIVERED,
        seq_out=seq_out, seq_in=payload.seq, message=message, opening=payload.id, opened=payload.created,
        dated=max(payload.created, payload.latest or 0.0),
    )  # fmt: skip


def _is_of_its_sender(payload: Payload) -> bool:
    """True if a withdrawal is of a task of its sender: others may know the id of a task that has not come."""
    opening = payload.body.opening if isinstance(payload.body, CancelBody) else None
    return opening is not None and payload.task == task_id_of(payload.from_, opening)


def check_task_untrusted(payload: Payload) -> None:
    """Refuse a task that went through too many hands, or whose dates or id are not those of its message."""
    if payload.hop >= MAX_HOP:
        raise Refusal("hop_limit")
    if (payload.latest or 0.0) > payload.created + MAX_REDATED_SECONDS:
        raise RemoteProtocolError("the task was dated back by too much")
    if payload.task != task_id_of(payload.from_, payload.id):
        raise RemoteProtocolError("the task id is not the one of its first message")


def check_repeated(connection: sqlite3.Connection, payload: Payload) -> Task | None:
    """Refuse another request under the id of a task: it is not stored, so it must not be acknowledged.

    Returns the task.

    Its sender used a key twice and has forgotten the first time, as with a data folder from a backup.
    """
    known = find_task(connection, payload.task)
    if known is None or not isinstance(payload.body, TaskBody) or known.messages[0].text == WITHDRAWN:
        return known
    try:
        check_message(known, payload.body.message, payload.body.skill)
    except KeyReusedError:
        raise Refusal("key_reused") from None
    return known


def may_be_forgotten(connection: sqlite3.Connection, payload: Payload) -> bool:
    """True if this message may have been here, and its task is no longer remembered."""
    kept = get_meta(connection, FORGOTTEN)
    return kept is not None and _forgotten(kept).covers(payload.created) and not has_task(connection, payload.task)


_forgotten = lru_cache(maxsize=1)(Forgotten.load)


def too_many_open(connection: sqlite3.Connection, peer: str, more: int = 0) -> bool:
    """True if more is unfinished here than we take, or would be with so many more: of this peer, or of all."""
    theirs, all_open = count_open(connection, peer)
    return _are_too_many(theirs + more, all_open + more)


def _are_too_many(theirs: int, all_open: int) -> bool:
    return theirs > MAX_OPEN_PER_PEER or all_open > MAX_OPEN
