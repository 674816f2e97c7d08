"""The journal rows of the messages that a node has to deliver, by id: what the queue knows of a row, and new rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial

from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.delivery.letters import redated
from mcp_a2a.node.delivery.merging import Merged, merge_updates
from mcp_a2a.node.delivery.model import Kind, Outgoing
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.blob import piece_of
from mcp_a2a.protocol.naming import counterpart_of
from mcp_a2a.store.journal import OutboxRow, drop_outbox, redate_outbox

KINDS = {kind.value: kind for kind in Kind}
"""By the types of the journal: to look one up costs less than to make it."""


class OutboxRows(dict[str, OutboxRow]):
    """The rows by id, and the two changes that delivery makes to a row: other dates, and other updates in it."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context

    def redate(self, message_id: str) -> tuple[float, float] | None:
        """Give a message dates that fit the clock, where it was written while the clock was wrong.

        Returns:
            Its dates `created` and `expires`; None if it goes as it is. Then the clock was more than a year ahead, or
            is that far behind, and the recipient will say so.
        """
        fresh = None
        with suppress(McpA2AError):  # another version wrote it, or it has no room for other dates: it goes as it is
            fresh = redated(self._context, self[message_id])
        if fresh is None:
            return None
        self[message_id] = fresh
        self._context.database.enqueue_lazily(lambda connection: redate_outbox(connection, fresh))
        return fresh.created, fresh.expires

    def merge(self, message_ids: Iterable[str]) -> dict[str, list[str]]:
        """Make one of the updates of a task that wait: a relay takes fewer messages than there are.

        Returns:
            For each update that has absorbed others, their ids. Their rows are still here.
        """
        merged = merge_updates([self[one] for one in message_ids])
        self.update({one.row.id: one.row for one in merged})
        if merged:
            self._context.database.enqueue_lazily(partial(_replace, merged=merged))
        return {one.row.id: [row.id for row in one.absorbed] for one in merged}


def _replace(connection: sqlite3.Connection, merged: Sequence[Merged]) -> None:
    for one in merged:
        redate_outbox(connection, one.row)
        for old in one.absorbed:
            drop_outbox(connection, old)


def is_sealed(row: OutboxRow) -> bool:
    """True if it goes to an agent with a key, which is its destination; at a URL each task is a destination."""
    return counterpart_of(row.peer) == "sealed"


def outgoing_of(row: OutboxRow) -> Outgoing:
    """What the queue knows of a row."""
    is_piece = row.type == Kind.PIECE
    return Outgoing(
        row.id,
        row.n,
        row.peer if is_sealed(row) else row.task,
        row.task,
        KINDS[row.type],
        row.created,
        row.expires,
        row.kept,
        file=piece_of(row.id)[0] if is_piece else "",
        pieces=row.seq if is_piece else 0,
    )
