"""A database that does not wait for the disk, for tests that must notice that."""

from __future__ import annotations

import os
import sqlite3


class Careless(sqlite3.Connection):
    """Commits without fsync."""

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous=FULL", "synchronous=NORMAL"), *parameters)


def where_asked() -> None:
    """Make every database of this process careless, where CARELESS is set."""
    if os.environ.get("CARELESS"):
        connect = sqlite3.connect
        sqlite3.connect = lambda *arguments, **options: connect(*arguments, **options, factory=Careless)
