"""Older databases become newer ones once and whole; newer ones are left alone."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_a2a.errors.machine import SchemaTooNewError
from mcp_a2a.node.tasks.summary import answer_of, reply_of, request_of
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.store import schema
from mcp_a2a.store.journal import get_meta, set_meta
from mcp_a2a.store.opening import NODE, Schema, open_database
from mcp_a2a.store.task_lists import list_tasks

STEP = "CREATE TABLE more(word TEXT); INSERT INTO more SELECT value FROM meta WHERE key='word'"


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database of today, with something in it."""
    path = tmp_path / "node.db"
    async with open_database(path, "test") as database:
        await database.write(lambda connection: set_meta(connection, "word", "kept"))
    return path


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def set_version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={version}")


def tomorrow(*steps: str) -> Schema:
    """The next release adds these migrations."""
    return replace(NODE, migrations=(*NODE.migrations, *steps))


async def test_opening_again_changes_nothing(path: Path) -> None:
    for _ in range(3):
        async with open_database(path, "test") as database:
            assert database.read(lambda connection: get_meta(connection, "word")) == "kept"
    assert version_of(path) == schema.VERSION
    assert [place.name for place in path.parent.iterdir() if "-" not in place.name] == ["node.db"]


async def test_a_task_of_the_first_schema_tells_what_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    said = '[{"messageId":"m","role":"ROLE_USER","parts":[{"text":"stars are fun"}]}]'
    made = '[{"artifactId":"result","parts":[{"text":"nuf era srats"}]}]'
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(schema.MIGRATIONS[0])
        connection.execute("PRAGMA user_version=1")
        connection.execute(
            "INSERT INTO tasks(id, direction, peer, peer_name, context_id, hop, state, delivery, seq_out, seq_in,"
            " messages, status, artifacts, created, updated)"
            " VALUES ('task-a', 'sent', ?, 'old', 'ctx', 0, 'TASK_STATE_COMPLETED', 'DELIVERED', 0, 0,"
            ' ?, \'{"state":"TASK_STATE_COMPLETED"}\', ?, 1.0, 2.0)',
            ("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", said, made),
        )
    async with open_database(path, "test") as database:
        (record,) = database.read(
            lambda c: list_tasks(c, state=Moment.COMPLETED, direction=None, before=None, limit=9, now=3.0)
        )
    assert (request_of(record), answer_of(record), reply_of(record)) == ("stars are fun", "nuf era srats", None)


async def test_an_older_database_is_copied_first_and_then_brought_up_to_date_once(path: Path) -> None:
    before = schema.VERSION
    for _ in range(2):
        async with open_database(path, "test", tomorrow(STEP)) as database:
            assert database.read(lambda connection: connection.execute("SELECT * FROM more").fetchall()) == [("kept",)]
    assert version_of(path) == before + 1
    copy = path.with_name(f"node.db.schema-{before}")
    assert version_of(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


async def test_copies_that_cannot_be_looked_for_now_end_no_node_and_go_the_next_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    copy = path.with_name("node.db.schema-1")
    copy.touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        schema.drop_copies(path)
    schema.drop_copies(path)
    assert not copy.exists()


async def test_a_migration_that_fails_half_way_leaves_the_old_database_whole(path: Path) -> None:
    before = schema.VERSION
    with pytest.raises(Exception, match="no_such_function"):
        async with open_database(path, "test", tomorrow(STEP, "CREATE TABLE last(x); SELECT no_such_function()")):
            pass
    assert version_of(path) == before + 1, "the first step is done, the second not at all"
    async with open_database(path, "test", tomorrow(STEP, "CREATE TABLE last(x)")) as database:
        assert database.read(lambda connection: get_meta(connection, "word")) == "kept"
    assert version_of(path) == before + 2


@pytest.mark.parametrize("damage", [None, "UPDATE sqlite_master SET sql='of another time' WHERE name='tasks'"])
async def test_a_database_of_a_newer_version_is_refused_and_not_touched(path: Path, damage: str | None) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        if damage:  # a schema that only the newer version understands
            connection.execute("PRAGMA writable_schema=ON")
            connection.execute(damage)
        connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    before = digest(path)
    with pytest.raises(SchemaTooNewError, match="newer") as refused:
        async with open_database(path, "test"):
            pass
    assert "Upgrade" in refused.value.hint
    assert digest(path) == before
    assert not list(path.parent.glob("*.corrupt-*"))


@pytest.mark.parametrize("version", [0, -1, -(2**31), 2**30, 2**31 - 1])
async def test_a_version_that_cannot_be_is_damage(path: Path, version: int, caplog: pytest.LogCaptureFixture) -> None:
    set_version(path, version)
    async with open_database(path, "test") as database:
        assert database.read(lambda connection: get_meta(connection, "word")) == "kept"
    assert "IS DAMAGED" in caplog.text
    assert (path.parent / "node.db.corrupt-test").exists()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
