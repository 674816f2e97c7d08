"""A process that is only a front: the owner of the node has its session, and its end loses nothing of that."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
import pytest
from anyio.abc import SocketStream
from filelock import FileLock

from mcp_a2a import composition
from mcp_a2a.api.agents import AddPeerRequest, GetAgentRequest, PeersRequest
from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.tasks import ListTasksRequest, SendTaskRequest
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.front.frames import Decoder, Greeting, Kind
from mcp_a2a.front.loop import MAX_STRIKES
from mcp_a2a.front.splitting import Whole
from mcp_a2a.node.ipc import stand_in
from mcp_a2a.node.ipc.owner import SharedNode
from mcp_a2a.node.ipc.stand_in import StandIn
from mcp_a2a.server import piped
from mcp_a2a.server.lines import FromClient, Unreadable
from mcp_a2a.store.owner_file import has_stand_in, read_owner
from mcp_a2a.store.short_places import socket_path
from tests.front.client import FrontClient, client
from tests.front.regenerate import envelope
from tests.node.test_stand_in import Opened, identity
from tests.server.test_consent import did_of

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there is no front on Windows")]

MOST_KIB = 45 * 1024
TAKE_OVER_SECONDS = 3.0

T = TypeVar("T")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def settings(home: Path, identity: str = "default", **more: Any) -> Settings:
    return Settings(home=home, identity=identity, mdns=False, link_host="127.0.0.1", name=identity, **more)


async def aside(function: Callable[[], T]) -> T:
    """A client waits, and the node of this process goes on meanwhile."""
    return await anyio.to_thread.run_sync(function)


@contextmanager
def owner_process(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that owns the default identity of this home."""
    program = Path(__file__).parents[1] / "node" / "owner_program.py"
    with subprocess.Popen([sys.executable, str(program), str(home)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"owner\n"
            yield process
        finally:
            process.kill()


@contextmanager
def attached(home: Path, **more: Any) -> Iterator[FrontClient]:
    """A client whose process is a front of an owner that runs, as a call has shown."""
    with client(home, **more) as front:
        front.begin(roots={"listChanged": True}, elicitation={"form": {}})
        front.call("list_tasks", "first")
        assert front.resident_kib < MOST_KIB
        yield front


def fields(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("isError"), result
    found: dict[str, Any] = result["structuredContent"]
    return found


# --- while the owner lives ------------------------------------------------------------------------


async def test_a_front_is_small_and_serves_what_its_owner_has(home: Path) -> None:
    async with open_node(settings(home)) as owner:

        def use() -> None:
            with attached(home) as front:
                found = fields(front.call("get_agent", agent="self"))
                assert found["node"]["pid"] == os.getpid()
                assert front.resident_kib < MOST_KIB
                assert front.end() == (0, [])

        await aside(use)
        assert owner.owner


async def test_the_newer_era_passes_through(home: Path) -> None:
    async with open_node(settings(home)):

        def use() -> None:
            with client(home) as front:
                front.ask("server/discover", envelope())
                params = {"name": "list_tasks", "arguments": {}}
                assert "tasks" in front.ask("tools/call", {**params, **envelope()}, 2)["result"]["structuredContent"]
                assert front.ask("tools/list", envelope(), 3)["result"]["ttlMs"] == 0
                assert front.ask("tools/list", {**envelope(), "cursor": "no"}, 4)
                assert front.resident_kib < MOST_KIB

        await aside(use)


async def test_lines_of_any_size_and_garbage_pass_whole_and_in_order(home: Path) -> None:
    async with open_node(settings(home)), open_node(settings(home, "worker")) as worker:

        def use() -> None:
            with attached(home) as front:
                text = "é" * 300_000
                sent = fields(front.call("send_task", agent="worker", message=text, wait_seconds=0))
                front.write(b'\xff{"id":\n{}\n' + b"[" * 5_000 + b"\n" + b"[" * 200_000 + b"\n")
                assert [front.message()["error"]["code"] for _ in range(4)] == [-32700, -32600, -32700, -32600]
                long = json.dumps({"jsonrpc": "2.0", "id": 77, "method": "x", "params": {"x": "y" * 5_000_000}})
                front.write(long.encode() + b"\n")
                assert front.message()["id"] == 77
                for number in range(200):
                    front.say("ping", {}, number)
                assert [front.message()["id"] for _ in range(200)] == list(range(200))
                assert fields(front.call("get_task_status", task_id=sent["task_id"]))["state"]

        await aside(use)
        items = (await worker.call(CheckInboxRequest(wait_seconds=30))).items
        assert items[0].text == "é" * 300_000


async def test_a_call_that_its_client_cancels_or_leaves_is_withdrawn_at_the_owner(home: Path) -> None:
    async with open_node(settings(home)) as owner, open_node(settings(home, "sender")) as sender:
        await sender.call(GetAgentRequest(agent="default"))

        def use() -> None:
            with attached(home) as front:
                front.say("tools/call", {"name": "check_inbox", "arguments": {"wait_seconds": 45}}, 5)
                front.say("notifications/cancelled", {"requestId": 5})
                front.ask("ping", {}, 6)
                front.say("tools/call", {"name": "check_inbox", "arguments": {"wait_seconds": 45}}, 7)
                front.ask("ping", {}, 8)
                front.process.send_signal(signal.SIGTERM)
                assert front.process.wait(60) == 0

        await aside(use)
        await sender.call(SendTaskRequest(agent="default", message="hello", wait_seconds=0))
        with anyio.fail_after(60):
            items = (await owner.call(CheckInboxRequest(wait_seconds=30))).items
        assert [(item.text, item.attempt) for item in items] == [("hello", 1)], "no earlier call has taken it"


async def test_progress_and_answers_reach_the_client_that_asked_and_no_other(home: Path) -> None:
    async with open_node(settings(home)):

        def use() -> None:
            with attached(home) as one, attached(home) as other:
                params = {"name": "check_inbox", "arguments": {"wait_seconds": 5}, "_meta": {"progressToken": "mine"}}
                one.say("tools/call", params, 1)
                other.call("list_tasks", 1)
                assert "result" in one.answer(1)
                assert {message["params"]["progressToken"] for message in one.unasked} == {"mine"}
                assert other.unasked == []

        await aside(use)


@asynccontextmanager
async def with_a_stranger(home: Path, folder: Path) -> AsyncIterator[tuple[SharedNode, SharedNode]]:
    """The owner of a folder, and a node of another person that it sees."""
    async with open_node(settings(home)) as owner, open_node(settings(folder / "m", "mallory")) as mallory:
        detail = await owner.call(GetAgentRequest(agent="self"))
        address = re.search(r"127\.0\.0\.1:\d+", " ".join(detail.addresses))
        assert address is not None
        await mallory.call(AddPeerRequest(address=address[0]))
        while not any(peer.name == "mallory" for peer in (await owner.call(PeersRequest())).peers):  # noqa: ASYNC110  asked from outside
            await anyio.sleep(0.01)
        yield owner, mallory


TO_MALLORY = {"agent": "mallory", "message": "look", "wait_seconds": 0}


async def test_each_front_is_told_for_itself_whether_strangers_may_be_sent_to(home: Path, tmp_path: Path) -> None:
    async with with_a_stranger(home, tmp_path) as (owner, _):

        def ask_first() -> None:
            with client(home, MCP_A2A_ALLOW_STRANGERS="0") as careful:
                careful.begin()
                assert careful.call("send_task", **TO_MALLORY)["isError"]

        def allowed() -> None:
            with client(home, "--allow-strangers", MCP_A2A_ALLOW_STRANGERS="0") as free:
                free.begin()
                assert fields(free.call("send_task", **TO_MALLORY))["task_id"]

        await aside(ask_first)
        assert (await owner.call(ListTasksRequest())).tasks == ()
        await aside(allowed)


async def test_a_question_is_put_to_the_person_at_the_front_who_caused_it(home: Path, tmp_path: Path) -> None:
    async with with_a_stranger(home, tmp_path):

        def use() -> None:
            with (
                attached(home, MCP_A2A_ALLOW_STRANGERS="0") as one,
                attached(home, MCP_A2A_ALLOW_STRANGERS="0") as other,
            ):
                one.say("tools/call", {"name": "send_task", "arguments": TO_MALLORY}, 1)
                question = one.message()
                assert question["method"] == "elicitation/create"
                yes = {"action": "accept", "content": {"allow": True}}
                other.write(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": yes}).encode() + b"\n")
                assert other.call("list_tasks", 2)["structuredContent"]["tasks"] == []
                one.write(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": yes}).encode() + b"\n")
                assert fields(one.answer(1)["result"])["task_id"]

        await aside(use)


async def test_files_are_those_of_the_front_its_folders_its_client_and_where_it_works(
    home: Path, tmp_path: Path
) -> None:
    allowed, listed = tmp_path / "allowed", tmp_path / "listed"
    for folder in (allowed, listed):
        folder.mkdir()
        (folder / "note.txt").write_text(folder.name)
    async with open_node(settings(home)), open_node(settings(home, "worker")) as worker:

        def send(front: FrontClient, path: Path | str) -> dict[str, Any]:
            arguments = {"agent": "worker", "message": "m", "files": [str(path)], "wait_seconds": 0}
            front.say("tools/call", {"name": "send_task", "arguments": arguments}, 1)
            while (message := front.message()).get("id") != 1 or "method" in message:
                roots = {"roots": [{"uri": listed.as_uri()}]}
                front.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": roots}).encode() + b"\n")
            found: dict[str, Any] = message["result"]
            return found

        def use() -> None:
            with attached(home, MCP_A2A_FILE_ROOTS=str(allowed), cwd=allowed) as told, attached(home) as untold:
                assert not send(told, "note.txt").get("isError")
                assert send(told, listed / "note.txt")["isError"], "what a person has set outweighs the client"
                assert not send(untold, listed / "note.txt").get("isError")
                assert send(untold, allowed / "note.txt")["isError"]

        await aside(use)
        items = (await worker.call(CheckInboxRequest(wait_seconds=30))).items
        assert {item.files[0].name for item in items} == {"note.txt"}


async def test_what_is_logged_for_a_front_is_on_its_own_stderr_at_its_own_level(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(settings(home)):

        def use() -> bytes:
            with client(home, stderr=subprocess.PIPE) as front:
                front.begin()
                front.ask("logging/setLevel", {"level": "debug"}, 2)
                front.write(b"no message\n")
                assert front.message()["error"]["code"] == -32700
                front.ask("logging/setLevel", {"level": "error"}, 3)
                front.write(b"no message either\n")
                assert front.message()["error"]["code"] == -32700
                front.end()
                assert front.process.stderr is not None
                return front.process.stderr.read()

        before = logging.getLogger("mcp_a2a").getEffectiveLevel()
        errors = await aside(use)
        assert errors.count(b"a line of the client was not taken") == 1
        assert logging.getLogger("mcp_a2a").getEffectiveLevel() == before
        assert "not taken" not in caplog.text or not any(
            record.message for record in caplog.records if "not taken" in record.message and record.levelno < before
        )


def test_of_two_that_start_at_once_one_imports_what_a_node_needs(home: Path) -> None:
    with client(home) as one, client(home) as other:
        for front in (one, other):
            front.begin()
            front.say("tools/call", {"name": "get_agent", "arguments": {"agent": "self"}}, 1)
        owners = {fields(front.answer(1)["result"])["node"]["pid"] for front in (one, other)}
        small = [front for front in (one, other) if front.resident_kib < MOST_KIB]
        assert len(small) == 1
        assert owners == {one.process.pid, other.process.pid} - {small[0].process.pid}


async def test_a_session_that_breaks_off_at_a_line_breaks_no_other_and_is_not_tried_for_ever(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, sessions = piped.from_client, list[int]()

    def fragile(content: Whole, number: int, age: float) -> FromClient | Unreadable | None:
        if isinstance(content, bytes) and b"poison" in content:
            sessions.append(number)
            raise ZeroDivisionError("a bug of ours")
        return read(content, number, age)

    monkeypatch.setattr(piped, "from_client", fragile)
    async with open_node(settings(home)):

        def use() -> None:
            with attached(home) as front, attached(home) as other:
                assert front.call("get_task_status", 5, task_id="poison")["isError"], "it has a session of its own"
                assert fields(front.call("list_tasks", 6))["tasks"] == []
                assert fields(other.call("list_tasks", 7))["tasks"] == []

        await aside(use)
    assert len(sessions) == MAX_STRIKES + 1


# --- when the owner ends --------------------------------------------------------------------------


def test_when_the_owner_is_killed_every_call_has_one_answer_and_no_task_is_doubled_or_lost(home: Path) -> None:
    with (
        owner_process(home) as owner,
        attached(home) as front,
        client(home, "--identity", "worker", "--name", "worker") as worker,
    ):
        worker.begin()
        worker.call("list_tasks")
        did = did_of_worker(front)
        first = fields(front.call("send_task", "known", agent=did, message="first", wait_seconds=0))
        front.ask("logging/setLevel", {"level": "error"}, "level")
        front.say("tools/call", {"name": "check_inbox", "arguments": {"wait_seconds": 5}}, 30)
        front.ask("ping", {}, "it waits now")
        for number in range(30):
            if number == 15:
                owner.kill()
            arguments = {"agent": did, "message": f"text {number}", "wait_seconds": 0}
            front.say("tools/call", {"name": "send_task", "arguments": arguments}, number)
        answers = _by_id(front, range(31))
        fields(answers.pop(30))
        ids = {fields(answer)["task_id"] for answer in answers.values()}
        assert len(ids) == 30
        ids.add(first["task_id"])
        listed, cursor = list[str](), {}
        while cursor is not None:
            page = fields(front.call("list_tasks", "list", limit=100, direction="sent", **cursor))
            listed += [task["task_id"] for task in page["tasks"]]
            cursor = {"cursor": page["next_cursor"]} if page.get("next_cursor") else None
        assert sorted(listed) == sorted(ids)
        assert fields(front.call("get_agent", "who", agent="self"))["node"]["pid"] == front.process.pid
        assert front.end() == (0, [])


@contextmanager
def a_worker(home: Path) -> Iterator[FrontClient]:
    """An agent to send to, whose node runs."""
    with client(home, "--identity", "worker", "--name", "worker") as worker:
        worker.begin()
        worker.call("list_tasks")
        yield worker


def did_of_worker(front: FrontClient) -> str:
    """The key of the worker, once it is seen."""
    while True:
        for agent in fields(front.call("discover", "see", query="worker")).get("agents", ()):
            if agent["name"] == "worker":
                return str(agent["did"])


def _by_id(front: FrontClient, numbers: range) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    while len(found) < len(numbers):
        message = front.message()
        assert message["id"] not in found, "each is answered once"
        found[message["id"]] = message["result"]
    return found


def test_of_two_fronts_one_takes_over_and_the_other_is_its_front(home: Path) -> None:
    with attached_pair(home) as (owner, one, other):
        owner.send_signal(signal.SIGKILL)
        pids = {fields(front.call("get_agent", agent="self"))["node"]["pid"] for front in (one, other)}
        assert len(pids) == 1
        assert pids < {one.process.pid, other.process.pid}
        small = other if pids == {one.process.pid} else one
        assert small.resident_kib < MOST_KIB


@contextmanager
def attached_pair(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], FrontClient, FrontClient]]:
    with owner_process(home) as owner, attached(home) as one, attached(home) as other:
        yield owner, one, other


async def test_an_answer_to_a_question_of_the_owner_that_ended_answers_none_of_the_next(
    home: Path, tmp_path: Path
) -> None:
    """A dialog stays open when the owner ends; the next session asks again, and only what is said to that counts."""
    ended = anyio.Event()
    async with open_node(settings(tmp_path / "m", "mallory")) as mallory, anyio.create_task_group() as tasks:

        async def own(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            async with open_node(settings(home)) as owner:
                detail = await owner.call(GetAgentRequest(agent="self"))
                address = re.search(r"127\.0\.0\.1:\d+", " ".join(detail.addresses))
                assert address is not None
                await mallory.call(AddPeerRequest(address=address[0]))
                while not any(peer.name == "mallory" for peer in (await owner.call(PeersRequest())).peers):  # noqa: ASYNC110  asked from outside
                    await anyio.sleep(0.01)
                task_status.started(await did_of(mallory))
                await ended.wait()

        did = await tasks.start(own)
        arguments = {"agent": did, "message": "look", "wait_seconds": 0}
        with client(home, MCP_A2A_ALLOW_STRANGERS="0") as front:

            def begin() -> dict[str, Any]:
                front.begin(elicitation={"form": {}})
                front.say("tools/call", {"name": "send_task", "arguments": arguments}, 1)
                return front.message()

            def go_on(question: dict[str, Any]) -> None:
                again = front.message()
                assert again["method"] == "elicitation/create"
                assert again["id"] != question["id"]
                yes, no = {"action": "accept", "content": {"allow": True}}, {"action": "cancel"}
                front.write(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": yes}).encode() + b"\n")
                assert "tasks" in fields(front.call("list_tasks", 2))
                front.write(json.dumps({"jsonrpc": "2.0", "id": again["id"], "result": no}).encode() + b"\n")
                assert front.answer(1)["result"]["isError"]

            question = await aside(begin)
            ended.set()
            await aside(lambda: go_on(question))


async def test_a_question_within_a_result_is_understood_by_the_next_owner(home: Path, tmp_path: Path) -> None:
    can = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}
    params = {"name": "send_task", "arguments": TO_MALLORY}
    with client(home, MCP_A2A_ALLOW_STRANGERS="0") as front:
        async with with_a_stranger(home, tmp_path) as (_, mallory):
            did = await did_of(mallory)
            params["arguments"] = {**TO_MALLORY, "agent": did}
            asked = (await aside(lambda: front.ask("tools/call", {**params, **envelope(**can)}, 1)))["result"]
            assert asked["resultType"] == "input_required"
            (key,) = asked["inputRequests"]
        yes = {key: {"action": "accept", "content": {"allow": True}}}
        more = {"inputResponses": yes, "requestState": asked["requestState"]}
        answer = await aside(lambda: front.ask("tools/call", {**params, **more, **envelope(**can)}, 2))
        assert "error" not in answer, "it opens what the one before has sealed"
        if answer["result"]["resultType"] == "input_required":  # the route has changed, so it is another question
            more["requestState"] = answer["result"]["requestState"]
            answer = await aside(lambda: front.ask("tools/call", {**params, **more, **envelope(**can)}, 3))
        assert fields(answer["result"])["task_id"]


def test_an_input_that_ends_with_its_owner_still_gets_its_answers(home: Path) -> None:
    with owner_process(home) as owner, attached(home) as front:
        owner.send_signal(signal.SIGSTOP)
        front.say("tools/call", {"name": "list_tasks", "arguments": {}}, 5)
        owner.kill()
        code, rest = front.end()
        assert (code, [message["id"] for message in rest]) == (0, [5])


async def test_a_process_that_only_stands_in_for_the_owner_leaves_when_a_front_comes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("START_SECONDS", "LEAD_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(stand_in, name, 0.02)
    folder, opened = await identity(home, "default", waits=True), Opened()

    def use() -> None:
        with client(home) as front:
            front.begin()
            assert "tasks" in fields(front.call("list_tasks"))
            assert read_owner(folder) == front.process.pid
            assert not has_stand_in(folder)

    async with anyio.create_task_group() as tasks:
        opened.waits.add("default")
        tasks.start_soon(StandIn(home, "other", "node.db", opened.open).run)
        while not has_stand_in(folder):  # noqa: ASYNC110  a file is written
            await anyio.sleep(0.01)
        with closing(sqlite3.connect(folder / "node.db")) as connection, connection:
            connection.execute("DELETE FROM outbox")  # what waited there can be sent by no real node
        await aside(use)
        tasks.cancel_scope.cancel()
    assert opened.ever


# --- owners that do not answer --------------------------------------------------------------------


def test_a_stopped_owner_is_named_to_the_call_and_nothing_that_was_asked_of_it_is_done_later(home: Path) -> None:
    with (
        owner_process(home) as owner,
        attached(home) as front,
        client(home, "--identity", "worker", "--name", "worker") as worker,
    ):
        worker.begin()
        worker.call("list_tasks")
        did = did_of_worker(front)
        owner.send_signal(signal.SIGSTOP)
        result = front.call("send_task", agent=did, message="not now", wait_seconds=0)
        assert result["isError"]
        assert f"kill -CONT {owner.pid}" in result["content"][0]["text"]
        owner.send_signal(signal.SIGCONT)
        assert fields(front.call("list_tasks", 2))["tasks"] == []


async def test_with_an_owner_of_an_older_version_it_has_its_own_session(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(composition, "_speak", None)
    async with open_node(settings(home)) as owner:

        def use() -> None:
            with client(home) as front:
                front.begin()
                assert fields(front.call("get_agent", agent="self"))["node"]["pid"] == os.getpid()

        await aside(use)
        assert owner.owner
    assert caplog.text.count("was not understood") == MAX_STRIKES + 1


async def test_an_owner_that_closes_every_connection_is_not_tried_without_a_pause(home: Path) -> None:
    folder = settings(home).folder
    folder.mkdir(parents=True, mode=0o700)
    tried = 0

    async def close(stream: SocketStream) -> None:
        nonlocal tried
        tried += 1
        await stream.aclose()

    async with await anyio.create_unix_listener(socket_path(folder)) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, close)
        with FileLock(folder / "lock"):
            async with open_node(settings(home), eager=False) as node:
                with anyio.move_on_after(1.0):
                    await node.call(ListTasksRequest())
        tasks.cancel_scope.cancel()
    assert 1 <= tried <= 15


async def test_an_owner_that_imports_what_a_session_needs_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, began = threading.Event(), anyio.Event()
    monkeypatch.setattr(composition, "ALIVE_SECONDS", 0.01)
    monkeypatch.setattr(composition.importlib, "import_module", lambda name: slow.wait(60) and sys.modules[name])
    front, owner = socket.socketpair()
    async with (
        await anyio.abc.SocketStream.from_socket(front) as here,
        await anyio.abc.SocketStream.from_socket(owner) as there,
        anyio.create_task_group() as tasks,
    ):

        async def load() -> None:
            assert await composition._imported("json", there) is json
            began.set()

        tasks.start_soon(load)
        decoder, heard = Decoder(), list[Kind]()
        while len(heard) < 3:
            decoder.feed(await here.receive())
            heard += [frame.kind for frame in decoder.frames()]
        slow.set()
        await began.wait()
    assert set(heard) == {Kind.ALIVE}


async def test_a_front_of_another_program_is_told_to_have_its_own_session(home: Path) -> None:
    async with open_node(settings(home)), await anyio.connect_unix(socket_path(settings(home).folder)) as stream:
        greeting = Greeting("p", "00" * 32, "", 30, release="0.0.0")
        await stream.send(greeting.line())
        assert (await stream.receive())[0] == 9
