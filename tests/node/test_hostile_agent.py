"""A trusted agent that keeps no rules: what it says about the tasks that it was given costs us no more than a bound."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_a2a.api.agents import SetTrustRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest, TaskView
from mcp_a2a.errors.agents import AmbiguousNameError, KeyChangedError
from mcp_a2a.ports import Link
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.control import Delivered, Refused
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import AgentCard, Artifact, ArtifactChunk, Part, TaskState, TaskStatus
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.payload import AdvertBody, NetworkBody, UpdateBody
from mcp_a2a.protocol.strict_json import to_base64url
from mcp_a2a.store.network_folder import NetworkFolder, NetworkRow
from tests.node.outsider import Outsider, letter, outsider
from tests.node.world import Person, World, acquainted

MALLORY = Identity(b"mallory".ljust(32, b"!")).peer_id
WORKING = TaskStatus(state=TaskState.WORKING)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def given_a_task(alice: Person, evil: Outsider) -> tuple[Link, TaskView]:
    """The agent is trusted, and has a task of Alice's."""
    link = await evil.dial(alice)
    await alice.api.call(SetTrustRequest(agent=evil.did, level="trusted"))
    sent = await alice.api.call(SendTaskRequest(agent=evil.did, message="Work", wait_seconds=0))
    await evil.until(lambda: evil.received_of("task"))
    return link, sent


def artifact(number: int, size: int = 3_000) -> Artifact:
    return Artifact(artifact_id=f"a{number}", parts=(Part(text="x" * size),))


def whole(number: int) -> UpdateBody:
    return UpdateBody(status=WORKING, artifacts=(artifact(number),))


def chunk(number: int) -> UpdateBody:
    piece = ArtifactChunk(artifact=artifact(0), append=number > 1)
    return UpdateBody(status=WORKING, chunks=(piece,), streamed=number)


def many(number: int) -> UpdateBody:
    """Little text and a lot around it."""
    parts = tuple(Part(data={"k": n}) for n in range(150))
    return UpdateBody(status=WORKING, artifacts=(Artifact(artifact_id=f"a{number}", parts=parts),))


IN_ORDER, LATE = tuple(range(1, 9)), (1,) * 8


@pytest.mark.parametrize(
    ("body_of", "seqs"),
    [(whole, IN_ORDER), (chunk, IN_ORDER), (chunk, LATE), (many, IN_ORDER)],
    ids=["whole", "chunks", "late chunks", "little text"],
)
async def test_a_result_that_never_ends_ends_its_task_with_what_there_was(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    body_of: Callable[[int], UpdateBody],
    seqs: tuple[int, ...],
) -> None:
    monkeypatch.setattr("mcp_a2a.protocol.task.updates.MAX_RESULT", 10_000)
    async with world.person("alice") as alice, outsider(world.network, "evil") as evil:
        link, sent = await given_a_task(alice, evil)
        me, view = alice.node.context.me, sent
        for number, seq in enumerate(seqs, 1):
            update = letter("update", evil.peer_id, me, body_of(number), task=sent.task_id, seq=seq)
            answer = await evil.send(link, update)
            assert isinstance(answer, Delivered)  # so that it need not say it again
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=0))
        assert view.state == Moment.FAILED
        assert view.error is not None
        assert (view.error.code, "as its result" in view.error.message) == ("result_too_large", True)
        assert view.text or view.artifacts
        assert len(view.model_dump_json(exclude_none=True)) < 20_000
        await evil.until(lambda: evil.received_of("cancel"))  # an honest one stops then


# --- names ----------------------------------------------------------------------------------------


async def calls_itself(evil: Outsider, alice: Person, link: Link, name: str, seq: int) -> None:
    card = AgentCard(name=name, description="")
    advert = Advert.sign(evil.identity, card, evil.ring.current, (), seq=seq, expires=time.time() + 3600)
    body = AdvertBody(advert=advert.to_text())
    await evil.send(link, letter("advert", evil.peer_id, alice.node.context.me, body))


