"""Agents at URLs in the database: who they are, what they call our conversations."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from mcp_a2a.protocol.model import AgentCard, TaskPushNotificationConfig
from mcp_a2a.store.schema import OF_CONTEXTS, OPEN

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


def unfinished_web_tasks(connection: sqlite3.Connection) -> list[str]:
    """Tasks of which an agent at a URL must be asked how they get on."""
    rows = connection.execute(
        "SELECT id FROM tasks INDEXED BY tasks_asked WHERE direction = 'sent'"  # noqa: S608  ours
        f" AND {OPEN} AND peer GLOB 'http*'"
        " AND state IN ('TASK_STATE_SUBMITTED', 'TASK_STATE_WORKING', 'TASK_STATE_AUTH_REQUIRED')"
    ).fetchall()
    return [str(row[0]) for row in rows]


def put_web_context(connection: sqlite3.Connection, peer: str, context: str, remote: str) -> None:
    """Store the agent's own id of a conversation."""
    connection.execute("INSERT OR REPLACE INTO web_contexts VALUES (?,?,?)", (peer, context, remote))


def forget_web_contexts(connection: sqlite3.Connection) -> None:
    """Drop the names of conversations of which no task is left."""
    connection.execute(
        f"DELETE FROM web_contexts WHERE context NOT IN (SELECT context_id FROM tasks WHERE {OF_CONTEXTS})"  # noqa: S608
    )


def find_web_context(connection: sqlite3.Connection, peer: str, context: str) -> str | None:
    """The agent's own id of a conversation; None if it knows none."""
    row = connection.execute("SELECT remote FROM web_contexts WHERE peer=? AND context=?", (peer, context)).fetchone()
    return str(row[0]) if row else None


# Where A2A clients want to be told how their tasks get on.


def put_push(connection: sqlite3.Connection, config: TaskPushNotificationConfig) -> None:
    """Keep a configuration; one with the same id is replaced, and told anew."""
    connection.execute(
        "INSERT INTO push_configs(task, id, config) VALUES (?, ?, ?)"
        " ON CONFLICT(task, id) DO UPDATE SET config=excluded.config, told=0",
        (config.task_id, config.id, config.to_json()),
    )


def push_configs(connection: sqlite3.Connection, task: str) -> list[TaskPushNotificationConfig]:
    """The configurations of a task, in the order of their ids."""
    return _configs(connection, "task=?", task)


def untold_configs(connection: sqlite3.Connection) -> list[TaskPushNotificationConfig]:
    """Those that still wait for the end of their task."""
    return _configs(connection, "NOT told")


def count_other_untold(
    connection: sqlite3.Connection, config: TaskPushNotificationConfig, caller: str
) -> tuple[int, int]:
    """The number of the others beside this one: of all callers, and of this one."""
    query = (
        "SELECT COUNT(*), COUNT(*) FILTER (WHERE tasks.caller = ?) FROM push_configs JOIN tasks ON tasks.id = task"
        " WHERE NOT told AND (task, push_configs.id) <> (?, ?)"
    )
    of_all, of_caller = connection.execute(query, (caller, config.task_id, config.id)).fetchone()
    return int(of_all), int(of_caller)


def _configs(connection: sqlite3.Connection, where: str, *values: str) -> list[TaskPushNotificationConfig]:
    rows = connection.execute(f"SELECT config FROM push_configs WHERE {where} ORDER BY task, id", values)  # noqa: S608
    return [TaskPushNotificationConfig.model_validate_json(row[0]) for row in rows]


def mark_told(connection: sqlite3.Connection, task: str, config_id: str) -> None:
    """There is nothing more to post for it."""
    connection.execute("UPDATE push_configs SET told=1 WHERE task=? AND id=?", (task, config_id))


def drop_push(connection: sqlite3.Connection, task: str, config_id: str | None = None) -> None:
    """Forget a configuration, or all of a task."""
    connection.execute("DELETE FROM push_configs WHERE task=? AND (? IS NULL OR id=?)", (task, config_id, config_id))


def drop_orphaned_push(connection: sqlite3.Connection) -> None:
    """Forget the configurations of tasks that are forgotten."""
    connection.execute("DELETE FROM push_configs WHERE task NOT IN (SELECT id FROM tasks)")
