"""What conformance kits assert of an agent that does as its messages are called, in both bindings."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import cast

import aiohttp
import anyio
import pytest

from mcp_a2a.agent.console import Console
from mcp_a2a.agent.hosting import agent_settings, host_service
from mcp_a2a.config import Settings
from mcp_a2a.server.listening import Listening
from tests.a2a.kit import Json, Kit, Refused, user_message
from tests.fixtures import behaviours

FINAL = {"TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """One server for all tests, with waits that are over soon."""
    patch = pytest.MonkeyPatch()
    patch.setattr(behaviours, "STREAMING_TIMEOUT_SECONDS", 0.3)
    patch.setattr(behaviours, "LONG_RUNNING_SECONDS", 0.2)
    home = tmp_path_factory.mktemp("behaviours")
    settings = agent_settings(Settings(home=home, mdns=False, link_host="127.0.0.1"), "behaviours")
    stopping, urls = anyio.Event(), list[str]()
    ready = anyio.Event()

    def tell(_: object, served: object) -> None:
        urls.append(served.url)  # type: ignore[attr-defined]  # what is served
        ready.set()

    async with anyio.create_task_group() as tasks:
        listening = Listening("127.0.0.1:0")
        console = Console(tell, lambda _: None)
        tasks.start_soon(host_service, behaviours.agent.service(), settings, console, stopping, listening)
        await ready.wait()
        yield f"{urls[0]}/"
        stopping.set()
    patch.undo()


@pytest.fixture(params=["jsonrpc", "rest"])
async def kit(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Kit]:
    async with aiohttp.ClientSession() as session:
        yield Kit(session, url, request.param)


def fresh(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex}"


async def send(kit: Kit, name: str, text: str = "Hello from TCK", **message: object) -> Json:
    """The task that a message of this name has made."""
    result = await kit.call("SendMessage", message=user_message(fresh(name), text, **message))
    assert list(result) == ["task"]
    return cast("Json", result["task"])


async def follow(kit: Kit, name: str, text: str = "Hello from TCK") -> list[Json]:
    return [event async for event in kit.stream("SendStreamingMessage", message=user_message(fresh(name), text))]


def state(task: Json) -> str:
    status = task["status"]
    assert isinstance(status, dict)
    assert status["timestamp"].endswith("Z")
    return str(status["state"])


def parts(task: Json) -> list[Json]:
    artifacts = cast("list[Json]", task["artifacts"])
    assert all(artifact["artifactId"] for artifact in artifacts)
    return [part for artifact in artifacts for part in cast("list[Json]", artifact["parts"])]


# --- what becomes of a message ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("tck-complete-task", {"text": "Hello from TCK"}),
        ("tck-artifact-text", {"text": "Generated text content"}),
        ("tck-artifact-file", {"raw": "dGNr", "filename": "output.txt", "mediaType": "text/plain"}),
        (
            "tck-artifact-file-url",
            {"url": "https://example.com/output.txt", "filename": "output.txt", "mediaType": "text/plain"},
        ),
        ("tck-artifact-data", {"data": {"key": "value", "count": 42}}),
        ("tck-delayed-complete", {"text": "Done after delay"}),
        ("tck-long-running", {"text": "long running result"}),
        ("tck-stream-artifact-file", {"raw": "dGNr", "filename": "output.txt", "mediaType": "text/plain"}),
        ("nothing-that-anybody-knows", {"text": "Hello from TCK"}),
    ],
)
async def test_a_blocking_send_returns_the_completed_task_with_its_artifact(kit: Kit, name: str, part: Json) -> None:
    task = await send(kit, name)
    assert state(task) == "TASK_STATE_COMPLETED"
    assert parts(task) == [part]
    assert isinstance(task["id"], str)
    assert task["contextId"]


async def test_an_integer_in_data_stays_one(kit: Kit) -> None:
    (part,) = parts(await send(kit, "tck-artifact-data"))
    assert type(cast("Json", part["data"])["count"]) is int


@pytest.mark.parametrize(
    ("name", "becomes", "words"),
    [
        ("tck-reject-task", "TASK_STATE_REJECTED", "rejected"),
        ("tck-task-failure", "TASK_STATE_FAILED", "failed, as it was asked to"),
        ("tck-input-required", "TASK_STATE_INPUT_REQUIRED", "Please provide input"),
        ("tck-auth-required", "TASK_STATE_AUTH_REQUIRED", "Please authorize this"),
    ],
)
async def test_a_task_that_does_not_complete_says_why(kit: Kit, name: str, becomes: str, words: str) -> None:
    task = await send(kit, name)
    assert state(task) == becomes
    message = cast("Json", cast("Json", task["status"])["message"])
    assert message["role"] == "ROLE_AGENT"
    assert message["parts"] == [{"text": words}]
    assert (message["taskId"], message["contextId"]) == (task["id"], task["contextId"])


async def test_a_direct_answer_is_a_message_and_no_task(kit: Kit) -> None:
    result = await kit.call("SendMessage", message=user_message(fresh("tck-message-response")))
    assert list(result) == ["message"]
    message = cast("Json", result["message"])
    assert (message["role"], message["parts"]) == ("ROLE_AGENT", [{"text": "Direct message response"}])


async def test_a_direct_answer_is_all_that_its_stream_has(kit: Kit) -> None:
    events = await follow(kit, "tck-message-response")
    assert [list(event) for event in events] == [["message"]]


async def test_a_behaviour_may_be_named_by_the_text(kit: Kit) -> None:
    assert parts(await send(kit, "any-id", "tck-artifact-text, please")) == [{"text": "Generated text content"}]


async def test_one_message_id_may_be_used_for_two_tasks(kit: Kit) -> None:
    message = user_message("tck-complete-task-of-a-session")
    tasks = [cast("Json", (await kit.call("SendMessage", message=message))["task"]) for _ in range(2)]
    assert tasks[0]["id"] != tasks[1]["id"]


async def test_a_send_that_returns_immediately_finds_the_task_at_work(kit: Kit) -> None:
    message = user_message(fresh("tck-delayed-complete"))
    result = await kit.call("SendMessage", message=message, configuration={"returnImmediately": True})
    task = cast("Json", result["task"])
    assert state(task) in {"TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"}
    async for _ in kit.stream("SubscribeToTask", id=task["id"]):
        pass
    assert state(await kit.call("GetTask", id=task["id"])) == "TASK_STATE_COMPLETED"


# --- turns -----------------------------------------------------------------------------------------------------------


async def test_a_task_that_needs_input_goes_on_with_the_reply(kit: Kit) -> None:
    asked = await send(kit, "tck-input-required")
    done = await send(kit, "a-reply", "more", taskId=asked["id"])
    assert (done["id"], done["contextId"]) == (asked["id"], asked["contextId"])
    assert state(done) == "TASK_STATE_COMPLETED"
    assert parts(done) == [{"text": "Received: more"}]


async def test_input_is_asked_for_again_each_time_that_its_message_comes_again(kit: Kit) -> None:
    task = await send(kit, "tck-input-required")
    for _ in range(2):
        task = await send(kit, "tck-input-required", taskId=task["id"])
        assert state(task) == "TASK_STATE_INPUT_REQUIRED"
    done = await send(kit, "tck-complete-task", taskId=task["id"])
    assert (done["id"], state(done)) == (task["id"], "TASK_STATE_COMPLETED")


async def test_a_task_works_for_a_second_for_who_wants_to_cancel_it(kit: Kit) -> None:
    message = user_message(fresh("tck-long-running"))
    sent = await kit.call("SendMessage", message=message, configuration={"returnImmediately": True})
    canceled = await kit.call("CancelTask", id=cast("Json", sent["task"])["id"])
    assert state(canceled) == "TASK_STATE_CANCELED"


async def test_a_conversation_ends_when_its_caller_says_so(kit: Kit) -> None:
    task = await send(kit, "acts", "tck-multi-turn start")
    for words in ("here is more input", "and more"):
        task = await send(kit, "acts", words, taskId=task["id"], contextId=task["contextId"])
        assert state(task) == "TASK_STATE_INPUT_REQUIRED"
    task = await send(kit, "acts", "done", taskId=task["id"], contextId=task["contextId"])
    assert state(task) == "TASK_STATE_COMPLETED"
    said = [cast("Json", one) for one in cast("list[object]", task["history"])]
    assert [one["parts"] for one in said if one["role"] == "ROLE_USER"] == [
        [{"text": words}] for words in ("tck-multi-turn start", "here is more input", "and more", "done")
    ]


async def test_a_task_in_another_context_than_its_message_says_is_refused(kit: Kit) -> None:
    asked = await send(kit, "tck-input-required")
    with pytest.raises(Refused):
        await send(kit, "tck-input-required", taskId=asked["id"], contextId="another")


async def test_history_is_as_long_as_it_was_asked_for(kit: Kit) -> None:
    asked = await send(kit, "tck-input-required")
    done = await send(kit, "tck-input-required", "more", taskId=asked["id"])
    assert not (await kit.call("GetTask", id=done["id"], historyLength=0)).get("history")
    assert len(cast("list[object]", (await kit.call("GetTask", id=done["id"], historyLength=1))["history"])) == 1


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("tck-stream-001", ["Stream hello from TCK"]),
        ("tck-stream-003", ["Stream task lifecycle"]),
        ("tck-stream-ordering-001", ["Ordered output"]),
        ("tck-stream-artifact-text", ["Streamed text content"]),
        ("tck-stream-artifact-chunked", ["chunk-1 ", "chunk-2"]),
        ("tck-stream-chunked", ["chunk one ", "chunk two ", "chunk three"]),
    ],
)
async def test_a_stream_begins_with_the_task_and_ends_with_its_end(kit: Kit, name: str, pieces: list[str]) -> None:
    events = await follow(kit, name)
    first, working, *grown, last = events
    assert list(first) == ["task"]
    task = cast("Json", first["task"])
    assert state(task) not in FINAL
    assert state(cast("Json", working["statusUpdate"])) == "TASK_STATE_WORKING"
    updates = [cast("Json", event["artifactUpdate"]) for event in grown]
    texts = [
        part["text"] for update in updates for part in cast("list[Json]", cast("Json", update["artifact"])["parts"])
    ]
    assert texts == pieces
    assert len({cast("Json", update["artifact"])["artifactId"] for update in updates}) == 1
    assert [bool(update.get("append")) for update in updates] == [False] + [True] * (len(updates) - 1)
    assert [bool(update.get("lastChunk")) for update in updates] == [False] * (len(updates) - 1) + [True]
    assert state(cast("Json", last["statusUpdate"])) == "TASK_STATE_COMPLETED"
    named = [cast("Json", next(iter(event.values()))) for event in events[1:]]
    assert {(one["taskId"], one["contextId"]) for one in named} == {(task["id"], task["contextId"])}


async def test_a_stream_without_a_result_has_states_only(kit: Kit) -> None:
    events = await follow(kit, "tck-stream-002")
    assert [list(event) for event in events] == [["task"], ["statusUpdate"], ["statusUpdate"]]


async def test_a_stream_ends_where_input_is_required(kit: Kit) -> None:
    last = (await follow(kit, "tck-input-required"))[-1]
    assert state(cast("Json", last.get("statusUpdate") or last["task"])) == "TASK_STATE_INPUT_REQUIRED"


async def test_everybody_who_subscribes_sees_the_same_to_the_end_and_may_leave(kit: Kit) -> None:
    message = user_message(fresh("test-resubscribe-message-id"))
    seen: list[list[Json]] = [[], []]

    async def subscribe(number: int, task_id: object) -> None:
        seen[number] = [event async for event in kit.stream("SubscribeToTask", id=task_id)]

    events = kit.stream("SendStreamingMessage", message=message)
    async with anyio.create_task_group() as tasks, aclosing(events):
        task = cast("Json", (await anext(events))["task"])
        tasks.start_soon(subscribe, 0, task["id"])
        tasks.start_soon(subscribe, 1, task["id"])
        await anext(events)
        # Leaving the first stream, in the middle, is no concern of the others.
    assert [list(events[0]) for events in seen] == [["task"], ["task"]]
    assert seen[0][-1] == seen[1][-1]
    assert state(cast("Json", seen[0][-1]["statusUpdate"])) == "TASK_STATE_COMPLETED"


# --- withdrawing, refusing, listing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tck-input-required", "tck-cancel"])
async def test_a_task_that_has_not_ended_can_be_canceled(kit: Kit, name: str) -> None:
    message = user_message(fresh(name))
    sent = await kit.call("SendMessage", message=message, configuration={"returnImmediately": True})
    canceled = await kit.call("CancelTask", id=cast("Json", sent["task"])["id"])
    assert state(canceled) == "TASK_STATE_CANCELED"
    with pytest.raises(Refused) as again:
        await kit.call("CancelTask", id=canceled["id"])
    assert again.value.reason == "TASK_NOT_CANCELABLE"


async def test_a_task_that_has_ended_takes_no_message_no_subscriber_and_no_cancel(kit: Kit) -> None:
    done = await send(kit, "tck-complete-task")
    refusals = []
    for refused in (
        lambda: send(kit, "tck-complete-task", taskId=done["id"]),
        lambda: anext(kit.stream("SubscribeToTask", id=done["id"])),
        lambda: kit.call("CancelTask", id=done["id"]),
    ):
        with pytest.raises(Refused) as refusal:
            await refused()
        refusals.append((refusal.value.http, refusal.value.reason))
    status = 200 if kit.binding == "jsonrpc" else 400
    assert refusals == [
        (status, "UNSUPPORTED_OPERATION"),
        (status, "UNSUPPORTED_OPERATION"),
        (status, "TASK_NOT_CANCELABLE"),
    ]


async def test_a_task_that_nobody_made_is_not_found_by_any_operation(kit: Kit) -> None:
    refusals = []
    for refused in (
        lambda: kit.call("GetTask", id="tck-nonexistent"),
        lambda: kit.call("CancelTask", id="tck-nonexistent"),
        lambda: anext(kit.stream("SubscribeToTask", id="tck-nonexistent")),
        lambda: send(kit, "tck-complete-task", taskId="tck-nonexistent"),
    ):
        with pytest.raises(Refused) as refusal:
            await refused()
        refusals.append((refusal.value.http, refusal.value.reason))
    assert refusals == [(200 if kit.binding == "jsonrpc" else 404, "TASK_NOT_FOUND")] * 4


async def test_content_that_the_agent_does_not_read_is_refused(kit: Kit) -> None:
    message = user_message(fresh("send-003"))
    message["parts"] = [{"raw": "dGNr", "mediaType": "application/x-unsupported-tck-type"}]
    with pytest.raises(Refused) as refusal:
        await kit.call("SendMessage", message=message)
    assert refusal.value.reason == "CONTENT_TYPE_NOT_SUPPORTED"


async def test_files_and_data_that_the_agent_reads_are_taken(kit: Kit) -> None:
    message = user_message(fresh("tck-complete-task"))
    message["parts"] = [
        {"data": {"count": 42}, "mediaType": "application/json"},
        {"raw": "dGNr", "filename": "a.txt", "mediaType": "text/plain"},
        {"url": "https://example.com/a.png", "mediaType": "image/png"},
    ]
    task = cast("Json", (await kit.call("SendMessage", message=message))["task"])
    assert state(task) == "TASK_STATE_COMPLETED"
    assert cast("list[Json]", task["history"])[0]["parts"] == message["parts"]


async def test_tasks_of_a_context_are_listed_in_pages_newest_first_and_without_artifacts(kit: Kit) -> None:
    context, made = fresh("tck-test-context"), list[object]()
    for _ in range(3):
        task = await send(kit, "tck-complete-task", contextId=context)
        assert task["contextId"] == context
        made.insert(0, task["id"])
    page = await kit.call("ListTasks", contextId=context, pageSize=2)
    rest = await kit.call("ListTasks", contextId=context, pageSize=2, pageToken=page["nextPageToken"])
    tasks = [*cast("list[Json]", page["tasks"]), *cast("list[Json]", rest["tasks"])]
    assert [task["id"] for task in tasks] == made
    assert all("artifacts" not in task for task in tasks)
    assert (page["totalSize"], page["pageSize"], rest["nextPageToken"]) == (3, 2, "")
    whole = await kit.call("ListTasks", contextId=context, includeArtifacts=True)
    assert all(parts(task) for task in cast("list[Json]", whole["tasks"]))