@pytest.mark.parametrize("name", ["bob", "BOB", "b\u043eb"], ids=ascii)
async def test_a_trusted_agent_does_not_get_what_is_meant_for_another_by_taking_its_name(
    world: World, name: str
) -> None:
    """Bob is not there, so he cannot be taken for one of two."""
    async with outsider(world.network, "evil") as evil:
        async with world.person("alice") as alice:
            async with world.person("bob") as bob:
                await acquainted(alice, bob)
                await alice.api.call(SetTrustRequest(agent=bob.did, level="trusted"))
            link = await evil.dial(alice)
            await calls_itself(evil, alice, link, "eve", 1)
            await alice.api.call(SetTrustRequest(agent=evil.did, level="trusted"))
            await calls_itself(evil, alice, link, name, 2)
            for asked in ("bob", name):
                with pytest.raises((KeyChangedError, AmbiguousNameError)):
                    await alice.api.call(SendTaskRequest(agent=asked, message="for Bob", wait_seconds=0))
        async with world.person("alice") as alice:  # and after a restart
            await evil.dial(alice)
            with pytest.raises(KeyChangedError):
                await alice.api.call(SendTaskRequest(agent="bob", message="for Bob", wait_seconds=0))
            assert not evil.received_of("task")
            await alice.api.call(SetTrustRequest(agent=evil.did, level="trusted"))  # as the error says
            sent = await alice.api.call(SendTaskRequest(agent=name, message="for Eve", wait_seconds=0))
            assert sent.agent.did == evil.did


async def test_a_trusted_agent_may_take_a_name_that_no_other_has(world: World) -> None:
    async with world.person("alice") as alice, outsider(world.network, "evil") as evil:
        link = await evil.dial(alice)
        await calls_itself(evil, alice, link, "eve", 1)
        await alice.api.call(SetTrustRequest(agent=evil.did, level="trusted"))
        await calls_itself(evil, alice, link, "carol", 2)
        sent = await alice.api.call(SendTaskRequest(agent="carol", message="hi", wait_seconds=0))
        assert sent.agent.did == evil.did


# --- the owner of a network -----------------------------------------------------------------------

OLD = f"ws://relay.example:6060/#{MALLORY}"
ODD = [
    "127.0.0.1:6379", "[::1]:6379", "localhost:6379", "x.localhost:6379", "0.0.0.0:6379", "127.1.2.3:80",
    "169.254.169.254:80", "[64:ff9b::a9fe:a9fe]:80", "[64:ff9b::7f00:1]:6379", "[2002:7f00:1::1]:6379",
]  # fmt: skip


@asynccontextmanager
async def member_of(world: World, owner: str) -> AsyncIterator[Person]:
    """Alice, who has joined a network of that owner."""
    home = world.folder / "alice"
    home.mkdir()
    secret = b"s" * 32
    NetworkFolder(home).save(NetworkRow(str(Network(secret).id), "shop", secret.hex(), owner, (OLD,), 1.0))
    async with world.person("alice") as alice:
        yield alice


async def rotated(evil: Outsider, alice: Person, *relays: str) -> NetworkRow:
    """What Alice has after a rotation by its owner."""
    link = await evil.dial(alice)
    body = NetworkBody(previous=Network(b"s" * 32).id, secret=to_base64url(b"n" * 32), relays=relays)
    await evil.send(link, letter("network", evil.peer_id, alice.node.context.me, body))
    assert evil.links == [link]
    (row,) = alice.node.networks.folder.rows()
    return row


@pytest.mark.parametrize("place", [*ODD, "relay.example:7070"])
async def test_a_rotated_network_does_not_make_this_machine_call_itself(world: World, place: str) -> None:
    """The ticket was looked at when it was used; no one reads what the owner says afterwards."""
    async with outsider(world.network, "evil") as evil, member_of(world, evil.did) as alice:
        new = f"ws://{place}/#{MALLORY}"
        row = await rotated(evil, alice, OLD, new)
        assert row.id == str(Network(b"n" * 32).id)
        assert row.relays == ((OLD,) if place in ODD else (OLD, new))


@pytest.mark.parametrize("relay", ["nonsense", "ws://x:99999/", "http://\u202e/", "ws://[::1/", ""], ids=ascii)
async def test_a_rotation_with_what_is_no_relay_is_refused_and_ends_nothing_else(world: World, relay: str) -> None:
    async with outsider(world.network, "evil") as evil, member_of(world, evil.did) as alice:
        assert (await rotated(evil, alice, OLD, relay)).id == str(Network(b"s" * 32).id)


async def test_a_message_that_meets_a_bug_of_ours_ends_no_link(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept by a relay, it would end each link that comes."""
    async with world.person("alice") as alice, outsider(world.network, "evil") as evil:
        link, sent = await given_a_task(alice, evil)

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(alice.node.intake, "on_network", fail)
        body = NetworkBody(previous=Network(b"s" * 32).id, secret=to_base64url(b"n" * 32))
        answer = await evil.send(link, letter("network", evil.peer_id, alice.node.context.me, body))
        assert isinstance(answer, Refused)
        assert (answer.code, bool(answer.retry_after)) == ("busy", True)
        update = letter("update", evil.peer_id, alice.node.context.me, whole(1), task=sent.task_id, seq=1)
        assert isinstance(await evil.send(link, update), Delivered)
