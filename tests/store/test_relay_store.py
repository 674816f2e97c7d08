"""A relay's disk: what was written is there, as a whole, in order, and no more than there may be."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_a2a.mailbox_ports import KnownKey, RelayMember
from mcp_a2a.protocol.bundle import KEEP_SECRET_SECONDS
from mcp_a2a.protocol.mail_message import Message, Place
from mcp_a2a.protocol.mail_orders import Backlog, Drop, Keep, Load, Put
from mcp_a2a.store import relay_mail
from mcp_a2a.store.relay_store import RelayStore, open_relay_store
from tests.protocol.people import ALICE, BOB

A, B = ALICE.peer_id.key, BOB.peer_id.key
NOW = 1_790_000_000.0
DAY = 86_400


@asynccontextmanager
async def store_in(folder: Path, epoch: int = 7) -> AsyncIterator[RelayStore]:
    async with open_relay_store(folder / "relay.db", "test", epoch, 7 * DAY, lambda: NOW, lambda: 0.0) as store:
        yield store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RelayStore]:
    async with store_in(tmp_path) as store:
        yield store


def message(
    number: int, to: bytes = B, name: int | None = None, size: int = 100, expires: float = NOW + DAY
) -> Message:
    envelope_id = (number if name is None else name).to_bytes(16)
    return Message(number, to, envelope_id, A, envelope=bytes(size), expires=expires)


async def carry_out(store: RelayStore, *orders: Put | Drop | Keep) -> Mapping[int, bool]:
    landed, outcome = anyio.Event(), []

    def done(result: Mapping[int, bool] | Exception) -> None:
        outcome.append(result)
        landed.set()

    store.carry_out(orders, done)
    await landed.wait()
    assert isinstance(outcome[0], dict), outcome
    return outcome[0]


def load(store: RelayStore, after: int = 0, frames: int = 32, max_bytes: int = 10**6) -> tuple[list[int], bool]:
    rows, is_all = store.load(Load(1, B, after, frames, max_bytes), NOW)
    assert all(row.place is Place.DISK for row in rows)
    return [row.number for row in rows], is_all


@pytest.mark.parametrize("count", [1, 7, 8, 9, 63, 64, 65, 200])
async def test_any_number_of_messages_is_written_in_one_go_and_read_in_order(store: RelayStore, count: int) -> None:
    assert await carry_out(store, *(Put(message(number)) for number in range(1, count + 1))) == {}
    assert load(store, frames=1000) == (list(range(1, count + 1)), True)
    assert store.backlog() == [Backlog(B, A, count, 100 * count)]
    assert store.last_number() == count


async def test_what_is_there_already_is_told_and_not_written_twice(store: RelayStore) -> None:
    await carry_out(store, Put(message(1)), Put(message(2)))
    assert await carry_out(store, *(Put(message(number, name=number - 2)) for number in range(3, 20))) == {
        3: True,
        4: True,
    }
    assert store.backlog() == [Backlog(B, A, 17, 1700)]


@pytest.mark.parametrize("other", [{"depositor": B}, {"envelope": bytes(99) + b"x"}], ids=["depositor", "content"])
async def test_another_message_under_an_id_that_is_there_is_told_from_the_same(
    store: RelayStore, other: dict[str, bytes]
) -> None:
    first = message(1)
    await carry_out(store, Put(first))
    second = Message(2, B, first.envelope_id, **{"depositor": A, "envelope": bytes(100), "expires": NOW + DAY, **other})
    assert await carry_out(store, Put(second)) == {2: False}
    assert load(store)[0] == [1]


async def test_orders_are_carried_out_in_their_order(store: RelayStore) -> None:
    await carry_out(store, Put(message(1)), Drop(1), Put(message(2, name=1)))
    assert load(store)[0] == [2]
    await carry_out(store, Put(message(3)), Drop(3))
    assert load(store)[0] == [2]


async def test_a_mailbox_is_read_in_pieces_of_frames_and_of_bytes(store: RelayStore) -> None:
    await carry_out(store, *(Put(message(number, size=1000)) for number in range(1, 11)))
    assert load(store, frames=4) == ([1, 2, 3, 4], False)
    assert load(store, after=4, frames=6) == ([5, 6, 7, 8, 9, 10], False)
    assert load(store, after=10) == ([], True)
    assert load(store, max_bytes=2500) == ([1, 2], False)
    assert load(store, max_bytes=1) == ([1], False)


async def test_what_has_expired_is_not_read_and_is_named_for_sweeping(store: RelayStore) -> None:
    await carry_out(store, Put(message(1, expires=NOW)), Put(message(2)))
    assert load(store)[0] == [2]
    assert [(row.number, row.recipient, row.depositor, row.size) for row in store.expired(NOW, 10)] == [(1, B, A, 100)]


async def test_deposits_are_told_to_their_depositor_alone(store: RelayStore) -> None:
    await carry_out(store, Put(message(1)))
    asked = [number.to_bytes(16) for number in (1, 2)]
    assert store.stored_among(A, asked) == {asked[0]}
    assert store.stored_among(B, asked) == frozenset()


# --- answers --------------------------------------------------------------------------------------


async def test_an_answer_is_kept_until_it_is_sent_and_then_for_those_who_ask(store: RelayStore) -> None:
    ids = tuple(number.to_bytes(16) for number in (1, 2))
    await carry_out(store, Keep(A, ids, "first"), Keep(A, ids[1:], "second"), Keep(B, ids, "other"))
    kept = store.answers_for(A)
    assert [answer.frame for answer in kept] == ["first", "second"]
    store.mark_sent([answer.number for answer in kept])
    await carry_out(store)
    assert store.answers_for(A) == []
    assert store.answers_about(A, ids) == {ids[0]: "first", ids[1]: "second"}
    store.forget_expired(NOW + 8 * DAY)
    await carry_out(store)
    assert store.answers_about(A, ids) == {}


async def test_the_copy_of_an_older_database_is_kept_no_longer_than_the_mail_in_it(
    store: RelayStore, tmp_path: Path
) -> None:
    old, new = (tmp_path / f"relay.db.schema-{version}" for version in (3, 4))
    for copy, made in ((old, NOW - KEEP_SECRET_SECONDS - 1), (new, NOW)):
        copy.touch()
        os.utime(copy, (made, made))
    store.forget_expired(NOW)
    await carry_out(store)
    assert (old.exists(), new.exists()) == (False, True)


async def test_of_too_many_answers_for_one_the_oldest_go(store: RelayStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_mail, "MAX_KEPT_ANSWERS", 3)
    await carry_out(store, Keep(B, (bytes(16),), "other"))
    await carry_out(store, *(Keep(A, (number.to_bytes(16),), str(number)) for number in range(5)))
    assert [answer.frame for answer in store.answers_for(A)] == ["2", "3", "4"]
    assert store.answers_about(A, [bytes(16)]) == {}
    assert len(store.answers_for(B)) == 1


# --- keys -----------------------------------------------------------------------------------------


async def test_an_older_bundle_never_takes_the_place_of_a_newer_one(store: RelayStore) -> None:
    for seq, text in ((2, "two"), (1, "one"), (3, "three"), (2, "two")):
        store.remember(KnownKey(A, text, seq), NOW)
    await carry_out(store)
    assert store.bundle_of(A) == KnownKey(A, "three", 3)
    assert store.keys() == [A]


async def test_a_key_that_nobody_used_is_forgotten_unless_mail_waits_for_it(store: RelayStore) -> None:
    for key in (A, B):
        store.remember(KnownKey(key, "", 1), NOW - 90 * DAY)
    await carry_out(store, Put(message(1, to=B)))
    forgotten: list[Sequence[bytes] | Exception] = []
    store.forget_unseen(NOW - DAY, forgotten.append)
    await carry_out(store)
    assert forgotten == [[A]]
    assert store.keys() == [B]
    store.seen([B], NOW)
    await carry_out(store, Drop(1))
    store.forget_unseen(NOW - DAY, forgotten.append)
    await carry_out(store)
    assert forgotten == [[A], []]


async def test_an_erased_key_leaves_nothing(store: RelayStore, tmp_path: Path) -> None:
    store.remember(KnownKey(B, "", 1), NOW)
    await carry_out(store, Put(message(1)), Keep(B, (bytes(16),), "kept"))
    store.erase(B)
    await carry_out(store)
    assert (store.keys(), store.backlog(), store.answers_for(B)) == ([], [], [])


# --- opening --------------------------------------------------------------------------------------


async def test_a_disk_keeps_its_number_and_a_new_one_gets_another(tmp_path: Path) -> None:
    async with store_in(tmp_path, epoch=1) as store:
        assert store.epoch() == 1
        await store.set_member(RelayMember(ALICE.peer_id, admitted=True, note="", since=NOW))
    async with store_in(tmp_path, epoch=2) as store:
        assert store.epoch() == 1
        assert [member.member for member in store.members()] == [ALICE.peer_id]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE messages SET envelope=x'00'",
        "UPDATE messages SET recipient='bob'",
        "UPDATE keys SET key=x'00'",
        "PRAGMA user_version=-1",
    ],
)
async def test_a_damaged_database_is_put_aside_and_said_so(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_in(tmp_path) as store:
        store.remember(KnownKey(A, "", 1), NOW)
        await carry_out(store, Put(message(1)))
    with closing(sqlite3.connect(tmp_path / "relay.db")) as connection, connection:
        connection.execute(damage)
    async with store_in(tmp_path) as store:
        assert store.backlog() == []
    assert "IS DAMAGED" in caplog.text
    assert "senders keep their own copy" in caplog.text
    assert (tmp_path / "relay.db.corrupt-test").exists()


@pytest.mark.parametrize("table", ["messages", "members"])
async def test_who_is_admitted_and_shut_out_outlives_damage_to_the_mail(
    tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    lost = table == "members"
    async with store_in(tmp_path) as store:
        await store.set_admission_key(ALICE.peer_id, NOW)
        await store.set_member(RelayMember(ALICE.peer_id, admitted=True, note="", since=NOW))
        await store.set_member(RelayMember(BOB.peer_id, admitted=False, note="", since=NOW))
        await carry_out(store, *(Put(message(number)) for number in range(1, 99)))
    path = tmp_path / "relay.db"
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name=?", (table,)).fetchone()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : (page - 1) * 4096 + 100] = b"#" * 100
    path.write_bytes(data)
    async with store_in(tmp_path) as store:
        known = {member.member: member.admitted for member in store.members()}
        assert known == ({} if lost else {ALICE.peer_id: True, BOB.peer_id: False})
        assert store.admission_key() == (None if lost else ALICE.peer_id)
    assert ("Lost as well" in caplog.text) == lost
    assert {file.name for file in tmp_path.iterdir()} == {"relay.db", "relay.db.corrupt-test"}  # noqa: ASYNC240


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=40))
def test_the_disk_does_what_a_dictionary_would(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    async def run() -> None:
        async with store_in(tmp_path_factory.mktemp("disk")) as store:
            rows: dict[int, int] = {}
            for number, (is_put, name) in enumerate(steps, 1):
                if is_put:
                    existed = await carry_out(store, Put(message(number, name=name)))
                    assert (number in existed) == (name in rows.values())
                    if not existed:
                        rows[number] = name
                else:
                    await carry_out(store, Drop(name))
                    rows.pop(name, None)
                assert load(store, frames=100)[0] == sorted(rows)

    anyio.run(run)
