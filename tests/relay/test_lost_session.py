"""A session with a relay that ends while other ways to the same agent are still being tried."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from typing_extensions import override

from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.protocol.envelope import Header
from mcp_a2a.protocol.paths import DirectAddr
from tests.node.world import World
from tests.relay.scripted import Caller, ScriptedRelay
from tests.relay.test_hostile import pair, send
from tests.transports.memory import DOMAIN, PORT


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    return world


class Fickle(ScriptedRelay):
    """Hangs up on the first message to an agent, once there is one to hang up on."""

    agent = ""
    hung_up = 0

    @override
    async def deposit(self, caller: Caller, envelope: bytes, envelope_id: bytes) -> None:
        if str(Header.parse_untrusted(envelope).to) == self.agent:
            self.agent = ""
            self.hung_up += 1
            await caller.socket.close()
            return
        await super().deposit(caller, envelope, envelope_id)


async def test_a_task_goes_when_the_relay_is_back_though_a_direct_attempt_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a_transports._links.DIAL_SECONDS", 1.0)
    relay = Fickle()
    async with pair(world, relay) as (alice, bob):
        peer = next(one for one in alice.node.directory if one.row.did == bob.did)
        for link in tuple(peer.links):
            link.close("a test begins")
        world.network.cut("alice", "bob", silently=True)
        peer.sightings = {name: seen for name, seen in peer.sightings.items() if name.startswith("relay ")}
        peer.row.addresses = (str(DirectAddr("bob" + DOMAIN, PORT)),)
        relay.agent = bob.did
        sent = await send(alice)
        with anyio.fail_after(30):
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert relay.hung_up == 1
        assert [item.task_id for item in inbox.items] == [sent.task_id]
