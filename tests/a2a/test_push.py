"""Push notifications: every event, in order, with what authenticates it, to public https addresses and nowhere else."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from pydantic import ValidationError

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.addresses import as_typed
from mcp_a2a.a2a.push import WebHooks
from mcp_a2a.api.a2a import (
    OWNER,
    A2ACancelRequest,
    A2AGetRequest,
    A2AListRequest,
    A2APushDeleteRequest,
    A2APushGetRequest,
    A2APushSetRequest,
    A2ASendRequest,
)
from mcp_a2a.errors.delivery import QueueFullError
from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.errors.tasks import PushConfigNotFoundError, PushNotSupportedError
from mcp_a2a.errors.web import AddressNotAllowedError
from mcp_a2a.node.housekeeping import KEEP_SECONDS
from mcp_a2a.node.tasks import pushes
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.model import AuthenticationInfo, TaskPushNotificationConfig
from mcp_a2a.protocol.state import is_terminal
from mcp_a2a.store.callers import CallerFolder
from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.web import push_configs, untold_configs
from tests.node.test_desk import say, working
from tests.node.world import Person, World
from tests.transports.certificates import Authority, authority

AT_ONCE = Backoff(base=0.0, cap=0.0)
HOST = "hooks.example"


@dataclass
class Hook:
    """A webhook that keeps what it gets, and answers as it is told."""

    url: str
    answers: list[int] = field(default_factory=list)
    """Statuses of the next answers; then 200."""
    always: int = 200
    asked: int = 0
    later: str = ""
    """After how many seconds it wants to be asked again."""
    says: bytes = b""
    """What it answers beside its status, and calls compressed."""
    moved: str = "/"
    """Where it says that it is, where such a status says that it moved."""
    got: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    news: anyio.Event = field(default_factory=anyio.Event)

    async def serve(self, request: web.Request) -> web.Response:
        status = self.answers.pop(0) if self.answers else self.always
        self.asked += 1
        if status == 200:
            self.got.append((dict(request.headers), json.loads(await request.read())))
        self.news.set()
        self.news = anyio.Event()
        if status == 200 and self.says:
            return web.Response(headers={"Content-Encoding": "br"}, body=self.says)
        headers = {"Location": self.moved} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers | ({"Retry-After": self.later} if self.later else {}))

    async def until(self, state: str) -> list[Any]:
        """All that came, once this state is among it."""
        with anyio.fail_after(30):
            while not any(_state(event) == state for _, event in self.got):
                await self.news.wait()
        return [event for _, event in self.got]


def _state(event: Any) -> str | None:
    status = event if event.get("kind") == "task" else event.get("task", event.get("statusUpdate", {}))
    status = status.get("status", {})
    return status.get("state", "").removeprefix("TASK_STATE_").lower() or None


async def nothing_left_to_tell(person: Person) -> None:
    """Wait until no hook has anything more to come."""
    with anyio.fail_after(60):
        while person.node.context.database.read(untold_configs):
            await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def hooked(signer: Authority) -> AsyncIterator[tuple[Hook, WebHooks]]:
    hook = Hook("")
    app = web.Application()
    app.router.add_post("/{path:.*}", hook.serve)
    runner = web.AppRunner(app, access_log=None)  # ours is the log that is looked into
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=signer.listening(HOST))
    await site.start()
    port = runner.addresses[0][1]
    hook.url = f"https://{HOST}:{port}/events"

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    try:
        async with WebHooks(as_typed(hook.url), tls=signer.trusted, resolve=here) as hooks:
            yield hook, hooks
    finally:
        await runner.cleanup()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[tuple[Person, Hook]]:
    """Alice works, and posts to the hook."""
    async with (
        hooked(authority(tmp_path)) as (hook, hooks),
        World(tmp_path).person("alice", hooks=hooks) as alice,
        working(alice),
    ):
        yield alice, hook


def config(hook: Hook, **more: Any) -> TaskPushNotificationConfig:
    return TaskPushNotificationConfig(url=hook.url, **more)


def secrets(token: str, credentials: str) -> dict[str, Any]:
    return {"token": token, "authentication": AuthenticationInfo(scheme="Bearer", credentials=credentials)}


async def test_every_event_is_posted_in_its_order_with_what_authenticates_it(scene: tuple[Person, Hook]) -> None:
    alice, hook = scene
    secret = config(hook, **secrets("the-token", "the-key"))
    sent = await alice.api.call(A2ASendRequest(message=say("stream"), push_config=secret, wait_seconds=30))
    events = await hook.until("completed")
    texts = [event["artifactUpdate"]["artifact"]["parts"][0]["text"] for event in events if "artifactUpdate" in event]
    assert texts == ["one ", "two ", "three"]
    assert _state(events[-1]) == "completed"
    for headers, event in hook.got:
        assert headers["Content-Type"] == "application/a2a+json"
        assert headers["Authorization"] == "Bearer the-key"
        assert headers["X-A2A-Notification-Token"] == "the-token"
        assert sent.task.id in json.dumps(event)


@pytest.mark.parametrize(
    "made",
    [
        lambda url: legacy.push_config({"pushNotificationConfig": {"url": url}}),
        lambda url: legacy.push_config({"config": {"push_notification_config": {"url": url}}}),
        lambda url: legacy.JSON_RPC.send_params(
            {"message": {}, "configuration": {"pushNotificationConfig": {"url": url}}}
        )["configuration"]["taskPushNotificationConfig"],
    ],
)  # fmt: skip
async def test_a_hook_that_was_named_in_0_3_is_told_tasks_of_0_3(
    scene: tuple[Person, Hook], made: Callable[[str], dict[str, Any]]
) -> None:
    alice, hook = scene
    older = TaskPushNotificationConfig.model_validate(made(hook.url))
    sent = await alice.api.call(A2ASendRequest(message=say("stream"), push_config=older, wait_seconds=30))
    tasks = await hook.until("completed")
    assert {(task["kind"], task["id"]) for task in tasks} == {("task", sent.task.id)}
    assert tasks[-1]["status"]["state"] == "completed"
    assert tasks[-1]["artifacts"][0]["parts"] == [{"kind": "text", "text": "one two three"}]
    assert {headers["Content-Type"] for headers, _ in hook.got} == {"application/json"}


async def test_an_answer_to_a_question_may_name_a_hook_too(scene: tuple[Person, Hook]) -> None:
    alice, hook = scene
    asked = (await alice.api.call(A2ASendRequest(message=say("ask"), wait_seconds=30))).task
    answer = say("this", taskId=asked.id)
    elsewhere = TaskPushNotificationConfig(url="http://127.0.0.1/events")
    with pytest.raises(AddressNotAllowedError):
        await alice.api.call(A2ASendRequest(message=answer, push_config=elsewhere))
    assert (await alice.api.call(A2AGetRequest(task_id=asked.id))).task == asked  # nothing was said
    await alice.api.call(A2ASendRequest(message=answer, push_config=config(hook)))
    assert "completed" in map(_state, await hook.until("completed"))


async def test_a_hook_that_is_named_with_each_message_is_told_once(scene: tuple[Person, Hook]) -> None:
    alice, hook = scene
    older = config(hook, **secrets("t", "k"), protocol_version="0.3")
    for again in (config(hook, **secrets("t", "k")), older, config(hook, id="mine")):
        hook.got.clear()
        asked = (await alice.api.call(A2ASendRequest(message=say("ask"), push_config=again, wait_seconds=30))).task
        await hook.until("input-required" if again is older else "input_required")
        answer = A2ASendRequest(message=say("this", taskId=asked.id), push_config=again)
        await alice.api.call(answer)
        await hook.until("completed")
        await nothing_left_to_tell(alice)
        states = list(map(_state, (event for _, event in hook.got)))
        assert states.count("completed") == 1
        assert len((await alice.api.call(A2APushGetRequest(task_id=asked.id))).configs) == 1
    other = config(hook, **secrets("another", "k"))
    asked = (await alice.api.call(A2ASendRequest(message=say("ask"), push_config=other, wait_seconds=30))).task
    await alice.api.call(A2APushSetRequest(task_id=asked.id, config=config(hook)))
    await alice.api.call(A2APushSetRequest(task_id=asked.id, config=config(hook, **secrets("another", "k"), id="mine")))
    assert len((await alice.api.call(A2APushGetRequest(task_id=asked.id))).configs) == 3


async def test_requests_at_the_same_time_name_a_hook_once_and_no_more_hooks_than_one_task_may_have(
    scene: tuple[Person, Hook],
) -> None:
    alice, hook = scene
    refused: list[QueueFullError] = []

    async def name(task_id: str, token: str) -> None:
        try:
            await alice.api.call(A2APushSetRequest(task_id=task_id, config=config(hook, token=token)))
        except QueueFullError as error:
            refused.append(error)

    for tokens, kept in ((["t"] * 3, 1), ([f"t-{number}" for number in range(pushes.MAX_EACH + 2)], pushes.MAX_EACH)):
        asked = (await alice.api.call(A2ASendRequest(message=say("ask"), wait_seconds=30))).task
        async with anyio.create_task_group() as tasks:
            for token in tokens:
                tasks.start_soon(name, asked.id, token)
        assert len((await alice.api.call(A2APushGetRequest(task_id=asked.id))).configs) == kept
    assert len(refused) == 2


async def test_a_task_that_ends_while_its_hook_waits_to_be_kept_is_told_of(scene: tuple[Person, Hook]) -> None:
    alice, hook = scene
    task = (await alice.api.call(A2ASendRequest(message=say("wait")))).task
    turn = alice.node.pushes._turn  # another request has it
    async with anyio.create_task_group() as requests, turn:
        requests.start_soon(alice.api.call, A2APushSetRequest(task_id=task.id, config=config(hook)))
        with anyio.fail_after(30):
            while not turn.statistics().tasks_waiting:
                await anyio.lowlevel.checkpoint()
        await alice.api.call(A2ACancelRequest(task_id=task.id))
    await hook.until("canceled")
    await nothing_left_to_tell(alice)


async def test_a_hook_that_is_down_for_a_while_misses_nothing(
    scene: tuple[Person, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "RETRY", Backoff(0.001))
    alice, hook = scene
    hook.answers = [503, 500, 429]
    await alice.api.call(A2ASendRequest(message=say("stream"), push_config=config(hook), wait_seconds=30))
    events = await hook.until("completed")
    assert sum("artifactUpdate" in event for event in events) == 3


async def test_a_hook_that_is_away_longer_gets_the_task_as_it_is_once_it_is_back(
    scene: tuple[Person, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "RETRY", Backoff(0.001))
    monkeypatch.setattr(pushes, "AWAY", Backoff(0.001, 0.01))
    alice, hook = scene
    hook.always = 404  # as a gateway says while what is behind it is started
    await alice.api.call(A2ASendRequest(message=say("stream"), push_config=config(hook), wait_seconds=30))
    with anyio.fail_after(60):
        while hook.asked < 5 * pushes.ATTEMPTS:
            await hook.news.wait()
    assert alice.node.context.database.read(untold_configs)
    hook.always = 200
    *_, last = await hook.until("completed")
    assert [part["text"] for artifact in last["task"]["artifacts"] for part in artifact["parts"]]
    await nothing_left_to_tell(alice)


async def test_a_hook_that_is_away_too_long_is_posted_nothing_more(
    scene: tuple[Person, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, nothing in (("RETRY", AT_ONCE), ("AWAY", AT_ONCE), ("PATIENCE_SECONDS", 0.0)):
        monkeypatch.setattr(pushes, name, nothing)
    alice, hook = scene
    hook.always = 503
    await alice.api.call(A2ASendRequest(message=say("stream"), push_config=config(hook), wait_seconds=30))
    await nothing_left_to_tell(alice)
    assert not hook.got


async def test_a_moment_without_open_files_takes_no_hook_away(
    scene: tuple[Person, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "AWAY", Backoff(0.001))
    alice, hook = scene
    parts = alice.node.parts
    CallerFolder(open_folder(parts.home / "identities" / parts.identity_name)).add("ann")
    read, refused = Path.read_text, anyio.Event()

    def full(path: Path, *args: Any, **options: Any) -> str:
        if path.name == "ann" and not refused.is_set():
            refused.set()
            raise OSError(errno.EMFILE, "Too many open files")
        return read(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", full)
    await alice.api.call(A2ASendRequest(caller="ann", message=say("ask"), push_config=config(hook)))
    await hook.until("input_required")
    assert refused.is_set()


async def test_a_hook_that_is_gone_is_asked_once(scene: tuple[Person, Hook]) -> None:
    alice, hook = scene
    hook.always = 410
    await alice.api.call(A2ASendRequest(message=say("stream"), push_config=config(hook), wait_seconds=30))
    await nothing_left_to_tell(alice)
    assert hook.asked == 1


async def test_a_full_disk_ends_no_node_that_has_told_a_hook_everything(
    scene: tuple[Person, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageFullError("/data")

    alice, hook = scene
    monkeypatch.setattr(pushes, "mark_told", full)
    await alice.api.call(A2ASendRequest(message=say("stream"), push_config=config(hook), wait_seconds=30))
    await hook.until("completed")
    with anyio.fail_after(30):
        while alice.node.pushes._couriers:
            await anyio.lowlevel.checkpoint()
    again = await alice.api.call(A2ASendRequest(message=say("hello", messageId="m-2"), wait_seconds=30))
    assert is_terminal(again.task.status.state)


async def test_what_a_hook_says_beside_its_status_has_nothing_posted_twice(scene: tuple[Person, Hook]) -> None:
    alice, hook = scene
    hook.says = bytes(1_000_000)
    await alice.api.call(A2ASendRequest(message=say("stream"), push_config=config(hook), wait_seconds=30))
    await hook.until("completed")
    events = [json.dumps(event) for _, event in hook.got]
    assert len(events) == len(set(events))


async def test_a_hook_is_left_alone_for_as_long_as_it_says(
    scene: tuple[Person, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []

    class Clock:
        """anyio, where no time passes while the couriers sleep."""

        def __getattr__(self, name: str) -> Any:
            return getattr(anyio, name)

        async def sleep(self, seconds: float) -> None:
            paused.append(seconds)
            await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(pushes, "anyio", Clock())
    alice, hook = scene
    hook.answers, hook.later = [429], "120"
    await alice.api.call(A2ASendRequest(message=say("hello"), push_config=config(hook)))
    await hook.until("completed")
    assert paused == [120.0]


@pytest.mark.parametrize("end", ["grant", "remove"])
async def test_a_client_that_was_taken_away_is_posted_nothing_more(scene: tuple[Person, Hook], end: str) -> None:
    alice, hook = scene
    parts = alice.node.parts
    callers = CallerFolder(open_folder(parts.home / "identities" / parts.identity_name))
    callers.add("ann")
    asked = A2ASendRequest(caller="ann", message=say("ask"), push_config=config(hook), wait_seconds=30)
    task = (await alice.api.call(asked)).task
    await hook.until("input_required")
    if end == "grant":
        callers.grant("ann", ["did:key:z6MkAnother"])
    else:
        callers.remove("ann")
    told = len(hook.got)
    await alice.api.call(A2ACancelRequest(caller="ann", task_id=task.id))
    await nothing_left_to_tell(alice)
    assert len(hook.got) == told


async def test_a_configuration_is_kept_until_its_task_has_ended(scene: tuple[Person, Hook]) -> None:
    alice, hook = scene
    task = (await alice.api.call(A2ASendRequest(message=say("wait")))).task
    first = (await alice.api.call(A2APushSetRequest(task_id=task.id, config=config(hook)))).configs[0]
    second = (await alice.api.call(A2APushSetRequest(task_id=task.id, config=config(hook, id="mine")))).configs[0]
    assert (first.task_id, second.id) == (task.id, "mine")
    listed = (await alice.api.call(A2APushGetRequest(task_id=task.id))).configs
    assert {one.id for one in listed} == {first.id, "mine"}
    for _ in range(2):  # deleting is idempotent
        await alice.api.call(A2APushDeleteRequest(task_id=task.id, config_id="mine"))
    with pytest.raises(PushConfigNotFoundError):
        await alice.api.call(A2APushGetRequest(task_id=task.id, config_id="mine"))
    await alice.api.call(A2ACancelRequest(task_id=task.id))
    await hook.until("canceled")
    await nothing_left_to_tell(alice)
    assert (await alice.api.call(A2APushGetRequest(task_id=task.id))).configs == (first,)


async def test_where_there_are_as_many_as_may_be_one_may_still_be_replaced(
    scene: tuple[Person, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, hook = scene
    task = (await alice.api.call(A2ASendRequest(message=say("wait")))).task
    monkeypatch.setattr(pushes, "MAX_ALL", 1)
    await alice.api.call(A2APushSetRequest(task_id=task.id, config=config(hook, id="mine")))
    with pytest.raises(QueueFullError):
        await alice.api.call(A2APushSetRequest(task_id=task.id, config=config(hook, id="another")))
    again = config(hook, id="mine", **secrets("new", "key"))
    replaced = await alice.api.call(A2APushSetRequest(task_id=task.id, config=again))
    assert replaced.configs == (again.model_copy(update={"task_id": task.id}),)


async def test_a_message_whose_hook_has_no_place_begins_nothing_and_is_not_heard(
    scene: tuple[Person, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, hook = scene
    asked = (await alice.api.call(A2ASendRequest(message=say("ask"), wait_seconds=30))).task
    monkeypatch.setattr(pushes, "MAX_ALL", 1)
    first = A2ASendRequest(message=say("wait"), push_config=config(hook), idempotency_key="k")
    task = (await alice.api.call(first)).task
    for message in (say("hello"), say("this", taskId=asked.id)):
        with pytest.raises(QueueFullError):
            await alice.api.call(A2ASendRequest(message=message, push_config=config(hook)))
    assert (await alice.api.call(A2AListRequest(page_size=10))).total_size == 2
    assert (await alice.api.call(A2AGetRequest(task_id=asked.id))).task == asked
    assert (await alice.api.call(first)).task.id == task.id  # one that has its place keeps it


async def test_a_caller_takes_no_places_of_others(scene: tuple[Person, Hook], monkeypatch: pytest.MonkeyPatch) -> None:
    alice, hook = scene
    monkeypatch.setattr(pushes, "MAX_OF_CALLER", 1)
    tasks = {
        caller: (await alice.api.call(A2ASendRequest(caller=caller, message=say("wait")))).task.id
        for caller in ("ann", "bea", OWNER)
    }
    for caller, name in (("ann", "1"), ("bea", "1"), (OWNER, "1"), (OWNER, "2")):
        request = A2APushSetRequest(caller=caller, task_id=tasks[caller], config=config(hook, id=name))
        await alice.api.call(request)
    with pytest.raises(QueueFullError, match="holds 1 items"):
        await alice.api.call(A2APushSetRequest(caller="ann", task_id=tasks["ann"], config=config(hook, id="2")))


async def test_one_that_was_told_of_the_end_is_not_told_again_after_a_restart_and_goes_with_its_task(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    async with hooked(authority(tmp_path)) as (hook, hooks):
        async with world.person("alice", hooks=hooks) as alice, working(alice):
            await alice.api.call(A2ASendRequest(message=say("one"), push_config=config(hook), wait_seconds=30))
            await nothing_left_to_tell(alice)
        told = len(hook.got)
        async with world.person("alice", hooks=hooks) as alice, working(alice):
            sent = await alice.api.call(A2ASendRequest(message=say("two"), push_config=config(hook), wait_seconds=30))
            await nothing_left_to_tell(alice)
            assert all(sent.task.id in json.dumps(event) for _, event in hook.got[told:])
        world.clock.advance(KEEP_SECONDS + 60)
        async with world.person("alice", hooks=hooks) as alice:
            with anyio.fail_after(30):
                while alice.node.context.database.read(lambda connection: push_configs(connection, sent.task.id)):
                    await anyio.lowlevel.checkpoint()


async def test_after_a_restart_the_hook_gets_the_task_as_it_is(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with hooked(authority(tmp_path)) as (hook, hooks):
        async with world.person("alice", hooks=hooks) as alice:
            await alice.api.call(A2ASendRequest(message=say("hello"), push_config=config(hook)))
        assert not any(_state(event) == "completed" for _, event in hook.got)
        async with world.person("alice", hooks=hooks) as alice, working(alice):
            await hook.until("completed")


@pytest.mark.parametrize("secret", ["a\r\nX-Evil: 1", "a\n", "\u20ac", "\x00"])
def test_what_would_be_two_headers_is_no_secret_of_a_configuration(secret: str) -> None:
    for more in ({"token": secret}, {"authentication": {"scheme": "Bearer", "credentials": secret}}):
        with pytest.raises(ValidationError):
            TaskPushNotificationConfig.model_validate({"url": "https://example.com", **more})
    with pytest.raises(ValidationError):
        AuthenticationInfo(scheme=f"Bearer{secret}")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://127.0.0.1/hook",
        "https://10.1.2.3/hook",
        "https://[::1]/hook",
        "https://169.254.169.254/latest",
        "https://2130706433/",
        "https://user:pass@example.com/",
        "ftp://example.com/",
        "not a url",
    ],
)
async def test_an_address_that_is_not_public_https_is_refused_before_anything_is_kept(tmp_path: Path, url: str) -> None:
    async with WebHooks() as hooks, World(tmp_path).person("alice", hooks=hooks) as alice:
        with pytest.raises(AddressNotAllowedError):
            await alice.api.call(A2ASendRequest(message=say("hello"), push_config=TaskPushNotificationConfig(url=url)))
        task = (await alice.api.call(A2ASendRequest(message=say("hello")))).task
        with pytest.raises(AddressNotAllowedError):
            await alice.api.call(A2APushSetRequest(task_id=task.id, config=TaskPushNotificationConfig(url=url)))
        assert alice.node.context.database.read(untold_configs) == []


async def test_a_name_that_leads_to_this_machine_is_never_called(tmp_path: Path) -> None:
    signer = authority(tmp_path)
    async with hooked(signer) as (hook, _):

        async def inward(host: str, port: int) -> list[str]:
            return ["127.0.0.1"]

        async with (
            WebHooks(tls=signer.trusted, resolve=inward) as hooks,
            World(tmp_path).person("alice", hooks=hooks) as alice,
            working(alice),
        ):
            await alice.api.call(A2ASendRequest(message=say("hello"), push_config=config(hook), wait_seconds=30))
            await nothing_left_to_tell(alice)
        assert hook.got == []


async def test_without_hooks_there_are_no_push_notifications(tmp_path: Path) -> None:
    async with World(tmp_path).person("alice") as alice:
        task = (await alice.api.call(A2ASendRequest(message=say("hello")))).task
        for question in (A2APushSetRequest, A2APushGetRequest, A2APushDeleteRequest):
            with pytest.raises(PushNotSupportedError):
                await alice.api.call(
                    question(task_id=task.id, config=TaskPushNotificationConfig(url="https://example.com"))
                )


@pytest.mark.parametrize(
    ("status", "moved"),
    [
        (500, "/"),
        (404, "/"),
        (301, "/elsewhere?key=CANARY-4"),
        (307, "/elsewhere?key=CANARY-4"),
        (308, "https://other.example/CANARY-3"),
        (302, "//other.example/?a=https://CANARY-3/b"),
        (307, "https://user:CANARY-5@hooks.example/"),
    ],
)
async def test_the_secrets_of_a_configuration_are_in_no_log(
    status: int,
    moved: str,
    scene: tuple[Person, Hook],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, nothing in (("RETRY", AT_ONCE), ("AWAY", AT_ONCE), ("PATIENCE_SECONDS", 0.0)):
        monkeypatch.setattr(pushes, name, nothing)
    alice, hook = scene
    hook.answers, hook.moved = [status] * 100, moved
    hook.url += "/CANARY-3?key=CANARY-4"
    secret = config(hook, **secrets("CANARY-1", "CANARY-2"))
    caplog.set_level("DEBUG")
    await alice.api.call(A2ASendRequest(message=say("hello"), push_config=secret, wait_seconds=30))
    await nothing_left_to_tell(alice)
    assert "was not taken" in caplog.text
    assert "CANARY" not in caplog.text
