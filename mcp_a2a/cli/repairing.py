"""The command that reads the whole database of an identity, and saves what can be read of a damaged one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mcp_a2a.cli.session import session_of
from mcp_a2a.errors.machine import NodeRunsError
from mcp_a2a.plurals import many

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from mcp_a2a.store.repair import Repaired

LEAVE_SECONDS = 5.0
"""Seconds in which a process that stands in for the identity must leave."""

PEEK_SECONDS = 0.2
"""Seconds for which a process may have the lock that only looks whether another has it."""


def repair(context: typer.Context) -> None:
    """Check the database, and repair it if it is damaged.

    Stop all processes of this identity first. Damaged rows are moved to the table `damaged`; a damaged file is kept
    next to the repaired one.
    """
    from mcp_a2a.loop import run
    from mcp_a2a.node.ipc.glance import ask_to_leave
    from mcp_a2a.store.disk import refused
    from mcp_a2a.store.folder import open_folder
    from mcp_a2a.store.folder_lock import lock_folder
    from mcp_a2a.store.owner_file import has_stand_in, read_owner, state_of

    session = session_of(context)
    settings = session.settings()
    open_folder(settings.home)
    open_folder(settings.folder)
    leaves = has_stand_in(settings.folder)
    if leaves:
        ask_to_leave(settings.folder)
    try:
        lock = lock_folder(settings.folder, LEAVE_SECONDS if leaves else PEEK_SECONDS)
    except OSError as error:
        raise refused(settings.folder, error) from error
    if lock is None:
        pid = read_owner(settings.folder)
        raise NodeRunsError(settings.identity, pid, state_of(pid))
    try:
        session.output.progress("… reading the whole database")
        done = run(lambda: _repair(settings.folder))
        session.output.progress("")
    finally:
        lock.release()
    fields: dict[str, JsonValue] = {
        "database": str(done.path),
        "in_order": not done.found,
        "found": list(done.found),
        "found_before": list(done.found_before),
        "damaged_rows": done.damaged_rows,
        "damaged_files": [str(path) for path in done.damaged_files],
    }
    session.output.show_fields(fields, lambda: session.output.line("\n".join(_lines(done))))


async def _repair(folder: Path) -> Repaired:
    from mcp_a2a.store.offline import DATABASE
    from mcp_a2a.store.repair import repair as repair_database
    from mcp_a2a.wall_clock import stamp_of_now

    stamp = stamp_of_now()
    return await repair_database(folder / DATABASE, stamp)


def _lines(done: Repaired) -> list[str]:
    lines = [f"found before: {sentence}" for sentence in done.found_before]
    lines += [f"repaired: {sentence}" for sentence in done.found]
    if not done.found:
        lines.append(f"{done.path} is in order.")
    if done.damaged_rows:
        lines.append(f"{many(done.damaged_rows, 'damaged row')} kept in its table `damaged`.")
    if done.damaged_files:
        lines.append("Damaged files kept: " + ", ".join(map(str, done.damaged_files)))
    return lines
