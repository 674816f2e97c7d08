"""One identity, many processes: one owns the node, all answer, and whoever stays goes on (section 7 of the design)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream, TaskStatus
from filelock import FileLock

from mcp_a2a.api.agents import DiscoverRequest, GetAgentRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest, InboxItem
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest, SendTaskRequest, TaskView
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.agents import PeerNotFoundError
from mcp_a2a.errors.delivery import TooLargeError
from mcp_a2a.errors.machine import ConfigurationError, HomeUnusableError, NodeSilentError
from mcp_a2a.errors.tasks import LeaseLostError, TaskNotFoundError
from mcp_a2a.front.frames import call_age
from mcp_a2a.node.agents import startup_wait
from mcp_a2a.node.ipc import client
from mcp_a2a.node.ipc import owner as shared
from mcp_a2a.node.ipc.owner import SharedNode, share
from mcp_a2a.node.ipc.wire import MAX_LINE
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.store.short_places import MAX_SOCKET_PATH, socket_path
from mcp_a2a_transports import local

PROGRAM = Path(__file__).with_name("owner_program.py")
MEGABYTE = "x" * 1_000_000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def settings(home: Path, identity: str = "default") -> Settings:
    return Settings(home=home, identity=identity, mdns=False, link_host="127.0.0.1", name=identity)


@asynccontextmanager
async def two_processes(home: Path, identity: str = "default") -> AsyncIterator[tuple[SharedNode, SharedNode]]:
    """The owner of an identity's node, and another that asks it."""
    async with open_node(settings(home, identity)) as owner, open_node(settings(home, identity)) as guest:
        assert (owner.owner, guest.owner) == (True, False)
        yield owner, guest


def task(text: str, **more: object) -> SendTaskRequest:
    return SendTaskRequest.model_validate({"agent": "worker", "message": text, "wait_seconds": 0, **more})


async def next_item(node: SharedNode, **more: object) -> InboxItem:
    request = CheckInboxRequest.model_validate({"wait_seconds": 30, "limit": 1, **more})
    return (await node.call(request)).items[0]


async def answer(node: SharedNode, item: InboxItem, text: str, **more: object) -> TaskView:
    request = {"task_id": item.task_id, "status": "completed", "text": text, **more}
    return await node.call(AnswerRequest.model_validate(request))


# --- both answer ----------------------------------------------------------------------------------


async def test_one_owns_the_node_and_both_answer_for_it(home: Path) -> None:
    async with two_processes(home) as (owner, guest), open_node(settings(home, "worker")) as worker:
        assert (
            await owner.call(GetAgentRequest(agent="self")) == (await guest.call(GetAgentRequest(agent="self")))
            or (await guest.call(GetAgentRequest(agent="self"))).agent.did
        )
        sent = await guest.call(task("hello"))
        await answer(worker, await next_item(worker), "olleh")
        seen = [await node.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30)) for node in (owner, guest)]
        assert [view.text for view in seen] == ["olleh", "olleh"]


async def test_a_process_that_asks_later_than_it_started_starts_the_node_then(home: Path) -> None:
    async with open_node(settings(home), eager=False) as node:
        assert not (home / "identities" / "default" / "node.db").exists()
        assert (await node.call(ListTasksRequest())).tasks == ()
        assert node.owner


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda node: node.call(GetTaskRequest(task_id="task-none")), TaskNotFoundError),
        (lambda node: node.call(SendTaskRequest(agent="nobody", message="hi")), PeerNotFoundError),
        (lambda node: node.call(task("\n" * 1_000_000)), TooLargeError),
    ],
)
async def test_an_error_keeps_class_message_and_hint_on_its_way_to_another_process(home: Path, ask, kind) -> None:
    async with two_processes(home) as (owner, guest), open_node(settings(home, "worker")):
        errors = []
        for node in (owner, guest):
            with pytest.raises(kind) as raised:
                await ask(node)
            errors.append(raised.value)
        here, there = errors
        # A size has the digits of the time in it.
        here.message, there.message = (re.sub(r"[\d,]+", "N", error.message) for error in (here, there))
        assert (type(there), str(there), there.hint) == (type(here), str(here), here.hint)
        assert (there.code, there.exit_code, there.retryable) == (here.code, here.exit_code, here.retryable)
        assert there.hint


