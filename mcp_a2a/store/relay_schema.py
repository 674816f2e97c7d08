"""A relay's tables. Everything that an agent said is sealed in them; what is readable is keys, ids, sizes and times."""

from __future__ import annotations

import sqlite3

from mcp_a2a.store.opening import Schema

MIB = 1024 * 1024

LOG_PAGES = 200
"""A short log: its checkpoints are many and small, and each delays mail but briefly. Mail under load is never quiet."""

MIGRATIONS: tuple[str, ...] = (
    """
    -- `epoch`: a random number of this database, so that a client sees when it talks to another one.
    -- `revision`: the newest change of any directory.
    CREATE TABLE meta(
      key   TEXT PRIMARY KEY,
      value INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- Every key that was proven, which makes a mailbox.
    CREATE TABLE keys(
      key    BLOB PRIMARY KEY,
      seq    INTEGER NOT NULL,                -- of the bundle
      seen   REAL NOT NULL,
      bundle TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX keys_by_seen ON keys(seen);

    -- What waits for a recipient. `number` is the order in which it came.
    CREATE TABLE messages(
      number      INTEGER PRIMARY KEY,
      recipient   BLOB NOT NULL,
      envelope_id BLOB NOT NULL,
      depositor   BLOB NOT NULL,
      expires     REAL NOT NULL,
      size        INTEGER NOT NULL,
      envelope    BLOB NOT NULL               -- last: the others are read without it
    );
    CREATE UNIQUE INDEX messages_by_id ON messages(envelope_id, recipient);
    CREATE INDEX messages_by_recipient ON messages(recipient, number);
    CREATE INDEX messages_by_expiry ON messages(expires);

    -- Answers that came while their depositor was away, as they came: a receipt is only good with all of its ids.
    CREATE TABLE answers(
      number    INTEGER PRIMARY KEY,
      depositor BLOB NOT NULL,
      sent      INTEGER NOT NULL DEFAULT 0,
      expires   REAL NOT NULL,
      frame     TEXT NOT NULL
    );
    CREATE INDEX answers_by_depositor ON answers(depositor, number);
    CREATE INDEX answers_by_expiry ON answers(expires);
    CREATE TABLE answered(
      depositor   BLOB NOT NULL,
      envelope_id BLOB NOT NULL,
      number      INTEGER NOT NULL REFERENCES answers(number),
      PRIMARY KEY(depositor, envelope_id)
    ) WITHOUT ROWID;
    CREATE INDEX answered_by_number ON answered(number);

    -- The directories: the newest entry of each member of each network.
    CREATE TABLE listings(
      revision INTEGER PRIMARY KEY,
      network  BLOB NOT NULL,
      peer     BLOB NOT NULL,
      seq      INTEGER NOT NULL,
      expires  INTEGER NOT NULL,
      sealed   BLOB NOT NULL
    );
    CREATE UNIQUE INDEX listings_by_member ON listings(network, peer);
    CREATE INDEX listings_by_network ON listings(network, revision);
    CREATE INDEX listings_by_expiry ON listings(expires);

    CREATE TABLE invitations(
      id      BLOB PRIMARY KEY,
      network BLOB NOT NULL,
      uses    INTEGER NOT NULL,
      expires INTEGER NOT NULL,
      sealed  BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX invitations_by_network ON invitations(network);
    CREATE TABLE claims(
      id  BLOB NOT NULL,
      key BLOB NOT NULL,
      PRIMARY KEY(id, key)
    ) WITHOUT ROWID;

    -- The operator's list.
    CREATE TABLE members(
      key      BLOB PRIMARY KEY,
      admitted INTEGER NOT NULL,
      note     TEXT NOT NULL,
      since    REAL NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    -- What the mail of a key is charged to: an admitted network, or a keyed hash of the host it came from.
    ALTER TABLE keys ADD COLUMN account BLOB NOT NULL DEFAULT x'';
    -- 0: a newcomer, forgotten soon without mail and without an entry in a directory.
    ALTER TABLE keys ADD COLUMN settled INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX keys_new ON keys(seen) WHERE settled=0;
    CREATE INDEX listings_by_peer ON listings(peer);

    -- Whom a key has sent to: they may use all of its mailbox.
    CREATE TABLE correspondents(
      key   BLOB NOT NULL,
      other BLOB NOT NULL,
      seen  REAL NOT NULL,
      PRIMARY KEY(key, other)
    ) WITHOUT ROWID;

    -- Who had a network admitted with the relay's admission secret, where it was not the operator.
    ALTER TABLE members ADD COLUMN sponsor BLOB;
    -- The public half of the admission secret: what is shown is a signature (`admission_secret`).
    CREATE TABLE admission(
      one   INTEGER PRIMARY KEY CHECK(one=1),
      key   BLOB NOT NULL,
      since REAL NOT NULL
    );
    -- A relay without a list was open: it goes on with the networks that it knows.
    INSERT INTO members(key, admitted, note, since)
      SELECT DISTINCT network, 1, 'known before relays were closed', CAST(strftime('%s', 'now') AS REAL) FROM listings
      WHERE network NOT IN (SELECT key FROM members) AND NOT EXISTS (SELECT 1 FROM members WHERE admitted=1);
    """,
)

_KEY_COLUMNS = (
    ("keys", "key"),
    ("messages", "recipient"),
    ("messages", "depositor"),
    ("listings", "network"),
    ("listings", "peer"),
    ("members", "key"),
)


def audit(connection: sqlite3.Connection, stamp: str = "") -> dict[str, int]:
    """Read what decides, not what is sealed.

    Raises:
        sqlite3.DatabaseError: something that cannot be.
    """
    for table, column in _KEY_COLUMNS:
        wrong = f"SELECT COUNT(*) FROM {table} WHERE typeof({column})<>'blob' OR length({column})<>32"  # noqa: S608  names of ours
        if connection.execute(wrong).fetchone()[0]:
            raise sqlite3.DatabaseError(f"a key in {table} is not a key")
    wrong = "SELECT COUNT(*) FROM messages WHERE size<>length(envelope) OR length(envelope_id)<>16 OR number<1"
    if connection.execute(wrong).fetchone()[0]:
        raise sqlite3.DatabaseError("a message is not laid out as it was stored")
    connection.execute("SELECT key, value FROM meta").fetchall()
    return {}


RELAY = Schema(
    MIGRATIONS,
    audit,
    "what waited in the mailboxes is not delivered from here until it is repaired (senders keep their own copy and try "
    "again), and directories fill up again as members come back. The relay's identity is not affected.",
    erases=False,
    log_pages=LOG_PAGES,
    max_checked_bytes=256 * MIB,
    salvages=False,
    carried=(("members", "admission"), ("invitations", "claims")),
    loss_of_carried="Lost as well is who was admitted and shut out, or how often tickets were used: run "
    "`mcp-a2a relay url --new`, admit and revoke again, and make tickets with limits anew.",
)
