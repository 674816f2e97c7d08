"""Where A2A clients want to be told how their tasks get on."""

from __future__ import annotations

import sqlite3

from mcp_a2a.protocol.model import TaskPushNotificationConfig


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
    """How many of these there are beside this one: of all callers, and of this one."""
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