async def test_a_call_that_is_cancelled_is_withdrawn_at_the_owner(home: Path) -> None:
    async with two_processes(home, "worker") as (_, guest), open_node(settings(home)) as sender:
        await sender.call(GetAgentRequest(agent="worker"))
        with anyio.move_on_after(0.05):
            await guest.call(CheckInboxRequest(wait_seconds=60))
        sent = await sender.call(task("hello"))
        item = await next_item(guest)
        assert (item.task_id, item.attempt) == (sent.task_id, 1)


async def test_an_agent_that_starts_now_is_found_by_a_node_that_is_not_young(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for interval in ("REST_SECONDS", "MAX_REST_SECONDS"):
        monkeypatch.setattr(local, interval, 3600.0)  # it looks by itself at its start, and never again
    monkeypatch.setattr(startup_wait, "SETTLE_LOCAL_SECONDS", 0.0)
    async with open_node(settings(home)) as sender:
        assert (await sender.call(DiscoverRequest())).agents == ()
        async with open_node(settings(home, "worker")):
            assert (await sender.call(task("hello"))).agent.name == "worker"
        async with open_node(settings(home, "other")):
            assert [agent.name for agent in (await sender.call(DiscoverRequest(query="other"))).agents] == ["other"]


# --- the socket -----------------------------------------------------------------------------------


async def test_the_socket_and_its_folder_are_private(home: Path) -> None:
    async with open_node(settings(home)) as node:
        path = socket_path(settings(home).folder)
        assert node.owner
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


async def test_a_home_too_deep_for_a_socket_works(tmp_path: Path) -> None:
    home = tmp_path / ("a-long-name-" * 15) / ("another-" * 20)
    async with two_processes(home) as (_, guest):
        path = socket_path(settings(home).folder)
        assert len(os.fsencode(path)) <= MAX_SOCKET_PATH
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert (await guest.call(ListTasksRequest())).tasks == ()


def test_processes_with_different_temporary_folders_meet_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("a-long-name-" * 15)
    here = socket_path(deep)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert socket_path(deep) == here


def test_the_runtime_folder_of_the_user_comes_first_and_a_socket_that_is_there_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep, runtime = tmp_path / ("a-long-name-" * 15), Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        elsewhere = socket_path(deep)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        path = socket_path(deep)
        assert path.parent == runtime / "mcp-a2a"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as listening:  # of a process that was not told of the folder
            listening.bind(str(elsewhere))
            try:
                assert socket_path(deep) == elsewhere
            finally:
                elsewhere.unlink()
        runtime.chmod(0o777)
        assert socket_path(deep) == elsewhere
    finally:
        shutil.rmtree(runtime)


def test_a_socket_that_a_killed_process_left_does_not_hide_the_one_that_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep, runtime = tmp_path / ("a-long-name-" * 15), Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        answered = socket_path(deep)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        left = socket_path(deep)
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(left))
        with socket.socket(socket.AF_UNIX) as listening:  # of a process that was not told of the folder
            listening.bind(str(answered))
            listening.listen()
            try:
                assert socket_path(deep) == answered
            finally:
                answered.unlink()
        assert socket_path(deep) == left
    finally:
        shutil.rmtree(runtime)


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes folders of others")
@pytest.mark.parametrize("taken", ["folder", "link", "file"])
def test_a_place_for_sockets_that_was_taken_first_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    runtime, theirs = Path(tempfile.mkdtemp(dir="/tmp")), tmp_path / "theirs"
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        place = runtime / "mcp-a2a"
        if taken == "folder":
            place.mkdir()
            os.chown(place, 65534, 65534)
        elif taken == "link":
            theirs.mkdir()
            place.symlink_to(theirs)
        else:
            place.touch()
        with pytest.raises(ConfigurationError, match=r"belongs to another user|is not a folder"):
            socket_path(tmp_path / ("a-long-name-" * 15))
    finally:
        shutil.rmtree(runtime)


