"""Old files make room for new ones, and no text is lost for a file that has none."""

from __future__ import annotations

import base64
import errno
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_a2a.api.files import FileArg, SaveFilesRequest
from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.api.tasks import GetTaskRequest, TaskView
from mcp_a2a.errors.delivery import FilesWaitError, UnsendableError
from mcp_a2a.errors.machine import SystemLimitError
from mcp_a2a.node.files import attaching, pieces
from mcp_a2a.node.tasks import receipts
from mcp_a2a.node.worker.job import is_unsendable
from mcp_a2a.protocol import blob
from mcp_a2a.protocol.blob import PIECE_SIZE
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Part
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.store import spool
from tests.files.scenes import answer, next_item, some_file, spooled, task, until
from tests.node.world import Person, World, acquainted

SIZE = 100 * 1024
Pair = tuple[World, Person, Person]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Alice, who asks, and bob, who works for her."""
    world = World(tmp_path / "world")
    world.folder.mkdir()
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        yield world, alice, bob


async def drawn(pair: Pair, folder: Path, number: int, *more: Path) -> TaskView:
    """Alice asks for a picture, and gets it."""
    _, alice, bob = pair
    sent = await alice.api.call(task(text=f"picture {number}"))
    await answer(bob, await next_item(bob), some_file(folder, SIZE, f"{number}.png"), *more)
    return await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))


async def kept(pair: Pair, views: list[TaskView]) -> list[bool]:
    """Of which of these tasks the file is still here."""
    alice = pair[1]
    now = [await alice.api.call(GetTaskRequest(task_id=view.task_id)) for view in views]
    return [view.files[0].here for view in now]


async def test_the_oldest_results_make_room_for_new_ones_and_no_task_fails(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MAX_FILES_PER_PEER", 3)
    views = [await drawn(pair, tmp_path, number) for number in range(6)]
    assert [(view.state, view.text) for view in views] == [(Moment.COMPLETED, "done")] * 6
    assert await kept(pair, views) == [False, False, False, True, True, True]
    assert len([path for path in spooled(pair[0], "alice") if path.name.startswith("in-")]) == 3


async def test_bytes_count_as_well_as_files(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MAX_BYTES", 2 * PIECE_SIZE)
    views = [await drawn(pair, tmp_path, number) for number in range(4)]
    assert await kept(pair, views) == [False, False, True, True]


async def test_what_was_saved_makes_room_first(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MAX_FILES_PER_PEER", 3)
    views = [await drawn(pair, tmp_path, number) for number in range(3)]
    await pair[1].api.call(SaveFilesRequest(task_id=views[1].task_id, folder=str(tmp_path / "out")))
    views.append(await drawn(pair, tmp_path, 3))
    assert await kept(pair, views) == [True, False, True, True]


async def test_the_files_of_a_task_that_are_still_here_can_be_saved_without_those_that_made_room(
    pair: Pair, tmp_path: Path
) -> None:
    _, alice, _ = pair
    view = await drawn(pair, tmp_path, 0, some_file(tmp_path, SIZE + 1, "more.png"))
    first, second = view.files

    def make_room(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM blobs WHERE direction='in' AND id=?", (first.file_id,))

    await alice.node.context.database.write(make_room)
    saved = await alice.api.call(SaveFilesRequest(task_id=view.task_id, folder=str(tmp_path / "out")))
    assert [file.name for file in saved.files] == [second.name]
    assert "1 other file of this task is not here" in saved.next
    assert [path.name for path in (tmp_path / "out").iterdir()] == [second.name]


@pytest.mark.parametrize(
    ("where", "limit", "why"),
    [
        ("pieces", "MAX_BYTES_PER_PEER", "no room for more files from this agent"),
        ("spool", "RESERVE_BYTES", "the disk of its recipient has no room for it"),
    ],
)
async def test_a_result_whose_file_has_no_room_arrives_with_its_text_and_says_so(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, limit: str, why: str
) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(2 * SIZE))
    module, most = (pieces, 1) if where == "pieces" else (spool, 1 << 60)
    sent = await pair[1].api.call(task(text="a picture and its source"))
    item = await next_item(pair[2])
    file = some_file(tmp_path, SIZE, "0.png")
    seen = iter([0])

    def free(self: spool.Spool) -> int:
        return 1 << 40 if next(seen, None) == 0 else 0

    if where == "pieces":
        monkeypatch.setattr(module, limit, most)
    else:
        monkeypatch.setattr(spool.Spool, "free_bytes", property(free))  # the worker has room to send it, once
    await answer(pair[2], item, file)
    view = await pair[1].api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))
    assert view.state is Moment.COMPLETED
    assert (view.text or "").startswith("done")
    assert "0.png was not kept" in (view.text or "")
    assert why in (view.text or "")
    assert view.error is None
    worked = await pair[2].api.call(GetTaskRequest(task_id=sent.task_id))
    assert (worked.state, worked.error) == (Moment.COMPLETED, None)
    await until(lambda: pair[2].node.outbox.waiting(pair[1].node.context.me) == 0)


async def test_of_two_files_only_the_one_without_room_is_missing(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MAX_FILES_PER_PEER", 1)
    view = await drawn(pair, tmp_path, 0, some_file(tmp_path, SIZE + 1, "more.png"))
    assert view.state is Moment.COMPLETED
    assert "was not kept" in (view.text or "")
    assert [file.here for file in view.files] == [True]


async def test_a_result_is_told_without_a_file_for_which_too_many_wait_here(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, alice, bob = pair
    sent = await alice.api.call(task(text="a picture"))
    item = await next_item(bob)
    monkeypatch.setattr(attaching, "MAX_OUT_BYTES", -1)
    files = (FileArg(path=str(some_file(tmp_path, SIZE, "0.png"))),)
    typed = AnswerRequest(task_id=item.task_id, status="completed", text="done", files=files, consent="typed")
    with pytest.raises(FilesWaitError):  # whoever is there can answer without it
        await bob.api.call(typed)
    await bob.api.call(typed.model_copy(update={"consent": "waived"}))
    view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))
    assert (view.state, view.error) == (Moment.COMPLETED, None)
    assert (view.text or "").startswith("done")
    assert "The file 0.png was not kept" in (view.text or "")


async def test_a_file_that_was_streamed_is_named_in_its_place_where_too_many_wait_here(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, alice, bob = pair
    sent = await alice.api.call(task(text="a picture, as it grows"))
    item = await next_item(bob)
    monkeypatch.setattr(attaching, "MAX_OUT_BYTES", -1)
    part = Part(raw=base64.b64encode(os.urandom(10 * SIZE)).decode(), filename="0.png")
    chunk = ArtifactChunk(artifact=Artifact(artifact_id="picture", name="picture", parts=(part,)))
    streamed = AnswerRequest(
        task_id=item.task_id, status="completed", text="done", chunks=(chunk,), streamed=0, consent="waived"
    )
    await bob.api.call(streamed)
    view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))
    assert (view.state, view.error) == (Moment.COMPLETED, None)
    assert "The file 0.png was not kept" in (view.text or "")


async def test_files_of_many_pieces_of_one_answer_share_what_a_message_holds(pair: Pair) -> None:
    _, alice, bob = pair
    sent = await alice.api.call(task(text="twenty pictures"))
    item = await next_item(bob)
    pictures = [
        Part(raw=base64.b64encode(os.urandom(60 * 1024)).decode(), filename=f"{number}.png") for number in range(20)
    ]
    chunks = tuple(
        ArtifactChunk(artifact=Artifact(artifact_id=f"picture-{number}", parts=(part,)))
        for number, part in enumerate(pictures)
    )
    streamed = AnswerRequest(
        task_id=item.task_id, status="completed", text="done", chunks=chunks, streamed=0, consent="waived"
    )
    await bob.api.call(streamed)
    view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))
    assert (view.state, view.error) == (Moment.COMPLETED, None)
    assert sorted(file.name for file in view.files) == sorted(f"{number}.png" for number in range(20))


async def test_a_result_with_more_files_than_its_asker_takes_is_refused_where_it_was_made(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob, "MAX_FILES", 2)
    _, alice, bob = pair
    await alice.api.call(task(text="pictures"))
    item = await next_item(bob)
    for number in range(2):
        part = Part(raw=base64.b64encode(os.urandom(SIZE)).decode(), filename=f"{number}.png")
        chunk = ArtifactChunk(artifact=Artifact(artifact_id="result", parts=(part,)), append=number > 0)
        await bob.api.call(
            AnswerRequest(task_id=item.task_id, status="working", chunks=(chunk,), streamed=number, consent="waived")
        )
    more = (FileArg(path=str(some_file(tmp_path, SIZE, "2.png"))),)
    with pytest.raises(UnsendableError, match="More than 2 files"):  # or she would wait for it without end
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", files=more, consent="waived"))


async def test_a_result_whose_file_cannot_be_opened_for_want_of_open_files_has_not_failed(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, alice, bob = pair
    await alice.api.call(task(text="a picture"))
    item = await next_item(bob)

    def open_resolved(path: Path) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(attaching, "open_resolved", open_resolved)
    with pytest.raises(SystemLimitError) as limit:
        await answer(bob, item, some_file(tmp_path, SIZE, "0.png"))
    assert not is_unsendable(limit.value), "its worker keeps it, and tries again"


async def test_a_task_whose_file_has_no_room_names_who_has_none(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MAX_BYTES_PER_PEER", 1)
    view = await pair[1].api.call(task(some_file(tmp_path, SIZE), wait=20))
    assert view.state is Moment.REJECTED
    assert view.error is not None
    assert view.error.message == "The agent bob has no room for more files from you."


async def test_a_file_that_was_not_asked_for_pushes_out_no_result(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MAX_FILES", 1)
    result = await drawn(pair, tmp_path, 0)
    request = task(some_file(tmp_path, SIZE, "push.bin"), agent="alice", wait=20)
    view = await pair[2].api.call(request)
    assert view.state is Moment.REJECTED
    assert await kept(pair, [result]) == [True]


async def test_a_full_disk_is_waited_for_and_ends_nothing(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "BUSY_RETRY_SECONDS", 0.05)
    put, failures = spool.Spool.put_piece, [0] * 5

    def put_piece(self: spool.Spool, path: Path, number: int, data: bytes) -> None:
        if failures and failures.pop() == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(self, path, number, data)

    monkeypatch.setattr(spool.Spool, "put_piece", put_piece)
    view = await drawn(pair, tmp_path, 0)
    assert view.state is Moment.COMPLETED
    assert await kept(pair, [view]) == [True]
    assert not failures
