"""A relay's messages, the answers that wait for depositors, and its keys, in SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from mcp_a2a.mailbox_ports import ExpiredRow, KeptAnswer, KnownKey
from mcp_a2a.protocol.mail_message import Message, Place
from mcp_a2a.protocol.mail_orders import Backlog, Drop, Keep, Load, Put
from mcp_a2a.protocol.relay_limits import MAX_CORRESPONDENTS, MAX_KEPT_ANSWERS

_COLUMNS = 7
_BATCHES = (64, 8, 1)
"""Rows per statement. One statement for many rows keeps the writer's thread from asking for the interpreter per row."""

_MANY = 500
"""Values in one `IN (…)`."""


# --- messages ------------------------------------------------------------------------------------


def carry_out(
    connection: sqlite3.Connection, orders: Sequence[Put | Drop | Keep], answers_expire: float
) -> Mapping[int, bool]:
    """Write, delete and keep in this order; what was not written as its id was there, and whether it was the same."""
    existed: dict[int, bool] = {}
    for kind, run in groupby(orders, key=type):
        if kind is Put:
            existed.update(_put(connection, [order.message for order in run if isinstance(order, Put)]))
        elif kind is Drop:
            drop(connection, [order.number for order in run if isinstance(order, Drop)])
        else:
            for order in run:
                if isinstance(order, Keep):
                    keep(connection, order, answers_expire)
    return existed


def _put(connection: sqlite3.Connection, messages: Sequence[Message]) -> Iterator[tuple[int, bool]]:
    for batch in _batches(messages):
        values: list[object] = []
        for message in batch:
            values += (
                message.number,
                message.recipient,
                message.envelope_id,
                message.depositor,
                message.expires,
                message.size,
                message.envelope,
            )
        rows = ",".join([f"({','.join('?' * _COLUMNS)})"] * len(batch))
        written = connection.execute(f"INSERT OR IGNORE INTO messages VALUES {rows}", values).rowcount  # noqa: S608  only ?
        if written < len(batch):
            missing = _missing(connection, [message.number for message in batch])
            yield from ((one.number, _is_there(connection, one)) for one in batch if one.number in missing)


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    at = 0
    while at < len(messages):
        size = next(size for size in _BATCHES if size <= len(messages) - at)
        yield messages[at : at + size]
        at += size


def _missing(connection: sqlite3.Connection, numbers: Sequence[int]) -> set[int]:
    marks = ",".join("?" * len(numbers))
    rows = connection.execute(f"SELECT number FROM messages WHERE number IN ({marks})", numbers)  # noqa: S608  only ?
    return set(numbers) - {int(row[0]) for row in rows}


def _is_there(connection: sqlite3.Connection, message: Message) -> bool:
    """True if the row with its id is this depositor's, and the same to the last byte."""
    row = connection.execute(
        "SELECT depositor, envelope FROM messages WHERE envelope_id=? AND recipient=?",
        (message.envelope_id, message.recipient),
    ).fetchone()
    return row is not None and message.is_the_same(*row)


