"""Files from node to node: whole, once, through cuts and restarts, and within limits."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import anyio
import pytest

from mcp_a2a.protocol.model import Delivery, TaskState
from mcp_a2a.views import (
    AnswerRequest,
    CheckInboxRequest,
    FileArg,
    GetTaskRequest,
    InboxItem,
    SaveFilesRequest,
    SendTaskRequest,
    TaskView,
)
from tests.node.world import Person, World, acquainted

MIB = 1024 * 1024


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "world")
    world.folder.mkdir()
    world.make_own("alice", "bob")
    return world


def some_file(folder: Path, size: int, name: str = "data.bin") -> Path:
    path = folder / name
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def task(*files: Path, text: str = "look", wait: float = 0) -> SendTaskRequest:
    return SendTaskRequest(
        agent="bob", message=text, wait_seconds=wait, files=tuple(FileArg(path=str(path)) for path in files)
    )


async def next_item(person: Person, seconds: float = 20) -> InboxItem:
    inbox = await person.api.check_inbox(CheckInboxRequest(wait_seconds=seconds))
    assert inbox.items, "nothing came"
    return inbox.items[0]


async def answer(person: Person, item: InboxItem, *files: Path, text: str = "done") -> TaskView:
    return await person.api.answer_task(
        AnswerRequest(
            task_id=item.task_id,
            status="completed",
            text=text,
            files=tuple(FileArg(path=str(path)) for path in files),
        )
    )


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 5 * MIB + 7])
async def test_a_file_goes_there_and_another_comes_back(world: World, tmp_path: Path, size: int) -> None:
    there = some_file(tmp_path, size, "there.bin")
    back = some_file(tmp_path, size + 3, "back.txt")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.send_task(task(there))
        item = await next_item(bob)
        (received,) = item.files
        assert (received.name, received.size, received.sha256) == ("there.bin", size, sha256(there))
        saved = await bob.api.save_files(SaveFilesRequest(task_id=item.task_id))
        assert sha256(saved.files[0].path) == sha256(there)
        await answer(bob, item, back)
        view = await alice.api.get_task(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))
        assert (view.state, view.text, view.delivery) == (TaskState.COMPLETED, "done", Delivery.DELIVERED)
        assert [(file.name, file.size, file.here) for file in view.files] == [("back.txt", size + 3, True)]
        saved = await alice.api.save_files(SaveFilesRequest(task_id=sent.task_id, folder=str(tmp_path / "out")))
        assert sha256(saved.files[0].path) == sha256(back)


async def test_a_file_arrives_whole_though_the_line_is_cut_again_and_again(world: World, tmp_path: Path) -> None:
    there = some_file(tmp_path, 12 * MIB)
    chances = random.Random(7)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await alice.api.send_task(task(there))
        for _ in range(10):
            await anyio.sleep(chances.uniform(0, 0.05))
            world.network.cut("alice", "bob")
            world.network.heal()
            alice.sees(bob)
        item = await next_item(bob, 40)
        saved = await bob.api.save_files(SaveFilesRequest(task_id=item.task_id))
    assert sha256(saved.files[0].path) == sha256(there)
