"""The first send to a stranger is a question to the person, in both protocol eras, over real nodes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.server.elicitation import render_elicitation_schema
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitRequestParams, ElicitResult

from mcp_a2a.api.agents import AddPeerRequest, ConsentView, GetAgentRequest, PeersRequest, SetTrustRequest
from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.tasks import ListTasksRequest, SendTaskRequest, TaskView
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.ipc.owner import SharedNode
from mcp_a2a.server import consent
from mcp_a2a.server.address import Listen
from mcp_a2a.server.consent import Form
from mcp_a2a.server.http import serve_http
from mcp_a2a.server.surface import build_server
from tests.server.standin import agent
from tests.server.test_contacts import Person
from tests.server.test_http import TOKEN
from tests.server.test_real_node import assistant
from tests.server.test_tools import text_of

pytestmark = pytest.mark.slow

YES = ElicitResult(action="accept", content={"allow": True})
NO = (ElicitResult(action="decline"), ElicitResult(action="accept", content={"allow": False}))


@asynccontextmanager
async def strangers(folder: Path, mode: str, person: object) -> AsyncIterator[tuple[Client, SharedNode, SharedNode]]:
    """Alice's assistant and its node, and Mallory's node, which has dialled Alice's."""
    async with AsyncExitStack() as stack:
        alice, alices = await stack.enter_async_context(assistant(folder / "a", "alice", mode, person))
        _, mallorys = await stack.enter_async_context(assistant(folder / "m", "mallory", mode))
        detail = await alices.call(GetAgentRequest(agent="self"))
        address = re.search(r"127\.0\.0\.1:\d+", " ".join(detail.addresses))
        assert address is not None
        await mallorys.call(AddPeerRequest(address=address[0]))
        while not any(peer.name == "mallory" for peer in (await alices.call(PeersRequest())).peers):  # noqa: ASYNC110  asked from outside
            await anyio.sleep(0.01)
        yield alice, alices, mallorys


async def did_of(node: SharedNode) -> str:
    return (await node.call(GetAgentRequest(agent="self"))).agent.did


async def sent(node: SharedNode) -> int:
    return len((await node.call(ListTasksRequest())).tasks)


async def test_a_yes_sends_it_and_is_asked_for_once(tmp_path: Path, mode: str) -> None:
    person = Person(YES)
    async with strangers(tmp_path, mode, person) as (client, alice, mallory):
        arguments = {"agent": "mallory", "message": "Look at CANARY-1", "wait_seconds": 0}
        first = await client.call_tool("send_task", arguments)
        assert not first.is_error, text_of(first)
        for message in ("CANARY-2", "CANARY-3"):
            assert not (await client.call_tool("send_task", arguments | {"message": message})).is_error
        (question,) = person.asked
        did = await did_of(mallory)
        words = (await mallory.call(GetAgentRequest(agent="self"))).agent.words
        for fact in ('"mallory"', did, words, "a stranger", "Look at CANARY-1", "Route: "):
            assert fact in question
        assert await sent(alice) == 3
        assert {peer.did: peer.trust for peer in (await alice.call(PeersRequest())).peers}[did] == "stranger"


@pytest.mark.parametrize("answer", [YES, NO[0], ElicitResult(action="cancel")], ids=["yes", "no", "none"])
async def test_calls_at_the_same_time_ask_one_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: ElicitResult
) -> None:
    """In the older era, where a question is put in the middle of a call."""
    monkeypatch.setattr(consent, "HASTY_SECONDS", 0.0)
    started, others_wait = anyio.Event(), anyio.Event()

    class Reader(Person):
        async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
            started.set()
            await others_wait.wait()
            return await super().__call__(context, params)

    person, failed = Reader(answer), list[bool]()
    async with strangers(tmp_path, "legacy", person) as (client, alice, _):

        async def send(number: int) -> None:
            arguments = {"agent": "mallory", "message": f"CANARY-{number}", "wait_seconds": 0}
            failed.append((await client.call_tool("send_task", arguments)).is_error)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    tasks.start_soon(send, number)
                await started.wait()
                await client.call_tool("list_tasks", {})  # the others have come to the question as well
                others_wait.set()
        assert failed == [answer is not YES] * 3
        assert len(person.asked) == (3 if answer.action == "cancel" else 1)
        assert await sent(alice) == (3 if answer is YES else 0)


async def test_the_question_about_an_agent_that_was_blocked_says_so(tmp_path: Path, mode: str) -> None:
    person = Person(YES)
    async with strangers(tmp_path, mode, person) as (client, alice, mallory):
        did = await did_of(mallory)
        await alice.call(SetTrustRequest(agent=did, level="blocked"))
        await client.call_tool("send_task", {"agent": did, "message": "CANARY", "wait_seconds": 0})
        (question,) = person.asked  # though its links end meanwhile
        assert "an agent that YOU HAVE BLOCKED" in question
        assert "a stranger" not in question


async def unsent(_: str | None) -> TaskView:
    raise AssertionError("nothing is sent here")


