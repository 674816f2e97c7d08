"""Agents behind this node: each is an A2A agent at a path of its own, and tasks travel sealed to where it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from yarl import URL

from mcp_a2a.agent.hosting import agent_settings
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.worker import Worker
from mcp_a2a.views import AddPeerRequest, DiscoverRequest, ListTasksRequest
from tests.a2a.bindings import Binding, Failed, said
from tests.a2a.conftest import Served, behaving, serving

BASE = "/a/worker"
TOKEN = "of-the-owner-".ljust(43, "x")
OWNER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server of one person, another of whose agents runs beside it."""
    home = tmp_path_factory.mktemp("behind")
    agent = behaving("worker")
    settings = agent_settings(Settings(home=home, mdns=False, link_host="127.0.0.1"), agent.name)
    service, stopping = agent.service(), anyio.Event()
    async with open_node(settings, service.card) as node, anyio.create_task_group() as tasks:
        worker = Worker(node, service.handler, holder="2-test", concurrency=service.concurrency)
        tasks.start_soon(worker.run, stopping)
        async with serving(home, behaving("front"), token=TOKEN) as served:
            await served.node.discover(DiscoverRequest(query="worker", settle_seconds=5))
            yield served
        tasks.cancel_scope.cancel()


@pytest.fixture(params=["jsonrpc", "rest"])
def client(request: pytest.FixtureRequest, front: Served) -> Binding:
    return front.binding(request.param, BASE, **OWNER)


async def test_its_card_is_its_own_and_names_the_path_that_leads_to_it(front: Served) -> None:
    for path in (f"{BASE}/.well-known/agent-card.json", f"{BASE}/.well-known/agent.json"):
        async with front.web.get(f"{front.url}{path}") as response:
            assert response.status == 401  # it tells whom the owner knows
        async with front.web.get(f"{front.url}{path}", headers=OWNER) as response:
            card = await response.json()
        assert card["name"] == "worker"
        assert {interface["url"] for interface in card["supportedInterfaces"]} == {f"{front.url}{BASE}/"}
        assert card["url"] == f"{front.url}{BASE}/"
        assert [skill["id"] for skill in card["skills"]] == ["behave"]


async def test_a_message_is_answered_from_there(client: Binding) -> None:
    task = await client.task("over there")
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["artifacts"][0]["parts"] == [{"text": "OVER THERE"}]
    assert (await client.send("direct"))["message"]["parts"] == [{"text": "no task here"}]


