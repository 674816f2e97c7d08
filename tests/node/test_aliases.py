"""What a person calls others: it wins over every name that is claimed, and travels nowhere."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from mcp_a2a.api.agents import ConsentRequest, DiscoverRequest, GetAgentRequest, PeersRequest, SetTrustRequest
from mcp_a2a.api.diagnostics import PingRequest
from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.tasks import ListTasksRequest, SendTaskRequest
from mcp_a2a.errors.agents import AliasAlikeError, AliasTakenError, PeerNotFoundError
from mcp_a2a.errors.machine import ConfigurationError, SystemLimitError
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.names import memorable_name
from mcp_a2a.store.aliases import FILE, MAX_ALIASES, Aliases
from tests.node.world import Person, World, acquainted, card_of

CYRILLIC = "\u0430nna"
DID, OTHER = "did:key:z6MkoPEBt6CcYHmSzagc3fT8f85FxTdDjE8TEYUzFaSUJ8Xj", "did:key:z6MkOther"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def aliases(world: World, person: str = "me") -> Aliases:
    return Aliases(world.folder / person)


async def got(person: Person) -> int:
    return len((await person.api.call(ListTasksRequest(direction="received"))).tasks)


async def sent(me: Person, agent: str) -> str:
    return (await me.api.call(SendTaskRequest(agent=agent, message="for Anna", wait_seconds=0))).agent.did


@pytest.mark.parametrize("claimed", ["anna", "Anna", CYRILLIC, "ANNA"], ids=ascii)
async def test_what_is_meant_for_an_alias_never_goes_to_an_agent_that_claims_its_name(
    world: World, claimed: str
) -> None:
    async with (
        world.person("me") as me,
        world.person("bob") as bob,
        world.person("liar", card=card_of(claimed)) as liar,
    ):
        for other in (bob, liar):
            await acquainted(me, other)
        await me.api.call(SetTrustRequest(agent=liar.did, level="trusted"))  # even then
        aliases(world).give("anna", bob.did)
        for asked in ("anna", "ANNA", "Anna"):
            assert await sent(me, asked) == bob.did
            assert (await me.api.call(GetAgentRequest(agent=asked))).agent.did == bob.did
            assert (await me.api.call(PingRequest(agent=asked, timeout_seconds=5))).agent.did == bob.did
            assert (await me.api.call(ConsentRequest(agent=asked))).agent.did == bob.did
        for asked in (CYRILLIC, "4nna".replace("4", "\u13aa")):
            with pytest.raises((AliasAlikeError, PeerNotFoundError)):
                await sent(me, asked)
        await me.api.call(SetTrustRequest(agent="anna", level="blocked"))
        assert {agent.did: agent.trust for agent in (await me.api.call(PeersRequest())).peers}[bob.did] == "blocked"
        assert (await liar.api.call(CheckInboxRequest())).held == 0
        assert await got(liar) == 0


async def test_an_alias_is_shown_in_place_of_the_name_and_stays_with_the_key(world: World) -> None:
    world.make_own("me", "bob")
    async with world.person("me") as me:
        async with world.person("bob") as bob:
            await acquainted(me, bob)
            aliases(world).give("anna", bob.did)
            (agent,) = (await me.api.call(DiscoverRequest())).agents
            assert (agent.name, agent.alias, agent.claimed, agent.look_alike) == ("anna", "anna", "bob", False)
            assert (await me.api.call(DiscoverRequest(query="Anna"))).total == 1
            assert await sent(me, "bob") == bob.did
            assert (await me.api.call(ListTasksRequest())).tasks[0].agent.name == "anna"
            (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=10))).items
            assert item.agent.name == "me"  # others are not told
            assert (await bob.api.call(GetAgentRequest(agent="self"))).agent.name == "bob"
        async with world.person("bob", card=card_of("robert")) as renamed:
            await acquainted(me, renamed)
            assert await sent(me, "anna") == renamed.did
            (agent,) = (await me.api.call(DiscoverRequest())).agents
            assert (agent.name, agent.claimed) == ("anna", "robert")
        aliases(world).remove("anna")
        with pytest.raises(PeerNotFoundError):
            await sent(me, "anna")


@pytest.mark.parametrize("claimed", ["self", "SeIf"])
async def test_an_agent_that_calls_itself_self_is_shown_by_the_name_of_its_key(world: World, claimed: str) -> None:
    async with world.person("me") as me, world.person("liar", card=card_of(claimed)) as liar:
        await acquainted(me, liar)
        (agent,) = (await me.api.call(DiscoverRequest())).agents
        assert agent.name == memorable_name(PeerId.parse_untrusted(liar.did))
        assert (await me.api.call(GetAgentRequest(agent="self"))).agent.did == me.did


async def test_an_agent_that_claims_the_name_of_an_alias_is_marked_as_a_look_alike(world: World) -> None:
    async with (
        world.person("me") as me,
        world.person("bob") as bob,
        world.person("liar", card=card_of(CYRILLIC)) as liar,
        world.person("eve") as eve,
    ):
        for other in (bob, liar, eve):
            await acquainted(me, other)
        aliases(world).give("anna", bob.did)
        found = (await me.api.call(DiscoverRequest())).agents
        assert {agent.did: agent.look_alike for agent in found} == {bob.did: True, liar.did: True, eve.did: False}


def test_an_alias_is_one_agents_and_an_agent_has_one(tmp_path: Path) -> None:
    kept = Aliases(tmp_path)
    assert kept.give("anna", DID) is None
    for taken in ("anna", "ANNA", CYRILLIC, "a nna".replace(" ", "")):
        with pytest.raises(AliasTakenError):
            kept.give(taken, OTHER)
    assert kept.give("Anna B", DID) == "anna"
    assert Aliases(tmp_path).all() == {"Anna B": DID}
    assert kept.give("anna", OTHER) is None
    for odd in ("", "self", "Self", "did:key:x", DID.removeprefix("did:key:")[:16], "a\nb", "-", "x" * 33):
        with pytest.raises(ConfigurationError):
            kept.give(odd, DID)
    with pytest.raises(ConfigurationError):
        kept.remove("nobody")
    assert kept.remove("ANNA") == OTHER
    assert not list(tmp_path.glob(f"{FILE}.*[0-9]"))


def test_keys_and_urls_are_never_taken_for_an_alias(tmp_path: Path) -> None:
    kept = Aliases(tmp_path)
    kept.give("did key z6MkoPEBt6CcYHmSzagc3fT8", OTHER)
    assert kept.meant(DID) == DID
    assert kept.meant("https://agent.example/") == "https://agent.example/"


def test_a_file_that_another_user_could_write_or_that_is_damaged_has_no_alias(tmp_path: Path) -> None:
    kept = Aliases(tmp_path)
    kept.give("anna", DID)
    path = tmp_path / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o622)
    assert Aliases(tmp_path).all() == {}
    path.chmod(0o600)
    assert Aliases(tmp_path).all() == {"anna": DID}
    for damaged in ("", "[]", '{"anna": 1}', '{"a\\u0000b": "x"}'):
        path.write_text(damaged)
        assert Aliases(tmp_path).all() == {}
    path.write_text("[]")
    for change in (lambda: kept.give("eve", OTHER), lambda: kept.remove("anna")):
        with pytest.raises(ConfigurationError, match="damaged"):
            change()
    assert path.read_text() == "[]"  # whatever can be saved of it is still there
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text(f'{{"anna": "{DID}"}}')
    assert Aliases(tmp_path).all() == {}


def test_for_want_of_open_files_no_alias_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, other = Aliases(tmp_path), Aliases(tmp_path)
    kept.give("anna", DID)
    assert kept.all() == {"anna": DID}
    other.give("eve", OTHER)
    with monkeypatch.context() as patch:
        patch.setattr("mcp_a2a.store.aliases.read_own", no_file)
        assert kept.all() == {"anna": DID}
        with pytest.raises(SystemLimitError):
            kept.give("bob", DID)
    assert kept.all() == {"anna": DID, "eve": OTHER}


def no_file(*_: object) -> bytes:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_process_that_keeps_the_aliases_locked_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.store.changing.LOCK_SECONDS", 0.05)
    kept = Aliases(tmp_path)
    with (tmp_path / f"{FILE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a process does that was suspended meanwhile
        with pytest.raises(ConfigurationError, match="being changed by another process"):
            kept.give("anna", DID)
    kept.give("anna", DID)
    assert kept.all() == {"anna": DID}


def test_there_is_an_end_to_aliases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_a2a.store.aliases.MAX_ALIASES", 2)
    kept = Aliases(tmp_path)
    kept.give("one", "did:1")
    kept.give("two", "did:2")
    with pytest.raises(ConfigurationError, match="the limit"):
        kept.give("three", "did:3")
    assert kept.give("deux", "did:2") == "two"
    assert MAX_ALIASES > 100