async def test_a_link_that_comes_or_goes_while_a_person_reads_does_not_change_the_question() -> None:
    asked = set()
    for name in ("bob", "eve"):
        for route in ("relay", None, "direct", "lan"):
            about = ConsentView(agent=agent(name=name, route=route), key=name, text=False, files=False)
            asked |= {consent._wording(consent.Question(about, text, unsent)) for text in ("one", "two")}
    assert len(asked) == 4


@pytest.mark.parametrize("answer", NO)
async def test_a_no_sends_nothing_and_is_not_asked_again(
    tmp_path: Path, mode: str, answer: ElicitResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent, "HASTY_SECONDS", 0.0)  # a person who has taken the time to read
    person = Person(answer)
    async with strangers(tmp_path, mode, person) as (client, alice, mallory):
        for _ in range(2):
            result = await client.call_tool("send_task", {"agent": "mallory", "message": "CANARY", "wait_seconds": 0})
            assert result.is_error
            assert f"mcp-a2a allow {await did_of(mallory)}" in text_of(result)
            assert "did not allow it" in text_of(result)
        assert len(person.asked) == 1
        assert await sent(alice) == 0
        assert (await mallory.call(CheckInboxRequest())).held == 0


async def test_a_dialog_that_is_closed_is_no_answer_and_may_be_asked_again(tmp_path: Path, mode: str) -> None:
    person = Person(ElicitResult(action="cancel"))
    async with strangers(tmp_path, mode, person) as (client, alice, mallory):
        for asked in (1, 2):
            result = await client.call_tool("send_task", {"agent": "mallory", "message": "CANARY", "wait_seconds": 0})
            assert result.is_error
            assert f"mcp-a2a allow {await did_of(mallory)}" in text_of(result)
            assert len(person.asked) == asked
        assert await sent(alice) == 0


@pytest.mark.parametrize("form", Form.__subclasses__())
def test_a_form_has_what_the_protocol_names_and_nothing_else(form: type[Form]) -> None:
    # Codex reads the schema of a question strictly, and declines for its user what it cannot read.
    schema = render_elicitation_schema(form)
    assert set(schema) == {"type", "properties", "required"}
    for field in schema["properties"].values():
        assert set(field) <= {"type", "title", "description", "default"}


def test_both_questions_are_forms() -> None:
    assert {form.__name__ for form in Form.__subclasses__()} == {"Acceptance", "Permission"}


@pytest.mark.parametrize("no", NO, ids=["declined", "unticked"])
async def test_a_no_that_comes_before_a_person_could_read_is_no_answer_and_is_not_kept(
    tmp_path: Path, no: ElicitResult
) -> None:
    person = Person(no)
    async with strangers(tmp_path, "legacy", person) as (client, alice, mallory):
        for asked in (1, 2):
            result = await client.call_tool("send_task", {"agent": "mallory", "message": "CANARY", "wait_seconds": 0})
            assert "your user has not been asked" in text_of(result)
            assert f"mcp-a2a allow {await did_of(mallory)}" in text_of(result)
            assert len(person.asked) == asked
        assert await sent(alice) == 0


async def test_where_nobody_can_be_asked_the_result_has_the_one_command(tmp_path: Path, mode: str) -> None:
    async with strangers(tmp_path, mode, None) as (client, alice, mallory):
        for arguments in ({"agent": "mallory"}, {"agent": await did_of(mallory)}):
            result = await client.call_tool("send_task", {**arguments, "message": "CANARY", "wait_seconds": 0})
            assert result.is_error
            assert text_of(result).endswith(f"mcp-a2a allow {await did_of(mallory)}")
            assert "mallory" not in text_of(result)
            assert "unexpectedly" not in text_of(result)
        assert await sent(alice) == 0


async def fails(_: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    raise MCPError(-32601, f"cannot show {len(params.message)} characters")


async def talks_nonsense(_: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"something": params.message})


