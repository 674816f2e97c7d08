"""Of several direct links of one peer, all are asked for a sign of life when one of them does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.node.lane import PROBE_AFTER_SECONDS, Entry, Lane
from mcp_a2a.protocol.receipt import POSTMARK_SIZE
from mcp_a2a.store.journal import OutboxRow
from tests.files.scenes import until
from tests.node.outsider import outsider
from tests.node.world import World

NOW = 1_000.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def under_way(number: int, sent_at: float, link: object) -> Entry:
    row = OutboxRow(number, str(number), "did", "task", 0, "update", b"", 0.0, 1.0)
    return Entry(row, postmark=bytes(POSTMARK_SIZE), link=link, sent_at=sent_at)  # type: ignore[arg-type]


async def test_all_direct_links_are_asked_when_one_is_silent_and_each_once_in_a_while(world: World) -> None:
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        for _ in range(3):
            await bob.dial(alice)
        peer = alice.node.directory.get(bob.peer_id)
        await until(lambda: len(peer.links) == 3)
        lane = Lane(peer)
        lane.entries["1"] = under_way(1, NOW, peer.links[1])
        assert lane.silent(NOW + PROBE_AFTER_SECONDS - 0.1) == set()
        assert lane.silent(NOW + PROBE_AFTER_SECONDS) == set(peer.links)
        assert lane.silent(NOW + PROBE_AFTER_SECONDS + 0.1) == set(), "they have been asked"
        assert lane.silent(NOW + 2 * PROBE_AFTER_SECONDS) == set(peer.links)
        lane.entries["1"].link = lane.entries["1"].postmark = None
        assert lane.silent(NOW + 100) == set(), "nothing is under way"


async def test_no_message_waits_for_one_silent_link_after_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.lane.PROBE_AFTER_SECONDS", 0.1)
    monkeypatch.setattr("mcp_a2a.node.delivery.outbox.PROBE_SECONDS", 0.3)
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
