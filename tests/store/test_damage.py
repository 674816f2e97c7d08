"""A damaged database: the node starts all the same, says so loudly, keeps the old file, and is who it was."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.agents import DiscoverRequest, PeersRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import ListTasksRequest, SendTaskRequest
from mcp_a2a.errors.machine import DamagedRowError, DiskUnreadableError, HomeUnusableError, StorageFullError
from mcp_a2a.store import opening
from mcp_a2a.store.checked import forget_checked, frames_in_log
from mcp_a2a.store.journal import get_meta, set_meta
from mcp_a2a.store.opening import NODE, Schema, damage, open_database
from mcp_a2a.store.records import get_task
from mcp_a2a.store.repair import repair
from mcp_a2a.store.salvage import SECTOR_BYTES, Salvage, damaged_files, salvage
from mcp_a2a.store.schema import VERSION, migrate
from mcp_a2a.store.task_lists import list_tasks
from tests.node.world import World, acquainted

WORDS = (
    *(b"TASK_STATE_COMPLETED", b"TASK_STATE_SUBMITTED", b"DELIVERED", b"QUEUED", b"did:key:z6Mk", b"stranger"),
    *(b'"messageId"', b'"parts"', b'"keys"', b'"secret"', b'"bundle"', b"clock", b'"type":"task"'),
)

STAMP = "20260102T030406Z"

Damage = Callable[[random.Random, bytes], bytes]


def flipped(chance: random.Random, data: bytes) -> bytes:
    """A few bits, anywhere."""
    damaged = bytearray(data)
    for _ in range(chance.randrange(1, 20)):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def scribbled(chance: random.Random, data: bytes) -> bytes:
    """A run of bytes in the middle, replaced."""
    start = chance.randrange(len(data))
    length = chance.randrange(1, 5000)
    return (data[:start] + chance.randbytes(length) + data[start + length :])[: len(data)]


def truncated(chance: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: chance.randrange(len(data))]


def zeroed(chance: random.Random, data: bytes) -> bytes:
    """A page of nothing."""
    page = chance.randrange(len(data) // 4096) * 4096
    return data[:page] + bytes(4096) + data[page + 4096 :]


def fields_changed(chance: random.Random, data: bytes) -> bytes:
    """What SQLite takes for content, and cannot tell is wrong."""
    word = chance.choice([word for word in WORDS if word in data])
    return data.replace(word, b"#" * len(word))


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_a2a.node.peers.dialer.COURTESY_SECONDS", 0)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a node with some history: tasks both ways, one under way, a contact request."""
    world = World(tmp_path_factory.mktemp("healthy"))
    anyio.run(a_life, world)
    return world.folder / "bob" / "node.db"


async def a_life(world: World) -> None:
    world.make_own("alice", "bob")
    async with world.person("bob") as bob:
        async with world.person("alice", "sing") as alice, world.person("stranger") as stranger:
            await acquainted(alice, bob)
            await acquainted(stranger, bob)
            await stranger.api.call(SendTaskRequest(agent="bob", message="let me in", wait_seconds=30))
            for number in range(12):
                await alice.api.call(
                    SendTaskRequest(agent="bob", message=f"task {number} " + "word " * 500, wait_seconds=0)
                )
                if number % 3:
                    inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30, limit=1))
                    await bob.api.call(
                        AnswerRequest(task_id=inbox.items[0].task_id, status="completed", text="done " * 300)
                    )
        await bob.api.call(SendTaskRequest(agent="alice", message="when you are back", wait_seconds=0))


@pytest.mark.parametrize("seed", [*range(50), 80, 325, 365])
async def test_a_node_starts_on_any_damage_and_works(
    tmp_path: Path, healthy: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    harm: Damage = (flipped, scribbled, truncated, zeroed, fields_changed)[seed % 5]
    world = World(tmp_path)
    put(tmp_path / "bob" / "node.db", harm(chance, healthy.read_bytes()))  # noqa: ASYNC240  nobody else waits
    await starts_and_works(world)
    kept = list((tmp_path / "bob").glob("node.db.corrupt-*"))
    assert bool(kept) == ("IS DAMAGED" in caplog.text)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_CORRUPTFS])
