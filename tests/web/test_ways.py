"""One agent for each key: a URL whose card a key has signed for that very place is a further way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_a2a.a2a.client_card import names_only
from mcp_a2a.api.agents import (
    AddPeerRequest,
    ConsentRequest,
    DiscoverRequest,
    GetAgentRequest,
    PeersRequest,
    SetTrustRequest,
)
from mcp_a2a.api.tasks import ListTasksRequest, SendTaskBySkillRequest, SendTaskRequest
from mcp_a2a.errors.agents import AmbiguousNameError, KeyChangedError, PeerNotFoundError
from mcp_a2a.errors.web import AddressNotAllowedError, CardError
from mcp_a2a.protocol.signed_card import sign_card
from tests.node.world import Person, World, acquainted, card_of
from tests.web.agents import Agent, shout
from tests.web.people import somebody


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def at_url(
    world: World, signer: str | None, name: str = "rev", skill: str = "shout", place: str | None = None
) -> AsyncIterator[Agent]:
    """An agent at a URL with the card that `signer` signed, for its own place or for another."""
    async with Agent(shout).serve() as agent:
        skills = [{"id": skill, "name": skill, "description": skill, "tags": []}]
        where = {"supportedInterfaces": [{"url": f"{place or agent.url}rpc", "protocolBinding": "JSONRPC"}]}
        card: dict[str, Any] = {**agent.make_card(), "name": name, "skills": skills}
        card |= where if place != "" else {"supportedInterfaces": [{"url": "/rpc", "protocolBinding": "JSONRPC"}]}
        agent.card = sign_card(card, world.identity(signer)) if signer else card
        yield agent


async def add(me: Person, agent: Agent) -> Any:
    return await me.api.call(AddPeerRequest(address=agent.url))


async def sent(me: Person, agent: str) -> str:
    asked = SendTaskRequest(agent=agent, message="for rev", wait_seconds=0, consent="typed")
    return (await me.api.call(asked)).agent.did


async def listed(me: Person) -> dict[str, tuple[str, ...]]:
    """Each agent that is found, with its further ways."""
    return {one.did: one.urls for one in (await me.api.call(DiscoverRequest())).agents}


async def test_a_url_with_the_card_of_a_key_is_the_same_agent_and_its_name_means_the_sealed_way(world: World) -> None:
    async with somebody(world, "me") as me, world.person("rev", "shout") as rev, at_url(world, "rev") as url:
        await acquainted(me, rev)
        added = await add(me, url)
        assert (added.did, added.urls) == (rev.did, (url.url,))
        assert await listed(me) == {rev.did: (url.url,)}
        assert [peer.did for peer in (await me.api.call(PeersRequest())).peers] == [rev.did]
        assert (await me.api.call(GetAgentRequest(agent="rev"))).agent.urls == (url.url,)
        assert not (await me.api.call(DiscoverRequest())).agents[0].look_alike
        assert await sent(me, "rev") == rev.did
        by_skill = SendTaskBySkillRequest(skill="shout", message="x", wait_seconds=0, consent="typed")
        assert (await me.api.call(by_skill)).agent.did == rev.did
        assert not url.heard
        assert await sent(me, url.url) == url.url
        by_url = await me.api.call(GetAgentRequest(agent=url.url))
        assert (by_url.agent.did, by_url.agent.words) == (url.url, added.words)


async def test_a_url_that_is_added_right_after_a_start_is_not_shown_as_offline(world: World) -> None:
    async with world.person("rev", "shout") as rev, at_url(world, "rev") as url:
        async with somebody(world, "me") as me:
            await acquainted(me, rev)
        async with somebody(world, "me") as me:
            me.sees(rev)
            added = await add(me, url)
            assert (added.did, added.online) == (rev.did, True)


async def test_the_sealed_way_alone_is_used_also_while_the_agent_is_away(world: World) -> None:
    world.make_own("rev")
    async with somebody(world, "me") as me, at_url(world, "rev") as url:
        async with world.person("rev", "shout") as rev:
            await acquainted(me, rev)
            await add(me, url)
        assert await sent(me, "rev") == rev.did
        by_skill = SendTaskBySkillRequest(skill="shout", message="x", wait_seconds=0, consent="typed")
        assert (await me.api.call(by_skill)).agent.did == rev.did
        assert not url.heard
        assert {task.delivery for task in (await me.api.call(ListTasksRequest())).tasks} == {"QUEUED"}


async def test_a_key_that_is_only_known_from_a_card_is_reached_at_its_url_and_by_no_key(world: World) -> None:
    async with somebody(world, "me") as me, at_url(world, "rev") as one, at_url(world, "rev", "rev2") as two:
        for url in (one, two):
            await add(me, url)
        did = str(world.identity("rev").peer_id)
        ((first, others),) = (await listed(me)).items()
        assert {first, *others} == {one.url, two.url}
        assert len((await me.api.call(PeersRequest())).peers) == 1
        assert (await sent(me, "rev"), await sent(me, "rev2")) == (one.url, two.url)
        with pytest.raises(PeerNotFoundError, match="not sealed"):
            await sent(me, did)


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/", "http://localhost:9/"])
async def test_a_card_that_another_host_shows_is_not_even_added(world: World, place: str) -> None:
    async with somebody(world, "me") as me, world.person("rev") as rev, at_url(world, "rev", place=place) as liar:
        await acquainted(me, rev)
        with pytest.raises(AddressNotAllowedError):
            await add(me, liar)
        assert await listed(me) == {rev.did: ()}


async def test_a_signed_card_without_a_place_can_be_shown_anywhere_and_makes_nothing_of_it(world: World) -> None:
    async with (
        somebody(world, "me") as me,
        world.person("rev", "shout") as rev,
        at_url(world, "rev", place="") as liar,
    ):
        await acquainted(me, rev)
        added = await add(me, liar)
        assert (added.did, added.words, added.urls) == (liar.url, "", ())
        assert await listed(me) == {rev.did: (), liar.url: ()}
        with pytest.raises((AmbiguousNameError, KeyChangedError)):
            await sent(me, "rev")
        assert await sent(me, rev.did) == rev.did


def test_a_card_binds_a_key_only_where_all_its_places_are_the_origin_that_it_was_read_from() -> None:
    here = "https://rev.example/.well-known/agent-card.json"

    def binds(*urls: str, **more: Any) -> bool:
        return names_only({"supportedInterfaces": [{"url": url} for url in urls], **more}, here)

    assert binds("https://rev.example/", "https://rev.example:443/a2a")
    assert names_only({"url": "https://rev.example/", "additionalInterfaces": []}, here)
    assert binds("https://rev.example/", additionalInterfaces=[{"url": "10.0.0.1:5003", "transport": "GRPC"}])
    for elsewhere in (
        "https://evil.example/",
        "http://rev.example/",
        "https://rev.example:8443/",
        "/a2a",
        "rev.example",
    ):
        assert not binds("https://rev.example/", elsewhere)
    assert not binds("https://rev.example/", url="https://evil.example/")
    assert not binds()
    assert not binds("")


async def test_a_card_without_a_signature_belongs_to_no_key(world: World) -> None:
    async with somebody(world, "me") as me, world.person("rev") as rev, at_url(world, None) as url:
        await acquainted(me, rev)
        await add(me, url)
        assert set(await listed(me)) == {rev.did, url.url}


async def test_a_url_inherits_neither_trust_nor_consent_of_its_key_and_the_key_none_of_the_url(world: World) -> None:
    async with (
        somebody(world, "me") as me,
        world.person("rev", "shout") as rev,
        at_url(world, "rev") as url,
        at_url(world, "eve", "eve") as other,
        world.person("eve") as eve,
    ):
        await acquainted(me, rev)
        await acquainted(me, eve)
        await me.api.call(SetTrustRequest(agent=rev.did, level="trusted"))
        await me.api.call(ConsentRequest(agent=rev.did, answer="allowed", files=True))
        consent, book = me.node.consent, me.node.web
        met = await book.find(url.url) if book.known(url.url) else None
        assert met is None
        await add(me, url)
        await add(me, other)
        at_place = book.known(url.url)
        assert at_place is not None
        assert consent.files(at_place) == "open"
        by_name = await me.api.call(GetAgentRequest(agent="eve"))
        assert (by_name.agent.did, by_name.agent.trust) == (eve.did, "stranger")
        assert not me.node.trust.admits(me.node.directory.get(eve.node.context.me))
        await me.api.call(SetTrustRequest(agent=url.url, level="stranger"))
        assert (await me.api.call(GetAgentRequest(agent="rev"))).agent.trust == "trusted"
        assert await listed(me) == {rev.did: (), eve.did: (other.url,)}


async def test_a_stranger_with_the_name_of_an_added_url_gets_nothing_that_is_meant_for_its_key(world: World) -> None:
    async with somebody(world, "me") as me, at_url(world, "rev", "webrev") as url, world.person("rev") as rev:
        await acquainted(me, rev)
        await add(me, url)
        assert await sent(me, "webrev") == rev.did  # its key has signed that name
        async with world.person("liar", card=card_of("webrev")) as liar:
            await acquainted(me, liar)
            with pytest.raises((AmbiguousNameError, KeyChangedError)):
                await sent(me, "webrev")
            assert liar.did != rev.did


async def test_a_stranger_does_not_stand_in_for_an_agent_that_is_away_and_was_added_by_its_url(world: World) -> None:
    world.make_own("rev")
    async with somebody(world, "me") as me, at_url(world, "rev") as url:
        async with world.person("rev") as rev:
            await acquainted(me, rev)
            await add(me, url)
        async with world.person("liar", card=card_of("rev")) as liar:
            await acquainted(me, liar)
            with pytest.raises(KeyChangedError):
                await sent(me, "rev")
            assert await sent(me, rev.did) == rev.did


async def test_a_url_whose_card_changes_its_key_stays_with_the_first(world: World) -> None:
    async with somebody(world, "me") as me, world.person("rev") as rev, at_url(world, "rev") as url:
        await acquainted(me, rev)
        await add(me, url)
        for signer in ("eve", None):
            unsigned = {name: value for name, value in (url.card or {}).items() if name != "signatures"}
            url.card = sign_card(unsigned, world.identity(signer)) if signer else unsigned
            with pytest.raises(CardError):
                await add(me, url)
        assert await listed(me) == {rev.did: (url.url,)}


async def test_the_url_of_a_blocked_agent_is_no_way_around_the_block(world: World) -> None:
    async with somebody(world, "me") as me, world.person("rev", "shout") as rev, at_url(world, "rev") as url:
        await acquainted(me, rev)
        await add(me, url)
        with_url = me.node.web.known(url.url)
        assert with_url is not None
        assert me.node.consent.text(with_url) == "allowed"
        await me.api.call(SetTrustRequest(agent="rev", level="blocked"))
        assert await listed(me) == {}
        assert me.node.consent.text(with_url) == "open"  # a person is asked, although a person has added it


async def test_the_url_of_this_very_node_is_no_other_agent(world: World) -> None:
    async with somebody(world, "me") as me, at_url(world, "me", "me") as url:
        await add(me, url)
        assert await listed(me) == {}


async def test_ways_are_known_after_a_restart(world: World) -> None:
    world.make_own("rev")
    async with at_url(world, "rev") as url, world.person("rev") as rev:
        async with somebody(world, "me") as me:
            await acquainted(me, rev)
            await add(me, url)
        async with somebody(world, "me") as me:
            await acquainted(me, rev)
            assert await listed(me) == {rev.did: (url.url,)}
