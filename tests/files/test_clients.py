"""Files of A2A clients, and for them."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_a2a.a2a.faults import Fault, Kind, kind_of
from mcp_a2a.a2a.files import Presenter, open_file
from mcp_a2a.api.a2a import A2AFollowRequest, A2AGetRequest, A2AListRequest, A2ASendRequest
from mcp_a2a.errors.delivery import FilesWaitError
from mcp_a2a.errors.machine import HomeUnusableError
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.node.files import attaching
from mcp_a2a.protocol.blob import is_blob
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.store.spool import Spool
from tests.files.scenes import MIB, answer, next_item, some_file, spooled
from tests.node.world import Person, World


def url(task_id: str, file_id: str) -> str:
    return f"http://127.0.0.1:3000/files/{task_id}/{file_id}"


def request(part: Part, caller: str = "carol") -> A2ASendRequest:
    message = Message(message_id="m", role=Role.USER, parts=(Part(text="look"), part))
    return A2ASendRequest(agent="self", caller=caller, message=message)


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Person]:
    (tmp_path / "world").mkdir()
    async with World(tmp_path / "world").person("alice", "look") as alice:
        yield alice


async def test_a_large_raw_part_of_a_client_reaches_the_worker_as_a_file(alice: Person, tmp_path: Path) -> None:
    content = some_file(tmp_path, MIB).read_bytes()
    raw = base64.b64encode(content).decode()
    answered = await alice.api.call(request(Part(raw=raw, filename="in.bin", media_type="text/x")))
    item = await next_item(alice)
    assert [(file.name, file.size) for file in item.files] == [("in.bin", MIB)]
    (_, named) = answered.task.history[0].parts
    assert is_blob(named)
    assert "key" not in named.to_json()
    shown = await Presenter(alice.api, "carol", url).task(answered.task)
    assert shown.history[0].parts[1].raw == raw


async def test_a_small_result_is_in_the_answer_and_a_large_one_at_a_url(alice: Person, tmp_path: Path) -> None:
    sent = await alice.api.call(request(Part(text="please")))
    small, large = some_file(tmp_path, MIB, "small"), some_file(tmp_path, 5 * MIB, "large")
    await answer(alice, await next_item(alice), small, large)
    presenter = Presenter(alice.api, "carol", url)
    answered = await alice.api.call(A2AGetRequest(agent="self", caller="carol", task_id=sent.task.id))
    text, first, second = (await presenter.answer(answered)).task.artifacts[0].parts
    assert text.text == "done"
    assert (first.filename, first.raw) == ("small", base64.b64encode(small.read_bytes()).decode())
    assert second.url is not None
    assert second.url.startswith("http://127.0.0.1:3000/files/")
    *_, task_id, file_id = second.url.split("/")
    download = await open_file(alice.api, "carol", task_id, file_id)
    assert (download.name, download.size) == ("large", 5 * MIB)
    assert b"".join([chunk async for chunk in download.chunks]) == large.read_bytes()
    page = presenter.page(await alice.api.call(A2AListRequest(agent="self", caller="carol")))
    assert [part.raw for part in page.tasks[0].artifacts[0].parts] == [None, None, None]


async def test_events_bring_files_like_answers_do(alice: Person, tmp_path: Path) -> None:
    sent = await alice.api.call(request(Part(text="please")).model_copy(update={"follow": True}))
    files = some_file(tmp_path, 200_000, "small"), some_file(tmp_path, MIB, "large for a line")
    await answer(alice, await next_item(alice), *files)
    follow = A2AFollowRequest(agent="self", caller="carol", task_id=sent.task.id, cursor=sent.cursor)
    presenter = Presenter(alice.api, "carol", url)
    events = [await presenter.event(event, sent.task.id) for event in (await alice.api.call(follow)).events]
    parts = [part for event in events if event.artifact_update for part in event.artifact_update.artifact.parts]
    assert [part.raw is not None for part in parts] == [False, True, False]


async def test_a_file_of_another_caller_does_not_exist(alice: Person, tmp_path: Path) -> None:
    sent = await alice.api.call(request(Part(text="please")))
    await answer(alice, await next_item(alice), some_file(tmp_path, MIB))
    answered = await alice.api.call(A2AGetRequest(agent="self", caller="carol", task_id=sent.task.id))
    file_id = (answered.task.artifacts[0].parts[1].url or "").removeprefix("blob:")
    for caller, task_id, name in (
        ("dave", sent.task.id, file_id),
        ("", sent.task.id, file_id),
        ("carol", sent.task.id, "0"),
    ):
        with pytest.raises(TaskNotFoundError):
            await open_file(alice.api, caller, task_id, name)


async def test_files_of_finished_tasks_make_room_for_those_of_new_ones(
    alice: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of results as of requests: both are kept for as long as their client may fetch them."""
    monkeypatch.setattr(attaching, "MAX_OUT_BYTES", 3 * MIB)
    files = []
    for number in range(4):
        content = some_file(tmp_path, MIB + number, f"{number}").read_bytes()
        sent = await alice.api.call(request(Part(raw=base64.b64encode(content).decode())))
        await answer(alice, await next_item(alice), tmp_path / f"{number}")
        one = A2AGetRequest(agent="self", caller="carol", task_id=sent.task.id)
        done = await alice.api.call(one)
        files.append((sent.task.id, (done.task.artifacts[0].parts[1].url or "").removeprefix("blob:")))
    newest = await open_file(alice.api, "carol", *files[-1])
    assert newest.size == MIB + 3
    with pytest.raises(Fault, match="no longer here") as gone:
        await open_file(alice.api, "carol", *files[0])
    assert gone.value.kind.value.http == 404
    assert len(spooled(World(tmp_path / "world"), "alice")) < 8


async def test_a_client_is_not_blamed_for_a_disk_that_takes_no_file(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = base64.b64encode(bytes(MIB)).decode()

    def create(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "create", create)
        with pytest.raises(HomeUnusableError) as refused:
            await alice.api.call(request(Part(raw=raw)))
    assert kind_of(refused.value) is Kind.UNAVAILABLE
    monkeypatch.setattr(attaching, "MAX_OUT_BYTES", -1)
    with pytest.raises(FilesWaitError):
        await alice.api.call(request(Part(raw=raw)))


async def test_the_same_message_with_a_file_is_heard_once(alice: Person, tmp_path: Path) -> None:
    raw = base64.b64encode(some_file(tmp_path, MIB).read_bytes()).decode()
    sent = await alice.api.call(request(Part(text="begin")))
    more = request(Part(raw=raw)).message.model_copy(update={"task_id": sent.task.id})
    for _ in range(2):
        answered = await alice.api.call(A2ASendRequest(agent="self", caller="carol", message=more))
    assert len(answered.task.history) == 2
    assert len(spooled(World(tmp_path / "world"), "alice")) == 1
