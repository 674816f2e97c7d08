"""A disk that is full: said so, nothing acknowledged that is not stored, and it goes on when there is space."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import anyio
import anyio.lowlevel
import pytest

from mcp_a2a.api.agents import PeersRequest, SetTrustRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest, SendTaskRequest
from mcp_a2a.errors.machine import HomeUnusableError, StorageFullError
from mcp_a2a.protocol.control import Refused
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.store.disk import spare
from mcp_a2a.store.journal import get_meta
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.pending_write import PendingWrite
from tests.node.outsider import outsider, task_letter
from tests.node.patience import set_patience
from tests.node.world import Person, World, acquainted

LARGE = "x" * 100_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    return world


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_a2a.node.tasks.receipts.BUSY_RETRY_SECONDS", 0.05)
    set_patience(monkeypatch, full=0.05)


def task(text: str, **more: object) -> SendTaskRequest:
    return SendTaskRequest.model_validate({"agent": "bob", "message": text, "wait_seconds": 0, **more})


async def fill(person: Person) -> None:
    """Let its database grow no further."""
    await person.node.context.database.write(lambda c: c.execute("PRAGMA max_page_count=1").fetchone())


async def make_room(person: Person) -> None:
    await person.node.context.database.write(lambda c: c.execute("PRAGMA max_page_count=1000000").fetchone())


async def test_the_sender_is_told_and_nothing_is_sent_or_kept(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await fill(alice)
        with pytest.raises(StorageFullError, match="full"):
            await alice.api.call(task(LARGE))
        assert (await alice.api.call(ListTasksRequest())).tasks == ()
        assert len(alice.node.outbox) == 0
        await make_room(alice)
        sent = await alice.api.call(task("small again"))
        items = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
        assert [(item.task_id, item.text) for item in items] == [(sent.task_id, "small again")]


async def test_the_receiver_acknowledges_nothing_that_it_did_not_store(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await fill(bob)
        async with outsider(world.network, "carrier") as carrier:
            payload = task_letter(alice.node.context.me, bob.node.context.me, LARGE)
            answer = await carrier.send(await carrier.dial(bob), payload, signer=world.identity("alice"))
        assert isinstance(answer, Refused)
        assert answer.code == "busy"
        sent = await alice.api.call(task(LARGE))
        assert sent.delivery == Delivery.QUEUED
        assert (await bob.api.call(ListTasksRequest())).tasks == ()

        await make_room(bob)
        items = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
        assert [item.task_id for item in items] == [sent.task_id]
        await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text="at last"))
        assert (await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))).text == "at last"


async def test_an_answer_that_could_not_be_stored_can_be_given_again(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("hello"))
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        await fill(bob)
        answer = AnswerRequest(task_id=sent.task_id, status="completed", text=LARGE)
        with pytest.raises(StorageFullError):
            await bob.api.call(answer)
        await make_room(bob)
        await bob.api.call(answer)
        assert (await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))).text == LARGE


async def test_a_decision_that_could_not_be_stored_is_not_made(world: World) -> None:
    world.own.clear()
    async with world.person("bob") as bob, outsider(world.network, "stranger") as stranger:
        link = await stranger.dial(bob)
        await stranger.send(link, task_letter(stranger.peer_id, bob.node.context.me, LARGE))
        await fill(bob)
        with pytest.raises(StorageFullError):
            await bob.api.call(SetTrustRequest(agent=stranger.did, level="trusted"))
        peers = (await bob.api.call(PeersRequest())).peers
        assert [peer.trust for peer in peers if peer.did == stranger.did] == ["stranger"]
        assert (await bob.api.call(CheckInboxRequest())).held == 1
        await make_room(bob)
        assert (await bob.api.call(SetTrustRequest(agent=stranger.did, level="trusted"))).released == 1


async def test_a_node_outlives_a_disk_that_takes_nothing_while_leases_end_and_keys_rotate(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mcp_a2a.node.housekeeping.HOUSEKEEPING_SECONDS", 0.02)
    monkeypatch.setattr("mcp_a2a.node.tasks.lease_clock.GATHER_SECONDS", 0.02)
    monkeypatch.setattr("mcp_a2a.node.tasks.lease_clock.RETRY_SECONDS", 0.02)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task("hello"))
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        writing = switch(bob, monkeypatch)
        writing("OFF")
        key = bob.node.ring.current
        world.clock.advance(86_400 + 900)
        with pytest.raises(HomeUnusableError):
            await bob.api.call(AnswerRequest(task_id=sent.task_id, status="working"))
        with anyio.fail_after(30):
            while caplog.text.count("keys") < 2 or caplog.text.count("leases") < 2:
                await anyio.lowlevel.checkpoint()
        assert bob.node.ring.current is not key
        writing("ON")
        items = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
        assert [(item.task_id, item.attempt) for item in items] == [(sent.task_id, 2)]
        newest = bob.node.ring.current
        with anyio.fail_after(30):
            while newest.kid.hex() not in (stored_ring(bob) or ""):
                await anyio.lowlevel.checkpoint()


def switch(person: Person, monkeypatch: pytest.MonkeyPatch) -> Callable[[Literal["ON", "OFF"]], None]:
    """Lets the database write or not, between its transactions: two threads would read each other's errors."""
    database, turn = person.node.context.database, threading.Lock()
    commit = database._commit

    def commit_in_turn(batch: Sequence[PendingWrite]) -> list[object]:
        with turn:
            return commit(batch)

    def writing(state: Literal["ON", "OFF"]) -> None:
        with turn:
            database._writer.execute(f"PRAGMA query_only={'OFF' if state == 'ON' else 'ON'}")

    monkeypatch.setattr(database, "_commit", commit_in_turn)
    return writing