async def test_megabytes_pass_the_socket_both_ways(home: Path) -> None:
    async with two_processes(home) as (_, sender), two_processes(home, "worker") as (_, worker):
        for number in range(10):
            await sender.call(task(f"{number}{MEGABYTE[1:]}"))
        items: list[InboxItem] = []
        with anyio.fail_after(30):
            while len(items) < 10:
                inbox = await worker.call(CheckInboxRequest(wait_seconds=30, limit=100))
                items += inbox.items
        assert {item.text for item in items} == {f"{number}{MEGABYTE[1:]}" for number in range(10)}
        done = await answer(worker, items[0], MEGABYTE)
        view = await sender.call(GetTaskRequest(task_id=done.task_id, wait_seconds=30))
        assert view.text == MEGABYTE


async def test_what_is_too_large_for_the_socket_is_an_error_and_not_an_endless_attempt(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.ipc.wire.MAX_LINE", 100_000)
    assert MAX_LINE > 200_000_000
    async with two_processes(home) as (owner, guest), open_node(settings(home, "worker")) as worker:
        with anyio.fail_after(30), pytest.raises(TooLargeError):
            await guest.call(task("x" * 150_000))
        sent = await owner.call(task("short"))
        await answer(worker, await next_item(worker), "y" * 150_000)
        await owner.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        with anyio.fail_after(30), pytest.raises(McpA2AError, match="smaller limit or text_limit"):
            await guest.call(GetTaskRequest(task_id=sent.task_id))
        assert (await guest.call(GetTaskRequest(task_id=sent.task_id, text_limit=100))).text == "y" * 100


async def test_a_large_question_that_is_cancelled_half_sent_spoils_no_other(home: Path) -> None:
    async with two_processes(home) as (owner, guest), open_node(settings(home, "worker")):
        lost = guest._changed
        for moments in range(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(guest.call, task(MEGABYTE))
                for _ in range(moments):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            await guest.call(ListTasksRequest(limit=1))
        assert guest._changed is lost, "the connection to the owner was never lost"
        assert owner.owner


# --- workers --------------------------------------------------------------------------------------


async def test_what_a_worker_held_is_offered_again_as_soon_as_its_process_is_gone(home: Path) -> None:
    async with open_node(settings(home, "worker")) as owner, open_node(settings(home)) as sender:
        async with open_node(settings(home, "worker")) as guest:
            sent = await sender.call(task("hello"))
            item = await next_item(guest, holder="999-worker", worker=True)
            assert item.attempt == 1
        again = await next_item(owner)
        assert (again.task_id, again.attempt) == (sent.task_id, 2)
        with pytest.raises(LeaseLostError):
            await answer(owner, item, "too late", attempt=1, holder="999-worker")


async def test_what_a_client_that_is_no_worker_held_stays_its_own_until_the_lease_ends(home: Path) -> None:
    async with open_node(settings(home, "worker")) as owner, open_node(settings(home)) as sender:
        async with open_node(settings(home, "worker")) as guest:
            await sender.call(task("hello"))
            item = await next_item(guest)
        assert (await owner.call(CheckInboxRequest())).items == ()
        assert (await answer(owner, item, "from another window")).state == Moment.COMPLETED


# --- take-over ------------------------------------------------------------------------------------


async def test_when_the_owner_leaves_a_waiting_call_of_another_goes_on_at_the_next(home: Path) -> None:
    leave = anyio.Event()

    async def own(*, task_status: TaskStatus[None]) -> None:
        async with open_node(settings(home)):
            task_status.started()
            await leave.wait()

    async with open_node(settings(home, "worker")) as worker, anyio.create_task_group() as owning:
        await owning.start(own)
        async with open_node(settings(home)) as guest:
            sent = await guest.call(task("hello"))
            item = await next_item(worker)
            views: list[TaskView] = []

            async def wait() -> None:
                views.append(await guest.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20)))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.lowlevel.checkpoint()
                leave.set()
                await answer(worker, item, "olleh")
            assert guest.owner
            assert views[0].text == "olleh"


