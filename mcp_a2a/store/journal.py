"""The other tables: what must still be sent, who is known, what is held."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from mcp_a2a.store.database import Database


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One message that must reach `peer`, a did or a URL. `payload` is signed and sealed anew each time it is sent.

    To an agent at a URL it is empty: the message is with its task, and `id` is the task's and that of the message.
    """

    n: int
    """Order of journalling; rises over restarts."""
    id: str
    peer: str
    task: str
    seq: int
    type: str
    payload: bytes
    created: float
    expires: float
    relay: str | None = None
    """The relay that keeps a sealed copy of it."""
    postmark: bytes | None = None
    """The postmark that the recipient of that copy must sign (`protocol.receipt`)."""
    kept: float = 0.0
    """The time at which it was journalled, by the sound time (`aging`), from which its expiry counts."""
    pieces: tuple[OutboxRow, ...] = ()
    """Of the files that it names: they go ahead of it. Of type "blob", with a payload that is made from the file when
    it is sent; their `seq` is how many pieces that file has."""


_ROWS = "SELECT n, id, peer, task, seq, type, payload, created, expires, relay, postmark, kept FROM outbox"


def put_outbox(connection: sqlite3.Connection, row: OutboxRow) -> None:
    """Journal a message and the pieces of its files, in the transaction of what caused it."""
    connection.executemany(
        "INSERT INTO outbox(n, id, peer, task, seq, type, payload, created, expires, kept)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        [
            (one.n, one.id, one.peer, one.task, one.seq, one.type, one.payload, one.created, one.expires, one.kept)
            for one in (*row.pieces, row)
        ],
    )


def mark_stored(connection: sqlite3.Connection, n: int, relay: str, postmark: bytes) -> None:
    """A relay keeps a sealed copy of this message."""
    connection.execute("UPDATE outbox SET relay=?, postmark=? WHERE n=?", (relay, postmark, n))


def redate_outbox(connection: sqlite3.Connection, row: OutboxRow) -> None:
    """The message got other dates."""
    connection.execute(
        "UPDATE outbox SET payload=?, created=?, expires=? WHERE n=?", (row.payload, row.created, row.expires, row.n)
    )


def drop_outbox(connection: sqlite3.Connection, row: OutboxRow) -> None:
    """The message needs no more sending."""
    connection.execute("DELETE FROM outbox WHERE n=?", (row.n,))


def drop_outbox_of_task(connection: sqlite3.Connection, task_id: str, *kinds: str) -> list[str]:
    """Messages of these types and that task need no more sending; returns their ids."""
    rows = connection.execute(
        f"DELETE FROM outbox WHERE task=? AND type IN ({', '.join('?' * len(kinds))}) RETURNING id",  # noqa: S608
        (task_id, *kinds),
    ).fetchall()
    return [row[0] for row in rows]


def drop_letter(connection: sqlite3.Connection, task_id: str, message_id: str) -> None:
    """This message of that task needs no more sending."""
    connection.execute("DELETE FROM outbox WHERE task=? AND id=?", (task_id, message_id))


def drop_pieces(connection: sqlite3.Connection, task_id: str, blob_id: str) -> None:
    """The pieces of this file need no more sending."""
    connection.execute("DELETE FROM outbox WHERE task=? AND type='blob' AND substr(id, 1, 32)=?", (task_id, blob_id))


def pending_outbox(connection: sqlite3.Connection) -> list[OutboxRow]:
    """Everything that must still be sent, in the order it was journalled."""
    rows = connection.execute(f"{_ROWS} ORDER BY n").fetchall()
    return [OutboxRow(*row) for row in rows]


def count_outbox(connection: sqlite3.Connection) -> int:
    """The number of messages to send. The pieces of a file belong to the one that names it."""
    return int(connection.execute("SELECT COUNT(*) FROM outbox WHERE type<>'blob'").fetchone()[0])


