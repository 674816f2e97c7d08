"""Agents at URLs in the database: who they are, what they must still be told, what they call our conversations."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.store.schema import OPEN

_HEADERS = TypeAdapter(dict[str, str])


@dataclass(slots=True)
class WebRow:
    """A row of `web_agents`, parsed."""

    url: str
    name: str
    card: AgentCard
    origin: str
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    last_seen: float | None = None
    bound: bool = False
    """True if the card that `key` has signed names no place but the origin that it was read from."""


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A row of `web_letters`."""

    n: int
    task: str
    type: str
    message: str
    created: float


def save_web_agent(connection: sqlite3.Connection, row: WebRow) -> None:
    """Keep what is known of an agent."""
    connection.execute(
        "INSERT OR REPLACE INTO web_agents(url, name, card, origin, key, headers, last_seen, bound)"
        " VALUES (?,?,?,?,?,?,?,?)",
        (row.url, row.name, row.card.to_json(), row.origin, row.key, json.dumps(row.headers), row.last_seen, row.bound),
    )


def all_web_agents(connection: sqlite3.Connection) -> list[WebRow]:
    """Every agent at a URL that can still be read."""
    rows = connection.execute(
        "SELECT url, name, card, origin, key, headers, last_seen, bound FROM web_agents"
    ).fetchall()
    found = []
    for url, name, card, origin, key, headers, last_seen, bound in rows:
        try:
            read, secrets = AgentCard.model_validate_json(card), _HEADERS.validate_json(headers)
        except ValidationError:
            continue  # written by a version with other rules: it is read anew when it is named again
        found.append(WebRow(url, name, read, origin, key, secrets, last_seen, bool(bound)))
    return found


def forget_web_agent(connection: sqlite3.Connection, url: str) -> None:
    """As if it had never been met."""
    connection.execute("DELETE FROM web_agents WHERE url=?", (url,))
    connection.execute("DELETE FROM web_contexts WHERE peer=?", (url,))


def put_web_letter(connection: sqlite3.Connection, task: str, kind: str, message: str, now: float) -> None:
    """Something the agent of a task must be told."""
    connection.execute(
        "INSERT INTO web_letters(task, type, message, created) VALUES (?,?,?,?)", (task, kind, message, now)
    )


def next_web_letter(connection: sqlite3.Connection, task: str) -> LetterRow | None:
    """What the agent of a task must be told next."""
    row = connection.execute(
        "SELECT n, task, type, message, created FROM web_letters WHERE task=? ORDER BY n LIMIT 1", (task,)
    ).fetchone()
    return LetterRow(*row) if row else None


def drop_web_letter(connection: sqlite3.Connection, letter: LetterRow) -> None:
    """It was told. What has got its number since, because it was withdrawn meanwhile, is another one."""
    connection.execute(
        "DELETE FROM web_letters WHERE n=? AND task=? AND type=? AND message=? AND created=?",
        (letter.n, letter.task, letter.type, letter.message, letter.created),
    )


def drop_web_letters(connection: sqlite3.Connection, task: str) -> None:
    """Nothing of this is wanted any more."""
    connection.execute("DELETE FROM web_letters WHERE task=?", (task,))


def count_web_letters(connection: sqlite3.Connection) -> int:
    """How much waits."""
    return int(connection.execute("SELECT COUNT(*) FROM web_letters").fetchone()[0])


def unfinished_web_tasks(connection: sqlite3.Connection) -> list[str]:
    """Tasks that an agent at a URL must be told something about, or must be asked about."""
    rows = connection.execute(
        "SELECT task FROM web_letters UNION SELECT id FROM tasks INDEXED BY tasks_asked WHERE direction = 'sent'"  # noqa: S608  ours
        f" AND {OPEN} AND peer GLOB 'http*'"
        " AND state IN ('TASK_STATE_SUBMITTED', 'TASK_STATE_WORKING', 'TASK_STATE_AUTH_REQUIRED')"
    ).fetchall()
    return [str(row[0]) for row in rows]


def put_web_context(connection: sqlite3.Connection, peer: str, context: str, remote: str) -> None:
    """What the agent calls a conversation."""
    connection.execute("INSERT OR REPLACE INTO web_contexts VALUES (?,?,?)", (peer, context, remote))


def forget_web_contexts(connection: sqlite3.Connection) -> None:
    """Drop the names of conversations of which no task is left."""
    connection.execute("DELETE FROM web_contexts WHERE context NOT IN (SELECT context_id FROM tasks)")


def find_web_context(connection: sqlite3.Connection, peer: str, context: str) -> str | None:
    """What the agent calls a conversation, if it has heard of it."""
    row = connection.execute("SELECT remote FROM web_contexts WHERE peer=? AND context=?", (peer, context)).fetchone()
    return str(row[0]) if row else None
