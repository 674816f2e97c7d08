"""Reads of an identity that no process runs: no node starts, and not a byte is written."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from filelock import FileLock, Timeout

from benchmarks.history import a_task
from mcp_a2a.cli import session
from mcp_a2a.cli.exits import Exit
from mcp_a2a.protocol.model import Delivery, TaskState, TaskStatus
from mcp_a2a.store.journal import OutboxRow, PeerRow, put_outbox, save_peer
from mcp_a2a.store.offline import NotStillError, still_database
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.records import insert_task
from mcp_a2a.store.schema import VERSION
from tests.cli.inside import call

NOBODY = 65534
"""The user of that name, by custom."""

DID = "did:key:z6MkjQs6wm5G1AkCWbTCVF7D4BTRy5FUvk74nQ3eu3gGxAxw"
OPEN, ENDED = "task-aaaaaaaaaaaaaaaaaaaaopen", "task-aaaaaaaaaaaaaaaaaaaadone"
READS = ("tasks", f"task {ENDED}", f"task {OPEN}", "networks", "peers")


@pytest.fixture(scope="module")
def rested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a history, in which nothing runs."""
    home = tmp_path_factory.mktemp("rested") / "home"
    assert call(home, "invite", "--network", "shop").returncode == 0
    anyio.run(remember, folder_of(home))
    assert call(home, "networks").returncode == 0
    return home


async def remember(folder: Path) -> None:
    sent = replace(a_task(), id=OPEN, direction="sent", peer=DID, peer_name="rev", caller="", delivery=Delivery.QUEUED,
                   state=TaskState.SUBMITTED, status=TaskStatus(state=TaskState.SUBMITTED))  # fmt: skip
    letter = OutboxRow(n=1, id="m", peer=DID, task=OPEN, seq=1, type="task", payload=b"{}", created=4e9, expires=5e9)
    async with open_database(folder / "node.db", "test") as database:
        await database.write(lambda c: insert_task(c, sent))
        await database.write(lambda c: insert_task(c, replace(a_task(), id=ENDED)))
        await database.write(lambda c: save_peer(c, PeerRow(DID, "rev", last_seen=1.7e9)))
        await database.write(lambda c: put_outbox(c, letter))


def folder_of(home: Path) -> Path:
    return home / "identities" / "default"


def files_of(home: Path) -> dict[str, tuple[int, int, bytes]]:
    found = [path for path in sorted(home.rglob("*")) if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in found}


def no_node(*_: object) -> None:
    pytest.fail("a node was started")


def test_under_an_open_task_stands_the_command_that_asks_its_agent(rested: Path) -> None:
    shown = call(rested, "task", OPEN).stderr
    assert "last known state" in shown
    assert f"mcp-a2a task {OPEN[-6:]} --follow" in " ".join(shown.split())


