"""What a row of each table looks like, learned from a database that was just made.

SQLite stores any value in any column. A row that does not fit its table was not written by us.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mcp_a2a.store.pages import NotUtf8, Value


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    is_null_allowed: bool
    default: str | None

    def takes(self, value: Value) -> bool:
        """True if we would store this value here. A whole number in a REAL column is stored as an integer."""
        if value is None:
            return self.is_null_allowed
        match self.type:
            case "INTEGER":
                return isinstance(value, int)
            case "REAL":
                return isinstance(value, int | float) and math.isfinite(value)
            case "BLOB":
                return isinstance(value, bytes) and not isinstance(value, NotUtf8)
            case _:  # JSON is stored as the bytes that pydantic makes
                return isinstance(value, str | bytes) and not isinstance(value, NotUtf8)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of ours; its columns in the order in which a record holds them."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    has_rowid: bool

    def misfit(self, values: Sequence[Value]) -> str | None:
        """Why these values are no row of it, if they are none. Columns that were added later may be missing."""
        if any(isinstance(value, NotUtf8) for value in values):
            return "a text is not UTF-8"
        if len(values) > len(self.columns):
            return "it has more values than the table has columns"
        for column, value in zip(self.columns, values, strict=False):
            if not column.takes(value):
                return f"{column.name} is no {column.type}"
        rest = self.columns[len(values) :]
        if any(column.default is None and not column.is_null_allowed for column in rest):
            return "values are missing"
        return None


def tables_of(connection: sqlite3.Connection) -> tuple[Table, ...]:
    """The tables of a database that is whole."""
    found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'")
    return tuple(_table(connection, name, "WITHOUT ROWID" in sql.upper()) for name, sql in found.fetchall())


def _table(connection: sqlite3.Connection, name: str, keyed: bool) -> Table:  # noqa: FBT001  of `sql`, nothing else
    rows = connection.execute(f"PRAGMA table_info({name})").fetchall()
    keys = sorted((row for row in rows if row[5]), key=lambda row: int(row[5]))
    # A table without rowids holds its key first (fileformat2.html, section 2.4).
    ordered = [*keys, *(row for row in rows if not row[5])] if keyed else rows
    columns = tuple(Column(str(row[1]), str(row[2]), not row[3] and not (keyed and row[5]), row[4]) for row in ordered)
    return Table(name, columns, tuple(str(row[1]) for row in keys), not keyed)


def by_name(tables: Iterable[Table]) -> Mapping[str, Table]:
    """The tables under their names."""
    return {table.name: table for table in tables}
