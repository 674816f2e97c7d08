"""A key that two machines have, both behind a relay: both are told, and nobody whose connection was only renewed."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.agents import GetAgentRequest
from mcp_a2a.protocol.control import Doubled, Ping
from mcp_a2a.relaying import ServingRelay
from mcp_a2a_transports.relay import server_doubles
from tests.files.scenes import until
from tests.node.world import World
from tests.relay.guest import Door
from tests.relay.test_keys import meet


@pytest.fixture(autouse=True)
def _soon_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_doubles, "SURE_SECONDS", 0.0)


async def test_two_living_connections_of_one_key_are_told_of_each_other(door: Door) -> None:
    older = await door.enter()
    newer, other = await door.enter(older.who), await door.enter()
    for guest in (older, newer, other):
        await guest.send(Ping(1))
    (from_newer,), (from_older,) = (await older.next(Doubled)).names, (await newer.next(Doubled)).names
    assert from_newer != from_older
    assert not [frame for frame in other.kept if isinstance(frame, Doubled)]


async def test_a_connection_that_says_nothing_any_more_is_no_other_machine(open_relay, tmp_path: Path) -> None:
    async with open_relay() as (relay, door):
        silent = await door.enter()
        newer = await door.enter(silent.who)
        await newer.send(Ping(1))
        for _ in range(3):
            relay.listener.service.tick(anyio.current_time())
        await newer.send(Ping(2))
        assert not [frame for frame in [*newer.kept, *silent.kept] if isinstance(frame, Doubled)]
        await silent.send(Ping(1))
        await newer.next(Doubled)


async def test_two_machines_with_one_key_learn_of_each_other_behind_a_relay_and_a_restart_is_no_second_machine(
    tmp_path: Path, relay: ServingRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.protocol.heartbeat.PING_SECONDS", 0.2)
    world = World(tmp_path)
    await meet(world, relay)
    shutil.copytree(world.folder / "bob", world.folder / "copy" / "bob")
    copy = World(world.folder / "copy", network=world.network, clock=world.clock, own=world.own)
    async with world.person("bob"):
        pass
    async with world.person("bob") as one:
        key = one.node.context.me.key
        await until(lambda: relay.listener.service.connections.is_online(key))
        async with copy.person("bob", transport=world.network.transport("elsewhere")) as two:
            assert one.node.duplicate_keys.noticed_at is None
            await until(lambda: None not in (one.node.duplicate_keys.noticed_at, two.node.duplicate_keys.noticed_at))
            for twin in (one, two):
                status = (await twin.api.call(GetAgentRequest(agent="self"))).node
                assert status is not None
                assert status.runs_twice is not None


async def test_one_node_that_reaches_a_relay_under_two_names_is_not_two(
    tmp_path: Path, relay: ServingRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.protocol.heartbeat.PING_SECONDS", 0.2)
    world = World(tmp_path)
    await meet(world, relay)
    async with world.person("bob") as bob:
        key = bob.node.context.me.key
        await until(lambda: relay.listener.service.connections.is_online(key))
        async with bob.node.networks.relays._visit(relay.url, ()):  # type: ignore[attr-defined]
            await until(lambda: len(relay.listener.service.connections.wires_of(key)) == 2)
            await until(lambda: not relay.listener.service._doubles._keys)
            await bob.node.networks.relays.find(relay.url, bob.node.context.me)  # behind what it was told
        assert bob.node.duplicate_keys.noticed_at is None