async def test_a_stream_tells_what_happens_there(client: Binding) -> None:
    events = await client.stream("stream")
    assert "task" in events[0]
    chunks = [event["artifactUpdate"]["artifact"]["parts"][0]["text"] for event in events if "artifactUpdate" in event]
    assert "".join(chunks) == "one two three"
    assert events[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_question_from_there_is_answered_from_here(client: Binding) -> None:
    asked = await client.task("ask")
    assert asked["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert asked["status"]["message"]["parts"] == [{"text": "which?"}]
    done = await client.task("blue", taskId=asked["id"])
    assert done["artifacts"][0]["parts"] == [{"text": "you said blue"}]


async def test_what_runs_there_is_canceled_from_here(client: Binding) -> None:
    waiting = await client.task("wait", {"returnImmediately": True})
    assert (await client.cancel(waiting["id"]))["status"]["state"] == "TASK_STATE_CANCELED"
    with pytest.raises(Failed) as refused:
        await client.cancel(waiting["id"])
    assert refused.value.reason == "TASK_NOT_CANCELABLE"


async def test_tasks_of_one_agent_are_none_of_another(front: Served, client: Binding) -> None:
    task = await client.task("mine", contextId="behind")
    assert (await client.list(contextId="behind"))["tasks"][0]["id"] == task["id"]
    own = front.binding("jsonrpc", **OWNER)
    assert (await own.list(contextId="behind"))["tasks"] == []
    with pytest.raises(Failed) as unknown:
        await own.get(task["id"])
    assert unknown.value.reason == "TASK_NOT_FOUND"


async def test_what_its_owner_sent_over_http_stands_among_the_tasks_of_the_node(front: Served, client: Binding) -> None:
    task = await client.task("one and the same")
    listed = await front.node.list_tasks(ListTasksRequest(limit=100))
    assert task["id"] in {item.task_id for item in listed.tasks}


async def test_a_caller_reaches_its_own_tasks_there_and_no_others(front: Served, client: Binding) -> None:
    name = f"guest-{client.__class__.__name__.lower()}"
    guest = type(client)(front.web, client.url, {"Authorization": f"Bearer {front.callers.add(name)}"})
    task = await guest.task("of a guest")
    assert (await guest.get(task["id"]))["id"] == task["id"]
    with pytest.raises(Failed) as hidden:
        await client.get(task["id"])
    assert hidden.value.reason == "TASK_NOT_FOUND"
    owned = await client.task("of the owner")
    with pytest.raises(Failed) as unknown:
        await guest.get(owned["id"])
    assert (unknown.value.http, unknown.value.reason) == (hidden.value.http, "TASK_NOT_FOUND")
    assert owned["id"] not in {each["id"] for each in (await guest.list())["tasks"]}


async def test_an_agent_that_nobody_knows_is_not_found(front: Served) -> None:
    for path, details in (
        ("/a/nobody/", "data"),
        ("/a/nobody/message:send", "details"),
        ("/a/nobody/a2a/jsonrpc", "data"),
    ):
        async with front.web.post(f"{front.url}{path}", json=said("hello"), headers=OWNER) as response:
            assert response.status == 404
            error = (await response.json(content_type=None))["error"]
        assert error[details][0]["reason"] == "AGENT_NOT_FOUND"


async def test_the_routes_of_older_systems_send_for_whoever_calls(front: Served) -> None:
    guest = {"Authorization": f"Bearer {front.callers.add('old-guest')}"}
    body = {"target": "worker", "message": "hello"}
    async with front.web.post(f"{front.url}/a2a/send", json=body, headers=guest) as response:
        answer = await response.json()
    assert answer["ok"] is True
    assert answer["result"]["kind"] == "task"
    with pytest.raises(Failed):
        await front.binding("rest", BASE, **OWNER).get(answer["result"]["id"])
    mine = front.binding("rest", BASE, **guest)
    assert (await mine.get(answer["result"]["id"]))["id"] == answer["result"]["id"]
    async with front.web.get(f"{front.url}/a2a/peers", headers=guest) as response:
        peers = (await response.json())["peers"]
    peer = next(peer for peer in peers if peer["name"] == "worker")
    async with front.web.post(
        f"{front.url}{peer['path']}",
        json={"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": said("by its path")},
        headers=guest,
    ) as response:
        task = (await response.json())["result"]["task"]
    assert task["artifacts"][0]["parts"] == [{"text": "BY ITS PATH"}]


async def test_an_agent_at_a_url_stands_behind_this_node_like_any_other(front: Served, tmp_path: Path) -> None:
    async with serving(tmp_path, behaving("remote")) as remote:
        await front.node.add_peer(AddPeerRequest(address=f"{remote.url}/"))
        async with front.web.get(f"{front.url}/a2a/peers", headers=OWNER) as response:
            paths = {peer["name"]: peer["path"] for peer in (await response.json())["peers"]}
        for base in ("/a/remote", paths["remote"].removesuffix("/")):
            async with front.web.get(
                URL(f"{front.url}{base}/.well-known/agent-card.json", encoded=True), headers=OWNER
            ) as response:
                card = await response.json()
            assert (card["name"], card["url"]) == ("remote", f"{front.url}{base}/")
        guest = {"Authorization": f"Bearer {front.callers.add('web-guest')}"}
        assert (await front.binding("rest", "/a/remote", **guest).task("x"))["status"][
            "state"
        ] == "TASK_STATE_COMPLETED"
        client = front.binding("rest", "/a/remote", **OWNER)
        task = await client.task("over http")
        assert task["artifacts"][0]["parts"] == [{"text": "OVER HTTP"}]
        assert (await client.get(task["id"]))["status"]["state"] == "TASK_STATE_COMPLETED"
        events = await client.stream("stream")
        assert events[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
        asked = await client.task("ask")
        done = await client.task("blue", taskId=asked["id"])
        assert done["artifacts"][0]["parts"] == [{"text": "you said blue"}]


async def test_only_its_owner_has_this_node_call_an_unknown_address(front: Served, tmp_path: Path) -> None:
    guest = {"Authorization": f"Bearer {front.callers.add('curious-guest')}"}
    async with serving(tmp_path, behaving("unknown")) as unknown:
        base = f"{front.url}/a/{quote(unknown.url, safe='')}"
        for path in ("/.well-known/agent-card.json", "/tasks"):
            async with front.web.get(URL(base + path, encoded=True), headers=guest) as response:
                assert response.status == 404
        body = {"target": unknown.url, "message": "hello"}
        async with front.web.post(f"{front.url}/a2a/send", json=body, headers=guest) as response:
            assert response.status == 404