def get_meta(connection: sqlite3.Connection, key: str) -> str | None:
    """A small fact of this identity."""
    row = connection.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
    return row[0] if row else None


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Remember a small fact."""
    connection.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value=excluded.value", (key, value))


# --- peers ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class PeerRow:
    """The record of a peer."""

    did: str
    name: str
    trust: str = "stranger"
    advert: str | None = None
    addresses: tuple[str, ...] = ()
    last_seen: float | None = None
    paired: str = ""
    """Its own name at the time a person trusted it; empty before it sent one."""


def all_peers(connection: sqlite3.Connection) -> list[PeerRow]:
    """All agents known by key."""
    rows = connection.execute("SELECT did, name, trust, advert, addresses, last_seen, paired FROM peers").fetchall()
    return [PeerRow(did, name, trust, advert, tuple(json.loads(addresses)), seen, paired)
            for did, name, trust, advert, addresses, seen, paired in rows]  # fmt: skip


def save_peer(connection: sqlite3.Connection, row: PeerRow) -> None:
    """Remember a peer."""
    connection.execute(
        "INSERT OR REPLACE INTO peers(did, name, trust, advert, addresses, last_seen, paired)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.did, row.name, row.trust, row.advert, json.dumps(row.addresses), row.last_seen, row.paired),
    )


def forget_strangers(connection: sqlite3.Connection, keep: int) -> None:
    """Keep the `keep` strangers seen last, and some more: a flood of keys must not grow the database."""
    if connection.execute("SELECT COUNT(*) FROM peers").fetchone()[0] <= keep + keep // 8:
        return  # what follows looks at every task, so it is done for many strangers together
    connection.execute(
        "DELETE FROM peers WHERE trust='stranger' AND addresses='[]' AND did NOT IN (SELECT peer FROM tasks)"
        " AND did NOT IN (SELECT did FROM peers WHERE trust='stranger' ORDER BY last_seen DESC LIMIT ?)",
        (keep,),
    )


# --- held messages of strangers ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A stranger's message that waits for a person's decision."""

    sender: str
    id: str
    task: str
    payload: bytes
    """Empty when no person has decided in time: kept so that its sender can be told."""
    received: float
    host: str = ""
    """The host that it came from."""


@dataclass(frozen=True, slots=True)
class HeldLimits:
    """The number of strangers that may wait, in all and from one host, and of the messages of each."""

    senders: int
    senders_of_host: int
    each: int


class Holding(Enum):
    """The outcome of a stranger's message."""

    HELD = auto()
    QUOTA = auto()
    """Its sender has too many there."""
    FULL = auto()
    """Others wait already, and do not make room for it."""
    EXPIRED = auto()
    """It waited for as long as it may."""


def hold(connection: sqlite3.Connection, row: HeldRow, limits: HeldLimits) -> Holding:
    """Keep a stranger's message, if there is room. First come, first served."""
    known = connection.execute(
        "SELECT length(payload)>0 FROM held WHERE sender=? AND id=?", (row.sender, row.id)
    ).fetchone()
    if known is not None:
        return Holding.HELD if known[0] else Holding.EXPIRED
    waiting = connection.execute(
        "SELECT sender, MIN(host), COUNT(*) FROM held WHERE length(payload)>0 GROUP BY sender"
    ).fetchall()
    mine = next((count for sender, _, count in waiting if sender == row.sender), 0)
    if mine >= limits.each:
        return Holding.QUOTA
    if not mine and len(waiting) >= limits.senders:
        return Holding.FULL
    if not mine and sum(host == row.host for _, host, _ in waiting) >= limits.senders_of_host:
        return Holding.FULL
    connection.execute(
        "INSERT INTO held(sender, id, task, payload, received, host) VALUES (?, ?, ?, ?, ?, ?)",
        (row.sender, row.id, row.task, row.payload, row.received, row.host),
    )
    return Holding.HELD


def was_held(connection: sqlite3.Connection, row: HeldRow) -> bool:
    """True if this message of a stranger came before, and waits or has waited."""
    found = connection.execute("SELECT 1 FROM held WHERE sender=? AND id=?", (row.sender, row.id)).fetchone()
    return found is not None


