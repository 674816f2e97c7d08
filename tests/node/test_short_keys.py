"""The beginning of a key names its agent to every tool, and nobody else by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_a2a.api.agents import ConsentRequest, GetAgentRequest, SetTrustRequest
from mcp_a2a.api.diagnostics import PingRequest
from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.errors.agents import AmbiguousNameError, PeerNotFoundError
from mcp_a2a.errors.tasks import SelfSendError
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.naming import SHORT_KEY, key_beginning, short_key
from mcp_a2a.store.journal import PeerRow
from tests.node.world import World, acquainted


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    return world


async def test_every_question_takes_the_short_form(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        short = short_key(bob.did)
        assert len(short) == SHORT_KEY
        for asked in (short, f" {short} ", f"did:key:{short}", bob.did.removeprefix("did:key:"), bob.did):
            assert (await alice.api.call(GetAgentRequest(agent=asked))).agent.did == bob.did
            request = SendTaskRequest(agent=asked, message="hi", wait_seconds=0)
            assert (await alice.api.call(request)).agent.did == bob.did
            assert (await alice.api.call(PingRequest(agent=asked))).agent.did == bob.did
            assert (await alice.api.call(ConsentRequest(agent=asked))).agent.did == bob.did
            assert (await alice.api.call(SetTrustRequest(agent=asked, level="trusted"))).agent.did == bob.did
        with pytest.raises(SelfSendError):
            await alice.api.call(SendTaskRequest(agent=short_key(alice.did), message="hi"))


async def test_fewer_letters_name_nobody_since_a_key_can_be_made_to_begin_so(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        for asked in (short_key(bob.did)[:-1], f"did:key:{short_key(bob.did)[:-1]}"):
            assert key_beginning(asked) == ""
            with pytest.raises(PeerNotFoundError):
                await alice.api.call(SendTaskRequest(agent=asked, message="hi"))


async def test_two_keys_that_begin_alike_are_never_taken_for_each_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        twin = f"{bob.did[: len('did:key:') + SHORT_KEY]}{'1' * 32}"
        # No such key can be made in this world's time: it is put where one would be.
        directory = alice.node.directory
        peer = Peer(PeerId(b"\1" * 32), PeerRow(twin, "twin"))
        monkeypatch.setitem(directory._peers, peer.peer_id, peer)
        with pytest.raises(AmbiguousNameError) as caught:
            await alice.api.call(SendTaskRequest(agent=short_key(bob.did), message="hi"))
        assert bob.did in str(caught.value)
        assert twin in str(caught.value)
        with pytest.raises(PeerNotFoundError):
            await alice.api.call(ConsentRequest(agent=short_key(bob.did)))
        assert (await alice.api.call(GetAgentRequest(agent=bob.did))).agent.did == bob.did


async def test_a_name_that_looks_like_a_key_is_never_meant_by_it(world: World, tmp_path: Path) -> None:
    bobs = short_key(world.did("bob"))
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        directory = alice.node.directory
        for known in list(directory):
            known.row.name = bobs if known.row.did == bob.did else known.row.name
        stranger = directory.get(PeerId.parse_untrusted("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"))
        stranger.row.name = short_key(bob.did)
        assert (await alice.api.call(GetAgentRequest(agent=short_key(bob.did)))).agent.did == bob.did