@pytest.mark.parametrize("sector", [0, 9])
async def test_what_a_failing_disk_cannot_read_costs_only_that_once_a_person_repairs(
    tmp_path: Path, healthy: Path, monkeypatch: pytest.MonkeyPatch, sector: int, code: int
) -> None:
    path = tmp_path / "bob" / "node.db"
    put(path, healthy.read_bytes())  # noqa: ASYNC240  nobody else waits
    begin = sector * SECTOR_BYTES

    def pread(number: int, length: int, start: int) -> bytes:
        if start <= begin < start + length:
            raise OSError(errno.EIO, "Input/output error")
        return os_pread(number, length, start)

    def check(connection: sqlite3.Connection, checked: Path, schema: Schema) -> None:
        if checked == path and not damaged_files(path):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = code
            raise error
        sound(connection, checked, schema)

    os_pread, sound = os.pread, opening._check
    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(opening, "_check", check)
    with pytest.raises(DiskUnreadableError, match="cannot read a part"):
        async with open_database(path, "start"):
            pass
    assert not damaged_files(path)
    done = await repair(path, "repaired")
    assert len(done.damaged_files) == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM tasks").fetchone()[0] >= 8
    await starts_and_works(World(tmp_path))


@pytest.mark.parametrize(
    ("named", "otherwise"),
    [
        ("expires REAL NOT NULL, seq", "expired REAL NOT NULL, seq"),
        ("TABLE web_contexts", "TABLE web_contextz"),
        ("INDEX tasks_by_state ", "INDEX tasks_by_stat5 "),
        ("SET n = n - 1", "SET n = m - 1"),
    ],
)
async def test_a_name_of_the_schema_that_was_damaged_costs_no_row(
    tmp_path: Path, healthy: Path, named: str, otherwise: str
) -> None:
    world, path = World(tmp_path), tmp_path / "bob" / "node.db"
    data = healthy.read_bytes()  # noqa: ASYNC240  nobody else waits
    assert named.encode() in data
    put(
        path,
        data.replace(named.encode(), otherwise.encode()).replace(
            b"web_contextsweb_contexts", b"web_contextzweb_contextz"
        ),
    )
    async with open_database(path, STAMP) as database:
        assert (
            len(database.read(lambda c: list_tasks(c, state=None, direction=None, before=None, limit=100, now=0.0)))
            == 13
        )
    await starts_and_works(world)


async def test_what_another_program_has_added_to_the_schema_is_no_damage(tmp_path: Path, healthy: Path) -> None:
    path = tmp_path / "node.db"
    shutil.copy(healthy, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE witness (task TEXT); CREATE INDEX witnessed ON witness (task); "
            "CREATE TRIGGER seen AFTER UPDATE ON tasks BEGIN INSERT INTO witness VALUES (NEW.id); END;"
        )
    async with open_database(path, STAMP) as database:
        assert database.read(damage) == ()
    assert not damaged_files(path)


@pytest.mark.parametrize("harm", [flipped, scribbled, truncated, zeroed])
async def test_a_node_starts_on_a_damaged_log_and_works(tmp_path: Path, healthy: Path, harm: Damage) -> None:
    world = World(tmp_path)
    async with world.person("alice") as alice:
        await alice.api.call(ListTasksRequest())
        folder = tmp_path / "alice"
        live = folder / "node.db-wal"
        copy = tmp_path / "bob"
        shutil.copytree(folder, copy)
        (copy / "node.db-shm").unlink()
        (copy / "node.db-wal").write_bytes(harm(random.Random(1), live.read_bytes()))
    await starts_and_works(world)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)


async def test_what_was_set_aside_is_the_old_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "bob" / "node.db", b"not a database at all " * 1000)
    await starts_and_works(World(tmp_path))
    kept = tmp_path / "bob" / "node.db.corrupt-test"
    assert kept.read_bytes() == b"not a database at all " * 1000
    assert f"was kept as {kept}" in caplog.text


