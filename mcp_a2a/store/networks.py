"""The networks that we are a member of, who else is, and how far we have read their directories."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One network of ours."""

    id: str
    name: str
    secret: bytes = field(repr=False)
    owner: str
    relays: tuple[str, ...]
    joined: float


@dataclass(frozen=True, slots=True)
class MemberRow:
    """Somebody else in a network of ours."""

    network: str
    did: str
    relay: str | None
    expires: float


def all_networks(connection: sqlite3.Connection) -> list[NetworkRow]:
    """Every network of ours, by name."""
    rows = connection.execute("SELECT id, name, secret, owner, relays, joined FROM networks ORDER BY name").fetchall()
    return [NetworkRow(id_, name, secret, owner, tuple(json.loads(relays)), joined)
            for id_, name, secret, owner, relays, joined in rows]  # fmt: skip


def save_network(connection: sqlite3.Connection, row: NetworkRow) -> None:
    """Become a member, or remember what has changed."""
    connection.execute(
        "INSERT OR REPLACE INTO networks(id, name, secret, owner, relays, joined) VALUES (?, ?, ?, ?, ?, ?)",
        (row.id, row.name, row.secret, row.owner, json.dumps(row.relays), row.joined),
    )


def drop_network(connection: sqlite3.Connection, network: str) -> None:
    """Forget a network, its secret and who is in it."""
    for table, column in (("networks", "id"), ("members", "network"), ("syncs", "network")):
        connection.execute(f"DELETE FROM {table} WHERE {column}=?", (network,))  # noqa: S608  names of ours


def all_members(connection: sqlite3.Connection) -> list[MemberRow]:
    """Everybody who has shown to be a member of a network of ours."""
    rows = connection.execute("SELECT network, did, relay, expires FROM members").fetchall()
    return [MemberRow(*row) for row in rows]


def save_member(connection: sqlite3.Connection, row: MemberRow) -> None:
    """Somebody is a member. What a relay lists outlasts what it is not asked about."""
    connection.execute(
        "INSERT INTO members(network, did, relay, expires) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET relay=coalesce(excluded.relay, relay), expires=max(expires, excluded.expires)",
        (row.network, row.did, row.relay, row.expires),
    )


def drop_member(connection: sqlite3.Connection, network: str, did: str) -> None:
    """Somebody has left."""
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