@pytest.mark.parametrize("read", READS)
def test_a_read_starts_no_node_and_writes_nothing(rested: Path, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of(rested)
    monkeypatch.setattr(session.Session, "ask", no_node)
    shown, fields = call(rested, *read.split()), json.loads(call(rested, *read.split(), "--json").stdout)
    assert "No process of this identity is running" in shown.stderr
    assert fields.get("running", False) is False
    assert files_of(rested) == before


@pytest.mark.parametrize("words", [("save", ENDED), ("task", ENDED, "--save")], ids=" ".join)
def test_files_that_a_finished_task_did_not_bring_start_no_node(
    rested: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.Session, "ask", no_node)
    failed = call(rested, *words)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert f"{ENDED} has no files." in failed.stderr


def test_that_a_task_goes_on_is_told_before_a_node_starts_to_forget_it(
    rested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.Session, "ask", no_node)
    failed = call(rested, "forget", OPEN, "--yes")
    assert (failed.returncode, failed.stdout) == (3, "")
    assert f"{OPEN} is not finished: cancel it first." in failed.stderr


def test_what_only_a_running_node_knows_is_said_to_be_unknown(rested: Path) -> None:
    (peer,) = json.loads(call(rested, "peers", "--json").stdout)["peers"]
    assert (peer["name"], peer["online"], peer["waiting"], "route" in peer) == ("rev", False, 1, False)
    assert "unknown, 1 to deliver" in call(rested, "peers").stdout
    assert call(rested, "task", OPEN[-6:]).returncode == 4 or "queued" in call(rested, "task", OPEN[-6:]).stderr


@pytest.mark.parametrize("read", ["tasks --json", f"task {ENDED} --json", "networks --json"])
def test_at_rest_the_views_are_those_of_a_node(rested: Path, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    still = json.loads(call(rested, *read.split()).stdout)
    monkeypatch.setattr(session.Session, "_remembered", lambda *_: (_ for _ in ()).throw(LookupError))
    running = json.loads(call(rested, *read.split()).stdout)
    assert steady_fields(still) == steady_fields(running)


def steady_fields(fields: dict[str, object]) -> str:
    for task in fields.get("tasks", ()):  # type: ignore[attr-defined]
        task.pop("tried", None)  # a node that starts tries to deliver
    return json.dumps(fields, sort_keys=True)


@pytest.mark.parametrize("read", ["tasks", "task abcdefgh", "networks", "peers", "list"])
def test_nothing_is_made_where_there_was_nothing(tmp_path: Path, read: str) -> None:
    home = tmp_path / "home"
    ended = call(home, *read.split())
    assert ended.returncode == (3 if read.startswith("task ") else 0)
    assert "Traceback" not in ended.stderr
    assert not home.exists()


# --- what is left to a node that starts -----------------------------------------------------------


def version(path: Path, number: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={number}")
    forge_note(path)


def forge_note(path: Path) -> None:
    found = path.stat()
    path.with_name("node.db-checked").write_text(f"{found.st_size} {found.st_mtime_ns} {found.st_ino}")


UNUSUAL: dict[str, Callable[[Path], object]] = {
    "of an older version": lambda path: version(path, VERSION - 1),
    "of a newer version": lambda path: version(path, VERSION + 1),
    "changed by another program": lambda path: path.write_bytes(path.read_bytes().replace(b"COMPLETED", b"COMPLETEX")),
    "no database": lambda path: (path.write_text("a letter to my aunt"), forge_note(path)),
    "emptied": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "with the log of a crash": lambda path: path.with_name("node.db-wal").write_bytes(b"x"),
    "without a lock": lambda path: path.with_name("lock").unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.fixture
def copied(rested: Path, tmp_path: Path) -> Path:
    """The folder of a copy of the identity, whose database counts as checked."""
    folder = folder_of(tmp_path / "home")
    folder.mkdir(parents=True)
    for name in ("node.db", "did", "identity.key", "lock"):
        target = folder / name
        target.write_bytes((folder_of(rested) / name).read_bytes())
        target.chmod(0o600)
    forge_note(folder / "node.db")
    return folder


@pytest.mark.parametrize("harm", UNUSUAL)
def test_a_read_leaves_to_a_node_a_database_that_is(copied: Path, harm: str) -> None:
    UNUSUAL[harm](copied / "node.db")
    before = files_of(copied)
    with pytest.raises(NotStillError), still_database(copied / "node.db", copied / "lock"):
        pass
    assert files_of(copied) == before


@pytest.mark.parametrize(
    ("harm", "said", "code"),
    [("of a newer version", "newer", 1), ("no database", "No tasks", 0), ("gone", "No tasks", 0)],
)
def test_of_an_unusual_database_a_person_reads_the_sentence_of_a_node(
    copied: Path, harm: str, said: str, code: int
) -> None:
    UNUSUAL[harm](copied / "node.db")
    ended = call(copied.parent.parent, "tasks")
    assert said in ended.stdout + ended.stderr
    assert bool(ended.returncode) == bool(code)
    assert "Traceback" not in ended.stderr


def test_a_damaged_page_is_found_by_a_read_and_left_to_a_node(copied: Path) -> None:
    path = copied / "node.db"
    data = bytearray(path.read_bytes())
    page = int.from_bytes(data[16:18], "big")
    for start in range(page, len(data), page):
        data[start : start + page] = b"\xff" * page
    path.write_bytes(data)
    forge_note(path)
    ended = call(copied.parent.parent, "tasks")
    assert "IS DAMAGED" in ended.stderr
    assert "Traceback" not in ended.stderr


@contextmanager
def owned(folder: Path) -> Iterator[Path]:
    """The folder, or a copy of it, while this process is its owner and no root, who may read everything."""
    if os.getuid():
        yield folder
        return
    with TemporaryDirectory() as place:
        copy = shutil.copytree(folder, Path(place, "home"))
        for path in (Path(place), copy, *copy.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield copy
        finally:
            os.setresuid(0, 0, 0)


def test_a_folder_that_cannot_be_read_is_named(copied: Path) -> None:
    with owned(copied.parent.parent) as home:
        assert call(home, "tasks").returncode == 0
        folder_of(home).chmod(0)
        try:
            ended = call(home, "tasks")
        finally:
            folder_of(home).chmod(0o700)
        assert ended.returncode
        assert str(folder_of(home)) in ended.stderr


@pytest.mark.parametrize("words", [["tasks"], ["status"], ["list"], ["leave", "shop"], ["relay", "status"]])
def test_so_is_one_that_this_user_may_not_enter(copied: Path, words: list[str]) -> None:
    call(copied.parent.parent, *words)  # imports modules that the other user may not be able to read
    with owned(copied.parent.parent) as home:
        home.chmod(0)
        try:
            ended = call(home, *words)
        finally:
            home.chmod(0o700)
        assert ended.returncode == Exit.UNUSABLE
        assert ended.stderr.startswith(f"The data folder {home} cannot be used: Permission denied.")


@pytest.mark.parametrize("words", [["tasks"], ["status"], ["list"], ["id"], ["leave", "shop"], ["relay", "status"]])
def test_so_is_one_whose_name_the_system_refuses(tmp_path: Path, words: list[str]) -> None:
    home = tmp_path / ("a" * 300)
    ended = call(home, *words)
    assert ended.returncode == Exit.UNUSABLE
    assert ended.stderr.startswith(f"The data folder {home} cannot be used: File name too long.")


def test_of_a_data_folder_the_folder_in_it_is_named_that_this_user_may_not_enter(copied: Path) -> None:
    call(copied.parent.parent, "relay", "status")  # as above
    with owned(copied.parent.parent) as home:
        (home / "relay").mkdir(exist_ok=True)
        (home / "relay").chmod(0)
        try:
            ended = call(home, "relay", "status")
        finally:
            (home / "relay").chmod(0o700)
        assert ended.returncode == Exit.UNUSABLE
        assert ended.stderr.startswith(f"The data folder {home / 'relay'} cannot be used: Permission denied.")


async def test_readers_read_at_once_and_no_node_starts_meanwhile(copied: Path) -> None:
    path, lock = copied / "node.db", FileLock(copied / "lock")
    with still_database(path, copied / "lock"), still_database(path, copied / "lock") as database:
        assert database is not None
        with pytest.raises(Timeout):
            lock.acquire(blocking=False)
    with lock.acquire(blocking=False), pytest.raises(NotStillError), still_database(path, copied / "lock"):
        pass


async def test_what_was_read_while_another_program_wrote_counts_for_nothing(copied: Path) -> None:
    path = copied / "node.db"
    with pytest.raises(NotStillError, match="changed"), still_database(path, copied / "lock") as database:
        assert database is not None
        with closing(sqlite3.connect(path)) as other:
            other.execute("VACUUM")
