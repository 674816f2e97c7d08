"""The tables, and how an older database becomes a newer one.

`PRAGMA user_version` counts migrations; each runs in a transaction of its own, after a copy of the database was put
beside it, which goes with the keys in it (`drop_copies`). A database from the future is refused, never touched.
"""

from __future__ import annotations

import glob
import math
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mcp_a2a.errors.machine import SchemaTooNewError
from mcp_a2a.protocol.state import TaskState, is_terminal

LISTED = "NOT direct AND forgotten IS NULL AND (direction = 'sent' OR peer GLOB 'caller:*')"
"""Tasks that an A2A client may list; spelled so in each partial index over them and in each query that uses one."""

OF_CONTEXTS = "(direction = 'sent' OR peer GLOB 'caller:*')"
"""Tasks of which a conversation with an agent at a URL may consist; spelled so in the partial index over them."""

ENDED = "(" + ", ".join(f"'{state}'" for state in TaskState if is_terminal(state)) + ")"
"""The terminal states, as SQL."""

OPEN = f"state NOT IN {ENDED}"
"""Of a task that has not ended; spelled as in the partial indexes: SQLite uses one only when it can prove the match."""


def _listed(row: str) -> str:
    return f"NOT {row}.direct AND {row}.forgotten IS NULL AND ({row}.direction = 'sent' OR {row}.peer GLOB 'caller:*')"


_COUNTS = "peer = OLD.peer AND direction = OLD.direction AND caller = OLD.caller AND state = OLD.state"
_COUNT_OLD = f"""
  UPDATE task_counts SET n = n - 1 WHERE {_COUNTS} AND context IN ('', '=' || OLD.context_id)
    AND {_listed("OLD")};
  DELETE FROM task_counts WHERE {_COUNTS} AND context IN ('', '=' || OLD.context_id) AND n <= 0;
"""  # noqa: S608  the names are ours
_COUNT_NEW = f"""
  INSERT INTO task_counts SELECT NEW.peer, NEW.direction, NEW.caller, context, NEW.state, 1
    FROM (SELECT '' AS context
      UNION ALL SELECT '=' || NEW.context_id WHERE NEW.caller <> '' OR NEW.peer GLOB 'caller:*')
    WHERE {_listed("NEW")}
    ON CONFLICT DO UPDATE SET n = n + 1;
"""  # noqa: S608  as above
_COUNTED_BY = (
    "OLD.state <> NEW.state OR OLD.direct <> NEW.direct OR (OLD.forgotten IS NULL) <> (NEW.forgotten IS NULL)"
    " OR OLD.context_id <> NEW.context_id OR OLD.peer <> NEW.peer OR OLD.caller <> NEW.caller"
    " OR OLD.direction <> NEW.direction"
)


