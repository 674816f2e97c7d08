"""Makes a new database out of the rows of a damaged one that can still be read."""

from __future__ import annotations

import errno
import glob
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mcp_a2a.store.audit import set_aside
from mcp_a2a.store.checked import SUFFIX
from mcp_a2a.store.disk import is_unreadable
from mcp_a2a.store.folder import replace_file
from mcp_a2a.store.pages import FoundRow, NotUtf8, Pages, Table, Value, tables_of
from mcp_a2a.store.task_events import WORDS

DID = "did:key:"

SECTOR_BYTES = 4096
PIECE_BYTES = 1024 * 1024
"""Bytes read at once; an unreadable piece is read in halves, down to a sector."""

KEPT_LOG = "-wal-kept"
"""A copy of the log of a damaged file, from before SQLite was asked to bring it in."""

_TASK_ID = re.compile(r"task-[a-z0-9]{16,40}")
"""As ids of tasks are derived: what is told of an index entry must not be words that a peer chose."""


@dataclass(slots=True)
class Salvage:
    """The number of saved rows of each table, and the known loss."""

    saved: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    """Rows that cannot be read. Under "" those whose table is not known."""
    tasks: list[str] = field(default_factory=list)
    """Ids of tasks that an index names and that were not found."""


def _did_at(column: int) -> Callable[[Sequence[Value]], bool]:
    return lambda values: str(values[column]).startswith(DID)


DERIVED = ("sqlite_sequence", "task_counts", "task_events")
"""Tables that SQLite fills again when the rows of others are brought in; and the log of tasks, whose readers get the
tasks as they are instead: an event without its task could be taken for one of another."""

MARKS: Mapping[str, Callable[[Sequence[Value]], bool]] = {
    "members": _did_at(1),
    "consents": lambda values: values[1] in ("text", "files") and values[2] in ("allowed", "declined"),
    "push_configs": lambda values: str(values[2]).startswith("{"),
    "peers": _did_at(0),
    "blobs": lambda values: values[0] in ("in", "out"),
    "task_events": lambda values: values[2] in WORDS,
}
"""Tells apart tables whose rows have the same types, and from the entries of an index."""


def salvage(damaged: Path, fresh: sqlite3.Connection, stamp: str) -> Salvage:
    """Fill a database that was just made with what can be read in a damaged file and in its log."""
    _merge_log(damaged)
    outcome, pages = Salvage(), Pages(_content(damaged)[0])
    tables = [table for table in tables_of(fresh) if table.name not in DERIVED or table.has_rowid]
    named: set[str] = set()
    fresh.execute("BEGIN IMMEDIATE")
    for row in pages.rows():
        _take(fresh, tables, row, outcome, stamp)
        if row.rowid is None and len(row.values) == 2 and isinstance(row.values[1], int):
            named.add(str(row.values[0]))  # an entry of the index of task ids
    here = {str(task) for (task,) in fresh.execute("SELECT id FROM tasks")} if named else set()
    fresh.execute("COMMIT")
    outcome.tasks = sorted(task for task in named - here if _TASK_ID.fullmatch(task))
    # What the index names and a page announces is the same loss.
    outcome.lost["tasks"] = max(outcome.lost["tasks"], len(outcome.tasks))
    outcome.lost[""] += max(0, pages.unreadable - outcome.lost["tasks"])
    return outcome


def _content(damaged: Path) -> tuple[bytes, int]:
    """The file, with zeros in place of what the disk does not give back; and how many bytes those are."""
    holes: list[int] = []
    with damaged.open("rb") as file:
        number, size = file.fileno(), os.fstat(file.fileno()).st_size
        pieces = [_piece(number, start, min(PIECE_BYTES, size - start), holes) for start in range(0, size, PIECE_BYTES)]
    return b"".join(pieces), sum(holes)


def _piece(number: int, start: int, length: int, holes: list[int]) -> bytes:
    try:
        piece = os.pread(number, length, start)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        if length <= SECTOR_BYTES:
            holes.append(length)
            return bytes(length)
        half = length // 2 // SECTOR_BYTES * SECTOR_BYTES or SECTOR_BYTES
        return _piece(number, start, half, holes) + _piece(number, start + half, length - half, holes)
    if not piece or len(piece) == length:
        return piece.ljust(length, b"\0")
    return piece + _piece(number, start + len(piece), length - len(piece), holes)


