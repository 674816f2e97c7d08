"""Links to a peer that has moved: given up as soon as they are known to be dead, and never on a word about them."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.diagnostics import NetcheckRequest
from mcp_a2a.api.networks import InviteRequest
from mcp_a2a.node.address_change import MOVED_SECONDS
from mcp_a2a.node.node import Node
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.ports import Sighting
from mcp_a2a.protocol.heartbeat import DEAD_SECONDS
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a.protocol.ticket import Ticket
from mcp_a2a_transports._drive import DrivenLink
from tests.files.scenes import until
from tests.node.outsider import outsider
from tests.node.world import Person, World

ELSEWHERE = DirectAddr("192.168.1.9", 7301)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[DrivenLink, float]]:
    """The links that were asked for a sign of life, and how long they have for it."""
    asked: list[tuple[DrivenLink, float]] = []
    probe = DrivenLink.probe

    def note(link: DrivenLink, seconds: float) -> None:
        asked.append((link, seconds))
        probe(link, seconds)

    monkeypatch.setattr(DrivenLink, "probe", note)
    return asked


def say(alice: Person, bob: Person, *addresses: DirectAddr) -> Peer:
    """A record on the network of Alice says that Bob is there."""
    alice.node.sighted(Sighting(bob.node.context.me, addresses or tuple(bob.addresses), "mdns"))
    return alice.node.directory.get(bob.node.context.me)


async def test_a_silent_link_is_given_up_soon_once_a_record_names_another_address(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        peer = say(alice, bob)
        await until(lambda: any(link.route == "lan" and link.rtt_seconds is not None for link in peer.links))
        world.network.cut("alice", "bob", silently=True)
        begun = anyio.current_time()
        say(alice, bob, ELSEWHERE)
        await until(lambda: not peer.links)
        assert anyio.current_time() - begun < DEAD_SECONDS / 2


async def test_a_liar_that_names_another_address_costs_a_link_nothing_but_a_sign_of_life(
    world: World, asked: list[tuple[DrivenLink, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.address_change.MOVED_SECONDS", 0.3)
    async with world.person("alice") as alice, world.person("bob") as bob:
        peer = say(alice, bob)
        await until(lambda: any(link.route == "lan" and link.rtt_seconds is not None for link in peer.links))
        (link,) = [one for one in peer.links if one.route == "lan"]
        asked.clear()
        say(alice, bob)
        assert asked == []
        say(alice, bob, ELSEWHERE)
        assert [seconds for one, seconds in asked if one is link] == [0.3]
        await anyio.sleep(1)
        assert link in peer.links


async def test_a_peer_that_comes_anew_has_its_older_links_looked_at(
    world: World, asked: list[tuple[DrivenLink, float]]
) -> None:
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        await bob.dial(alice)
        peer = alice.node.directory.get(bob.peer_id)
        await until(lambda: len(peer.links) == 1)
        older = peer.links[0]
        asked.clear()
        await bob.dial(alice)
        await until(lambda: len(peer.links) == 2)
        assert [(one, seconds) for one, seconds in asked if one is older] == [(older, MOVED_SECONDS)]


async def test_a_crowd_of_strangers_keeps_neither_a_peer_from_moving_nor_a_contact_from_being_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.node.MAX_SIGHTED", 2)

    def see(node: Node, name: str, provenance: str = "mdns", address: DirectAddr = ELSEWHERE) -> bool:
        peer = world.identity(name).peer_id
        node.sighted(Sighting(peer, (address,), provenance))
        known = node.directory.known(peer)
        return (
            known is not None and provenance in known.sightings and known.sightings[provenance].addresses == (address,)
        )

    async with world.person("alice") as alice:
        node = alice.node
        for member in ("one", "two", "three"):  # of a network, seen by its relay: they are not near
            node.directory.sighted(Sighting(world.identity(member).peer_id, (ELSEWHERE,), "relay wss://r.example"))
        assert see(node, "bob")
        assert see(node, "eve")
        assert not see(node, "eve again")
        assert see(node, "bob", address=DirectAddr("192.168.1.10", 7301))
        node.directory.get(world.identity("carol").peer_id).row.trust = "trusted"
        assert see(node, "carol")


async def test_a_machine_that_has_slept_tries_its_links_and_looks_round(
    world: World, asked: list[tuple[DrivenLink, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.clock_watch.CLOCK_SECONDS", 0.01)
    async with world.person("alice") as alice, world.person("bob") as bob:
        looks: list[float] = []
        monkeypatch.setattr(alice.node.lookups, "look_now", lambda: looks.append(anyio.current_time()))
        peer = say(alice, bob)
        await until(lambda: any(link.rtt_seconds is not None for link in peer.links))
        asked.clear()
        world.clock.jump(40.0)  # the clock is set: this machine has not slept
        await anyio.sleep(0.1)
        assert (asked, looks) == ([], [])
        world.clock.advance(600.0)
        await until(lambda: bool(looks))
        assert {one for one, seconds in asked if seconds == MOVED_SECONDS} >= set(peer.links)


async def test_an_address_with_a_zone_is_told_to_no_other_machine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.address_change.ADDRESS_SECONDS", 0.01)
    world.places = [DirectAddr("192.168.1.5", 7301), DirectAddr("fd77::5", 7301), DirectAddr("fe80::5%v0", 7301)]
    async with world.person("alice") as alice:
        told = ("192.168.1.5:7301", "[fd77::5]:7301")
        await until(lambda: alice.node.own_advert.addresses == told)
        invited = await alice.api.call(InviteRequest(network="shop"))
        assert Ticket.parse_untrusted(invited.ticket).addresses == told
        (addresses,) = [one for one in (await alice.api.call(NetcheckRequest())).checks if one.name == "addresses"]
        assert "[fe80::5%v0]:7301" in addresses.detail