MIGRATIONS: tuple[str, ...] = (
    """
    -- Small facts of this identity: its key ring, its clock's high-water mark, its advert's sequence number.
    CREATE TABLE meta(
      key   TEXT PRIMARY KEY,
      value TEXT NOT NULL
    ) WITHOUT ROWID;

    -- Every agent known by key. `trust` is what a person decided: trusted, blocked or stranger.
    CREATE TABLE peers(
      did       TEXT PRIMARY KEY,
      name      TEXT NOT NULL,
      trust     TEXT NOT NULL DEFAULT 'stranger',
      advert    TEXT,
      addresses TEXT NOT NULL DEFAULT '[]',   -- typed by a person; JSON list of host:port
      last_seen REAL
    ) WITHOUT ROWID;

    -- Every task, sent or received. The documents are A2A JSON; what decides is a column.
    -- A row is also what makes a replayed message harmless: its id is derived from sender and first message, updates
    -- count up `seq_in`, further messages carry ids, a cancellation says the same twice. So a task is kept for longer
    -- than any message about it may live (7 days), and there is no second table to pay for on every commit.
    CREATE TABLE tasks(
      n           INTEGER PRIMARY KEY,
      id          TEXT NOT NULL UNIQUE,
      direction   TEXT NOT NULL,              -- sent | received
      peer        TEXT NOT NULL,              -- did of the other side: the only one whose word counts
      peer_name   TEXT NOT NULL,
      skill       TEXT,
      context_id  TEXT NOT NULL,
      hop         INTEGER NOT NULL,
      state       TEXT NOT NULL,
      delivery    TEXT NOT NULL,
      seq_out     INTEGER NOT NULL,           -- last sequence number we used in this task
      seq_in      INTEGER NOT NULL,           -- last one of theirs that we applied
      attempts    INTEGER NOT NULL DEFAULT 0, -- how often it was leased
      holder      TEXT,                       -- who has the lease
      worker      INTEGER NOT NULL DEFAULT 0, -- the lease ends with the holder's process
      lease_until REAL,
      messages    TEXT NOT NULL,              -- what the sender said, in order
      status      TEXT NOT NULL,              -- newest TaskStatus
      artifacts   TEXT NOT NULL DEFAULT '[]',
      error       TEXT,                       -- TaskErrorView
      tried       TEXT NOT NULL DEFAULT '[]', -- routes tried and failed, with reasons
      chosen      TEXT,                       -- why this agent, for a task sent by skill
      created     REAL NOT NULL,
      updated     REAL NOT NULL
    );
    CREATE INDEX tasks_by_update ON tasks(updated DESC, id);
    CREATE INDEX tasks_open ON tasks(created, state, lease_until, peer) WHERE direction = 'received'
      AND state NOT IN ('TASK_STATE_COMPLETED', 'TASK_STATE_FAILED', 'TASK_STATE_CANCELED', 'TASK_STATE_REJECTED');

    -- Journal of what must still reach a peer: removed by the recipient's signed receipt, nothing else.
    CREATE TABLE outbox(
      n       INTEGER PRIMARY KEY,            -- order of journalling
      id      TEXT NOT NULL,                  -- id of the payload; stays when the seal is remade
      peer    TEXT NOT NULL,
      task    TEXT NOT NULL,
      seq     INTEGER NOT NULL,
      type    TEXT NOT NULL,
      payload BLOB NOT NULL,
      created REAL NOT NULL,
      expires REAL NOT NULL
    );

    -- Messages of strangers, until a person decides. Never shown to a model.
    CREATE TABLE held(
      sender   TEXT NOT NULL,
      id       TEXT NOT NULL,
      task     TEXT NOT NULL,
      payload  BLOB NOT NULL,
      received REAL NOT NULL,
      PRIMARY KEY(sender, id)
    ) WITHOUT ROWID;
    """,
    """
    -- Where a sealed copy of a message waits for its recipient, and by which id. The message stays in this journal
    -- until the recipient has signed for it.
    ALTER TABLE outbox ADD COLUMN relay TEXT;
    ALTER TABLE outbox ADD COLUMN envelope BLOB;

    -- Who has shown to be a member of a network of ours, and until when that is believed.
    CREATE TABLE members(
      network TEXT NOT NULL,
      did     TEXT NOT NULL,
      relay   TEXT,                           -- which relay listed it; none where it told us itself
      expires REAL NOT NULL,
      PRIMARY KEY(network, did)
    ) WITHOUT ROWID;

    -- Up to where we know the directory of a network at a relay.
    CREATE TABLE syncs(
      network  TEXT NOT NULL,
      relay    TEXT NOT NULL,
      epoch    INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      PRIMARY KEY(network, relay)
    ) WITHOUT ROWID;
    """,
    """
    -- The client that asked for the task: the owner of this node (empty), or a client of its A2A server.
    ALTER TABLE tasks ADD COLUMN caller TEXT NOT NULL DEFAULT '';
    -- Id of the payload that opened it, where that is not the id of its first message.
    ALTER TABLE tasks ADD COLUMN opening TEXT NOT NULL DEFAULT '';
    -- How many chunks its artifacts have been made of so far.
    ALTER TABLE tasks ADD COLUMN streamed INTEGER NOT NULL DEFAULT 0;
    -- Whether its agent answered with a message, and means no task by it.
    ALTER TABLE tasks ADD COLUMN direct INTEGER NOT NULL DEFAULT 0;
    -- What an A2A agent calls it, once it has taken it; the other side is then a URL and no did.
    ALTER TABLE tasks ADD COLUMN remote TEXT;
    CREATE INDEX tasks_by_peer ON tasks(peer, direction, caller, updated DESC, id);

    -- Agents that speak A2A over HTTP, by the URL of their card.
    CREATE TABLE web_agents(
      url       TEXT PRIMARY KEY,
      name      TEXT NOT NULL,
      card      TEXT NOT NULL,                -- AgentCard as we read it
      origin    TEXT NOT NULL,                -- typed | near | task | lan: how we came to know it
      key       TEXT,                         -- did that has signed its card
      headers   TEXT NOT NULL DEFAULT '{}',   -- credentials, as HTTP headers for its origin
      last_seen REAL
    ) WITHOUT ROWID;

    -- What such an agent must still be told, in order; removed by its answer. The messages are with their tasks.
    CREATE TABLE web_letters(
      n       INTEGER PRIMARY KEY,
      task    TEXT NOT NULL,
      type    TEXT NOT NULL,                  -- message | cancel
      message TEXT NOT NULL,                  -- its id; empty for none
      created REAL NOT NULL
    );

    -- What such an agent calls the conversations that we have with it.
    CREATE TABLE web_contexts(
      peer    TEXT NOT NULL,
      context TEXT NOT NULL,
      remote  TEXT NOT NULL,
      PRIMARY KEY(peer, context)
    ) WITHOUT ROWID;

    -- Where an A2A client wants to be told how its task gets on.
    CREATE TABLE push_configs(
      task   TEXT NOT NULL,
      id     TEXT NOT NULL,
      config TEXT NOT NULL,                   -- TaskPushNotificationConfig
      told   INTEGER NOT NULL DEFAULT 0,      -- whether its task has ended and that was posted, or given up
      PRIMARY KEY(task, id)
    ) WITHOUT ROWID;

    -- Files beside messages, in or out; the content, sealed, is in a file of its own (`store.spool`).
    CREATE TABLE blobs(
      direction TEXT NOT NULL,                -- out | in
      peer      TEXT NOT NULL,                -- who sends it; empty for our own
      id        TEXT NOT NULL,                -- the sender's choice
      task      TEXT NOT NULL,
      pieces    INTEGER NOT NULL,             -- messages it travels in
      size      INTEGER NOT NULL,             -- bytes it may take here
      have      BLOB NOT NULL,                -- one bit for each piece that is here
      checked   TEXT,                         -- its SHA-256 once it was opened to the end, or why it could not be
      created   REAL NOT NULL,
      PRIMARY KEY(direction, peer, id)
    ) WITHOUT ROWID;
    CREATE INDEX blobs_by_task ON blobs(task);
    """,
    """
    -- Since when a task has its status, in whole milliseconds, as A2A shows it: lists of A2A go by it. What streams
    -- moves `updated` on, and not this.
    ALTER TABLE tasks ADD COLUMN status_at INTEGER NOT NULL DEFAULT 0;
    UPDATE tasks SET status_at = CAST(ROUND(COALESCE(
      (julianday(CASE WHEN json_valid(CAST(status AS TEXT)) THEN json_extract(CAST(status AS TEXT), '$.timestamp') END)
        - 2440587.5) * 86400000, CAST(updated * 1000 AS INTEGER))) AS INTEGER);
    DROP INDEX tasks_by_peer;
    CREATE INDEX tasks_by_peer ON tasks(peer, direction, caller, status_at DESC, id DESC);
    """,
    """
    -- What the recipient of a copy at a relay must sign, which is more than the copy's id. Copies of which only the id
    -- was kept can no longer be confirmed, so their messages are sent again; the recipient knows them by their own id.
    ALTER TABLE outbox RENAME COLUMN envelope TO postmark;
    UPDATE outbox SET relay = NULL, postmark = NULL;
    """,
    """
    -- When a task was first seen to be over, by the later of wall clock and sound time (`protocol.aging`); deletion
    -- goes by it. The date of the message that opened a received task, and the latest that a copy of it may have.
    ALTER TABLE tasks ADD COLUMN ended REAL;
    ALTER TABLE tasks ADD COLUMN opened REAL NOT NULL DEFAULT 0.0;
    ALTER TABLE tasks ADD COLUMN dated REAL NOT NULL DEFAULT 0.0;
    UPDATE tasks SET opened = created, dated = created WHERE direction = 'received';
    CREATE INDEX tasks_by_end ON tasks(ended);
    -- When a letter was journalled, by the sound time.
    ALTER TABLE outbox ADD COLUMN kept REAL NOT NULL DEFAULT 0.0;
    """,
    """
    -- What a person answered when asked whether something may be sent to an agent: by its did, or by the URL of an
    -- agent that has none. Never by a name, which the agent chooses.
    CREATE TABLE consents(
      agent   TEXT NOT NULL,
      subject TEXT NOT NULL,                  -- text | files
      verdict TEXT NOT NULL,                  -- allowed | declined
      at      REAL NOT NULL,
      PRIMARY KEY(agent, subject)
    ) WITHOUT ROWID;
    """,
    """
    -- Which agents have a task of ours that is not finished: asked whenever a link to one of them ends.
    CREATE INDEX tasks_asked ON tasks(peer, updated) WHERE direction = 'sent'
      AND state NOT IN ('TASK_STATE_COMPLETED', 'TASK_STATE_FAILED', 'TASK_STATE_CANCELED', 'TASK_STATE_REJECTED');
    """,
    """
    -- Where a stranger's message came from: a host, "relay" or "here".
    ALTER TABLE held ADD COLUMN host TEXT NOT NULL DEFAULT '';
    """,
    """
    -- Rows that could not be read, each as it was found, with the reason (`store.audit`).
    CREATE TABLE damaged(
      n       INTEGER PRIMARY KEY,
      source  TEXT NOT NULL,                  -- its table; empty where that is not known
      reason  TEXT NOT NULL,
      content TEXT NOT NULL,                  -- JSON: column -> value; bytes as {"hex": ...}
      at      TEXT NOT NULL                   -- when it was set aside
    );
    -- What a list of tasks asks for: its pages are read in order, and none of what lies between.
    CREATE INDEX tasks_by_state ON tasks(state, updated DESC, id DESC);
    CREATE INDEX tasks_by_direction ON tasks(direction, updated DESC, id DESC);
    DROP INDEX tasks_by_update;
    CREATE INDEX tasks_by_update ON tasks(updated DESC, id DESC);
    """,
    """
    -- When a file that came was written elsewhere for its owner.
    ALTER TABLE blobs ADD COLUMN saved REAL;
    """,
    """
    -- When a person had its texts and files removed. The row stays until no message of it can come again.
    ALTER TABLE tasks ADD COLUMN forgotten REAL;
    CREATE INDEX tasks_forgotten ON tasks(ended) WHERE forgotten IS NOT NULL;
    DROP INDEX tasks_by_state;
    DROP INDEX tasks_by_direction;
    DROP INDEX tasks_by_update;
    CREATE INDEX tasks_by_state ON tasks(state, updated DESC, id DESC) WHERE forgotten IS NULL;
    CREATE INDEX tasks_by_direction ON tasks(direction, updated DESC, id DESC) WHERE forgotten IS NULL;
    CREATE INDEX tasks_by_update ON tasks(updated DESC, id DESC) WHERE forgotten IS NULL;
    """,
    """
    -- What a client of our A2A server asks for, and how many tasks there are of it: no row is looked at to count them.
    DROP INDEX tasks_by_peer;
    CREATE INDEX tasks_by_peer ON tasks(peer, direction, caller, status_at DESC, id DESC)
      WHERE NOT direct AND forgotten IS NULL;
    CREATE INDEX tasks_by_context ON tasks(context_id);
    """,
    """
    -- The name of an agent at the time a person trusted it: under a later name it is an agent like any other.
    ALTER TABLE peers ADD COLUMN paired TEXT NOT NULL DEFAULT '';
    UPDATE peers SET paired = name WHERE trust = 'trusted';
    """,
    """
    -- Of a task at a URL: the newest status that its agent told, and how much it had made when we spoke last.
    ALTER TABLE tasks ADD COLUMN heard TEXT;
    ALTER TABLE tasks ADD COLUMN made INTEGER NOT NULL DEFAULT 0;
    """,
    """
    -- Whether the card that a key has signed names the place that it was read from: then the agent there is that key's.
    ALTER TABLE web_agents ADD COLUMN bound INTEGER NOT NULL DEFAULT 0;
    """,
    f"""
    -- Each list reads an index in its order, whatever it is restricted to, and none sorts or skips.
    DROP INDEX tasks_by_state;
    CREATE INDEX tasks_by_state ON tasks(state, direction, updated DESC, id DESC) WHERE forgotten IS NULL;
    DROP INDEX tasks_by_peer;
    CREATE INDEX tasks_by_peer ON tasks(peer, direction, caller, status_at DESC, id DESC) WHERE {LISTED};
    CREATE INDEX tasks_by_peer_state ON tasks(peer, direction, caller, state, status_at DESC, id DESC) WHERE {LISTED};
    CREATE INDEX tasks_by_peer_context ON tasks(peer, direction, caller, context_id, status_at DESC, id DESC, state)
      WHERE {LISTED};
    -- People type the end of an id.
    CREATE INDEX tasks_by_ending ON tasks(substr(id, -4));

    -- How many tasks an A2A client has, by state: a list says how many there are in all. Kept by the triggers below.
    CREATE TABLE task_counts(
      peer      TEXT NOT NULL,
      direction TEXT NOT NULL,
      caller    TEXT NOT NULL,
      context   TEXT NOT NULL,                -- "=" and the id of a context of a client; empty: of all contexts
      state     TEXT NOT NULL,
      n         INTEGER NOT NULL,
      PRIMARY KEY(peer, direction, caller, context, state)
    ) WITHOUT ROWID;
    INSERT INTO task_counts SELECT peer, direction, caller, '', state, COUNT(*) FROM tasks WHERE {LISTED}
      GROUP BY peer, direction, caller, state;
    INSERT INTO task_counts SELECT peer, direction, caller, '=' || context_id, state, COUNT(*) FROM tasks
      WHERE {LISTED} AND (caller <> '' OR peer GLOB 'caller:*') GROUP BY peer, direction, caller, context_id, state;
    CREATE TRIGGER tasks_counted_in AFTER INSERT ON tasks WHEN {_listed("NEW")} BEGIN {_COUNT_NEW} END;
    CREATE TRIGGER tasks_counted_out AFTER DELETE ON tasks WHEN {_listed("OLD")} BEGIN {_COUNT_OLD} END;
    CREATE TRIGGER tasks_counted_anew AFTER UPDATE ON tasks
      WHEN ({_listed("OLD")} OR {_listed("NEW")}) AND ({_COUNTED_BY}) BEGIN {_COUNT_OLD} {_COUNT_NEW} END;
    """,  # noqa: S608  as above
    """
    -- Number of the newest entry of a member that a relay has listed: an older withdrawal is no news.
    ALTER TABLE members ADD COLUMN seq INTEGER NOT NULL DEFAULT -1;
    """,
    """
    -- The number of a task's newest logged event. Of a task of before: none; its first one to come is number 1.
    ALTER TABLE tasks ADD COLUMN events INTEGER NOT NULL DEFAULT 0;

    -- What a reader may be told of each task (`store.task_events`). Appended; the events of a task are a range of ids.
    CREATE TABLE task_events(
      id   INTEGER PRIMARY KEY,               -- tasks.n << 24 | number within the task, from 1
      at   REAL NOT NULL,
      kind TEXT NOT NULL,
      size INTEGER NOT NULL DEFAULT 0,        -- bytes of the body as it was; before it, so that it is read alone
      body BLOB                               -- what the row of the task will not say later; none: nothing, or dropped
    );
    CREATE INDEX task_events_full ON task_events(at, size) WHERE body IS NOT NULL;
    CREATE TRIGGER tasks_events_out AFTER DELETE ON tasks WHEN OLD.events > 0 BEGIN
      DELETE FROM task_events WHERE id BETWEEN OLD.n << 24 AND OLD.n << 24 | 16777215;
    END;
    """,
    f"""
    -- Each change of a task kept three indexes of its time: the one by state and direction has every list in its order,
    -- state beside state. Contexts are looked up of tasks alone that may be at a URL.
    DROP INDEX tasks_by_direction;
    DROP INDEX tasks_by_update;
    DROP INDEX tasks_by_context;
    CREATE INDEX tasks_by_context ON tasks(context_id) WHERE {OF_CONTEXTS};
    """,
    """
    -- One journal: what agents at URLs must still be told is in it too. Such a row has the URL as its peer, names the
    -- message by "task/message", and has no payload: the message is with its task. Numbers below 1 keep the order and
    -- are those of no other row.
    INSERT INTO outbox(n, id, peer, task, seq, type, payload, created, expires, kept)
      SELECT l.n - (SELECT MAX(n) FROM web_letters),
        l.task || '/' || CASE l.message WHEN '' THEN 'cancel-' || l.n ELSE l.message END,
        t.peer, l.task, 0, l.type, x'', l.created, l.created + 604800.0, l.created
      FROM web_letters AS l JOIN tasks AS t ON t.id = l.task;
    DROP TABLE web_letters;
    """,
)