def _merge_log(damaged: Path) -> None:
    """Bring what a crash left in the log into the file, as far as SQLite can."""
    log = damaged.with_name(damaged.name + "-wal")
    if not log.exists():
        return
    copy = damaged.with_name(damaged.name + KEPT_LOG)
    content, holes = _content(log)
    if not copy.exists():  # by an attempt that ended before this one
        replace_file(copy, content)
    if holes:  # SQLite would take nothing of a log that the disk cannot read; of this one it takes what is before them
        replace_file(log, content)
    try:
        with closing(sqlite3.connect(damaged, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) and not is_unreadable(error):
            raise  # the disk, not the file: what is in the log can still be saved


def _take(fresh: sqlite3.Connection, tables: Sequence[Table], row: FoundRow, outcome: Salvage, stamp: str) -> None:
    candidates = [table for table in tables if table.has_rowid == (row.rowid is not None)]
    values = row.values
    table = next((table for table in candidates if _is_row_of(table, values)), None)
    if table is not None:
        if table.name not in DERIVED:
            _insert(fresh, table, row, outcome, stamp)
        return
    if row.rowid is None or _is_of_the_schema(values):
        return  # an entry of an index
    wide = next(
        (table for table in candidates if table.name == "tasks" and len(values) > len(table.columns) // 2), None
    )
    source = wide.name if wide is not None else ""
    names = [column.name for column in wide.columns] if wide is not None else map(str, range(len(values)))
    reason = "a text is not UTF-8" if any(isinstance(value, NotUtf8) for value in values) else "a value of no use"
    set_aside(fresh, source, dict(zip(names, values, strict=False)), reason, stamp)
    outcome.lost[source] += 1


def _is_row_of(table: Table, values: Sequence[Value]) -> bool:
    if len(values) < max(2, len(table.key)) or table.misfit(values) is not None:
        return False
    if table.has_rowid and values[0] is not None:
        return False  # an INTEGER PRIMARY KEY is stored as the rowid, and NULL in its place
    mark = MARKS.get(table.name)
    return mark is None or mark(values)


def _is_of_the_schema(values: Sequence[Value]) -> bool:
    """True if this is a row of `sqlite_master`."""
    return len(values) == 5 and values[0] in ("table", "index", "trigger")


def _insert(fresh: sqlite3.Connection, table: Table, row: FoundRow, outcome: Salvage, stamp: str) -> None:
    values = (row.rowid, *row.values[1:]) if table.has_rowid else row.values
    names = [column.name for column in table.columns[: len(values)]]
    holes = ", ".join("?" * len(values))
    try:
        done = fresh.execute(
            f"INSERT INTO {table.name}({', '.join(names)}) VALUES ({holes}) ON CONFLICT DO NOTHING",  # noqa: S608
            values,
        )
    except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as error:
        set_aside(fresh, table.name, dict(zip(names, values, strict=True)), str(error), stamp)
        outcome.lost[table.name] += 1
        return
    if done.rowcount:
        outcome.saved[table.name] += 1


# Takes whole tables from a damaged database to a new one, where SQLite can still read them from end to end.
#
# For a relay: what decides who is served is not to be lost with the mail, and is not to be guessed from pages that may
# hold what was deleted, as `salvage` does. Tables that belong together come together, or not at all.


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


LOGS = ("-wal", "-shm")


def fresh_path(path: Path) -> Path:
    """The place at which a new database is made until it is whole."""
    return path.with_name(f"{path.name}.new")


def exchange(path: Path, kept: Path) -> None:
    """Put the new database in the place of the damaged one, where there is a new one."""
    path.rename(kept)
    _move_logs(path, kept)
    finish_exchange(path)


def finish_exchange(path: Path) -> None:
    """Finish the exchange of a killed process: the damaged file is away, the new one is whole and not yet here."""
    fresh = fresh_path(path)
    if path.exists() or not fresh.exists():
        return
    kept = damaged_files(path)
    if kept:
        _move_logs(path, kept[-1])
    fresh.rename(path)
    remove_database(fresh)  # the note of how it looked


def damaged_files(path: Path) -> tuple[Path, ...]:
    """The damaged databases that were kept, the oldest first; not what belongs to them."""
    found = path.parent.glob(f"{glob.escape(path.name)}.corrupt-*")
    return tuple(sorted(file for file in found if not file.name.endswith((*LOGS, KEPT_LOG, SUFFIX))))


def _move_logs(path: Path, kept: Path) -> None:
    """Move the logs of the damaged file with it: another database must not find them."""
    for suffix in (*LOGS, KEPT_LOG):
        journal = path.with_name(path.name + suffix)
        if journal.exists():
            journal.rename(kept.with_name(kept.name + suffix))


def remove_database(path: Path) -> None:
    """Remove a database and what belongs to it."""
    for suffix in ("", *LOGS, SUFFIX):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