def expire_held(connection: sqlite3.Connection, before: float) -> None:
    """End the wait of messages that came before then; a note of each is kept, so that its sender can be told."""
    connection.execute("UPDATE held SET payload=x'' WHERE received<? AND length(payload)>0", (before,))


def held(connection: sqlite3.Connection, sender: str | None = None) -> list[HeldRow]:
    """Held messages, oldest first."""
    rows = connection.execute(
        "SELECT sender, id, task, payload, received, host FROM held"
        " WHERE length(payload)>0 AND (? IS NULL OR sender=?) ORDER BY received, id",
        (sender, sender),
    ).fetchall()
    return [HeldRow(*row) for row in rows]


def count_held(connection: sqlite3.Connection) -> int:
    """The number of held messages."""
    return int(connection.execute("SELECT COUNT(*) FROM held WHERE length(payload)>0").fetchone()[0])


def forget_held(connection: sqlite3.Connection, before: float) -> list[float]:
    """Drop what has waited for so long that its sender has given it up; returns when it came."""
    rows = connection.execute("DELETE FROM held WHERE received < ? RETURNING received", (before,)).fetchall()
    return [row[0] for row in rows]


def drop_held(connection: sqlite3.Connection, sender: str, task: str | None = None) -> int:
    """Drop a stranger's held messages (of one task); returns how many."""
    return connection.execute(
        "DELETE FROM held WHERE sender=? AND (? IS NULL OR task=?) AND length(payload)>0", (sender, task, task)
    ).rowcount


# What a person answered when asked whether something may be sent to an agent, by the agent's key or URL.

Subject = Literal["text", "files"]
ConsentAnswer = Literal["allowed", "declined"]

_ANSWERS: dict[str, ConsentAnswer] = {"allowed": "allowed", "declined": "declined"}


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """One answer, and when it was given (seconds since the epoch)."""

    verdict: ConsentAnswer
    at: float


def find_consent(connection: sqlite3.Connection, agent: str, subject: Subject) -> ConsentRow | None:
    """The answer about an agent, if a person has given one."""
    row = connection.execute(
        "SELECT verdict, at FROM consents WHERE agent=? AND subject=?", (agent, subject)
    ).fetchone()
    return ConsentRow(_ANSWERS[row[0]], float(row[1])) if row is not None and row[0] in _ANSWERS else None


def save_consent(
    connection: sqlite3.Connection, agent: str, subject: Subject, verdict: ConsentAnswer, at: float
) -> None:
    """Keep an answer; it replaces the one before."""
    connection.execute("INSERT OR REPLACE INTO consents VALUES (?,?,?,?)", (agent, subject, verdict, at))


def forget_consents(connection: sqlite3.Connection, agent: str) -> None:
    """Drop every answer about an agent: the next send asks again."""
    connection.execute("DELETE FROM consents WHERE agent=?", (agent,))


# How much of an identity its own process showed to others: a process that stands in shows no more.

MANNER = "manner"
"""Under this name it is remembered."""


@dataclass(frozen=True, slots=True)
class Manner:
    """The way in which a node last ran: on the LAN by mDNS, in networks, and the host on which it listened."""

    mdns: bool
    networks: bool
    link_host: str


_MANNER = TypeAdapter(Manner)


def keep_manner(database: Database, manner: Manner) -> None:
    """Remember it, where it is another than before."""
    text = _MANNER.dump_json(manner).decode()
    if database.read(lambda connection: get_meta(connection, MANNER)) != text:
        database.enqueue_lazily(lambda connection: set_meta(connection, MANNER, text))


def kept_manner(database: Database) -> Manner | None:
    """The remembered manner of running; None for an identity that has not run since there is such a note."""
    kept = database.read(lambda connection: get_meta(connection, MANNER))
    try:
        return _MANNER.validate_json(kept) if kept else None
    except ValidationError:
        return None
