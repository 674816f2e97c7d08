"""Files in the hands of skills: Python functions and programs."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mcp_a2a import Agent, Chunk, File, Part, TaskContext
from mcp_a2a.agent.result import outcome_of
from mcp_a2a.api.files import SaveFilesRequest
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.node.files.received import ReceivedFile
from mcp_a2a.node.worker import command
from mcp_a2a.node.worker.command import CommandSkill, Limits
from mcp_a2a.node.worker.task_context import Handler
from mcp_a2a.node.worker.worker import Worker
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.store.work_folder import Workroom
from tests.files.scenes import MIB, sha256, some_file, task
from tests.node.world import Person, World, acquainted


@asynccontextmanager
async def at_work(tmp_path: Path, handler: Handler) -> AsyncIterator[tuple[Person, Person]]:
    """Alice sends, Bob has a worker."""
    world = World(tmp_path / "world")
    world.folder.mkdir()
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob, anyio.create_task_group() as tasks:
        await acquainted(alice, bob)
        worker = Worker(bob.api, handler, holder="1-test", concurrency=2)
        tasks.start_soon(worker.run, anyio.Event())
        yield alice, bob
        tasks.cancel_scope.cancel()


async def test_a_skill_reads_files_and_returns_some(tmp_path: Path) -> None:
    agent = Agent("filer")
    result = some_file(tmp_path, MIB + 1, "result.bin")

    @agent.skill
    def swap(text: str, task: TaskContext) -> object:
        "Read one, return two."
        (file,) = task.files
        with file.open() as stream:
            beginning = stream.read(5)
            assert beginning + stream.read() == file.read()
        return [f"{file.name} {file.size} {file.media_type}", File(result), File(content=b"hi", name="hi.txt")]

    async with at_work(tmp_path, agent.service("filer").handler) as (alice, _):
        view = await alice.api.call(task(some_file(tmp_path, 2 * MIB, "in.csv"), wait=20))
        assert (view.state, view.text) == (Moment.COMPLETED, f"in.csv {2 * MIB} text/csv")
        assert {(file.name, file.size) for file in view.files} == {("result.bin", MIB + 1), ("hi.txt", 2)}
        saved = await alice.api.call(SaveFilesRequest(task_id=view.task_id))
        assert {sha256(file.path) for file in saved.files} >= {sha256(result)}


async def test_files_that_a_skill_yields_follow_the_text_that_it_streams(tmp_path: Path) -> None:
    agent = Agent("filer")
    paths = [some_file(tmp_path, 100 + n, f"{n}.bin") for n in range(3)]

    @agent.skill
    async def write() -> AsyncIterator[object]:
        "Stream words, and yield files between them."
        yield Chunk("one ")
        yield File(paths[0])
        yield [File(paths[1]), File(content=b"hi", name="hi.txt")]
        yield Chunk("two")
        yield {"n": 1}
        yield File(paths[2])

    async with at_work(tmp_path, agent.service("filer").handler) as (alice, _):
        view = await alice.api.call(task(wait=20))
    assert (view.state, view.text) == (Moment.COMPLETED, "one two")
    assert [file.name for file in view.files] == ["hi.txt", "0.bin", "1.bin", "2.bin"]
    assert [part.data for artifact in view.artifacts for part in artifact.parts if part.data] == [{"n": 1}]


async def test_a_result_that_cannot_be_read_fails_the_task_with_the_reason(tmp_path: Path) -> None:
    agent = Agent("filer")

    @agent.skill
    def lose() -> File:
        "Return what is not there."
        return File(tmp_path / "missing")

    async with at_work(tmp_path, agent.service("filer").handler) as (alice, _):
        view = await alice.api.call(task(wait=20))
    assert view.state == Moment.FAILED
    assert view.error is not None
    assert "No such file" in view.error.message


async def test_a_program_finds_the_files_in_a_folder_that_is_gone_afterwards(tmp_path: Path) -> None:
    program = ("sh", "-c", 'cd "$MCP_A2A_FILES" && pwd && stat -c "%a %n" . * && sha256sum * | cut -c1-64')
    skill = CommandSkill("look", program, dict(os.environ), Limits(), Workroom(tmp_path / "home"))
    first, second = some_file(tmp_path, MIB, "a.bin"), some_file(tmp_path, 10, "b.txt")
    async with at_work(tmp_path, skill) as (alice, _):
        view = await alice.api.call(task(first, second, wait=20))
        without = await alice.api.call(task(wait=20))
    assert view.text is not None
    folder, *lines = view.text.splitlines()
    assert lines == ["700 .", "600 a.bin", "600 b.txt", sha256(first), sha256(second)]
    assert await anyio.Path(folder).exists() is False
    assert without.state == Moment.FAILED or folder not in (without.text or "")


async def test_a_disk_that_is_full_while_files_are_written_for_a_program_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skill = CommandSkill(
        "look", ("sh", "-c", 'cat "$MCP_A2A_FILES"/*'), dict(os.environ), Limits(), Workroom(tmp_path / "home")
    )
    save, full = ReceivedFile.save, [True, True, False, True, False]

    def save_if_there_is_room(self: ReceivedFile, path: str | Path) -> Path:
        if full and full.pop():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(self, path)

    monkeypatch.setattr(ReceivedFile, "save", save_if_there_is_room)
    monkeypatch.setattr(command, "ROOM_SECONDS", 0.0)
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("one ")
    second.write_text("two")
    async with at_work(tmp_path, skill) as (alice, _):
        view = await alice.api.call(task(first, second, wait=20))
    assert (view.state, view.text) == (Moment.COMPLETED, "one two")
    assert not full


def test_a_file_is_a_path_or_its_content() -> None:
    with pytest.raises(TypeError):
        File()
    with pytest.raises(TypeError):
        File("a", b"b")
    outcome = outcome_of(("text", File(content=b"a,b", name="x.csv"), {"n": 1}))
    assert outcome.text == "text"
    assert outcome.parts == (
        Part(raw="YSxi", filename="x.csv", media_type="text/csv"),
        Part(data={"n": 1}, media_type="application/json"),
    )


async def test_a_file_that_is_gone_says_so(tmp_path: Path) -> None:
    agent = Agent("filer")

    @agent.skill
    def late(task: TaskContext) -> str:
        "Come too late."
        for path in (tmp_path / "world" / "bob" / "blobs").iterdir():
            path.unlink()
        try:
            task.files[0].read()
        except FileError as error:
            return error.message
        return "read"

    async with at_work(tmp_path, agent.service("filer").handler) as (alice, _):
        view = await alice.api.call(task(some_file(tmp_path, MIB), wait=20))
    assert view.text is not None
    assert "cannot be read any more" in view.text