async def accepts_nothing(_: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    del params
    return ElicitResult(action="accept")


@pytest.mark.parametrize("lie", [fails, talks_nonsense, accepts_nothing])
async def test_a_client_that_says_it_can_ask_and_cannot_sends_nothing(tmp_path: Path, mode: str, lie: object) -> None:
    async with strangers(tmp_path, mode, lie) as (client, alice, _):
        try:
            result = await client.call_tool("send_task", {"agent": "mallory", "message": "CANARY", "wait_seconds": 0})
        except (MCPError, ExceptionGroup):
            assert mode == "auto", "the client's own error: there it asks before it calls again"
        else:
            assert result.is_error
            assert "unexpectedly" not in text_of(result)
            assert "Resolver" not in text_of(result)
            assert ("mcp-a2a allow KEY" if mode == "auto" else "mcp-a2a allow did:key:") in text_of(result)
        assert await sent(alice) == 0


async def test_a_person_who_never_answers_ends_in_the_command_and_not_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        await anyio.sleep_forever()
        raise AssertionError(params)

    monkeypatch.setattr(consent, "ASK_SECONDS", 0.1)
    async with strangers(tmp_path, "legacy", never) as (client, alice, _):
        result = await client.call_tool("send_task", {"agent": "mallory", "message": "CANARY", "wait_seconds": 0})
        assert result.is_error
        assert "mcp-a2a allow did:key:" in text_of(result)
        assert await sent(alice) == 0


async def test_a_file_to_an_agent_that_is_trusted_is_asked_about_by_name_and_size(tmp_path: Path, mode: str) -> None:
    person = Person(YES)
    async with strangers(tmp_path, mode, person) as (client, alice, mallory):
        await alice.call(SetTrustRequest(agent=await did_of(mallory), level="trusted"))
        downloads = tmp_path / "a" / "files"
        downloads.mkdir(exist_ok=True)
        (downloads / "report.pdf").write_bytes(b"x" * 2048)
        arguments = {
            "agent": "mallory",
            "message": "Read it",
            "wait_seconds": 0,
            "files": [str(downloads / "report.pdf")],
        }
        for _ in range(2):
            assert not (await client.call_tool("send_task", arguments)).is_error
        (question,) = person.asked
        assert "report.pdf (2 KiB)" in question
        assert "an agent that you trust" in question
        assert await sent(alice) == 2


async def test_a_file_with_an_answer_is_asked_about(tmp_path: Path, mode: str) -> None:
    person = Person(YES)
    async with strangers(tmp_path, mode, person) as (client, alice, mallory):
        await alice.call(SetTrustRequest(agent=await did_of(mallory), level="trusted"))
        await mallory.call(
            SendTaskRequest(agent=await did_of(alice), message="Your report?", wait_seconds=0, consent="waived")
        )
        (item,) = (await alice.call(CheckInboxRequest(wait_seconds=30))).items
        downloads = tmp_path / "a" / "files"
        downloads.mkdir(exist_ok=True)
        (downloads / "report.pdf").write_bytes(b"x" * 2048)
        result = await client.call_tool(
            "answer_task",
            {"task_id": item.task_id, "status": "completed", "text": "here", "files": [str(downloads / "report.pdf")]},
        )
        assert not result.is_error, text_of(result)
        (question,) = person.asked
        assert "report.pdf (2 KiB)" in question


async def test_an_answer_in_one_process_counts_in_every_other(tmp_path: Path) -> None:
    async with strangers(tmp_path, "auto", None) as (client, _, mallory):
        arguments = {"agent": "mallory", "message": "CANARY", "wait_seconds": 0}
        assert (await client.call_tool("send_task", arguments)).is_error
        person = Person(YES)
        async with assistant(tmp_path / "a", "alice", "legacy", person) as (second, attached):
            assert not attached.owner
            result = await second.call_tool("send_task", arguments)
            assert not result.is_error, text_of(result)
            assert await did_of(mallory) in person.asked[0]
        assert not (await client.call_tool("send_task", arguments)).is_error


async def test_a_process_that_was_started_to_send_unasked_does_and_no_other_with_it(tmp_path: Path) -> None:
    async with strangers(tmp_path, "auto", None) as (client, _, mallory):
        settings = Settings(home=tmp_path / "a", identity="alice", mdns=False, allow_strangers=True)
        request = SendTaskRequest(agent=await did_of(mallory), message="CANARY", wait_seconds=0)
        async with open_node(settings) as attached:
            assert not attached.owner
            assert (await attached.call(request)).agent.did == request.agent
        arguments = {"agent": request.agent, "message": "CANARY", "wait_seconds": 0}
        assert (await client.call_tool("send_task", arguments)).is_error


async def test_over_http_the_question_comes_where_it_can_and_else_the_command(tmp_path: Path, mode: str) -> None:
    person = Person(YES)
    async with (
        strangers(tmp_path, "auto", None) as (_, alice, mallory),
        anyio.create_task_group() as tasks,
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as connection,
    ):
        url = await tasks.start(partial(serve_http, build_server(alice), Listen("127.0.0.1", 0), token=TOKEN))
        transport = streamable_http_client(f"{url}/mcp", http_client=connection)
        async with Client(transport, mode=mode, elicitation_callback=person) as client:
            arguments = {"agent": "mallory", "message": "CANARY", "wait_seconds": 0}
            result = await client.call_tool("send_task", arguments)
        if mode == "auto":
            assert not result.is_error, text_of(result)
            assert len(person.asked) == await sent(alice) == 1
        else:  # without sessions there is no way back to the client
            assert text_of(result).endswith(f"mcp-a2a allow {await did_of(mallory)}")
            assert len(person.asked) == await sent(alice) == 0
        tasks.cancel_scope.cancel()


async def test_no_tool_takes_the_answer_as_an_argument(tmp_path: Path) -> None:
    async with assistant(tmp_path, "alice", "auto") as (client, _):
        tools = {tool.name: set(tool.input_schema["properties"]) for tool in (await client.list_tools()).tools}
    assert tools["send_task"] == {
        "agent", "message", "wait_seconds", "skill", "data", "files", "context_id", "idempotency_key",
    }  # fmt: skip
    assert not any({"consent", "sent", "decision", "allow_strangers"} & names for names in tools.values())