@contextmanager
def owner_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the default identity of this home."""
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(home)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "owner\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
async def test_when_the_owner_is_killed_another_answers_soon_and_no_task_is_lost_or_doubled(
    home: Path,
) -> None:
    async with open_node(settings(home, "worker")) as worker:
        with owner_process(home) as owner:
            async with open_node(settings(home)) as guest:
                assert not guest.owner
                ids = {(await guest.call(task(f"before {n}"))).task_id for n in range(10)}
                killed_at = anyio.current_time()
                async with anyio.create_task_group() as tasks:
                    for number in range(10):
                        tasks.start_soon(send_and_keep, guest, f"during {number}", ids)
                    await anyio.lowlevel.checkpoint()
                    owner.send_signal(signal.SIGKILL)
                    await guest.call(ListTasksRequest())
                    assert anyio.current_time() - killed_at < 15
                ids |= {(await guest.call(task(f"after {n}"))).task_id for n in range(10)}
                assert guest.owner
                texts: list[str] = []
                with anyio.fail_after(30):
                    while len(texts) < 30:
                        item = await next_item(worker)
                        texts.append(item.text)
                        await answer(worker, item, f"did {item.text}")
                expected = {f"{when} {number}" for when in ("before", "during", "after") for number in range(10)}
                assert sorted(texts) == sorted(expected)
                assert len(ids) == 30
                views = [await guest.call(GetTaskRequest(task_id=task_id, wait_seconds=30)) for task_id in ids]
                assert {view.text for view in views} == {f"did {text}" for text in expected}
                assert (await worker.call(CheckInboxRequest())).items == ()
                assert len((await guest.call(ListTasksRequest(limit=100))).tasks) == 30


async def send_and_keep(node: SharedNode, text: str, ids: set[str]) -> None:
    ids.add((await node.call(task(text))).task_id)


async def test_one_of_many_that_start_at_once_owns_the_node(home: Path) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(open_node(settings(home), eager=False)) for _ in range(8)]
        async with anyio.create_task_group() as tasks:
            for node in nodes:
                tasks.start_soon(node.ready)
        assert sum(node.owner for node in nodes) == 1
        dids = {(await node.call(GetAgentRequest(agent="self"))).agent.did for node in nodes}
        assert len(dids) == 1


# --- what goes wrong ------------------------------------------------------------------------------


async def test_a_node_that_cannot_start_for_a_reason_nobody_foresaw_is_an_error_and_not_an_endless_wait(
    home: Path,
) -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[SharedNode]:
        raise ZeroDivisionError("a bug of ours")
        yield

    async with share(SharedNode(settings(home).folder, broken)) as node:
        with anyio.fail_after(30), pytest.raises(McpA2AError, match="ZeroDivisionError") as raised:
            await node.call(ListTasksRequest())
        assert raised.value.hint


@pytest.mark.parametrize("part", ["identities/default/blobs", "work"])
async def test_a_part_of_a_home_that_is_something_else_is_named(
    home: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = home / part
    wrong.parent.mkdir(parents=True)
    wrong.touch()
    with anyio.fail_after(60), pytest.raises(HomeUnusableError, match=re.escape(str(wrong.parent))):
        async with open_node(settings(home)) as node:
            await node.call(ListTasksRequest())
    assert "unexpectedly" not in caplog.text


async def test_a_home_that_cannot_be_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with anyio.fail_after(30), pytest.raises(McpA2AError) as raised:
        async with open_node(settings(tmp_path / "file" / "below")):
            pass
    assert "--home" in raised.value.hint


# --- an owner that does not answer ----------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(client, "LOOK_AGAIN_SECONDS", 0.3)
    monkeypatch.setattr(shared, "REACH_SECONDS", 0.5)


@pytest.mark.usefixtures("impatient")
async def test_an_owner_that_was_stopped_is_named_and_answers_again_when_it_goes_on(home: Path) -> None:
    with owner_process(home) as process, anyio.fail_after(30):
        async with open_node(settings(home)) as guest:
            await guest.call(GetAgentRequest(agent="self"))
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(NodeSilentError, match=f"process {process.pid}, stopped") as raised:
                await guest.call(ListTasksRequest())
            assert f"kill -CONT {process.pid}" in raised.value.hint
            process.send_signal(signal.SIGCONT)
            assert (await guest.call(ListTasksRequest())).tasks == ()


@pytest.mark.usefixtures("impatient")
async def test_what_was_asked_of_a_stopped_owner_is_withdrawn(home: Path) -> None:
    with owner_process(home) as process, anyio.fail_after(30):
        async with open_node(settings(home)) as guest, open_node(settings(home, "worker")):
            await guest.call(DiscoverRequest(settle_seconds=5))
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(NodeSilentError):
                await guest.call(task("not now"))
            process.send_signal(signal.SIGCONT)
            assert (await guest.call(ListTasksRequest())).tasks == ()


@pytest.mark.usefixtures("impatient")
async def test_a_stopped_owner_is_noticed_by_who_comes_later_and_during_a_long_wait(home: Path) -> None:
    with owner_process(home) as process, anyio.fail_after(30):
        async with open_node(settings(home)) as early, anyio.create_task_group() as tasks:
            silent = anyio.Event()

            async def wait_long() -> None:
                with pytest.raises(NodeSilentError):
                    await early.call(CheckInboxRequest(wait_seconds=600, limit=1))
                silent.set()

            tasks.start_soon(wait_long)
            await anyio.sleep(0.7)  # it has been found alive by then
            assert not silent.is_set()
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(NodeSilentError):
                async with open_node(settings(home)) as late:
                    await late.call(GetAgentRequest(agent="self"))
            await silent.wait()
            process.send_signal(signal.SIGCONT)
            assert (await early.call(ListTasksRequest())).tasks == ()


async def test_a_call_that_waited_for_its_session_is_told_soon_of_an_owner_that_runs_and_is_silent(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("HALTED_SECONDS", 0.1), ("SILENCE_SECONDS", 0.4), ("LOOK_AGAIN_SECONDS", 3600.0)):
        monkeypatch.setattr(client, name, seconds)
    folder = settings(home).folder
    folder.mkdir(parents=True, mode=0o700)

    async def ignore(stream: SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with await anyio.create_unix_listener(socket_path(folder)) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, ignore)
        call_age.set(12.0)
        with FileLock(folder / "lock"):
            async with open_node(settings(home), eager=False) as node:
                with anyio.fail_after(30), pytest.raises(NodeSilentError, match=f"process {os.getpid()}"):
                    await node.call(ListTasksRequest())
        tasks.cancel_scope.cancel()


@pytest.mark.usefixtures("impatient")
async def test_a_socket_that_was_removed_is_made_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_processes(home) as (owner, guest):
        path = socket_path(home / "identities" / "default")
        for _ in range(2):
            path.unlink()
            async with open_node(settings(home)) as late:
                assert (await late.call(ListTasksRequest())).tasks == ()
            assert (await guest.call(ListTasksRequest())).tasks == ()  # its old connection lives on
        assert owner.owner


@pytest.mark.usefixtures("impatient")
async def test_a_folder_that_is_locked_by_a_process_without_a_socket_is_an_error(home: Path) -> None:
    folder = home / "identities" / "default"
    folder.mkdir(parents=True, mode=0o700)
    with FileLock(folder / "lock"), pytest.raises(NodeSilentError, match="cannot be reached"):
        async with open_node(settings(home)):
            pass


async def test_a_folder_is_the_same_one_by_whichever_path_it_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    link = tmp_path / "l"
    link.symlink_to(deep)
    assert socket_path(link) == socket_path(deep)
    assert len(os.fsencode(socket_path(link))) <= MAX_SOCKET_PATH
    async with open_node(settings(link)) as owner, open_node(settings(deep)) as guest:
        assert (owner.owner, guest.owner) == (True, False)
        assert (await guest.call(ListTasksRequest())).tasks == ()
