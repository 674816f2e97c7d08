"""What an A2A 1.0 server MUST do, rule by rule, on both bindings."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest

from tests.a2a.bindings import Binding, Failed, said
from tests.a2a.conftest import Served, serving


async def fails(awaitable: Any) -> Failed:
    with pytest.raises(Failed) as caught:
        await awaitable
    return caught.value


async def test_01_the_card_is_served_and_every_interface_in_it_is_true(served: Served) -> None:
    async with served.web.get(f"{served.url}/.well-known/agent-card.json") as response:
        assert response.status == 200
        card, tag = await response.json(), response.headers["etag"]
        assert "max-age" in response.headers["cache-control"]
    for name in ("name", "description", "version", "capabilities"):
        assert name in card
    for name in ("supportedInterfaces", "defaultInputModes", "defaultOutputModes", "skills"):
        assert len(card[name]) > 0
    for skill in card["skills"]:
        assert all(skill[name] for name in ("id", "name", "description", "tags"))
    bindings = {interface["protocolBinding"] for interface in card["supportedInterfaces"]}
    assert bindings == {"JSONRPC", "HTTP+JSON"}
    for interface in card["supportedInterfaces"]:
        if interface["protocolVersion"] != "1.0":
            continue
        name = "jsonrpc" if interface["protocolBinding"] == "JSONRPC" else "rest"
        client = served.binding(name)
        client.url = interface["url"].rstrip("/")
        assert (await client.task("hello"))["status"]["state"] == "TASK_STATE_COMPLETED"
    async with served.web.get(f"{served.url}/.well-known/agent-card.json", headers={"If-None-Match": tag}) as response:
        assert response.status == 304


async def test_02_an_unknown_task_in_a_message_is_not_found_and_never_made(client: Binding) -> None:
    failure = await fails(client.send("hello", taskId="of-my-own"))
    assert failure.reason == "TASK_NOT_FOUND"
    assert (await fails(client.get("of-my-own"))).reason == "TASK_NOT_FOUND"


async def test_03_a_message_to_a_task_that_has_ended_is_unsupported(client: Binding) -> None:
    done = await client.task("hello")
    assert (await fails(client.send("more", taskId=done["id"]))).reason == "UNSUPPORTED_OPERATION"


async def test_04_the_context_follows_from_the_task_and_must_not_contradict_it(client: Binding) -> None:
    asked = await client.task("ask")
    assert asked["contextId"]
    assert (await fails(client.send("x", taskId=asked["id"], contextId="another"))).reason == "INVALID_PARAMS"
    done = await client.task("blue", taskId=asked["id"])
    assert done["contextId"] == asked["contextId"]
    again = await client.task("hello", contextId=asked["contextId"])
    assert again["contextId"] == asked["contextId"]
    assert again["id"] != asked["id"]


async def test_05_a_blocking_send_waits_and_one_that_is_not_does_not(client: Binding) -> None:
    done = await client.task("hello")
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"
    assert done["artifacts"][0]["parts"] == [{"text": "HELLO"}]
    assert (await client.task("ask"))["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    waiting = await client.task("wait", {"returnImmediately": True})
    assert waiting["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
    await client.cancel(waiting["id"])


async def test_06_a_stream_begins_with_its_task_and_ends_with_it(client: Binding) -> None:
    events = await client.stream("stream")
    assert set(events[0]) == {"task"}
    assert all(len(event) == 1 for event in events)
    chunks = [event["artifactUpdate"] for event in events if "artifactUpdate" in event]
    assert "".join(chunk["artifact"]["parts"][0]["text"] for chunk in chunks) == "one two three"
    assert [chunk["append"] for chunk in chunks] == [False, True, True]
    assert [chunk["lastChunk"] for chunk in chunks] == [False, False, True]
    assert events[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_06_a_stream_of_a_message_is_that_message_alone(client: Binding) -> None:
    (event,) = await client.stream("direct")
    assert event["message"]["parts"] == [{"text": "no task here"}]
    assert (await client.send("direct"))["message"]["role"] == "ROLE_AGENT"


async def test_06_closing_one_stream_leaves_the_others(client: Binding) -> None:
    task = await client.task("wait", {"returnImmediately": True})
    async with client.events("SubscribeToTask", {"id": task["id"]}) as kept:
        assert (await anext(kept))["task"]["id"] == task["id"]
        async with client.events("SubscribeToTask", {"id": task["id"]}) as closed:
            await anext(closed)
        await client.cancel(task["id"])
        rest = [event async for event in kept]
    assert rest[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"


async def test_06_all_streams_tell_the_same_in_the_same_order(client: Binding) -> None:
    waiting = await client.task("wait", {"returnImmediately": True})
    streams: list[list[Any]] = []
    following, all_follow = [], anyio.Event()

    async def follow() -> None:
        async with client.events("SubscribeToTask", {"id": waiting["id"]}) as events:
            assert "task" in await anext(events)
            following.append(events)
            if len(following) == 3:
                all_follow.set()
            streams.append([event async for event in events])

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(follow)
            await all_follow.wait()
            await client.cancel(waiting["id"])
    assert streams[0][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"
    assert streams[0][-1:] == streams[1][-1:] == streams[2][-1:]


async def test_07_subscribing_to_what_has_ended_or_is_unknown_fails(client: Binding) -> None:
    done = await client.task("hello")
    for task_id, reason in ((done["id"], "UNSUPPORTED_OPERATION"), ("nothing", "TASK_NOT_FOUND")):
        with pytest.raises(Failed) as caught:
            async with client.events("SubscribeToTask", {"id": task_id}):
                pass
        assert caught.value.reason == reason


async def test_08_canceling_what_has_ended_fails(client: Binding) -> None:
    done = await client.task("hello")
    assert (await fails(client.cancel(done["id"]))).reason == "TASK_NOT_CANCELABLE"
    waiting = await client.task("wait", {"returnImmediately": True})
    assert (await client.cancel(waiting["id"]))["status"]["state"] == "TASK_STATE_CANCELED"
    assert (await fails(client.cancel("nothing"))).reason == "TASK_NOT_FOUND"


async def test_09_a_list_is_paged_sorted_and_without_artifacts_unless_asked(client: Binding) -> None:
    tasks = [await client.task(f"list {number}", contextId="listed") for number in range(5)]
    seen: list[Any] = []
    token = ""
    while True:
        page = await client.list(contextId="listed", pageSize=2, **({"pageToken": token} if token else {}))
        assert page["pageSize"] == 2
        assert page["totalSize"] >= 5
        seen += page["tasks"]
        token = page["nextPageToken"]
        if not token:
            break
    ids = [task["id"] for task in seen]
    assert [one for one in ids if one in {task["id"] for task in tasks}] == [task["id"] for task in reversed(tasks)]
    assert all("artifacts" not in task for task in seen)
    stamps = [task["status"]["timestamp"] for task in seen]
    assert stamps == sorted(stamps, reverse=True)
    with_artifacts = await client.list(contextId="listed", includeArtifacts=True, pageSize=1)
    assert with_artifacts["tasks"][0]["artifacts"]
    empty = await client.list(contextId="never-used")
    assert (empty["tasks"], empty["nextPageToken"], empty["totalSize"]) == ([], "", 0)
    assert (await client.list(contextId="listed", status="TASK_STATE_FAILED"))["tasks"] == []
    assert (await fails(client.list(pageSize=101))).reason == "INVALID_PARAMS"
    assert (await fails(client.list(pageToken="nonsense"))).reason == "INVALID_PARAMS"
    later = await client.list(contextId="listed", statusTimestampAfter="2999-01-01T00:00:00Z")
    assert later["tasks"] == []


async def test_09_the_history_is_as_long_as_asked(client: Binding) -> None:
    asked = await client.task("ask")
    await client.task("blue", taskId=asked["id"])
    assert len((await client.get(asked["id"]))["history"]) == 3
    assert len((await client.get(asked["id"], historyLength=1))["history"]) == 1
    assert not (await client.get(asked["id"], historyLength=0)).get("history")
    assert (await fails(client.get(asked["id"], historyLength=-1))).reason == "INVALID_PARAMS"


async def test_09_the_history_is_as_long_as_asked_in_what_a_message_is_answered_with(client: Binding) -> None:
    without = {"historyLength": 0}
    assert not (await client.task("hello", without)).get("history")
    async with client.events("SendStreamingMessage", {**said("stream"), "configuration": without}) as events:
        first, *_ = [event async for event in events]
    assert not first["task"].get("history")
    assert len((await client.get(first["task"]["id"]))["history"]) == 1


async def test_10_what_is_not_declared_is_refused_as_such(client: Binding) -> None:
    done = await client.task("hello")
    push = {"taskId": done["id"], "url": "https://example.com/hook"}
    failure = await fails(client.call("CreateTaskPushNotificationConfig", push))
    assert failure.reason == "PUSH_NOTIFICATION_NOT_SUPPORTED"
    assert (
        await fails(client.call("ListTaskPushNotificationConfigs", {"taskId": done["id"]}))
    ).reason == failure.reason
    inline = {"taskPushNotificationConfig": {"url": "https://example.com/hook"}}
    assert (await fails(client.send("hello", inline))).reason == failure.reason
    assert (await fails(client.call("GetExtendedAgentCard", {}))).reason == "UNSUPPORTED_OPERATION"


async def test_11_a_media_type_that_the_agent_does_not_read_is_refused(client: Binding) -> None:
    parts = [{"raw": "AAAA", "mediaType": "video/mp4"}]
    assert (await fails(client.send("", parts=parts))).reason == "CONTENT_TYPE_NOT_SUPPORTED"


@pytest.mark.parametrize("version", ["1.7", "2.0", "0.2", "nonsense"])
async def test_12_another_version_is_refused(served: Served, version: str) -> None:
    for name in ("jsonrpc", "rest"):
        client = served.binding(name, **{"A2A-Version": version})
        assert (await fails(client.send("hello"))).reason == "VERSION_NOT_SUPPORTED"
        asked = served.binding(name, **{"A2A-Version": ""})
        asked.url = served.url
        assert (await asked.task("hello"))["id"]


async def test_12_the_version_may_be_a_query_parameter(served: Served) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": said("hello")}
    async with served.web.post(f"{served.url}/?A2A-Version=1.7", json=body) as response:
        assert (await response.json())["error"]["code"] == -32009
    async with served.web.post(f"{served.url}/?A2A-Version=1.0", json=body) as response:
        assert "result" in await response.json()


async def test_14_the_extended_card_is_for_who_shows_a_token(tmp_path: Any) -> None:
    async with serving(tmp_path, token="t" * 43) as served:
        async with served.web.get(f"{served.url}/.well-known/agent-card.json") as response:
            card = await response.json()
        assert card["capabilities"]["extendedAgentCard"] is True
        assert card["securitySchemes"]
        for name in ("jsonrpc", "rest"):
            extended = await served.binding(name, Authorization=f"Bearer {'t' * 43}").call("GetExtendedAgentCard", {})
            assert extended["name"] == card["name"]
            async with served.binding(name)._request("GetExtendedAgentCard", {}) as response:
                assert response.status == 401


@pytest.mark.parametrize("name", ["jsonrpc", "rest"])
async def test_15_push_configurations_are_kept_and_deleting_is_idempotent(tmp_path: Any, name: str) -> None:
    """That each event is delivered, with what authenticates it, is shown where there is a hook: `test_push`."""
    async with serving(tmp_path, a2a_push=True) as served:
        client = served.binding(name)
        async with served.web.get(f"{served.url}/.well-known/agent-card.json") as response:
            assert (await response.json())["capabilities"]["pushNotifications"] is True
        task = await client.task("wait", {"returnImmediately": True})
        hook = {"taskId": task["id"], "url": "https://hook.invalid/", "token": "secret"}
        made = await client.call("CreateTaskPushNotificationConfig", hook)
        assert made["url"] == hook["url"]
        one = {"taskId": task["id"], "id": made["id"]}
        assert await client.call("GetTaskPushNotificationConfig", one) == made
        listed = await client.call("ListTaskPushNotificationConfigs", {"taskId": task["id"]})
        assert (listed["configs"], listed["nextPageToken"]) == ([made], "")
        for _ in range(2):
            assert not await client.call("DeleteTaskPushNotificationConfig", one)
        assert (await fails(client.call("GetTaskPushNotificationConfig", one))).reason == "TASK_NOT_FOUND"
        for url in ("http://hook.invalid/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/"):
            inward = client.call("CreateTaskPushNotificationConfig", {"taskId": task["id"], "url": url})
            assert (await fails(inward)).reason == "INVALID_PARAMS"
        await client.cancel(task["id"])


async def test_15_a_push_configuration_is_seen_and_deleted_by_its_id_only(tmp_path: Any) -> None:
    async with serving(tmp_path, a2a_push=True) as served:
        client = served.binding("jsonrpc")
        task = await client.task("wait", {"returnImmediately": True})
        hook = {"taskId": task["id"], "url": "https://hook.invalid/"}
        made = [await client.call("CreateTaskPushNotificationConfig", {**hook, "id": name}) for name in "ab"]
        for operation in ("GetTaskPushNotificationConfig", "DeleteTaskPushNotificationConfig"):
            for unnamed in ({}, {"id": ""}, {"id": None}):
                request = client.call(operation, {"taskId": task["id"], **unnamed})
                assert (await fails(request)).code == -32602
        listed = await client.call("ListTaskPushNotificationConfigs", {"taskId": task["id"]})
        assert listed["configs"] == made
        await client.cancel(task["id"])


async def test_16_a_task_that_needs_authorization_says_so_and_waits(client: Binding) -> None:
    asked = await client.task("authorize")
    assert asked["status"]["state"] == "TASK_STATE_AUTH_REQUIRED"
    assert asked["status"]["message"]["parts"] == [{"text": "may I?"}]
    done = await client.task("yes", taskId=asked["id"])
    assert done["artifacts"][0]["parts"] == [{"text": "you said yes"}]


async def test_17_a_binding_of_our_own_would_be_named_by_a_uri(served: Served) -> None:
    async with served.web.get(f"{served.url}/.well-known/agent-card.json") as response:
        interfaces = (await response.json())["supportedInterfaces"]
    for interface in interfaces:
        binding = interface["protocolBinding"]
        assert binding in ("JSONRPC", "HTTP+JSON", "GRPC") or re.match(r"[a-z][a-z0-9+.-]*:", binding)
        assert re.fullmatch(r"\d+\.\d+", interface["protocolVersion"])


async def test_the_errors_carry_the_codes_of_their_binding(served: Served) -> None:
    done = await served.binding("jsonrpc").task("hello")
    for operation, codes in (
        (lambda c: c.get("nothing"), (-32001, 404)),
        (lambda c: c.cancel(done["id"]), (-32002, 400)),
        (lambda c: c.send("x", taskId=done["id"]), (-32004, 400)),
        (lambda c: c.send("x", parts=[{"raw": "AA==", "mediaType": "video/mp4"}]), (-32005, 400)),
    ):
        rpc, rest = [await fails(operation(served.binding(name))) for name in ("jsonrpc", "rest")]
        assert (rpc.code, rpc.http) == (codes[0], 200)
        assert (rest.code, rest.http) == (codes[1], codes[1])
        assert rpc.reason == rest.reason


async def test_no_error_tells_a_client_of_the_tools_that_assistants_have(served: Served, client: Binding) -> None:
    done = await client.task("hello")
    nobody = served.binding("rest", "/a/nobody")
    for request in (
        client.get("nothing"),
        client.cancel(done["id"]),
        client.send("x", taskId=done["id"]),
        nobody.get("nothing"),
    ):
        message = (await fails(request)).message
        assert not re.search(r"[a-z]_[a-z]|discover|mcp-a2a", message), message
    async with served.web.post(f"{served.url}/a2a/send", json={"target": "nobody", "message": "x"}) as response:
        assert "discover" not in (await response.json())["error"]


async def test_times_are_utc_with_milliseconds(client: Binding) -> None:
    stamp = (await client.task("hello"))["status"]["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