def task_ids(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {task_id for (task_id,) in connection.execute("SELECT id FROM tasks")}


@pytest.mark.parametrize("seed", range(40))
async def test_damage_of_64_bytes_costs_the_rows_that_it_hits_and_no_other(
    tmp_path: Path, healthy: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    data = healthy.read_bytes()  # noqa: ASYNC240  nobody else waits
    at = chance.randrange(len(data) - 64)
    path = tmp_path / "node.db"
    path.write_bytes(data[:at] + chance.randbytes(64) + data[at + 64 :])
    async with open_database(path, "test"):
        pass
    before, after = task_ids(healthy), task_ids(path)
    lost = before - after
    assert after <= before
    assert len(lost) <= 2, "64 bytes are in one row, or in two neighbors; no page and no index takes others along"
    async with open_database(path, "test") as database:
        told = database.read(damage)
        kept = database.read(lambda c: c.execute("SELECT content FROM damaged WHERE source='tasks'").fetchall())
    for task in lost:
        assert any(task in sentence for sentence in told) or any(task in content for (content,) in kept)
    if told:
        assert "DAMAGED" in caplog.text or "set aside" in caplog.text


@pytest.mark.parametrize(("place", "value"), [(47, 5), (63, 1), (63, VERSION - 1), (18, 200), (56, 2)])
def test_a_header_that_cannot_be_right_costs_no_row(tmp_path: Path, healthy: Path, place: int, value: int) -> None:
    """The format of the schema, the version of the tables (which would be migrated again), of writing, of texts."""
    harmed = bytearray(healthy.read_bytes())
    harmed[place] = value
    put(tmp_path / "bob" / "node.db", bytes(harmed))
    anyio.run(every_task_is_there, tmp_path / "bob" / "node.db")


@pytest.mark.parametrize("harm", ["emptied", "removed", "emptied after damage was noticed"])
async def test_a_database_that_is_empty_is_not_taken_for_a_new_one(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "node.db"
    async with open_database(path, STAMP) as database:
        assert database.read(damage) == ()
    if harm == "removed":
        path.unlink()
    else:
        os.truncate(path, 0)
    if harm == "emptied after damage was noticed":
        forget_checked(path)
    async with open_database(path, STAMP) as database:
        (sentence,) = database.read(damage)
    assert "nothing in it any more" in sentence
    assert "what was in it is not known" in sentence
    async with open_database(path, STAMP) as database:
        assert database.read(damage) == (sentence,)


async def test_a_first_start_that_got_no_further_than_an_empty_file_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "node.db").touch()
    async with open_database(tmp_path / "node.db", STAMP) as database:
        assert database.read(damage) == ()


DIES = """
import os, signal, sys
from pathlib import Path
import anyio
from mcp_a2a.store.opening import open_database

path, left = Path(sys.argv[1]), [int(sys.argv[2])]

def watch(name, values):
    if name == "os.rename" and f"{path.name}-checked" not in str(values):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

async def start():
    async with open_database(path, "20260102T030405Z"):
        pass

sys.addaudithook(watch)
anyio.run(start)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_start_that_is_killed_while_it_saves_a_damaged_file_loses_no_row(tmp_path: Path, healthy: Path) -> None:
    harmed = bytearray(healthy.read_bytes())
    harmed[0] ^= 1
    kills = 0
    while True:
        folder = tmp_path / str(kills)
        path = folder / "node.db"
        put(path, bytes(harmed))
        done = subprocess.run([sys.executable, "-c", DIES, path, str(kills + 1)], check=False, timeout=60)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        kills += 1
        anyio.run(every_task_is_there, path)
        (kept,) = damaged_files(path)
        assert {file.name for file in folder.iterdir()} == {path.name, f"{path.name}-checked", kept.name}
    assert kills >= 3


async def every_task_is_there(path: Path) -> None:
    async with open_database(path, STAMP) as database:
        assert database.read(lambda c: c.execute("SELECT COUNT(*) FROM tasks").fetchone()[0]) == 13
        assert len(database.read(damage)) == len(damaged_files(path))


def test_a_disk_that_is_full_while_a_damaged_file_is_saved_loses_no_row(
    tmp_path: Path, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bob" / "node.db"
    put(path, b"#" + healthy.read_bytes()[1:])

    def full(damaged: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(damaged))

    with monkeypatch.context() as patched:
        patched.setattr("mcp_a2a.store.opening.salvage", full)
        with pytest.raises(StorageFullError):
            anyio.run(every_task_is_there, path)
    anyio.run(every_task_is_there, path)


def test_a_new_database_whose_log_cannot_be_brought_in_takes_no_place(
    tmp_path: Path, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bob" / "node.db"
    put(path, b"#" + healthy.read_bytes()[1:])

    readers = ExitStack()

    def watched(damaged: Path, fresh: sqlite3.Connection, stamp: str) -> Salvage:
        new = path.with_name(f"{path.name}.new")
        reader = readers.enter_context(closing(sqlite3.connect(new, isolation_level=None, check_same_thread=False)))
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM tasks").fetchone()
        return salvage(damaged, fresh, stamp)

    with readers, monkeypatch.context() as patched:
        patched.setattr("mcp_a2a.store.opening.salvage", watched)
        with pytest.raises(HomeUnusableError, match="another program reads"):
            anyio.run(every_task_is_there, path)
    anyio.run(every_task_is_there, path)


async def test_a_bad_row_is_set_aside_alone_and_the_file_stays_in_use(tmp_path: Path, healthy: Path) -> None:
    path = tmp_path / "node.db"
    shutil.copyfile(healthy, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        bad, *_ = sorted(task_ids(path))
        connection.execute("UPDATE tasks SET messages=CAST('[{' AS BLOB) WHERE id=?", (bad,))
        connection.execute("UPDATE peers SET trust='#####' WHERE did=(SELECT MIN(did) FROM peers)")
    async with open_database(path, "test") as database:
        (told,) = database.read(damage)
        rows = database.read(lambda c: c.execute("SELECT source, content FROM damaged ORDER BY source").fetchall())
    assert task_ids(path) == task_ids(healthy) - {bad}
    assert "1 of peers, 1 of tasks" in told
    assert [source for source, _ in rows] == ["peers", "tasks"]
    assert bad in rows[1][1], "the row is kept as it was found"
    assert not list(tmp_path.glob("*.corrupt-*"))  # noqa: ASYNC240


async def test_a_row_that_is_damaged_while_the_node_runs_hides_no_other(tmp_path: Path, healthy: Path) -> None:
    path = tmp_path / "node.db"
    shutil.copyfile(healthy, path)
    bad, *_ = sorted(task_ids(path))
    async with open_database(path, "test") as database:
        await database.write(lambda c: c.execute("UPDATE tasks SET status='no json' WHERE id=?", (bad,)))
        shown = database.read(lambda c: list_tasks(c, state=None, direction=None, before=None, limit=100, now=0.0))
        assert {task.id for task in shown} == task_ids(path) - {bad}
        with pytest.raises(DamagedRowError, match=bad):
            database.read(lambda c: get_task(c, bad))
    async with open_database(path, "test") as database:
        assert len(database.read(damage)) == 1, "the next start reads every row, because one could not be read"
    assert task_ids(path) == task_ids(healthy) - {bad}


async def test_a_start_after_a_start_reads_no_row(tmp_path: Path, healthy: Path) -> None:
    path = tmp_path / "node.db"
    shutil.copyfile(healthy, path)

    def no_audit(connection: sqlite3.Connection, stamp: str) -> dict[str, int]:
        raise AssertionError

    async with open_database(path, "test") as database:
        await database.write(lambda c: set_meta(c, "word", "kept"))
    async with open_database(path, "test", replace(NODE, audit=no_audit)) as database:
        assert database.read(lambda c: get_meta(c, "word")) == "kept"
    path.touch()
    with pytest.raises(AssertionError):
        async with open_database(path, "test", replace(NODE, audit=no_audit)):
            pass


async def test_a_row_that_keeps_the_node_from_starting_does_so_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    async with world.person("bob") as bob, world.person("alice") as alice:
        await acquainted(alice, bob)
        await alice.api.call(SendTaskRequest(agent="bob", message="hello", wait_seconds=0))
    path = tmp_path / "bob" / "node.db"
    before = path.stat()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE peers SET did='nobody'")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if the disk had done it
    with pytest.raises(ExceptionGroup):
        async with world.person("bob"):
            pass
    async with world.person("bob") as bob:
        assert len((await bob.api.call(ListTasksRequest())).tasks) == 1
        assert "1 of peers" in bob.node.context.database.read(damage)[0]


KILLED = """
import anyio, os, signal, sys
from pathlib import Path
from mcp_a2a.store.journal import set_meta
from mcp_a2a.store.opening import open_database

async def main():
    async with open_database(Path(sys.argv[1]), "test") as database:
        for number in range(400):
            await database.write(lambda c: set_meta(c, f"word {number % 40}", "x" * 12000))
        os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


def killed(path: Path) -> None:
    """A process writes more than one checkpoint's worth, and is killed."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.with_name("node.db-wal").stat().st_size > 0


def counting(found: list[str]) -> Schema:
    """The schema, noting when every row is read."""

    def audit(connection: sqlite3.Connection, stamp: str) -> Mapping[str, int]:
        found.append("read")
        return NODE.audit(connection, stamp)

    return replace(NODE, audit=audit)


async def test_a_start_after_a_kill_reads_no_row_either(tmp_path: Path) -> None:
    killed(tmp_path / "node.db")
    found: list[str] = []
    async with open_database(tmp_path / "node.db", "test", counting(found)) as database:
        assert database.read(lambda c: get_meta(c, "word 39")) == "x" * 12000
    assert found == []


async def test_a_log_that_was_damaged_where_it_lies_is_noticed(tmp_path: Path) -> None:
    killed(tmp_path / "node.db")
    log = tmp_path / "node.db-wal"
    data = bytearray(log.read_bytes())
    frames = frames_in_log(tmp_path / "node.db")
    data[32 + (24 + 4096) * (frames // 2) + 100] ^= 1
    log.write_bytes(data)
    found: list[str] = []
    async with open_database(tmp_path / "node.db", "test", counting(found)):
        pass
    assert found == ["read"]


def test_a_log_that_a_failing_disk_cannot_read_costs_what_is_behind_that_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, log = tmp_path / "node.db", tmp_path / "node.db-wal"
    made = tmp_path / "made.db"
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        migrate(connection, made, NODE.migrations)
        connection.execute("PRAGMA journal_mode=WAL")
        set_meta(connection, "first", "kept")
        read = made.with_name("made.db-wal").stat().st_size
        set_meta(connection, "second", "x" * 12_000)
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{made}{suffix}", f"{path}{suffix}")
    bad, os_pread = log.stat().st_ino, os.pread
    begin = -(-read // SECTOR_BYTES) * SECTOR_BYTES

    def pread(number: int, length: int, start: int) -> bytes:
        if os.fstat(number).st_ino == bad and start + length > begin:
            raise OSError(errno.EIO, "Input/output error")
        return os_pread(number, length, start)

    def copyfile(source: Path, *_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", str(source))

    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with closing(sqlite3.connect(tmp_path / "fresh.db", isolation_level=None)) as fresh:
        migrate(fresh, path, NODE.migrations)
        salvage(path, fresh, STAMP)
        assert (get_meta(fresh, "first"), get_meta(fresh, "second")) == ("kept", None)


async def test_a_clock_that_cannot_be_does_not_make_every_message_look_expired(tmp_path: Path) -> None:
    for kept in ("9e9", "nan", "inf", "garbage"):
        world = World(tmp_path)
        async with world.person("bob") as bob:
            await bob.node.context.database.write(lambda c, kept=kept: set_meta(c, "clock", kept))
            world.clock.advance(-3600)  # so that the end of this run does not put it right
            bob.node.context.database.enqueue_lazily(lambda c, kept=kept: set_meta(c, "clock", kept))
        world.clock.advance(3600)
        await starts_and_works(world)


async def starts_and_works(world: World) -> None:
    world.make_own("bob", "carol")
    async with world.person("bob") as bob, world.person("carol") as carol:
        assert bob.did == world.did("bob")
        cursor = None
        while True:
            page = await bob.api.call(ListTasksRequest(limit=5, cursor=cursor))
            cursor = page.next_cursor
            if cursor is None:
                break
        await bob.api.call(PeersRequest())
        await bob.api.call(DiscoverRequest())
        await bob.api.call(CheckInboxRequest(limit=100))
        await acquainted(carol, bob)
        sent = await carol.api.call(SendTaskRequest(agent=bob.did, message="still there?", wait_seconds=0))
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30, limit=100))
        assert sent.task_id in [item.task_id for item in inbox.items]
    async with world.person("bob") as bob:
        assert sent.task_id in [view.task_id for view in (await bob.api.call(ListTasksRequest(limit=1))).tasks]
