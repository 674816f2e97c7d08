"""Nothing leaves for a stranger, and no file for anybody but the user's own agents, before a person has allowed it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mcp_a2a.a2a.client import WebClient
from mcp_a2a.api.a2a import A2ASendRequest
from mcp_a2a.api.agents import AddPeerRequest, ConsentRequest, GetAgentRequest, PeersRequest, SetTrustRequest
from mcp_a2a.api.files import FileArg
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import ListTasksRequest, ReplyRequest, SendTaskBySkillRequest, SendTaskRequest
from mcp_a2a.errors.agents import AmbiguousNameError, ConsentDeclinedError, ConsentNeededError, PeerNotFoundError
from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.node.peers.consent import DECLINED_SECONDS
from mcp_a2a.protocol.model import Delivery, Message, Part, Role
from mcp_a2a.protocol.web_url import shown_url
from mcp_a2a.web_ports import WebSighting
from tests.files.scenes import until
from tests.node.world import Person, World, acquainted, card_of
from tests.web.agents import Agent, shout


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def two(world: World, *skills: str, name: str = "mallory") -> AsyncIterator[tuple[Person, Person]]:
    """Alice, whose node asks, and somebody on her network."""
    async with world.person("alice", asks=True) as alice, world.person(name, *skills) as other:
        await acquainted(alice, other)
        yield alice, other


def text(agent: str, message: str = "CANARY", **more: object) -> SendTaskRequest:
    return SendTaskRequest.model_validate({"agent": agent, "message": message, "wait_seconds": 0, **more})


def by_skill(skill: str = "review", **more: object) -> SendTaskBySkillRequest:
    return SendTaskBySkillRequest.model_validate({"skill": skill, "message": "CANARY", "wait_seconds": 0, **more})


def a_file(folder: Path) -> tuple[FileArg, ...]:
    path = folder / "notes.txt"
    path.write_text("the notes")
    return (FileArg(path=str(path)),)


async def decides(person: Person, agent: str, answer: str = "allowed", *, files: bool = False) -> None:
    await person.api.call(ConsentRequest.model_validate({"agent": agent, "answer": answer, "files": files}))


async def got_nothing(person: Person) -> bool:
    inbox = await person.api.call(CheckInboxRequest())
    return not inbox.items and not inbox.held


async def sent_nothing(person: Person) -> bool:
    return not (await person.api.call(ListTasksRequest())).tasks


# --- by skill -------------------------------------------------------------------------------------


async def test_an_own_agent_that_is_away_gets_the_work_before_a_stranger_that_is_there(world: World) -> None:
    world.make_own("alice", "helper")
    async with world.person("alice", asks=True) as alice:
        async with world.person("helper", "review") as helper:
            await acquainted(alice, helper)
        async with world.person("mallory", "review") as mallory:
            await acquainted(alice, mallory)
            view = await alice.api.call(by_skill(wait_seconds=1))
            assert (view.agent.did, view.delivery) == (world.did("helper"), Delivery.QUEUED)
            assert "one of your own agents" in (view.chosen or "")
            assert "waits for it" in (view.chosen or "")
            assert await got_nothing(mallory)


@pytest.mark.parametrize("consent", ["typed", "waived"])
async def test_known_agents_come_first_whoever_answers_for_the_text(world: World, consent: str) -> None:
    world.make_own("alice", "helper")
    async with world.person("alice", asks=True) as alice:
        async with world.person("helper", "review") as helper:
            await acquainted(alice, helper)
        async with world.person("mallory", "review") as mallory:
            await acquainted(alice, mallory)
            view = await alice.api.call(by_skill(consent=consent))
            assert view.agent.did == world.did("helper")


async def test_where_only_a_stranger_has_the_skill_a_person_is_asked_about_its_key(world: World) -> None:
    async with two(world, "review") as (alice, mallory):
        with pytest.raises(ConsentNeededError) as asked:
            await alice.api.call(by_skill())
        assert asked.value.details["agent"] == mallory.did
        assert str(asked.value).endswith(f"mcp-a2a allow {mallory.did}")
        assert "mallory" not in str(asked.value), "a name is what the stranger chose"
        assert await sent_nothing(alice)
        await decides(alice, mallory.did)
        view = await alice.api.call(by_skill())
        assert view.agent.did == mallory.did
        assert "a stranger that you allowed" in (view.chosen or "")


async def test_a_stranger_that_was_declined_is_passed_over_for_the_next_and_not_asked_about_again(
    world: World,
) -> None:
    async with two(world, "review") as (alice, mallory), world.person("trent", "review") as trent:
        await acquainted(alice, trent)
        await decides(alice, mallory.did, "declined")
        with pytest.raises(ConsentNeededError) as asked:
            await alice.api.call(by_skill())
        assert asked.value.details["agent"] == trent.did
        await decides(alice, trent.did, "declined")
        with pytest.raises(ConsentDeclinedError):
            await alice.api.call(by_skill())
        assert await sent_nothing(alice)


async def test_a_file_goes_by_skill_to_an_agent_that_may_have_files_or_asks(world: World, tmp_path: Path) -> None:
    files = a_file(tmp_path)
    async with two(world, "review", name="bob") as (alice, bob):
        await alice.api.call(SetTrustRequest(agent=bob.did, level="trusted"))
        with pytest.raises(ConsentNeededError) as asked:
            await alice.api.call(by_skill(files=files))
        assert asked.value.details == {"agent": bob.did, "files": [["notes.txt", 9]]}
        assert (await alice.api.call(by_skill())).agent.did == bob.did
        await decides(alice, bob.did, files=True)
        assert (await alice.api.call(by_skill(files=files))).agent.did == bob.did


# --- to one agent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["name", "did"])
async def test_the_first_text_to_a_stranger_waits_for_a_person_and_later_ones_do_not(world: World, named: str) -> None:
    async with two(world) as (alice, mallory):
        agent = "mallory" if named == "name" else mallory.did
        with pytest.raises(ConsentNeededError):
            await alice.api.call(text(agent))
        assert await sent_nothing(alice)
        assert await got_nothing(mallory)
        await decides(alice, mallory.did)
        first = await alice.api.call(text(agent))
        await alice.api.call(ReplyRequest(task_id=first.task_id, message="more", wait_seconds=0))
        await alice.api.call(text(agent, context_id=first.context_id))


async def test_an_answer_about_one_key_says_nothing_of_another_one_with_its_name(world: World) -> None:
    async with two(world, name="bob") as (alice, bob), world.person("impostor", card=card_of("bob")) as impostor:
        await decides(alice, bob.did)
        await acquainted(alice, impostor)
        with pytest.raises(AmbiguousNameError):
            await alice.api.call(text("bob"))
        with pytest.raises(ConsentNeededError):
            await alice.api.call(text(impostor.did))
        with pytest.raises(PeerNotFoundError):
            await decides(alice, "bob")
        assert await got_nothing(impostor)


async def test_who_may_be_sent_to_may_not_send_for_that(world: World) -> None:
    async with two(world) as (alice, mallory):
        await decides(alice, mallory.did, files=True)
        theirs = await mallory.api.call(text(alice.did, wait_seconds=30))
        assert theirs.delivery == Delivery.HELD
        known = {agent.did: agent.trust for agent in (await alice.api.call(PeersRequest())).peers}
        assert known[mallory.did] == "stranger"


async def test_text_to_own_trusted_and_added_agents_asks_nothing(world: World) -> None:
    world.make_own("alice", "helper")
    async with two(world, name="helper") as (alice, helper), world.person("bob") as bob, world.person("carol") as carol:
        await alice.api.call(SetTrustRequest(agent=bob.did, level="trusted"))
        await alice.api.call(AddPeerRequest(address="carol.memory:7301"))
        for agent in (helper, bob, carol):
            assert (await alice.api.call(text(agent.did))).agent.did == agent.did


async def test_an_agent_that_could_not_be_added_is_the_stranger_that_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StorageFullError("/data")

    async with two(world) as (alice, mallory):
        with monkeypatch.context() as patch, pytest.raises(StorageFullError):
            patch.setattr(alice.node.context.database, "write", full)
            await alice.api.call(AddPeerRequest(address="mallory.memory:7301"))
        with pytest.raises(ConsentNeededError):
            await alice.api.call(text(mallory.did))


async def test_a_file_asks_once_per_agent_but_never_for_an_own_one(world: World, tmp_path: Path) -> None:
    world.make_own("alice", "helper")
    files = a_file(tmp_path)
    async with two(world, name="helper") as (alice, helper), world.person("bob") as bob:
        await alice.api.call(SetTrustRequest(agent=bob.did, level="trusted"))
        await alice.api.call(text(helper.did, files=files))
        with pytest.raises(ConsentNeededError, match="files may not be sent"):
            await alice.api.call(text(bob.did, files=files))
        await decides(alice, bob.did, files=True)
        for _ in range(2):
            await alice.api.call(text(bob.did, files=files))


async def test_a_yes_to_a_text_is_none_to_a_file_and_a_no_to_a_file_is_none_to_texts(
    world: World, tmp_path: Path
) -> None:
    files = a_file(tmp_path)
    async with two(world) as (alice, mallory):
        await decides(alice, mallory.did)
        with pytest.raises(ConsentNeededError):
            await alice.api.call(text(mallory.did, files=files))
        await decides(alice, mallory.did, "declined", files=True)
        with pytest.raises(ConsentDeclinedError):
            await alice.api.call(text(mallory.did, files=files))
        assert (await alice.api.call(text(mallory.did))).agent.did == mallory.did


async def test_nobody_is_asked_about_a_file_that_cannot_be_attached(world: World, tmp_path: Path) -> None:
    async with two(world) as (alice, mallory):
        (tmp_path / "log").write_bytes(b"x" * 3_000_000 + b"-----BEGIN PRIVATE KEY-----\n")
        for name in ("missing", "log"):
            with pytest.raises(FileError):
                await alice.api.call(text(mallory.did, files=(FileArg(path=str(tmp_path / name)),)))


async def test_a_file_with_an_answer_asks_like_any_other(world: World, tmp_path: Path) -> None:
    async with two(world, name="bob") as (alice, bob):
        await alice.api.call(SetTrustRequest(agent=bob.did, level="trusted"))
        await bob.api.call(text(alice.did))
        (item,) = (await alice.api.call(CheckInboxRequest(wait_seconds=30))).items
        given = AnswerRequest(task_id=item.task_id, status="completed", text="here", files=a_file(tmp_path))
        with pytest.raises(ConsentNeededError):
            await alice.api.call(given)
        await decides(alice, bob.did, files=True)
        assert (await alice.api.call(given)).done


async def test_what_was_typed_and_what_a_process_may_send_asks_nothing(world: World, tmp_path: Path) -> None:
    async with two(world) as (alice, mallory):
        for consent in ("typed", "waived"):
            view = await alice.api.call(text(mallory.did, consent=consent, files=a_file(tmp_path)))
            assert view.agent.did == mallory.did
        with pytest.raises(ConsentNeededError):
            await alice.api.call(text(mallory.did))


# --- how long it holds ----------------------------------------------------------------------------


async def test_a_yes_outlives_the_process_and_a_no_lasts_a_day(world: World) -> None:
    async with two(world) as (alice, mallory), world.person("trent") as trent:
        await acquainted(alice, trent)
        await decides(alice, mallory.did)
        await decides(alice, trent.did, "declined")
    async with two(world) as (alice, mallory):
        assert (await alice.api.call(text(mallory.did))).agent.did == mallory.did
        with pytest.raises(ConsentDeclinedError):
            await alice.api.call(text(world.did("trent")))
        world.clock.advance(DECLINED_SECONDS + 1)
        with pytest.raises(ConsentNeededError):
            await alice.api.call(text(world.did("trent")))


async def test_a_no_that_was_given_while_the_clock_was_far_ahead_does_not_last_until_that_day(world: World) -> None:
    async with two(world) as (alice, mallory):
        world.clock.jump(400 * DECLINED_SECONDS)
        await decides(alice, mallory.did, "declined")
        with pytest.raises(ConsentDeclinedError):
            await alice.api.call(text(mallory.did))
        world.clock.jump(-400 * DECLINED_SECONDS)
        with pytest.raises(ConsentNeededError):
            await alice.api.call(text(mallory.did))


async def test_a_call_that_is_made_again_is_the_task_that_it_was_and_asks_nothing(world: World) -> None:
    async with two(world) as (alice, mallory):
        await decides(alice, mallory.did)
        keyed = text(mallory.did, idempotency_key="one")
        first = await alice.api.call(keyed)
        await decides(alice, mallory.did, "forgotten")
        assert (await alice.api.call(keyed)).task_id == first.task_id
        with pytest.raises(ConsentNeededError):
            await alice.api.call(ReplyRequest(task_id=first.task_id, message="more", wait_seconds=0))


@pytest.mark.parametrize("level", ["blocked", "stranger"])
async def test_blocking_or_distrusting_takes_every_yes_back(world: World, tmp_path: Path, level: str) -> None:
    async with two(world) as (alice, mallory):
        await decides(alice, mallory.did, files=True)
        await alice.api.call(SetTrustRequest.model_validate({"agent": mallory.did, "level": level}))
        with pytest.raises(ConsentNeededError):
            await alice.api.call(text(mallory.did))
        with pytest.raises(ConsentNeededError):
            await alice.api.call(text(mallory.did, files=a_file(tmp_path)))


async def test_the_beginning_of_a_did_names_it_if_it_is_long_enough_and_one_agents(world: World) -> None:
    async with two(world) as (alice, mallory):
        view = await alice.api.call(ConsentRequest(agent=mallory.did[:30], answer="allowed"))
        assert (view.agent.did, view.text, view.files) == (mallory.did, True, False)
        for short in (mallory.did[:14], "did:key:z6Mk"):
            with pytest.raises(PeerNotFoundError):
                await alice.api.call(ConsentRequest(agent=short, answer="allowed"))


# --- A2A clients ----------------------------------------------------------------------------------


def message(*parts: Part) -> Message:
    return Message(message_id="m", role=Role.USER, parts=parts)


async def test_a_client_of_our_a2a_server_reaches_a_stranger_by_the_same_rule(world: World) -> None:
    raw = Part(raw=base64.b64encode(b"content").decode(), filename="a.txt")
    async with two(world) as (alice, mallory):
        for caller in ("", "build"):
            asking = A2ASendRequest(agent=mallory.did, caller=caller, message=message(Part(text="CANARY")))
            with pytest.raises(ConsentNeededError):
                await alice.api.call(asking)
        assert await got_nothing(mallory)
        await decides(alice, mallory.did)
        task = (await alice.api.call(asking)).task
        with pytest.raises(ConsentNeededError):
            await alice.api.call(A2ASendRequest(agent=mallory.did, message=message(raw)))
        more = message(raw).model_copy(update={"task_id": task.id, "message_id": "n"})
        with pytest.raises(ConsentNeededError):
            await alice.api.call(A2ASendRequest(agent=mallory.did, caller="build", message=more))


# --- agents at URLs -------------------------------------------------------------------------------


async def test_a_url_that_was_never_met_is_not_even_read_before_a_person_allows_it(world: World) -> None:
    async with (
        Agent(shout).serve() as agent,
        WebClient(idle_seconds=2) as client,
        world.person("alice", web=client, asks=True) as alice,
    ):
        url = f"{agent.url}?stolen=CANARY"
        with pytest.raises(ConsentNeededError):
            await alice.api.call(GetAgentRequest(agent=url))
        with pytest.raises(ConsentNeededError) as asked:
            await alice.api.call(text(url))
        assert asked.value.hint.endswith(f"mcp-a2a allow '{shown_url(url)}'")
        assert "CANARY" not in str(asked.value)
        assert agent.cards_read == 0
        view = await alice.api.call(ConsentRequest(agent=shown_url(url)))
        assert (view.agent.did, view.text) == (url, False)
        await alice.api.call(AddPeerRequest(address=agent.url))
        view = await alice.api.call(text(agent.url, "hello", wait_seconds=30))
        assert view.text == "HELLO"


async def test_an_agent_that_announces_itself_is_allowed_by_a_handle_without_its_words(world: World) -> None:
    async with (
        Agent(shout).serve() as agent,
        WebClient(idle_seconds=2) as client,
        world.person("alice", web=client, asks=True) as alice,
    ):
        await seen(alice, agent)
        with pytest.raises(ConsentNeededError) as asked:
            await alice.api.call(text(agent.url))
        assert asked.value.hint.endswith(f"mcp-a2a allow {shown_url(agent.url)}")
        assert [heard.operation for heard in agent.heard] == []
        view = await alice.api.call(ConsentRequest(agent=shown_url(agent.url), answer="allowed"))
        assert (view.agent.did, view.text, view.files) == (agent.url, True, False)
        assert (await alice.api.call(text(agent.url, "hello", wait_seconds=30))).text == "HELLO"
        with pytest.raises(PeerNotFoundError):
            await decides(alice, shown_url(f"{agent.url}another"))


async def test_a_stranger_at_a_url_gets_no_work_by_skill_unasked(world: World) -> None:
    async with (
        Agent(shout).serve() as agent,
        WebClient(idle_seconds=2) as client,
        world.person("alice", web=client, asks=True) as alice,
    ):
        await seen(alice, agent)
        skill = next(iter(alice.node.web)).skills[0].id
        with pytest.raises(ConsentNeededError):
            await alice.api.call(by_skill(skill))
        assert agent.heard == []
        await decides(alice, agent.url)
        assert (await alice.api.call(by_skill(skill, wait_seconds=30))).agent.did == agent.url


async def seen(person: Person, agent: Agent) -> None:
    """The agent announces itself on the LAN."""
    port = urlsplit(agent.url).port or 0
    person.node.web.sighted(WebSighting("it", "127.0.0.1", port, "/.well-known/agent-card.json", tls=False))
    await until(lambda: person.node.web.known(agent.url) is not None)