VERSION = len(MIGRATIONS)

MAX_VERSION = 10_000
"""No version to come has a number like this; a damaged one may."""


def version_of(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> int:
    """The version of a database; 0 for an empty one. To be read before anything is done to it.

    Raises:
        SchemaTooNewError: that of a newer mcp-a2a; nothing was changed.
        sqlite3.DatabaseError: one that cannot be.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if len(migrations) < found <= MAX_VERSION:
        raise SchemaTooNewError(str(path), found, len(migrations))
    if not 0 <= found <= len(migrations):
        raise sqlite3.DatabaseError(f"it claims to have schema {found}")
    return found


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    """Bring the database to the last of `migrations`."""
    found = version_of(connection, path, migrations)
    if found == 0 and connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise sqlite3.DatabaseError("it has tables, but no schema version")
    if 0 < found < len(migrations):
        _back_up(connection, path.with_name(f"{path.name}.schema-{found}"))
    for number in range(found, len(migrations)):
        # One transaction each: a process killed in the middle leaves the old schema, whole.
        connection.executescript(f"BEGIN IMMEDIATE;{migrations[number]};PRAGMA user_version={number + 1};COMMIT")


def drop_copies(path: Path, before: float = math.inf) -> None:
    """Remove the copies of older versions of a database that were made before then (seconds since the epoch).

    Such a copy has the keys and the texts of its day: they are not to outlive those that were dropped here since.
    """
    with suppress(OSError):  # no open file may be left to look for them: they go the next time
        for copy in path.parent.glob(f"{glob.escape(path.name)}.schema-*"):
            if copy.stat().st_mtime < before:
                copy.unlink()


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    target.touch(mode=0o600)
    with sqlite3.connect(target) as copy:
        connection.backup(copy)
    copy.close()
    target.chmod(0o600)
