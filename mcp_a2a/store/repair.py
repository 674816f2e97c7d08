"""A full check of a database on demand."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from mcp_a2a.store.checked import forget_checked
from mcp_a2a.store.opening import DAMAGE, damage, open_database
from mcp_a2a.store.salvage import damaged_files


@dataclass(frozen=True, slots=True)
class Repaired:
    """The findings of a repair, and those before it."""

    path: Path
    found: tuple[str, ...]
    found_before: tuple[str, ...]
    damaged_rows: int
    damaged_files: tuple[Path, ...]


async def repair(path: Path, stamp: str) -> Repaired:
    """Read everything, save what can be read, and drop the note about damage: a person reads of it here.

    Raises:
        HomeUnusableError, SchemaTooNewError, StorageFullError: as `open_database`.
    """
    forget_checked(path)
    async with open_database(path, stamp, unreadable=True) as database:
        told = database.read(damage)
        rows = database.read(lambda connection: connection.execute("SELECT COUNT(*) FROM damaged").fetchone()[0])
        await database.write(_drop_note)
    found = tuple(sentence for sentence in told if sentence.startswith(f"{stamp}:"))
    before = tuple(sentence for sentence in told if sentence not in found)
    return Repaired(path, found, before, int(rows), damaged_files(path))


def _drop_note(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM meta WHERE key=?", (DAMAGE,))
