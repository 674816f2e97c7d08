"""Reads rows out of the pages of a SQLite file without the help of SQLite, which stops where a page is damaged.

A row lives in one leaf page (and its overflow pages). Neither the pages above it nor its neighbors are needed to read
it, so damage costs the rows that it hits. Layout: sqlite.org/fileformat2.html, sections 1.3 to 2.3.
"""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Value = None | int | float | str | bytes

TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x0A, 0x02
TABLE_INTERIOR = 0x05
MIN_WIDE = 10
"""A row of so many values, all of kinds that exist and of the right length in all, is there by no accident."""

MAX_PAYLOAD = 1 << 30
DEFAULT_PAGE = 4096
FILE_HEADER = 100
REAL = 7
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Bytes of an integer by its serial type."""


class NotUtf8(bytes):
    """A text that is none; kept as it was found."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row as it lies in a page. `rowid` is None in an index, and in a table without rowids."""

    rowid: int | None
    values: tuple[Value, ...]


@dataclass(slots=True)
class Pages:
    """A database file in memory, page by page."""

    data: bytes
    unreadable: int = 0
    """Rows that a page announces and that could not be read."""
    _known: set[int] = field(default_factory=set)
    """Pages that are of a kind we know, or continue a row."""

    @property
    def page_size(self) -> int:
        """Bytes of a page, by the header; the usual number where the header cannot be right."""
        size = int.from_bytes(self.data[16:18], "big")
        size = 65_536 if size == 1 else size
        return size if size >= 512 and size & (size - 1) == 0 else DEFAULT_PAGE

    @property
    def usable(self) -> int:
        """Bytes of a page that hold content; we reserve none."""
        return self.page_size

    def rows(self) -> Iterator[FoundRow]:
        """Every row that can be read, in the order of the pages; of a page that is damaged, possibly more than once."""
        size, damaged = self.page_size, list[int]()
        for number in range(1, len(self.data) // size + 1):
            before = self.unreadable
            yield from self._rows_of(self._page(number), FILE_HEADER if number == 1 else 0, number)
            if self.unreadable > before:
                damaged.append(number)
        # A damaged page does not tell where its rows begin, or what it is: look for them at every byte.
        strange = [number for number in range(1, len(self.data) // size + 1) if number not in self._known]
        for number in (*damaged, *strange):
            for row in self._rows_anywhere_in(self._page(number)):
                self.unreadable = max(0, self.unreadable - 1)
                yield row

    def _page(self, number: int) -> bytes:
        return self.data[(number - 1) * self.page_size : number * self.page_size]

    def _rows_of(self, page: bytes, at: int, page_number: int) -> Iterator[FoundRow]:
        kind = page[at]
        if kind == TABLE_INTERIOR:
            self._known.add(page_number)
        if kind not in (TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR):
            return
        count = int.from_bytes(page[at + 3 : at + 5], "big")
        first = at + (12 if kind == INDEX_INTERIOR else 8)
        if first + 2 * count > len(page):
            return
        self._known.add(page_number)
        for number in range(count):
            place = int.from_bytes(page[first + 2 * number : first + 2 * number + 2], "big")
            try:
                yield self._cell(page, place, kind)
            except (ValueError, IndexError, struct.error):
                self.unreadable += 1

    def _rows_anywhere_in(self, page: bytes) -> Iterator[FoundRow]:
        if not any(page):
            return  # what was deleted is overwritten with zeros
        for place in range(len(page) - MIN_WIDE):
            try:
                row = self._cell(page, place, TABLE_LEAF)
            except (ValueError, IndexError, struct.error):
                continue
            if len(row.values) >= MIN_WIDE:
                yield row

    def _cell(self, page: bytes, place: int, kind: int) -> FoundRow:
        at = place + (4 if kind == INDEX_INTERIOR else 0)
        length, at = _varint(page, at)
        rowid = None
        if kind == TABLE_LEAF:
            rowid, at = _varint(page, at)
        return FoundRow(rowid, _record(self._payload(page, at, length, table=kind == TABLE_LEAF)))

    def _payload(self, page: bytes, at: int, length: int, *, table: bool) -> bytes:
        if not 0 < length <= min(MAX_PAYLOAD, len(self.data)):
            raise ValueError("a row of no possible length")
        usable = self.usable
        most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
        if length <= most:
            return _exactly(page[at : at + length], length)
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        local = local if local <= most else least
        payload = bytearray(_exactly(page[at : at + local], local))
        follows = int.from_bytes(page[at + local : at + local + 4], "big")
        while len(payload) < length:
            start = (follows - 1) * self.page_size
            if follows < 1 or start + usable > len(self.data):
                raise ValueError("a row goes on in no page of the file")
            self._known.add(follows)
            payload += self.data[start + 4 : start + 4 + min(usable - 4, length - len(payload))]
            follows = int.from_bytes(self.data[start : start + 4], "big")
        return bytes(payload)


def _exactly(piece: bytes, length: int) -> bytes:
    if len(piece) != length:
        raise ValueError("a row ends outside of its page")
    return piece


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The variable-length integer there (signed, as rowids are), and where it ends."""
    value = 0
    for number in range(8):
        byte = data[at + number]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + number + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _record(payload: bytes) -> tuple[Value, ...]:
    """The values of a record.

    Raises:
        ValueError, IndexError: it is none.
    """
    header, at = _varint(payload, 0)
    if not at <= header <= len(payload):
        raise ValueError("a record whose header is longer than itself")
    kinds: list[int] = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    place = header
    for kind in kinds:
        value, place = _value(payload, place, kind)
        values.append(value)
    if at != header or place != len(payload):
        raise ValueError("a record of another length than its values")
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in (0, 8, 9):
        return (None if kind == 0 else kind - 8), at
    size = _size(kind)
    content = _exactly(payload[at : at + size], size)
    return _decoded(content, kind), at + size


def _size(kind: int) -> int:
    if kind in (10, 11) or kind < 0:
        raise ValueError("a kind of value that does not exist")
    return 8 if kind == REAL else _INTEGERS.get(kind) or (kind - 12) // 2


def _decoded(content: bytes, kind: int) -> Value:
    if kind in _INTEGERS:
        return int.from_bytes(content, "big", signed=True)
    if kind == REAL:
        return float(struct.unpack(">d", content)[0])
    if kind % 2 == 0:
        return content
    try:
        return content.decode()
    except UnicodeDecodeError:
        return NotUtf8(content)


# What a row of each table looks like, learned from a database that was just made.
#
# SQLite stores any value in any column. A row that does not fit its table was not written by us.


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
