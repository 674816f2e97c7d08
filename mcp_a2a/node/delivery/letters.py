"""The messages a node writes: each a payload with its journal row, ready for the transaction that causes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from mcp_a2a.errors.delivery import TooLargeError, UnsendableError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.blob import SCHEME, piece_id, piece_of, refs_untrusted
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Message
from mcp_a2a.protocol.payload import (
    MAX_PAYLOAD,
    AskBody,
    BlobBody,
    CancelBody,
    MessageBody,
    NetworkBody,
    Payload,
    TaskBody,
    UpdateBody,
)
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS, MAX_REDATED_SECONDS
from mcp_a2a.protocol.strict_json import to_base64url
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.updates import update_of
from mcp_a2a.store.journal import OutboxRow, put_outbox
from mcp_a2a.store.spool import read_piece

_Kind = Literal["task", "message", "cancel", "update"]

NAMES_FILE = f'"{SCHEME}'.encode()
"""Is in every payload that names a file, and may be in others."""

ASK_SECONDS = 600.0
"""A question after tasks is for this link only; it is not journalled."""


def task_letter(context: Context, change: Change) -> OutboxRow:
    """The message that opens a task."""
    return _letter(context, "task", change, TaskBody(message=change.task.messages[0], skill=change.task.skill))


def message_letter(context: Context, change: Change, message: Message) -> OutboxRow:
    """A further message of the sender."""
    return _letter(context, "message", change, MessageBody(message=message))


def cancel_letter(context: Context, change: Change) -> OutboxRow:
    """The sender no longer wants it."""
    return _letter(context, "cancel", change, CancelBody(opening=change.task.opening_id))


def update_letter(context: Context, change: Change, *, whole: bool = False) -> OutboxRow:
    """The update about a task; with `whole` for a recipient that may have missed chunks of its artifacts."""
    return _letter(context, "update", change, update_of(change, whole=whole))


def post_update(context: Context, connection: sqlite3.Connection, change: Change) -> OutboxRow | None:
    """Journal where the task stands, for a sender that is reached by messages; others look for themselves."""
    if change.task.counterpart != "sealed":
        return None
    row = update_letter(context, change)
    put_outbox(connection, row)
    return row


def url_letter(context: Context, change: Change, kind: Literal["message", "cancel"], message_id: str = "") -> OutboxRow:
    """A message to an agent at a URL: the task has its text, and it is written when it is sent."""
    number, task = context.next_number(), change.task
    return OutboxRow(
        number, f"{task.id}/{message_id or f'cancel-{number}'}", task.peer, task.id, 0, kind, b"", change.at,
        change.at + MAX_LIFETIME_SECONDS, kept=context.clocks.sound(),
    )  # fmt: skip


def ask_payload(context: Context, to: PeerId, body: AskBody, now: float) -> bytes:
    """Our open tasks at one peer, and how far we know them."""
    return Payload(
        type="ask", id=context.fresh_id(), from_=context.me, to=to, created=now, expires=now + ASK_SECONDS, body=body
    ).to_bytes()


def network_letter(context: Context, to: PeerId, body: NetworkBody, now: float) -> OutboxRow:
    """The new secret of a network, for one member that stays."""
    expires = now + MAX_LIFETIME_SECONDS
    payload = Payload(
        type="network", id=context.fresh_id(), from_=context.me, to=to, created=now, expires=expires, body=body
    )
    return OutboxRow(context.next_number(), payload.id, str(to), "", 0, "network", _packed(payload), now, expires,
                     kept=context.clocks.sound())  # fmt: skip


def _letter(
    context: Context,
    kind: _Kind,
    change: Change,
    body: TaskBody | MessageBody | CancelBody | UpdateBody,
) -> OutboxRow:
    """A message about a task to its other side, numbered with its `seq_out`, behind the files of the change.

    Raises:
        TooLargeError, UnsendableError: it does not go into one envelope.
    """
    task, now, expires = change.task, change.at, change.at + MAX_LIFETIME_SECONDS
    message_id = task.opening_id if kind == "task" else context.fresh_id()
    pieces = tuple(_pieces(context, change, expires))
    payload = Payload(
        type=kind,
        id=message_id,
        from_=context.me,
        to=PeerId.parse_untrusted(task.peer),
        task=task.id,
        seq=task.seq_out,
        hop=task.hop,
        created=now,
        expires=expires,
        body=body,
    )
    number, packed = context.next_number(), _packed(payload)
    if NAMES_FILE in packed:
        _check_files(payload)
    return OutboxRow(
        number, message_id, task.peer, task.id, task.seq_out, kind, packed, now, expires,
        kept=context.clocks.sound(), pieces=pieces,
    )  # fmt: skip


def _pieces(context: Context, change: Change, expires: float) -> Iterator[OutboxRow]:
    """The messages that carry the files which this change attached."""
    for ref in change.files:
        for piece in range(ref.pieces):
            name, number = piece_id(ref.id, piece), context.next_number()
            yield OutboxRow(number, name, change.task.peer, change.task.id, ref.pieces, "blob", b"", change.at, expires,
                            kept=context.clocks.sound())  # fmt: skip


def piece_payload(context: Context, row: OutboxRow) -> bytes:
    """The payload of a piece, read from its file.

    Raises:
        OSError: the file is not there.
    """
    blob_id, number = piece_of(row.id)
    data = read_piece(context.spool.path("out", "", blob_id), number)
    return Payload(
        type="blob",
        id=row.id,
        from_=context.me,
        to=PeerId.parse_untrusted(row.peer),
        task=row.task,
        created=row.created,
        expires=row.expires,
        body=BlobBody(blob=blob_id, piece=number, pieces=row.seq, data=to_base64url(data)),
    ).to_bytes()


def redated(context: Context, row: OutboxRow) -> OutboxRow | None:
    """The same message under dates of now, for one that was written while the clock was wrong.

    Its id stays, so it is accepted once. A task is remembered by its recipient until no copy of an earlier date can be
    accepted; None where that would be too long.
    """
    now, old = context.clock(), context.clocks.sound() - row.kept if row.kept else 0.0
    expires = now + MAX_LIFETIME_SECONDS - min(max(old, 0.0), MAX_LIFETIME_SECONDS - 1.0)
    if not row.payload:
        return replace(row, created=now, expires=expires)
    payload = Payload.parse_untrusted(row.payload)
    latest = max(payload.created, payload.latest or 0.0) if payload.type == "task" else 0.0
    if latest > now + MAX_REDATED_SECONDS:
        return None
    dates = {"created": now, "expires": expires, "latest": latest if latest > now else None}
    payload = payload.model_copy(update=dates)
    return replace(row, payload=_packed(payload), created=now, expires=expires)


def _check_files(payload: Payload) -> None:
    """Read which files a message names, as its recipient does, which refuses it for good where it cannot.

    Raises:
        UnsendableError: it names too many, or one that cannot be read.
    """
    try:
        refs_untrusted(payload)
    except RemoteProtocolError as error:
        raise UnsendableError(error.message.rstrip(".")) from error


def _packed(payload: Payload) -> bytes:
    try:
        data = payload.to_bytes()
    except RemoteProtocolError as error:
        raise UnsendableError(error.message.rstrip(".")) from error
    if len(data) > MAX_PAYLOAD:
        raise TooLargeError(len(data), MAX_PAYLOAD)
    return data
