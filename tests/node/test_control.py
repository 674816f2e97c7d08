"""One process that misbehaves at the control socket, or a node that cannot start, harms nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.agents import DiscoverRequest, GetAgentRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest, SendTaskRequest
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.errors.machine import HomeUnusableError, PortInUseError
from mcp_a2a.node.ipc import server
from mcp_a2a.node.ipc.control import control_server
from mcp_a2a.node.ipc.owner import _only_reason as only_reason
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.store.short_places import socket_path

NONSENSE = {
    "no JSON": b"garbage\n",
    "no object": b"[]\n",
    "an empty object": b"{}\n",
    "no UTF-8": b"\xff\xfe\n",
    "a number that is a list": b'{"id": [], "op": "peers", "request": {}}\n',
    "a cancellation of a list": b'{"cancel": []}\n',
    "brackets without end": b"[" * 100_000 + b"\n",
}


def alone(home: Path) -> Settings:
    return Settings(home=home, mdns=False, link_host="127.0.0.1")


def vanish(path: Path) -> None:
    """Ask much, read nothing, and go away."""
    question = json.dumps({"id": 1, "op": "list_tasks", "request": {}}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(path))
        stranger.sendall(question * 100)


async def test_a_folder_in_the_place_of_the_socket_is_named_with_what_to_do(tmp_path: Path) -> None:
    wrong = tmp_path / "control.sock"
    wrong.mkdir()
    async with open_node(alone(tmp_path / "home")) as node:
        with pytest.raises(ExceptionGroup) as raised:
            async with control_server(node, no_workers).serve(wrong):
                pass
    error = only_reason(raised.value)
    assert isinstance(error, HomeUnusableError)
    assert error.reason == "control.sock in it is a folder"
    assert error.hint == f"Move {wrong} away."


async def test_a_socket_that_cannot_be_made_again_is_said_once_and_not_with_each_try(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "AGAIN_SECONDS", 0.01)
    place, tries, opened = tmp_path / "place", 0, server.LocalServer._open

    async def counted(local: server.LocalServer, path: Path) -> object:
        nonlocal tries
        tries += 1
        return await opened(local, path)

    monkeypatch.setattr(server.LocalServer, "_open", counted)
    place.mkdir()
    async with open_node(alone(tmp_path / "home")) as node:
        listening = control_server(node, no_workers)
        tries = 0
        async with listening.serve(place / "control.sock"):
            shutil.rmtree(place)  # as that of a user who has logged out
            with anyio.fail_after(30):
                while tries < 6:  # noqa: ASYNC110  a try sets no event
                    await anyio.sleep(0.01)
            assert caplog.text.count("was removed") == 1
            assert caplog.text.count(str(place)) == 2
            place.mkdir()
            with anyio.fail_after(30):
                while not (place / "control.sock").is_socket():  # noqa: ASYNC110  nor does this
                    await anyio.sleep(0.01)


async def no_workers(_: set[str]) -> None:
    pass


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_ends_its_own_conversation_and_no_other(tmp_path: Path, said: bytes) -> None:
    settings = alone(tmp_path / "home")
    async with open_node(settings) as owner, open_node(settings) as other:
        async with await anyio.connect_unix(socket_path(settings.folder)) as stranger:
            await stranger.send(said)
            with anyio.fail_after(30), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                while True:
                    await stranger.receive()
        assert (await other.call(ListTasksRequest())).tasks == ()
        assert owner.owner


async def test_processes_that_vanish_while_they_are_answered_leave_the_node_to_the_others(tmp_path: Path) -> None:
    settings = alone(tmp_path / "home")
    async with open_node(settings) as owner, open_node(settings) as other:
        for _ in range(20):
            await anyio.to_thread.run_sync(vanish, socket_path(settings.folder))
            assert (await other.call(ListTasksRequest())).tasks == ()
        assert owner.owner


def insist(stranger: socket.socket, said: bytes, times: int) -> None:
    """Ask and read nothing, until no more is taken."""
    stranger.settimeout(1)
    with contextlib.suppress(TimeoutError):
        for _ in range(times):
            stranger.sendall(said)


@pytest.mark.parametrize("question", [{"id": 1, "op": "list_tasks", "request": {}}, {"id": 1, "op": "alive"}])
async def test_of_a_process_that_asks_on_and_reads_nothing_no_more_is_taken(
    tmp_path: Path, question: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_OPEN", 256)
    settings = alone(tmp_path / "home")
    said = (json.dumps(question).encode() + b"\n") * 1000
    async with open_node(settings), open_node(settings) as other:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(socket_path(settings.folder)))
            before = len(asyncio.all_tasks())
            await anyio.to_thread.run_sync(insist, stranger, said, 100)
            assert len(asyncio.all_tasks()) - before < 3000  # what came in one piece of 64 KiB is begun
        assert (await other.call(ListTasksRequest())).tasks == ()


async def test_a_process_that_comes_while_no_file_can_be_opened_waits_and_the_node_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "AGAIN_SECONDS", 0.05)
    settings = alone(tmp_path / "home")
    async with open_node(settings) as owner:
        await owner.call(ListTasksRequest())
        with socket.socket(socket.AF_UNIX) as other:
            other.settimeout(60)
            with no_further_file():
                await anyio.to_thread.run_sync(other.connect, str(socket_path(settings.folder)))
                other.sendall(b'{"id": 1, "op": "peers", "request": {}}\n')
                with anyio.fail_after(60):
                    while "waits to be taken on" not in caplog.text:  # noqa: ASYNC110  a log sets no event
                        await anyio.sleep(0.01)
                await anyio.sleep(4 * server.AGAIN_SECONDS)
            assert caplog.text.count("waits to be taken on") == 1
            assert b'"id":1' in await anyio.to_thread.run_sync(other.recv, 65_536)
        assert "stopped unexpectedly" not in caplog.text


@contextlib.contextmanager
def no_further_file() -> Iterator[None]:
    """Within this, the system opens no file for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_node_whose_port_is_taken_says_so_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = alone(tmp_path / "home").model_copy(update={"link_port": port})
        with anyio.fail_after(30), pytest.raises(PortInUseError, match=f"127.0.0.1:{port} is already in use"):
            async with open_node(settings):
                pass


async def test_what_is_in_an_inbox_and_an_answer_reads_the_same_through_the_socket(tmp_path: Path) -> None:
    settings = alone(tmp_path / "home")
    sender = settings.model_copy(update={"identity": "sender"})
    said = (Part(data=None), Part(data={"n": None}), Part(text="", filename="empty.txt"))
    async with open_node(sender) as asking, open_node(settings) as owner, open_node(settings) as other:
        assert owner.owner
        with anyio.fail_after(30):
            me = (await other.call(GetAgentRequest(agent="self"))).agent.did
            await asking.call(DiscoverRequest(settle_seconds=5))
            task = await asking.call(SendTaskRequest(agent=me, message="look", parts=said, wait_seconds=0))
            inbox = await other.call(CheckInboxRequest(wait_seconds=30))
            assert [message.parts[1:] for message in inbox.items[0].messages] == [said]
            await other.call(AnswerRequest(task_id=task.task_id, status="completed", parts=said))
            ended = await asking.call(GetTaskRequest(task_id=task.task_id, wait_seconds=30))
        assert ended.state == Moment.COMPLETED
