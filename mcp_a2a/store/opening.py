"""Opening the database: migrated, and read as a whole where it may have changed since it was last in order.

A row that cannot be read is set aside alone. Where SQLite itself cannot read on, all rows that are left are brought
into a new database, and the damaged file is kept.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.protocol import ProtocolError
from mcp_a2a.store.audit import audit
from mcp_a2a.store.checked import forget_checked, frames_in_log, is_checked, looks, note_checked, was_emptied
from mcp_a2a.store.database import Database
from mcp_a2a.store.disk import is_unreadable, refused, unusable
from mcp_a2a.store.journal import get_meta, set_meta
from mcp_a2a.store.pages import tables_of
from mcp_a2a.store.salvage import Salvage, carry_over, exchange, finish_exchange, fresh_path, remove_database, salvage
from mcp_a2a.store.schema import MIGRATIONS, migrate, version_of

logger = logging.getLogger(__name__)

MAX_LOG_PAGES = 1_000
"""A log of 4 MB gets a checkpoint without waiting for a quiet moment: overwriting it is faster than making it grow."""


class Audit(Protocol):
    """Reads the rows of a database, and may set some aside under this stamp: how many of which table."""

    def __call__(self, connection: sqlite3.Connection, stamp: str = "") -> Mapping[str, int]:
        """Raises `sqlite3.DatabaseError` where it cannot read on."""


@dataclass(frozen=True)
class Schema:
    """The tables of a database, and the way it is kept."""

    migrations: tuple[str, ...]
    audit: Audit
    """Reads what SQLite cannot check, and sets aside what it cannot read: how many rows of which table. Raises
    `sqlite3.DatabaseError` where it cannot do that."""
    loss: str
    """The loss when a damaged database was put aside, in a sentence."""
    erases: bool = True
    """True if what is deleted is overwritten, because it was readable."""
    max_checked_bytes: float = math.inf
    """Up to which size a database is read as a whole at a start."""
    log_pages: int = MAX_LOG_PAGES
    salvages: bool = True
    """True if rows are brought over from a damaged file. Only where nothing that was deleted can be read there."""
    changes: tuple[str, ...] = ()
    """Statements that set off its triggers."""
    carried: tuple[tuple[str, ...], ...] = ()
    """The tables that are brought over whole, if rows are not, and if SQLite can read them; each group together."""
    loss_of_carried: str = ""
    """The loss of those of them that cannot be read, in a sentence."""


NODE = Schema(
    MIGRATIONS,
    audit,
    "The identity is not affected.",
    changes=("INSERT INTO tasks DEFAULT VALUES", "UPDATE tasks SET state=state", "DELETE FROM tasks"),
)

DAMAGE = "damage"
"""A fact of the database: what was lost of it, in sentences, until a person ran `mcp-a2a repair`."""
MAX_DAMAGES = 8
MAX_NAMED = 10


@asynccontextmanager
async def open_database(
    path: Path, stamp: str, schema: Schema = NODE, *, unreadable: bool = False
) -> AsyncIterator[Database]:
    """Open (or create) the database for this process alone; what is queued at the end is committed.

    A damaged file is moved aside as `*.corrupt-<stamp>` and a new one made of what can be read, with a loud message.
    One that the disk cannot read only where `unreadable` says so: it may be able to the next time.

    Raises:
        HomeUnusableError: it cannot be opened or written here.
        SchemaTooNewError: it belongs to a newer version.
        StorageFullError: no space to create it.
    """
    writer = await anyio.to_thread.run_sync(partial(_open_writer, path, stamp, schema, unreadable=unreadable))
    try:
        reader = _connect(path)
        reader.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        writer.close()
        raise unusable(path, error) from error
    database = Database(path, writer, reader, noted=schema.salvages)
    try:
        try:
            yield database
        finally:
            with anyio.CancelScope(shield=True):
                await database.close()
    except Exception as error:
        if _may_be_of_a_row(error):
            forget_checked(path)  # or the next start would fail of the same
        raise


def _may_be_of_a_row(failure: Exception) -> bool:
    """True if what ended a node may be something that it read from its database."""
    if isinstance(failure, ExceptionGroup):
        return any(_may_be_of_a_row(cause) for cause in failure.exceptions)
    return not isinstance(failure, McpA2AError) or isinstance(failure, ProtocolError)


def _open_writer(path: Path, stamp: str, schema: Schema, *, unreadable: bool) -> sqlite3.Connection:
    try:
        finish_exchange(path)
        try:
            return _prepare(path, stamp, schema)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # also what SQLite says can be damaged
            at_disk = isinstance(error, sqlite3.OperationalError) and not _is_damage(error)
            if at_disk and not (unreadable and is_unreadable(error)):
                raise  # the disk does not let us; the file may be in order
            return _start_anew(path, stamp, schema, error)
    except sqlite3.DatabaseError as error:  # of the new one, too, which a failing disk may not give back
        raise unusable(path, error) from error
    except OSError as error:
        raise refused(path.parent, error) from error


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """True if this is about what stands in the file, and not about the disk.

    A text that is not UTF-8 has no code of SQLite's; tables or a format that are not those of its version have the
    general one.
    """
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR


def _start_anew(path: Path, stamp: str, schema: Schema, error: Exception) -> sqlite3.Connection:
    """Keep the damaged file under another name, and put a new one in its place with all that can be read."""
    kept = path.with_name(f"{path.name}.corrupt-{stamp}")
    told = _make_anew(path, kept, stamp, schema, error)
    exchange(path, kept)
    connection = _prepare(path, stamp, schema)
    logger.error("THE DATABASE %s IS DAMAGED (%s). It was kept as %s. %s", path, error, kept, told)
    return connection


def _make_anew(path: Path, kept: Path, stamp: str, schema: Schema, error: Exception) -> str:
    """Make a whole database of what can be read, beside the damaged one; returns what became of it.

    The damaged one stays until that is on the disk: a process that is killed here, or a full disk, loses nothing.
    """
    fresh = fresh_path(path)
    remove_database(fresh)
    connection = _prepare(fresh, stamp, schema)
    try:
        if schema.salvages:
            told = _save_rows(path, connection, stamp, schema)
            _note_damage(connection, stamp, f"the database was damaged ({error}) and was kept as {kept}. {told}")
        else:
            told = _save_tables(path, connection, stamp, schema)
        _bring_in_log(connection, fresh)
    except BaseException:
        connection.close()
        remove_database(fresh)
        raise
    connection.close()
    return told


def _bring_in_log(connection: sqlite3.Connection, path: Path) -> None:
    """Move the whole log into the file: closing would try it too, and not say that it failed.

    Raises:
        sqlite3.OperationalError: there is no room, or another program reads the file.
    """
    _, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if moved < frames:
        raise sqlite3.OperationalError(f"another program reads {path}")


def _save_rows(path: Path, fresh: sqlite3.Connection, stamp: str, schema: Schema) -> str:
    rescued = salvage(path, fresh, stamp)
    for table, count in schema.audit(fresh, stamp).items():
        rescued.saved[table] -= count
        rescued.lost[table] += count
    return f"A new one was made of what could be read: {_told(rescued)}. {schema.loss}"


def _save_tables(path: Path, fresh: sqlite3.Connection, stamp: str, schema: Schema) -> str:
    lost = carry_over(path, fresh, schema.carried, partial(schema.audit, stamp=stamp))
    missing = f" {schema.loss_of_carried} ({', '.join(lost)})" if lost else ""
    return f"A new one was started: {schema.loss}{missing}"


def _told(rescued: Salvage) -> str:
    saved = ", ".join(f"{count} {table}" for table, count in sorted(rescued.saved.items()) if count > 0)
    lost = [
        f"{count} {table or 'rows of a table that is not known'}"
        for table, count in sorted(rescued.lost.items())
        if count > 0
    ]
    names = ", ".join(rescued.tasks[:MAX_NAMED]) + (" and more" if len(rescued.tasks) > MAX_NAMED else "")
    named = f" (among them {names})" if names else ""
    if not saved and not lost:
        return "nothing, and what was in it is not known"
    return f"saved {saved or 'nothing'}; lost {', '.join(lost) + named if lost else 'no row that is known of'}"


def _note_damage(connection: sqlite3.Connection, stamp: str, sentence: str) -> None:
    """Remember what happened, for `status`, until a person ran `mcp-a2a repair`."""
    told = [*damage(connection), f"{stamp}: {sentence}"][-MAX_DAMAGES:]
    set_meta(connection, DAMAGE, json.dumps(told))


def damage(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Damage that was found and has not been looked at since, in sentences."""
    kept = get_meta(connection, DAMAGE)
    try:
        return tuple(str(sentence) for sentence in json.loads(kept or "[]"))
    except ValueError:
        return ("a note about damage could not be read",)


