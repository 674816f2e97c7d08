"""The other members of our networks (`network_folder`), and the state of reading their directories."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberRow:
    """Another member of a network of ours."""

    network: str
    did: str
    relay: str | None
    expires: float
    seq: int = -1
    """Number of the newest entry that a relay has listed."""


def drop_network(connection: sqlite3.Connection, network: str) -> None:
    """Forget who is in a network."""
    connection.execute("DELETE FROM members WHERE network=?", (network,))
    connection.execute("DELETE FROM syncs WHERE network=?", (network,))


def all_members(connection: sqlite3.Connection) -> list[MemberRow]:
    """All proven members of our networks."""
    rows = connection.execute("SELECT network, did, relay, expires, seq FROM members").fetchall()
    return [MemberRow(*row) for row in rows]


def save_member(connection: sqlite3.Connection, row: MemberRow) -> None:
    """Store a member. An entry that a relay lists keeps its relay when a later proof names none."""
    connection.execute(
        "INSERT INTO members(network, did, relay, expires, seq) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET relay=coalesce(excluded.relay, relay), expires=max(expires, excluded.expires),"
        " seq=max(seq, excluded.seq)",
        (row.network, row.did, row.relay, row.expires, row.seq),
    )


def drop_member(connection: sqlite3.Connection, network: str, did: str) -> None:
    """Remove a member that has left."""
    connection.execute("DELETE FROM members WHERE network=? AND did=?", (network, did))


def forget_members(connection: sqlite3.Connection, now: float) -> None:
    """Forget those who have not shown themselves for too long."""
    connection.execute("DELETE FROM members WHERE expires<=?", (now,))


def all_syncs(connection: sqlite3.Connection) -> dict[tuple[str, str], tuple[int, int]]:
    """Epoch and revision by network and relay."""
    rows = connection.execute("SELECT network, relay, epoch, revision FROM syncs").fetchall()
    return {(network, relay): (epoch, revision) for network, relay, epoch, revision in rows}


def save_sync(connection: sqlite3.Connection, network: str, relay: str, epoch: int, revision: int) -> None:
    """A directory is known up to there. To be queued behind what it told."""
    connection.execute(
        "INSERT OR REPLACE INTO syncs(network, relay, epoch, revision) VALUES (?, ?, ?, ?)",
        (network, relay, epoch, revision),
    )
