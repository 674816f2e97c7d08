"""Agents behind this node: each is an A2A agent at a path of its own, and tasks travel sealed to where it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from yarl import URL

from mcp_a2a.a2a.client import WebClient
from mcp_a2a.agent.hosting import agent_settings
from mcp_a2a.api.agents import AddPeerRequest, ConsentRequest, DiscoverRequest, GetAgentRequest, SetTrustRequest
from mcp_a2a.api.request import Request
from mcp_a2a.api.tasks import CancelRequest, ListTasksRequest
from mcp_a2a.api.view import View
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.errors.web import CardError
from mcp_a2a.node.ipc.owner import SharedNode
from mcp_a2a.node.worker.worker import Worker
from mcp_a2a.web_ports import Range
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
            await served.node.call(DiscoverRequest(query="worker", settle_seconds=5))
            yield served
        tasks.cancel_scope.cancel()


async def worker_of(front: Served) -> str:
    return (await front.node.call(GetAgentRequest(agent="worker"))).agent.did


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


async def test_a_name_that_no_agent_has_leads_to_no_other_agent_of_its_server(front: Served) -> None:
    async with WebClient() as client:
        with pytest.raises(CardError, match="answers with HTTP 404"):
            await client.find_card(f"{front.url}/a/wroker/", within=Range.ANYWHERE, headers=OWNER)
        found = await client.find_card(f"{front.url}{BASE}/", within=Range.ANYWHERE, headers=OWNER)
    assert found.card.name == "worker"


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
    listed = await front.node.call(ListTasksRequest(limit=100))
    assert task["id"] in {item.task_id for item in listed.tasks}


async def test_a_caller_reaches_its_own_tasks_there_and_no_others(front: Served, client: Binding) -> None:
    name = f"guest-{client.__class__.__name__.lower()}"
    guest = type(client)(
        front.web, client.url, {"Authorization": f"Bearer {front.callers.add(name, [await worker_of(front)])}"}
    )
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
    guest = {"Authorization": f"Bearer {front.callers.add('old-guest', [await worker_of(front)])}"}
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
        await front.node.call(AddPeerRequest(address=f"{remote.url}/"))
        async with front.web.get(f"{front.url}/a2a/peers", headers=OWNER) as response:
            paths = {peer["name"]: peer["path"] for peer in (await response.json())["peers"]}
        for base in ("/a/remote", paths["remote"].removesuffix("/")):
            async with front.web.get(
                URL(f"{front.url}{base}/.well-known/agent-card.json", encoded=True), headers=OWNER
            ) as response:
                card = await response.json()
            assert (card["name"], card["url"]) == ("remote", f"{front.url}{base}/")
        guest = {"Authorization": f"Bearer {front.callers.add('web-guest', [f'{remote.url}/'])}"}
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


# --- which agents a client was given ---------------------------------------------------------------


def keyed(front: Served, name: str, *agents: str) -> dict[str, str]:
    """The header of a client that was given these agents, or none in particular."""
    return {"Authorization": f"Bearer {front.callers.add(name, agents) if agents else front.callers.add(name)}"}


async def told(front: Served, method: str, path: str, headers: dict[str, str], json: object = None) -> tuple[int, str]:
    async with front.web.request(
        method, URL(f"{front.url}{path}", encoded=True), headers=headers, json=json
    ) as response:
        return response.status, await response.text()


async def test_a_client_sees_and_tasks_our_own_agent_where_none_is_said(front: Served) -> None:
    guest = keyed(front, "given-nothing-else")
    assert (await front.binding("rest", **guest).task("x"))["status"]["state"] == "TASK_STATE_COMPLETED"
    assert await told(front, "GET", "/a2a/peers", guest) == (200, '{"peers":[]}')
    for path in (BASE, f"/a/{await worker_of(front)}"):
        assert (await told(front, "GET", f"{path}/tasks", guest))[0] == 404


async def test_an_agent_that_was_not_given_is_as_unknown_as_one_that_never_was(front: Served) -> None:
    worker = await worker_of(front)
    me = (await front.node.call(GetAgentRequest(agent="self"))).agent
    ours, theirs = keyed(front, "given-ours", "self"), keyed(front, "given-theirs", worker)
    for guest, hidden in ((ours, ("worker", worker)), (theirs, ("front", "self", me.did))):
        for method, rest, body in (
            ("GET", "/.well-known/agent-card.json", None),
            ("GET", "/tasks", None),
            ("GET", "/tasks/task-x", None),
            ("GET", "/files/task-x/file-x", None),
            ("POST", "/message:send", said("x")),
            ("POST", "/message:stream", said("x")),
            ("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": said("x")}),
        ):
            unknown = await told(front, method, f"/a/never-was{rest}", guest, body)
            for name in hidden:
                if name == "self" and rest.startswith("/.well-known"):
                    continue  # our own card is public
                status, text = await told(front, method, f"/a/{quote(name)}{rest}", guest, body)
                assert (status, text.replace(name, "never-was")) == unknown
        for name in hidden:
            body = {"target": name, "message": "x"}
            status, text = await told(front, "POST", "/a2a/send", guest, body)
            unknown = await told(front, "POST", "/a2a/send", guest, {**body, "target": "never-was"})
            assert (status, text.replace(name, "never-was")) == unknown
            assert status == 404
    assert (await told(front, "GET", "/tasks", theirs))[0] == 404
    assert [peer for peer in (await told(front, "GET", "/a2a/peers", theirs))[1:] if worker not in peer] == []


async def test_a_client_never_makes_this_node_look_around(front: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = keyed(front, "looks-nowhere", "self", await worker_of(front))

    call = type(front.node).call

    async def fail_to_discover(node: SharedNode, request: Request[View]) -> View:
        assert not isinstance(request, DiscoverRequest), "it looked around"
        return await call(node, request)

    monkeypatch.setattr(type(front.node), "call", fail_to_discover)
    assert '"name":"worker"' in (await told(front, "GET", "/a2a/peers", guest))[1]
    assert (await told(front, "GET", "/a/never-was/tasks", guest))[0] == 404


async def test_an_agent_that_takes_the_name_of_a_given_one_gets_nothing(front: Served, tmp_path: Path) -> None:
    guest = keyed(front, "by-name", await worker_of(front))
    async with serving(tmp_path, behaving("worker")) as impostor:
        await front.node.call(AddPeerRequest(address=f"{impostor.url}/"))
        task = await front.binding("rest", BASE, **guest).task("for the given one")
        assert task["artifacts"][0]["parts"] == [{"text": "FOR THE GIVEN ONE"}]
        assert (await impostor.binding("rest").list())["tasks"] == []
        await front.node.call(SetTrustRequest(agent=f"{impostor.url}/", level="blocked"))


async def test_what_is_given_and_taken_away_counts_from_the_next_request_on(front: Served) -> None:
    worker = await worker_of(front)
    guest = keyed(front, "changes", worker)
    behind, own = front.binding("rest", BASE, **guest), front.binding("rest", **guest)
    task = await behind.task("while it may")
    front.callers.grant("changes", ["self"])
    for operation in (behind.get(task["id"]), behind.list(), behind.send("no more")):
        with pytest.raises(Failed) as refused:
            await operation
        assert refused.value.reason == "AGENT_NOT_FOUND"
    assert (await own.task("instead"))["status"]["state"] == "TASK_STATE_COMPLETED"
    front.callers.grant("changes", [worker, "self"])
    assert (await behind.get(task["id"]))["id"] == task["id"]


@pytest.mark.parametrize("end", ["grant", "remove"])
async def test_a_stream_tells_nothing_more_once_its_agent_or_its_client_is_taken_away(front: Served, end: str) -> None:
    name = f"streams-until-{end}"
    guest = keyed(front, name, await worker_of(front))
    client = front.binding("jsonrpc", BASE, **guest)
    async with client.events("SendStreamingMessage", said("ask")) as events:
        task = (await anext(events))["task"]
        async for event in events:
            if event.get("statusUpdate", {}).get("status", {}).get("state") == "TASK_STATE_INPUT_REQUIRED":
                break
    with anyio.fail_after(30):
        async with client.events("SubscribeToTask", {"id": task["id"]}) as events:
            assert (await anext(events))["task"]["id"] == task["id"]
            if end == "grant":
                front.callers.grant(name, ["self"])
            else:
                front.callers.remove(name)
            cancel = CancelRequest(task_id=task["id"])
            await front.node.call(cancel)
            with pytest.raises(Failed) as refused:
                await anext(events)
    assert refused.value.reason == "AGENT_NOT_FOUND"


@pytest.mark.parametrize("kind", ["jsonrpc", "rest"])
async def test_a_stranger_behind_this_node_gets_nothing_before_the_owner_allows_it(
    front: Served, tmp_path: Path, kind: str
) -> None:
    async with serving(tmp_path, behaving(f"stranger-{kind}"), accept="anyone") as stranger:
        did = (await stranger.node.call(GetAgentRequest(agent="self"))).agent.did
        status = (await front.node.call(GetAgentRequest(agent="self"))).node
        assert status is not None
        await stranger.node.call(AddPeerRequest(address=status.listening[0]))
        await front.node.call(DiscoverRequest(query=f"stranger-{kind}", settle_seconds=5))
        client = front.binding(kind, f"/a/{quote(did)}", **OWNER)
        with pytest.raises(Failed) as refused:
            await client.send("CANARY")
        assert refused.value.reason == "FORBIDDEN"
        assert f"mcp-a2a allow {did}" in refused.value.message
        assert (await stranger.node.call(ListTasksRequest())).tasks == ()
        await front.node.call(ConsentRequest(agent=did, answer="allowed"))
        assert (await client.task("now"))["artifacts"][0]["parts"] == [{"text": "NOW"}]