def drop(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Delete these messages."""
    for at in range(0, len(numbers), _MANY):
        part = numbers[at : at + _MANY]
        connection.execute(f"DELETE FROM messages WHERE number IN ({','.join('?' * len(part))})", part)  # noqa: S608  only ?


def backlog(connection: sqlite3.Connection) -> list[Backlog]:
    """The messages on disk, by mailbox and depositor."""
    rows = connection.execute(
        "SELECT recipient, depositor, COUNT(*), SUM(size) FROM messages GROUP BY recipient, depositor"
    ).fetchall()
    accounts = dict(connection.execute("SELECT key, account FROM keys WHERE account<>x''"))
    return [
        Backlog(recipient, depositor, count, size, accounts.get(depositor, b""))
        for recipient, depositor, count, size in rows
    ]


def last_number(connection: sqlite3.Connection) -> int:
    """The highest number of a message."""
    return int(connection.execute("SELECT COALESCE(MAX(number), 0) FROM messages").fetchone()[0])


def load(connection: sqlite3.Connection, order: Load, now: float) -> tuple[list[Message], bool]:
    """Messages of a mailbox in order, the first whatever its size; and whether there are no more."""
    rows = connection.execute(
        "SELECT number, recipient, envelope_id, depositor, envelope, expires FROM messages"
        " WHERE recipient=? AND number>? AND expires>? ORDER BY number LIMIT ?",
        (order.recipient, order.after, now, order.frames),
    )
    found: list[Message] = []
    total = 0
    for number, recipient, envelope_id, depositor, envelope, expires in rows:
        message = Message(
            number, recipient, envelope_id, depositor, envelope=envelope, expires=expires, place=Place.DISK
        )
        total += message.size
        if found and total > order.max_bytes:
            return found, False
        found.append(message)
    return found, len(found) < order.frames


def expired(connection: sqlite3.Connection, now: float, limit: int) -> list[ExpiredRow]:
    """Messages whose time is over."""
    rows = connection.execute(
        "SELECT number, recipient, envelope_id, depositor, size FROM messages WHERE expires<=? LIMIT ?", (now, limit)
    )
    return [ExpiredRow(*row) for row in rows]


def stored_among(connection: sqlite3.Connection, depositor: bytes, envelopes: Sequence[bytes]) -> frozenset[bytes]:
    """The ids among these that are stored for a recipient."""
    marks = ",".join("?" * len(envelopes))
    rows = connection.execute(
        f"SELECT envelope_id FROM messages WHERE envelope_id IN ({marks}) AND depositor=?",  # noqa: S608  only ?
        (*envelopes, depositor),
    )
    return frozenset(row[0] for row in rows)


# --- answers -------------------------------------------------------------------------------------


def keep(connection: sqlite3.Connection, order: Keep, expires: float) -> None:
    """Keep an answer; of too many for one depositor, the oldest go."""
    number = connection.execute(
        "INSERT INTO answers(depositor, expires, frame) VALUES (?, ?, ?)", (order.depositor, expires, order.frame)
    ).lastrowid
    connection.executemany(
        "INSERT OR REPLACE INTO answered VALUES (?, ?, ?)",
        [(order.depositor, envelope, number) for envelope in order.envelopes],
    )
    surplus = connection.execute(
        "SELECT number FROM answers WHERE depositor=? ORDER BY number DESC LIMIT -1 OFFSET ?",
        (order.depositor, MAX_KEPT_ANSWERS),
    ).fetchall()
    for (old,) in surplus:
        _forget_answers(connection, "number=?", old)


def _forget_answers(connection: sqlite3.Connection, which: str, value: object) -> None:
    connection.execute(
        f"DELETE FROM answered WHERE number IN (SELECT number FROM answers WHERE {which})",  # noqa: S608  words of ours
        (value,),
    )
    connection.execute(f"DELETE FROM answers WHERE {which}", (value,))  # noqa: S608  words of ours


def answers_for(connection: sqlite3.Connection, depositor: bytes) -> list[KeptAnswer]:
    """Those that were not sent yet, in order."""
    rows = connection.execute(
        "SELECT number, frame FROM answers WHERE depositor=? AND sent=0 ORDER BY number", (depositor,)
    )
    return [KeptAnswer(*row) for row in rows]


def answers_about(connection: sqlite3.Connection, depositor: bytes, envelopes: Sequence[bytes]) -> Mapping[bytes, str]:
    """Kept answers by envelope."""
    marks = ",".join("?" * len(envelopes))
    query = f"SELECT envelope_id, number FROM answered WHERE depositor=? AND envelope_id IN ({marks})"  # noqa: S608  only ?
    found = connection.execute(query, (depositor, *envelopes)).fetchall()
    return {
        envelope: connection.execute("SELECT frame FROM answers WHERE number=?", (number,)).fetchone()[0]
        for envelope, number in found
    }


def mark_sent(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Note that these answers were sent."""
    connection.executemany("UPDATE answers SET sent=1 WHERE number=?", [(number,) for number in numbers])


def forget_answers(connection: sqlite3.Connection, now: float) -> None:
    """Drop the answers that their depositors did not fetch in time."""
    _forget_answers(connection, "expires<=?", now)


# --- keys ----------------------------------------------------------------------------------------


def keys(connection: sqlite3.Connection) -> list[bytes]:
    """The keys that have a mailbox."""
    return [row[0] for row in connection.execute("SELECT key FROM keys")]


def bundle_of(connection: sqlite3.Connection, key: bytes) -> KnownKey | None:
    """The record of a key, with its bundle; None for an unknown one."""
    row = connection.execute("SELECT key, bundle, seq, account, settled FROM keys WHERE key=?", (key,)).fetchone()
    return KnownKey(row[0], row[1], row[2], row[3], settled=bool(row[4])) if row else None


def remember(connection: sqlite3.Connection, known: KnownKey, now: float) -> None:
    """Note a proven key and its bundle."""
    connection.execute(
        "INSERT INTO keys(key, seq, seen, bundle, account, settled) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET seen=excluded.seen, account=excluded.account,"
        " settled=MAX(settled, excluded.settled),"
        " bundle=CASE WHEN excluded.seq>seq THEN excluded.bundle ELSE bundle END, seq=MAX(seq, excluded.seq)",
        (known.key, known.seq, now, known.bundle, known.account, known.settled),
    )


def seen(connection: sqlite3.Connection, keys: Sequence[bytes], now: float) -> None:
    """Note that these keys were connected."""
    connection.executemany("UPDATE keys SET seen=? WHERE key=?", [(now, key) for key in keys])


def forget_unseen(connection: sqlite3.Connection, before: float) -> list[bytes]:
    """Forget keys that were unused for long and have no mail."""
    rows = connection.execute(
        "DELETE FROM keys WHERE seen<? AND NOT EXISTS (SELECT 1 FROM messages WHERE recipient=key) RETURNING key",
        (before,),
    )
    gone = [row[0] for row in rows.fetchall()]
    connection.executemany("DELETE FROM correspondents WHERE key=?", [(key,) for key in gone])
    return gone


def newcomers(connection: sqlite3.Connection) -> list[bytes]:
    """Keys that are not settled."""
    return [row[0] for row in connection.execute("SELECT key FROM keys WHERE settled=0")]


def idle_newcomers(connection: sqlite3.Connection, before: float) -> list[bytes]:
    """Those that were last seen before then, have no mail, and are listed nowhere."""
    rows = connection.execute(
        "SELECT key FROM keys WHERE settled=0 AND seen<?"
        " AND NOT EXISTS (SELECT 1 FROM messages WHERE recipient=key)"
        " AND NOT EXISTS (SELECT 1 FROM listings WHERE peer=key AND length(sealed)>0)",
        (before,),
    )
    return [row[0] for row in rows]


def settle_key(connection: sqlite3.Connection, key: bytes) -> None:
    """Keep this key from now on as long as any other."""
    connection.execute("UPDATE keys SET settled=1 WHERE key=?", (key,))


def forget_keys(connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    """Forget these keys."""
    for key in keys:
        connection.execute("DELETE FROM keys WHERE key=?", (key,))
        connection.execute("DELETE FROM correspondents WHERE key=?", (key,))
        _forget_answers(connection, "depositor=?", key)


def note_correspondent(connection: sqlite3.Connection, key: bytes, other: bytes, now: float) -> None:
    """A key has sent to another; of too many, those it has sent to longest ago are forgotten."""
    connection.execute("INSERT OR REPLACE INTO correspondents(key, other, seen) VALUES (?, ?, ?)", (key, other, now))
    connection.execute(
        "DELETE FROM correspondents WHERE key=? AND other NOT IN"
        " (SELECT other FROM correspondents WHERE key=? ORDER BY seen DESC LIMIT ?)",
        (key, key, MAX_CORRESPONDENTS),
    )


def has_sent(connection: sqlite3.Connection, key: bytes, other: bytes) -> bool:
    """True if a key has sent to another."""
    row = connection.execute("SELECT 1 FROM correspondents WHERE key=? AND other=?", (key, other)).fetchone()
    return row is not None


def erase(connection: sqlite3.Connection, key: bytes) -> None:
    """Forget a key, its mail, its answers and its entries in directories."""
    connection.execute("DELETE FROM keys WHERE key=?", (key,))
    connection.execute("DELETE FROM messages WHERE recipient=?", (key,))
    connection.execute("DELETE FROM listings WHERE peer=?", (key,))
    connection.execute("DELETE FROM correspondents WHERE key=?", (key,))
    _forget_answers(connection, "depositor=?", key)
