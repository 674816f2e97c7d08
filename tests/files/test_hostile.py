"""Files from somebody who does not keep to the rules, at a node that does."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_a2a.api.tasks import GetTaskRequest
from mcp_a2a.node.files import pieces
from mcp_a2a.ports import Link
from mcp_a2a.protocol.blob import CHUNK_SIZE, PIECE_CHUNKS, BlobRef, FileSealer, piece_id
from mcp_a2a.protocol.control import Delivered, Held, Refused
from mcp_a2a.protocol.model import Artifact, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.payload import BlobBody, Payload, TaskBody, UpdateBody
from mcp_a2a.protocol.strict_json import to_base64url
from mcp_a2a.store import spool
from tests.files.scenes import MIB, answer, next_item, spooled, task
from tests.node.outsider import Outsider, letter, outsider, task_letter
from tests.node.world import Person, World

TASK = "task-abcdefghijklmnopqrstuvwx"


class Parcel:
    """A file as somebody sends it, rightly at first."""

    def __init__(self, content: bytes, blob_id: str | None = None) -> None:
        sealer = FileSealer(blob_id or os.urandom(16).hex(), os.urandom(32))
        starts = range(0, max(1, len(content)), CHUNK_SIZE)
        chunks = [sealer.seal(content[at : at + CHUNK_SIZE], last=at + CHUNK_SIZE >= len(content)) for at in starts]
        self.ref: BlobRef = sealer.ref
        self.pieces = [b"".join(chunks[at : at + PIECE_CHUNKS]) for at in range(0, len(chunks), PIECE_CHUNKS)]

    def piece(self, sender: Outsider, to: Person, task_id: str, number: int, **change: object) -> Payload:
        fields = {"blob": self.ref.id, "piece": number, "pieces": len(self.pieces)}
        data = to_base64url(self.pieces[min(number, len(self.pieces) - 1)])
        body = BlobBody.model_validate({**fields, "data": data, **change})
        return letter("blob", sender.peer_id, to.node.context.me, body, id=piece_id(self.ref.id, number), task=task_id)

    async def send(self, sender: Outsider, link: Link, to: Person, task_id: str) -> None:
        for number in range(len(self.pieces)):
            assert isinstance(await sender.send(link, self.piece(sender, to, task_id, number)), Delivered)


def opening(sender: Outsider, to: Person, *refs: BlobRef) -> Payload:
    """A task that names these files."""
    plain = task_letter(sender.peer_id, to.node.context.me)
    parts = (Part(text="look"), *(ref.to_part("a.bin", None) for ref in refs))
    body = TaskBody(message=Message(message_id="m", role=Role.USER, parts=parts))
    return plain.model_copy(update={"body": body})


@asynccontextmanager
async def met(tmp_path: Path, *, trusted: bool = True) -> AsyncIterator[tuple[World, Person, Outsider, Link]]:
    """A node, and somebody who has dialled it."""
    world = World(tmp_path)
    if trusted:
        world.own.add(world.did("eve"))
    async with world.person("bob") as bob, outsider(world.network, "eve", world.identity("eve")) as eve:
        yield world, bob, eve, await eve.dial(bob)


async def code_of(sender: Outsider, link: Link, payload: Payload) -> str:
    answered = await sender.send(link, payload)
    assert isinstance(answered, Refused), answered
    return answered.code


async def test_files_of_a_stranger_are_held_back_and_take_no_place(tmp_path: Path) -> None:
    async with met(tmp_path, trusted=False) as (world, bob, eve, link):
        assert isinstance(await eve.send(link, Parcel(bytes(9)).piece(eve, bob, TASK, 0)), Held)
        assert spooled(world, "bob") == []


async def test_a_message_that_overtook_its_files_is_asked_for_again(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, bob, eve, link):
        parcel = Parcel(os.urandom(MIB))
        first = opening(eve, bob, parcel.ref)
        assert await code_of(eve, link, first) == "busy"
        await parcel.send(eve, link, bob, first.task)
        assert isinstance(await eve.send(link, first), Delivered)
        assert (await next_item(bob)).files[0].sha256 == parcel.ref.sha256


async def test_a_file_that_is_not_what_its_message_says_is_refused_with_the_message(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, bob, eve, link):
        for lie in ({"sha256": "0" * 64}, {"size": MIB - 1}, {"key": bytes(32)}, {"size": 20 * MIB}):
            parcel = Parcel(os.urandom(MIB))
            fields = {name: getattr(parcel.ref, name) for name in ("id", "size", "sha256", "key", "header")}
            first = opening(eve, bob, BlobRef(**{**fields, **lie}))
            await parcel.send(eve, link, bob, first.task)
            assert await code_of(eve, link, first) == "file_damaged"


async def test_a_piece_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    async with met(tmp_path) as (world, bob, eve, link):
        parcel = Parcel(os.urandom(MIB))
        for number, change in (
            (0, {"data": to_base64url(bytes(17))}),
            (0, {"data": "====" * 100}),
            (9, {}),
            (3, {"data": to_base64url(bytes(16))}),
        ):
            assert await code_of(eve, link, parcel.piece(eve, bob, TASK, number, **change)) == "rejected"
        assert spooled(world, "bob") == []
        assert isinstance(await eve.send(link, parcel.piece(eve, bob, TASK, 0)), Delivered)
        assert await code_of(eve, link, parcel.piece(eve, bob, TASK, 1, pieces=7)) == "rejected"
        assert await code_of(eve, link, parcel.piece(eve, bob, f"{TASK}2", 1)) == "rejected"


async def test_a_piece_that_is_here_is_not_replaced(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, bob, eve, link):
        parcel, other = Parcel(os.urandom(MIB)), os.urandom(len(Parcel(bytes(MIB)).pieces[0]))
        first = opening(eve, bob, parcel.ref)
        await parcel.send(eve, link, bob, first.task)
        again = parcel.piece(eve, bob, first.task, 0, data=to_base64url(other))
        assert isinstance(await eve.send(link, again), Delivered)
        assert isinstance(await eve.send(link, first), Delivered)


async def test_nothing_is_written_where_the_disk_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "RESERVE_BYTES", 1 << 60)
    async with met(tmp_path) as (world, bob, eve, link):
        assert await code_of(eve, link, Parcel(bytes(9)).piece(eve, bob, TASK, 0)) == "file_no_room"
        assert spooled(world, "bob") == []


async def test_files_of_finished_tasks_make_room_for_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MAX_FILES_PER_PEER", 1)
    async with met(tmp_path) as (world, bob, eve, link):
        first, second = Parcel(b"first"), Parcel(b"second")
        letters = [opening(eve, bob, parcel.ref) for parcel in (first, second)]
        await first.send(eve, link, bob, letters[0].task)
        assert await code_of(eve, link, second.piece(eve, bob, letters[1].task, 0)) == "file_quota"
        assert isinstance(await eve.send(link, letters[0]), Delivered)
        await answer(bob, await next_item(bob))
        await second.send(eve, link, bob, letters[1].task)
        assert len(spooled(world, "bob")) == 1


async def test_a_result_with_a_damaged_file_fails_the_task_here(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, bob, eve, link):
        sent = await bob.api.call(task(agent=eve.did))
        parcel = Parcel(os.urandom(MIB))
        await parcel.send(eve, link, bob, sent.task_id)
        wrong = BlobRef(parcel.ref.id, MIB, "0" * 64, parcel.ref.key, parcel.ref.header)
        artifact = Artifact(artifact_id="result", parts=(wrong.to_part("a.bin", None),))
        body = UpdateBody(status=TaskStatus(state=TaskState.COMPLETED), artifacts=(artifact,))
        update = letter("update", eve.peer_id, bob.node.context.me, body, task=sent.task_id, seq=1)
        assert isinstance(await eve.send(link, update), Delivered)
        view = await bob.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
    assert view.state == Moment.FAILED
    assert view.error is not None
    assert view.error.code == "file_damaged"
    assert "SHA-256" in view.error.message


async def test_files_for_a_task_of_somebody_else_are_not_taken(tmp_path: Path) -> None:
    async with met(tmp_path, trusted=False) as (world, bob, eve, link):
        async with outsider(world.network, "mallory") as mallory:
            sent = await bob.api.call(task(agent=eve.did))
            theirs = await mallory.dial(bob)
            assert isinstance(await mallory.send(theirs, Parcel(b"x").piece(mallory, bob, sent.task_id, 0)), Held)
        assert isinstance(await eve.send(link, Parcel(b"x").piece(eve, bob, sent.task_id, 0)), Delivered)


async def test_files_that_nobody_names_go_after_a_week(tmp_path: Path) -> None:
    async with met(tmp_path) as (world, bob, eve, link):
        await Parcel(b"x").send(eve, link, bob, TASK)
        for days, kept in ((6, 1), (3, 0)):
            world.clock.advance(days * 86_400)
            bob.node.files.tidy()
            await bob.node.context.database.write(lambda _: None)
            assert len(spooled(world, "bob")) == kept