def stored_ring(person: Person) -> str | None:
    return person.node.context.database.read(lambda connection: get_meta(connection, "ring"))


def fill_up(file: Path) -> None:
    """Take all the space that there is."""
    with file.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    if os.name != "posix" or os.getuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not allow mounting: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_real_disk_that_fills_up_and_is_freed_needs_no_restart(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    async with open_database(small_disk / "node.db", "test") as database:
        await database.write(lambda c: c.execute("INSERT INTO meta VALUES('before', 'x')"))
        fill_up(ballast)
        stored = []
        with pytest.raises(StorageFullError):
            for number in range(200):
                key = f"large-{number}"
                await database.write(lambda c, key=key: c.execute("INSERT INTO meta VALUES(?, ?)", (key, LARGE)))
                stored.append(key)
        kept = database.read(lambda c: [row[0] for row in c.execute("SELECT key FROM meta WHERE key LIKE 'large%'")])
        assert sorted(kept) == sorted(stored)
        ballast.unlink()
        await database.write(lambda c: c.execute("INSERT INTO meta VALUES('after', 'x')"))
    with closing(sqlite3.connect(small_disk / "node.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        keys = {row[0] for row in connection.execute("SELECT key FROM meta")}
        assert {"before", "after", *stored} <= keys


async def test_a_disk_that_is_full_from_the_start_is_an_error_that_says_so(small_disk: Path) -> None:
    fill_up(small_disk / "ballast")
    with pytest.raises(StorageFullError):
        async with open_database(small_disk / "node.db", "test"):
            pass


async def test_what_a_disk_takes_leaves_a_reserve_and_counts_what_was_deleted(small_disk: Path) -> None:
    with closing(sqlite3.connect(small_disk / "some.db")) as connection:
        connection.execute("CREATE TABLE kept(text)")
        connection.commit()
        before = spare(connection, small_disk)
        assert 0 < before < shutil.disk_usage(small_disk).free - 200_000
        with connection:
            connection.execute("INSERT INTO kept VALUES(?)", (LARGE,))
        assert spare(connection, small_disk) < before - 90_000
        with connection:
            connection.execute("DELETE FROM kept")
        assert abs(spare(connection, small_disk) - before) < 20_000
        fill_up(small_disk / "ballast")
        assert spare(connection, small_disk) < 0
