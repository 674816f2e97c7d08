"""Opening the database: checked, migrated, read once, and set aside where it is damaged."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from mcp_a2a.store.audit import audit
from mcp_a2a.store.database import Database
from mcp_a2a.store.disk import unusable
from mcp_a2a.store.schema import MIGRATIONS, migrate, version_of

logger = logging.getLogger(__name__)

MAX_LOG_PAGES = 1_000
"""A log of 4 MB gets a checkpoint without waiting for a quiet moment: overwriting it is faster than making it grow."""


@dataclass(frozen=True)
class Schema:
    """Which tables a database has, and how it is kept."""

    migrations: tuple[str, ...]
    audit: Callable[[sqlite3.Connection], None]
    """Reads what SQLite cannot check; raises `sqlite3.DatabaseError`."""
    loss: str
    """What is not visible any more when a damaged database was put aside, in a sentence."""
    erases: bool = True
    """Whether what is deleted is overwritten, because it was readable."""
    max_checked_bytes: float = math.inf
    """Up to which size a database is read as a whole at every start."""
    log_pages: int = MAX_LOG_PAGES


NODE = Schema(
    MIGRATIONS,
    audit,
    "tasks and contacts in it are not visible until it is repaired. The identity is not affected.",
)


@asynccontextmanager
async def open_database(path: Path, stamp: str, schema: Schema = NODE) -> AsyncIterator[Database]:
    """Open (or create) the database for this process alone; what is queued at the end is committed.

    A damaged file is moved aside as `*.corrupt-<stamp>` and a new one started, with a loud message.

    Raises:
        HomeUnusableError: it cannot be opened or written here.
        SchemaTooNewError: it belongs to a newer version.
        StorageFullError: no space to create it.
    """
    writer = await anyio.to_thread.run_sync(_open_writer, path, stamp, schema)
    reader = _connect(path)
    reader.execute("PRAGMA query_only=ON")
    database = Database(path, writer, reader)
    telling = anyio.CancelScope(shield=True)

    async def tell() -> None:
        with telling:  # also while everything around is cancelled: some still wait for a commit then
            await database.run()

    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell)
        try:
            yield database
        except Exception as error:  # noqa: BLE001  raised again, outside of the group: to the caller there are no tasks
            failure = error
        finally:
            telling.cancel()
            with anyio.CancelScope(shield=True):
                await database.close()
    if failure is not None:
        raise failure


def _open_writer(path: Path, stamp: str, schema: Schema) -> sqlite3.Connection:
    try:
        try:
            return _prepare(path, schema)
        except sqlite3.OperationalError:
            raise  # the disk does not let us; the file may be in order
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # also what SQLite says can be damaged
            _set_aside(path, stamp, schema, error)
            return _prepare(path, schema)
    except sqlite3.OperationalError as error:
        raise unusable(path, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    # One thread at a time uses each connection, but not always the same one.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)


def _prepare(path: Path, schema: Schema) -> sqlite3.Connection:
    """A connection to a database that is whole and of our version."""
    connection = _connect(path)
    try:
        version_of(connection, path, schema.migrations)
        _check(connection, path, schema)
        migrate(connection, path, schema.migrations)
        schema.audit(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
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
    # The thorough one, which compares indexes too: an index that lies would hide a task, and let it in twice.
    if path.stat().st_size > schema.max_checked_bytes:
        return
    verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _set_aside(path: Path, stamp: str, schema: Schema, error: Exception) -> None:
    kept = path.with_name(f"{path.name}.corrupt-{stamp}")
    path.rename(kept)
    for suffix in ("-wal", "-shm"):
        journal = path.with_name(path.name + suffix)
        if journal.exists():
            journal.rename(kept.with_name(kept.name + suffix))
    logger.error(
        "THE DATABASE %s IS DAMAGED (%s). It was kept as %s and an empty one was started: %s",
        path,
        error,
        kept,
        schema.loss,
    )
