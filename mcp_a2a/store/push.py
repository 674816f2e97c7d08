"""Where A2A clients want to be told how their tasks get on."""

from __future__ import annotations

import sqlite3

from mcp_a2a.protocol.model import TaskPushNotificationConfig


def put_push(connection: sqlite3.Connection, config: TaskPushNotificationConfig) -> None:
    """Keep a configuration; one with the same id is replaced."""
    connection.execute(
        "INSERT INTO push_configs(task, id, config) VALUES (?, ?, ?)"
        " ON CONFLICT(task, id) DO UPDATE SET config=excluded.config",
        (config.task_id, config.id, config.to_json()),
    )


def push_configs(connection: sqlite3.Connection, task: str | None = None) -> list[TaskPushNotificationConfig]:
    """The configurations of a task, or all there are, in the order of their ids."""
    where, values = ("WHERE task=?", (task,)) if task is not None else ("", ())
    rows = connection.execute(f"SELECT config FROM push_configs {where} ORDER BY task, id", values)  # noqa: S608
    return [TaskPushNotificationConfig.model_validate_json(row[0]) for row in rows]


def drop_push(connection: sqlite3.Connection, task: str, config_id: str | None = None) -> None:
    """Forget a configuration, or all of a task."""
    connection.execute("DELETE FROM push_configs WHERE task=? AND (? IS NULL OR id=?)", (task, config_id, config_id))