def _connect(path: Path) -> sqlite3.Connection:
    # One thread at a time uses each connection, but not always the same one.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)


def _prepare(path: Path, stamp: str, schema: Schema) -> sqlite3.Connection:
    """A connection to a database that is whole and of our version."""
    if schema.salvages and was_emptied(path):
        path.touch(mode=0o600)
        raise sqlite3.DatabaseError("there is nothing in it any more")
    known = schema.salvages and is_checked(path)
    written = frames_in_log(path) if known else 0
    connection = _connect(path)
    try:
        version_of(connection, path, schema.migrations)
        _tune(connection, path, schema)
        known = known and _has_whole_log(connection, written)
        if not known:
            _check(connection, path, schema)
        migrate(connection, path, schema.migrations)
        if not known:
            _check_shape(connection, path, schema)
            _read_rows(connection, path, stamp, schema)
    except BaseException:
        connection.close()
        forget_checked(path)
        raise
    if schema.salvages:
        note_checked(path, looks(path))
    return connection


def _has_whole_log(connection: sqlite3.Connection, written: int) -> bool:
    """True if SQLite takes every frame that was written to the log: it stops at the first that is damaged."""
    return int(connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]) >= written


def _check_shape(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Look for the tables, columns and indexes of a new database: SQLite takes any name for right.

    What another program has added is its own business.

    Raises:
        sqlite3.DatabaseError: one of them is not there.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migrate(fresh, path, schema.migrations)
        if not _shape(connection) >= _shape(fresh):
            raise sqlite3.DatabaseError("its tables are not those of its version")
    for statement in schema.changes:
        connection.execute(f"EXPLAIN {statement}")  # compiles triggers, too


def _shape(connection: sqlite3.Connection) -> set[object]:
    names = connection.execute("SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'")
    return {*names.fetchall(), *tables_of(connection)}


def _read_rows(connection: sqlite3.Connection, path: Path, stamp: str, schema: Schema) -> None:
    try:
        found = schema.audit(connection, stamp)
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            raise sqlite3.DatabaseError(str(error)) from error  # its tables are not those of its version
        raise
    if not found:
        return
    told = ", ".join(f"{count} of {table}" for table, count in sorted(found.items()))
    sentence = f"damaged rows were set aside: {told}. They are in the table `damaged` of {path}"
    logger.error("%s", sentence)
    _note_damage(connection, stamp, sentence)


def _tune(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    path.chmod(0o600)
    # WAL is safe before SQLite 3.51.3 only because a single connection writes and checkpoints (sqlite.org, 3.53.0).
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "fullfsync=ON",
        "checkpoint_fullfsync=ON",
        f"wal_autocheckpoint={schema.log_pages}",
        f"secure_delete={'ON' if schema.erases else 'OFF'}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _check(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    # The thorough one, which compares indexes too: an index that lies would hide a task, and let it in twice.
    if path.stat().st_size > schema.max_checked_bytes:
        return
    verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
