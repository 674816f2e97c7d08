"""Of several direct links of one peer, all are asked for a sign of life when one of them does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_a2a.api.tasks import SendTaskRequest
from tests.files.scenes import until
from tests.node.outsider import outsider
from tests.node.patience import set_patience
from tests.node.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_no_message_waits_for_one_silent_link_after_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_patience(monkeypatch, probe=0.1)
    monkeypatch.setattr("mcp_a2a.protocol.heartbeat.PROBE_SECONDS", 0.3)
    monkeypatch.setattr("mcp_a2a.protocol.heartbeat.QUIET_SECONDS", 0.0)
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        for _ in range(3):
            await bob.dial(alice)
        peer = alice.node.directory.get(bob.peer_id)
        await until(lambda: len(peer.links) == 3 and all(link.rtt_seconds is not None for link in peer.links))
        world.network.cut("alice", "bob", silently=True)
        await alice.api.call(SendTaskRequest(agent=bob.did, message="x", wait_seconds=0))
        await until(lambda: not peer.links)
        world.network.heal()
        await bob.dial(alice)
        await bob.until(lambda: len(bob.received_of("task")) == 1)
