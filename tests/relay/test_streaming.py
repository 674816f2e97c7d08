"""What an agent writes piece by piece is told alike, whichever way it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_a2a.api.a2a import A2ASendRequest
from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.api.networks import InviteRequest, JoinRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest
from mcp_a2a.config import RelaySettings
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Part, StreamResponse
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.relaying import serve_relay
from tests.files.scenes import next_item, until
from tests.node.test_desk import events_of, listen, say, working
from tests.node.world import Person, World, acquainted
from tests.relay.scripted import ScriptedRelay
from tests.relay.test_paths import members


@asynccontextmanager
async def by_way_of(way: str, folder: Path) -> AsyncIterator[tuple[Person, str]]:
    """A node, and an agent that it reaches so."""
    world = World(folder)
    match way:
        case "relay":
            relay = ScriptedRelay()
            async with relay.serve(), members(world, relay) as (alice, bob), working(bob):
                yield alice, bob.did
            assert relay.seen  # it did go that way
        case "direct":
            world.make_own("alice", "bob")
            async with world.person("alice") as alice, world.person("bob") as bob, working(bob):
                await acquainted(alice, bob)
                yield alice, bob.did
        case _:
            async with world.person("alice") as alice, working(alice):
                yield alice, "self"


def told(events: list[StreamResponse]) -> list[object]:
    """The events without what differs from task to task."""
    plain: list[object] = []
    for event in events:
        if event.artifact_update is not None:
            update = event.artifact_update
            plain.append((update.artifact.parts, update.append, update.last_chunk))
        if event.status_update is not None:
            plain.append(event.status_update.status.state)
    return plain


async def test_a_stream_tells_the_same_on_every_path(tmp_path: Path) -> None:
    heard = {}
    for way in ("self", "direct", "relay"):
        folder = tmp_path / way
        folder.mkdir()
        async with by_way_of(way, folder) as desk:
            person, agent = desk
            sent = await person.api.call(A2ASendRequest(agent=agent, message=say("stream"), follow=True))
            heard[way] = told(events_of(await listen(desk, sent.task.id, sent.cursor)))
    assert len(heard["self"]) == 5
    assert heard["self"] == heard["direct"] == heard["relay"]


@pytest.mark.parametrize("way", ["direct", "relay"])
async def test_whoever_follows_later_gets_what_was_written_and_then_the_rest(tmp_path: Path, way: str) -> None:
    async with by_way_of(way, tmp_path) as desk:
        person, agent = desk
        sent = await person.api.call(A2ASendRequest(agent=agent, message=say("stream"), follow=True))
        await listen(desk, sent.task.id, sent.cursor)
        (late,) = await listen(desk, sent.task.id, None)
        assert late.task is not None
        assert late.task.artifacts[0].parts[0].text == "one two three"


async def test_a_stream_through_a_slow_relay_ends_when_it_ends_and_not_a_minute_later(tmp_path: Path) -> None:
    pieces = [f"{number} " for number in range(120)]
    world = World(tmp_path / "world")
    world.folder.mkdir()
    settings = RelaySettings(home=tmp_path, listen="127.0.0.1:0", closed=False, rate=120, burst=8)
    async with serve_relay(settings) as relay, world.person("alice") as alice, world.person("bob") as bob:
        ticket = (await alice.api.call(InviteRequest(network="shop", relays=(relay.url,)))).ticket
        await bob.api.call(JoinRequest(ticket=ticket))
        await until(lambda: any(peer.name == "bob" and peer.online for peer in alice.node.directory))
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="stream", wait_seconds=0))
        item = await next_item(bob)
        for number, piece in enumerate(pieces):
            chunk = ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(Part(text=piece),)), append=number > 0)
            await bob.api.call(AnswerRequest(task_id=item.task_id, status="working", chunks=(chunk,), streamed=number))
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", streamed=len(pieces)))
        # One by one, at two a second, they would take a minute.
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=15))
        assert (view.state, view.text) == (Moment.COMPLETED, "".join(pieces))
        assert relay.listener.facts().deposited < len(pieces) / 2
        await until(lambda: len(bob.node.outbox) == 0)
