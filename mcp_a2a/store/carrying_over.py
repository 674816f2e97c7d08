"""Takes whole tables from a damaged database to a new one, where SQLite can still read them from end to end.

For a relay: what decides who is served is not to be lost with the mail, and is not to be guessed from pages that may
hold what was deleted, as `salvage` does. Tables that belong together come together, or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path


def carry_over(
    damaged: Path,
    fresh: sqlite3.Connection,
    groups: Sequence[tuple[str, ...]],
    audit: Callable[[sqlite3.Connection], object],
) -> tuple[str, ...]:
    """Copy each group of tables; the names of those that could not be read, or that `audit` does not take."""
    lost: list[str] = []
    with closing(sqlite3.connect(damaged, isolation_level=None)) as source:
        for tables in groups:
            fresh.execute("BEGIN IMMEDIATE")
            try:
                for table in tables:
                    _copy(source, fresh, table)
                audit(fresh)
            except sqlite3.DatabaseError as error:
                fresh.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and _is_of_the_disk(error):
                    raise
                lost += tables
            else:
                fresh.execute("COMMIT")
    return tuple(lost)


def _copy(source: sqlite3.Connection, fresh: sqlite3.Connection, table: str) -> None:
    names = [str(row[1]) for row in fresh.execute(f"PRAGMA table_info({table})")]
    rows = source.execute(f"SELECT {', '.join(names)} FROM {table}")  # noqa: S608  names of ours
    holes = ", ".join("?" * len(names))
    fresh.executemany(f"INSERT INTO {table}({', '.join(names)}) VALUES ({holes})", rows)  # noqa: S608  as above


def _is_of_the_disk(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
