"""Reads every row of a database as the node will, and sets aside those that cannot be read, each alone.

SQLite checks its own structure; what stands in its columns it takes as it is. A row that was set aside is kept whole
in the table `damaged`, with the reason.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import parse_address
from mcp_a2a.protocol.payload import Payload
from mcp_a2a.store.pages import NotUtf8, Table, Value, tables_of
from mcp_a2a.store.records import TASK_COLUMNS, parse_task
from mcp_a2a.store.task_events import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

TRUSTS = frozenset({"stranger", "trusted", "blocked"})
DIRECTIONS = frozenset({"sent", "received"})

WEB = ("https://", "http://", "caller:")
"""Beginnings of the other side of a task without a key: an agent at a URL, or a client of our A2A server."""

DAMAGED = "damaged"

Named = Mapping[str, Value]


def audit(connection: sqlite3.Connection, stamp: str = "") -> Counter[str]:
    """Set aside the rows that cannot be read; returns how many of which table.

    Raises:
        sqlite3.DatabaseError: SQLite itself cannot read on.
    """
    found: Counter[str] = Counter()
    for table in tables_of(connection):
        if table.name == DAMAGED:
            continue
        for values, reason in _unreadable(connection, table):
            set_aside(connection, table.name, dict(zip(_names(table), values, strict=True)), reason, stamp)
            _remove(connection, table, values)
            found[table.name] += 1
    return found


def _names(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


def _unreadable(connection: sqlite3.Connection, table: Table) -> list[tuple[tuple[Value, ...], str]]:
    check = CHECKS.get(table.name)
    with _tolerant(connection):
        rows = connection.execute(f"SELECT {', '.join(_names(table))} FROM {table.name}")  # noqa: S608  names of ours
        return [(row, reason) for row in rows if (reason := _trouble(table, check, row)) is not None]


def _trouble(table: Table, check: Callable[[Named], None] | None, row: Sequence[Value]) -> str | None:
    misfit = table.misfit(row)
    if misfit is not None or check is None:
        return misfit
    try:
        check(dict(zip(_names(table), row, strict=True)))
    except (McpA2AError, ValueError, TypeError) as error:
        # The first line: what follows would quote what peers wrote.
        return str(error).splitlines()[0][:200]
    return None


@contextmanager
def _tolerant(connection: sqlite3.Connection) -> Iterator[None]:
    """Within this, a text that is not UTF-8 is a `NotUtf8`, and no error that ends the whole query."""
    before = connection.text_factory
    connection.text_factory = _text
    try:
        yield
    finally:
        connection.text_factory = before


def _text(content: bytes) -> str | NotUtf8:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return NotUtf8(content)


def set_aside(connection: sqlite3.Connection, table: str, row: Named, reason: str, stamp: str) -> None:
    """Keep a row that cannot be read, for a person who may want to look at it."""
    content = {name: {"hex": value.hex()} if isinstance(value, bytes) else value for name, value in row.items()}
    connection.execute(
        "INSERT INTO damaged(source, reason, content, at) VALUES (?, ?, ?, ?)",
        (table, reason, json.dumps(content), stamp),
    )


def _remove(connection: sqlite3.Connection, table: Table, row: Sequence[Value]) -> None:
    named = dict(zip(_names(table), row, strict=True))
    # As bytes: a key that is not UTF-8 could not be asked for as a text.
    where = " AND ".join(f"CAST({name} AS BLOB) IS CAST(? AS BLOB)" for name in table.key)
    connection.execute(f"DELETE FROM {table.name} WHERE {where}", [named[name] for name in table.key])  # noqa: S608


# --- what only we can know of a row ---------------------------------------------------------------


def _check_task(row: Named) -> None:
    task = parse_task(tuple(row[name] for name in TASK_COLUMNS))
    _one_of(task.direction, DIRECTIONS)
    if task.events < 0:
        raise ValueError("a number of events below zero")
    if not task.peer.startswith(WEB):
        PeerId.parse_untrusted(task.peer)


def _check_letter(row: Named) -> None:
    if not str(row["peer"]).startswith(WEB):
        PeerId.parse_untrusted(str(row["peer"]))


def _check_peer(row: Named) -> None:
    PeerId.parse_untrusted(str(row["did"]))
    _one_of(str(row["trust"]), TRUSTS)
    for address in json.loads(str(row["addresses"])):
        parse_address(address)


def _check_held(row: Named) -> None:
    PeerId.parse_untrusted(str(row["sender"]))
    payload = row["payload"]
    if payload:
        Payload.parse_untrusted(payload if isinstance(payload, bytes) else b"")


def _check_event(row: Named) -> None:
    _one_of(str(row["kind"]), WORDS)
    if row["body"] is not None:
        json.loads(row["body"] if isinstance(row["body"], bytes) else b"")


def _one_of(value: str, allowed: frozenset[str]) -> None:
    if value not in allowed:
        raise ValueError("a word that is none of those known")


CHECKS: Mapping[str, Callable[[Named], None]] = {
    "tasks": _check_task,
    "outbox": _check_letter,
    "peers": _check_peer,
    "held": _check_held,
    "task_events": _check_event,
}
