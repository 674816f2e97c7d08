"""A relay's directories, invitations and list of members, in SQL. What is decided here is decided in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mcp_a2a.mailbox_ports import Invitation, RelayMember, RelayTotals
from mcp_a2a.protocol.aging import Mark
from mcp_a2a.protocol.crypto import SIGNATURE_SIZE
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.relay_limits import MAX_INVITATIONS, MAX_LISTINGS, MAX_PEER_LISTINGS, ROW_BYTES

KEEP_INVITATION_SECONDS = 7 * 86_400
"""Seconds for which an expired invitation is still known as expired."""


# --- meta ----------------------------------------------------------------------------------------


def set_epoch(connection: sqlite3.Connection, epoch: int) -> None:
    """Give a new database its number; an old one keeps its own."""
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (epoch,))
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('revision', 0)")


def get(connection: sqlite3.Connection, key: str) -> int:
    """A number of this database."""
    return int(connection.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()[0])


def note_time(connection: sqlite3.Connection, mark: Mark) -> None:
    """Keep the clocks of now, in whole seconds."""
    connection.executemany(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)",
        [("sound", int(mark.sound)), ("wall", int(mark.wall)), ("uptime", int(mark.uptime))],
    )


def last_time(connection: sqlite3.Connection) -> Mark | None:
    """The clocks as they were noted last."""
    query = "SELECT value FROM meta WHERE key IN ('sound', 'uptime', 'wall') ORDER BY key"
    kept = [float(row[0]) for row in connection.execute(query)]
    return Mark(sound=kept[0], uptime=kept[1], wall=kept[2]) if len(kept) == 3 else None


# --- listings ------------------------------------------------------------------------------------


def publish(connection: sqlite3.Connection, listing: Listing) -> int | str:
    """Put a member's entry in the place of its last one.

    Returns: its revision, 0 where it is there already, or "stale" or "full".
    """
    found = connection.execute(
        "SELECT seq FROM listings WHERE network=? AND peer=?", (listing.network.key, listing.peer.key)
    ).fetchone()
    if found is not None and listing.seq <= found[0]:
        return 0 if listing.seq == found[0] else "stale"
    if found is None and _members_of(connection, listing.network) >= MAX_LISTINGS:
        return "full"
    if found is None and _entries_of(connection, listing.peer) >= MAX_PEER_LISTINGS:
        return "full"
    revision = int(
        connection.execute("UPDATE meta SET value=value+1 WHERE key='revision' RETURNING value").fetchone()[0]
    )
    connection.execute("DELETE FROM listings WHERE network=? AND peer=?", (listing.network.key, listing.peer.key))
    connection.execute(
        "INSERT INTO listings(revision, network, peer, seq, expires, sealed) VALUES (?, ?, ?, ?, ?, ?)",
        (revision, listing.network.key, listing.peer.key, listing.seq, listing.expires, listing.sealed),
    )
    return revision


def is_listed(connection: sqlite3.Connection, key: bytes, networks: Sequence[PeerId]) -> bool:
    """True if a key has an entry in the directory of any of these networks."""
    marks = ",".join("?" * len(networks))
    row = connection.execute(
        f"SELECT 1 FROM listings WHERE network IN ({marks}) AND peer=? AND length(sealed)>?",  # noqa: S608  only ?
        (*(network.key for network in networks), key, SIGNATURE_SIZE),
    ).fetchone()
    return row is not None


def _members_of(connection: sqlite3.Connection, network: PeerId) -> int:
    return int(connection.execute("SELECT COUNT(*) FROM listings WHERE network=?", (network.key,)).fetchone()[0])


def _entries_of(connection: sqlite3.Connection, peer: PeerId) -> int:
    return int(connection.execute("SELECT COUNT(*) FROM listings WHERE peer=?", (peer.key,)).fetchone()[0])


def listings(connection: sqlite3.Connection, network: PeerId, since: int, max_bytes: int) -> list[Listing]:
    """The changes after a revision, oldest first; at least one, if there is any."""
    rows = connection.execute(
        "SELECT peer, seq, expires, sealed, revision FROM listings WHERE network=? AND revision>?"
        " AND sealed<>x'' ORDER BY revision",  # an earlier version had unsigned withdrawals
        (network.key, since),
    )
    found: list[Listing] = []
    total = 0
    for peer, seq, expires, sealed, revision in rows:
        total += len(sealed)
        if found and total > max_bytes:
            break
        found.append(Listing(network, PeerId(peer), seq, expires, sealed, revision))
    return found


# --- invitations ---------------------------------------------------------------------------------


def offer(connection: sqlite3.Connection, invitation: Invitation, now: float) -> str | None:
    """Keep an invitation; the same once more changes nothing.

    Returns: None, or "full", or "used" where its id is another's.
    """
    found = connection.execute(
        "SELECT network, uses, expires, sealed FROM invitations WHERE id=?", (invitation.id,)
    ).fetchone()
    if found is not None:
        same = (invitation.network.key, invitation.uses, invitation.expires, invitation.sealed)
        return None if found == same else "used"
    live = connection.execute(
        "SELECT COUNT(*) FROM invitations WHERE network=? AND expires>?", (invitation.network.key, now)
    ).fetchone()[0]
    if live >= MAX_INVITATIONS:
        return "full"
    connection.execute(
        "INSERT INTO invitations(id, network, uses, expires, sealed) VALUES (?, ?, ?, ?, ?)",
        (invitation.id, invitation.network.key, invitation.uses, invitation.expires, invitation.sealed),
    )
    return None


def claim(connection: sqlite3.Connection, invitation: bytes, key: bytes, now: float) -> bytes | str:
    """The sealed secret, for one more key or for one that had it before; or "unknown", "expired" or "used"."""
    found = connection.execute("SELECT uses, expires, sealed FROM invitations WHERE id=?", (invitation,)).fetchone()
    if found is None:
        return "unknown"
    uses, expires, sealed = int(found[0]), float(found[1]), bytes(found[2])
    if expires <= now or not sealed:
        return "expired"
    if connection.execute("SELECT 1 FROM claims WHERE id=? AND key=?", (invitation, key)).fetchone():
        return sealed
    if connection.execute("SELECT COUNT(*) FROM claims WHERE id=?", (invitation,)).fetchone()[0] >= uses:
        return "used"
    connection.execute("INSERT INTO claims VALUES (?, ?)", (invitation, key))
    return sealed


def erase_network(connection: sqlite3.Connection, network: PeerId) -> None:
    """Forget everything of a network."""
    connection.execute("DELETE FROM listings WHERE network=?", (network.key,))
    connection.execute("DELETE FROM claims WHERE id IN (SELECT id FROM invitations WHERE network=?)", (network.key,))
    connection.execute("DELETE FROM invitations WHERE network=?", (network.key,))


# --- housekeeping --------------------------------------------------------------------------------


def forget_expired(connection: sqlite3.Connection, now: float) -> None:
    """Entries and invitations whose time is over.

    Of an invitation its dates are kept for a while, and nothing that a clock which is set back could make good again.
    """
    connection.execute("DELETE FROM listings WHERE expires<=?", (now,))
    connection.execute("UPDATE invitations SET sealed=x'' WHERE expires<=? AND sealed<>x''", (now,))
    over = now - KEEP_INVITATION_SECONDS
    connection.execute("DELETE FROM claims WHERE id IN (SELECT id FROM invitations WHERE expires<=?)", (over,))
    connection.execute("DELETE FROM invitations WHERE expires<=?", (over,))


def totals(connection: sqlite3.Connection) -> RelayTotals:
    """The counts of entries beside messages."""
    listings, networks, size = connection.execute(
        "SELECT COUNT(*), COUNT(DISTINCT network), COALESCE(SUM(length(sealed)), 0) FROM listings"
    ).fetchone()
    invitations, sealed = connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(length(sealed)), 0) FROM invitations"
    ).fetchone()
    answers, framed = connection.execute("SELECT COUNT(*), COALESCE(SUM(length(frame)), 0) FROM answers").fetchone()
    rows = listings + invitations + answers
    strangers, theirs = connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM (SELECT network, length(sealed) AS size FROM listings"
        " UNION ALL SELECT network, length(sealed) FROM invitations)"
        " WHERE network NOT IN (SELECT key FROM members WHERE admitted)"
    ).fetchone()
    return RelayTotals(
        listings,
        networks,
        invitations,
        size + sealed + framed + rows * ROW_BYTES,
        theirs + strangers * ROW_BYTES,
    )


def members(connection: sqlite3.Connection) -> list[RelayMember]:
    """The operator's list."""
    rows = connection.execute("SELECT key, admitted, note, since, sponsor FROM members ORDER BY since, key")
    return [
        RelayMember(PeerId(key), bool(admitted), note, since, PeerId(sponsor) if sponsor is not None else None)
        for key, admitted, note, since, sponsor in rows
    ]


def admit(connection: sqlite3.Connection, member: RelayMember) -> None:
    """Put a network on the list, unless it is there: what the operator decided stays."""
    sponsor = member.sponsor.key if member.sponsor is not None else None
    connection.execute(
        "INSERT OR IGNORE INTO members(key, admitted, note, since, sponsor) VALUES (?, 1, ?, ?, ?)",
        (member.member.key, member.note, member.since, sponsor),
    )


def admission_key(connection: sqlite3.Connection) -> PeerId | None:
    """The public half of the admission secret."""
    row = connection.execute("SELECT key FROM admission").fetchone()
    return PeerId(row[0]) if row is not None else None


def set_admission_key(connection: sqlite3.Connection, key: PeerId, now: float) -> None:
    """Replace the admission key."""
    connection.execute("INSERT OR REPLACE INTO admission(one, key, since) VALUES (1, ?, ?)", (key.key, now))


def set_member(connection: sqlite3.Connection, member: RelayMember) -> None:
    """Change an entry of the operator's list."""
    connection.execute(
        "INSERT OR REPLACE INTO members(key, admitted, note, since) VALUES (?, ?, ?, ?)",
        (member.member.key, member.admitted, member.note, member.since),
    )
