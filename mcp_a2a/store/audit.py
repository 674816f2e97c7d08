"""Reads everything in a database once, so that damage is found at the start and not in the middle of a task.

SQLite checks its own structure; what stands in its columns it takes as it is.
"""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from collections.abc import Iterator

from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import parse_address
from mcp_a2a.protocol.payload import Payload
from mcp_a2a.store.journal import all_peers, held, pending_outbox
from mcp_a2a.store.records import all_tasks

TRUSTS = frozenset({"stranger", "trusted", "blocked"})
DIRECTIONS = frozenset({"sent", "received"})

_NUMBERS = frozenset({"n", "hop", "seq_out", "seq_in", "seq", "attempts", "streamed"})
_TIMES = frozenset({"created", "updated", "expires", "received", "last_seen", "lease_until", "kept", "opened", "dated"})
_TEXTS = frozenset({
    "id", "peer", "peer_name", "context_id", "did", "name", "sender", "task", "type", "caller", "opening",
})  # fmt: skip
_BYTES = frozenset({"payload"})
_OPTIONAL = frozenset({"last_seen", "lease_until"})


WEB = ("https://", "http://", "caller:")
"""How the other side of a task begins that has no key: an agent of the web, or a client of our A2A server."""


def audit(connection: sqlite3.Connection) -> None:
    """Read every row as the node will.

    Raises:
        sqlite3.DatabaseError: one cannot be read, and why.
    """
    try:
        connection.execute("SELECT key, value FROM meta").fetchall()
        for row in _rows(connection):
            _check_columns(row)
    except (McpA2AError, ValueError, TypeError) as error:
        # The first line: what follows would quote what peers wrote.
        raise sqlite3.DatabaseError(f"a row cannot be read: {str(error).splitlines()[0]}") from error
    except sqlite3.OperationalError as error:
        if hasattr(error, "sqlite_errorcode"):
            raise  # SQLite itself could not read on
        raise sqlite3.DatabaseError("a text is not UTF-8") from error


def _rows(connection: sqlite3.Connection) -> Iterator[object]:
    for task in all_tasks(connection):
        _one_of(task.direction, DIRECTIONS)
        if not task.peer.startswith(WEB):
            PeerId.parse_untrusted(task.peer)
        yield task
    for message in pending_outbox(connection):
        PeerId.parse_untrusted(message.peer)
        yield message
    for peer in all_peers(connection):
        PeerId.parse_untrusted(peer.did)
        _one_of(peer.trust, TRUSTS)
        for address in peer.addresses:
            parse_address(address)
        yield peer
    for waiting in held(connection):
        PeerId.parse_untrusted(waiting.sender)
        Payload.parse_untrusted(waiting.payload)
        yield waiting


def _one_of(value: str, allowed: frozenset[str]) -> None:
    if value not in allowed:
        raise ValueError("a word that is none of those known")


def _check_columns(row: object) -> None:
    """A column holds whatever was put there, in SQLite; so its type is worth a look."""
    if not dataclasses.is_dataclass(row):
        raise TypeError(type(row))
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if value is None and field.name in _OPTIONAL:
            continue
        if not _is_as_meant(field.name, value):
            raise TypeError(f"{field.name} is no {field.type}")


def _is_as_meant(name: str, value: object) -> bool:
    if name in _NUMBERS:
        return type(value) is int
    if name in _TIMES:
        return isinstance(value, float) and math.isfinite(value)
    if name in _BYTES:
        return isinstance(value, bytes)
    return name not in _TEXTS or isinstance(value, str)
