"""A closed relay and its URL: a network that is made with it is admitted, and nothing else is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.networks import InviteRequest, JoinRequest, RotateRequest
from mcp_a2a.api.relay import (
    RelayAdmitRequest,
    RelayMembersRequest,
    RelayRevokeRequest,
    RelayStatusRequest,
    RelayUrlRequest,
)
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.mailbox_ports import RelayMember
from mcp_a2a.protocol.admission_secret import prove_admission
from mcp_a2a.protocol.control import Admit, ByeCode, Done, Failed, Find, Found
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.relay_url import parse_relay_url
from mcp_a2a.relay_admin import ask_relay
from mcp_a2a.relay_operator import ServingRelay
from mcp_a2a.store import relay_schema
from tests.node.world import World
from tests.relay.conftest import Open
from tests.relay.guest import Door, Guest, entry, person
from tests.relay.test_networks import until

SHOP, HOME, NEXT = Network(b"s" * 32), Network(b"h" * 32), Network(b"x" * 32)


def code_of(relay: ServingRelay) -> bytes:
    assert relay.admission_url is not None
    code = parse_relay_url(relay.admission_url).admission
    assert code is not None
    return code


def shown(guest: Guest, relay: ServingRelay, network: Network, code: bytes, number: int = 1) -> Admit:
    return Admit(number, network.id, prove_admission(code, network.id, relay.relay, guest.peer, guest.nonce))


async def is_served(door: Door, network: Network) -> bool:
    guest = await door.enter(networks=[network])
    await guest.send(Find(1, guest.peer))
    return isinstance(await guest.receive(), Found)


async def test_who_shows_the_secret_has_its_network_admitted_with_all_its_members(open_relay: Open) -> None:
    async with open_relay(closed=True) as (relay, door):
        assert not await is_served(door, SHOP)
        maker = await door.enter(networks=[SHOP])
        await maker.ask(shown(maker, relay, SHOP, code_of(relay)), Done)
        assert await is_served(door, SHOP)
        assert not await is_served(door, HOME)
    async with open_relay(closed=True) as (relay, door):
        assert relay.admission_url is None, "it is shown once"
        assert "admit" not in relay.url
        assert await is_served(door, SHOP)


async def test_a_proof_made_for_another_connection_relay_key_or_network_admits_nothing(
    open_relay: Open, tmp_path: Path
) -> None:
    async with open_relay(closed=True) as (relay, door):
        code = code_of(relay)
        maker, thief = await door.enter(networks=[SHOP]), await door.enter(networks=[SHOP, HOME])
        seen = shown(maker, relay, SHOP, code)
        elsewhere = prove_admission(code, SHOP.id, person().peer, thief.peer, thief.nonce)
        for tried in (seen.proof, b"", elsewhere):
            assert (await thief.ask(Admit(1, SHOP.id, tried), Failed)).code == "secret"
        assert (await thief.ask(Admit(2, HOME.id, seen.proof), Failed)).code == "secret"
        again = await door.enter(maker.who, [SHOP])
        assert (await again.ask(seen, Failed)).code == "secret"
        assert (await again.ask(shown(again, relay, HOME, code), Failed)).code == "not_member"
        assert (await ask_relay(tmp_path, RelayMembersRequest())).members == ()


async def test_a_new_secret_ends_the_old_one_and_nothing_that_it_admitted(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay(closed=True) as (relay, door):
        old = code_of(relay)
        first = await door.enter(networks=[SHOP])
        await first.ask(shown(first, relay, SHOP, old), Done)
        assert not (await ask_relay(tmp_path, RelayUrlRequest())).admits
        new = parse_relay_url((await ask_relay(tmp_path, RelayUrlRequest(new=True))).url).admission
        assert new is not None
        late = await door.enter(networks=[HOME])
        assert (await late.ask(shown(late, relay, HOME, old), Failed)).code == "secret"
        await late.ask(shown(late, relay, HOME, new, 2), Done)
        assert await is_served(door, SHOP)
    with pytest.raises(ConfigurationError, match="is not running"):
        await ask_relay(tmp_path, RelayUrlRequest(new=True))


async def test_a_key_that_showed_the_secret_has_the_next_network_admitted_without_it_until_it_is_revoked(
    open_relay: Open, tmp_path: Path
) -> None:
    async with open_relay(closed=True) as (relay, door):
        maker = await door.enter(networks=[SHOP])
        await maker.ask(shown(maker, relay, SHOP, code_of(relay)), Done)
    async with open_relay(closed=True) as (_, door):
        renewed = await door.enter(maker.who, [NEXT])
        await renewed.ask(Admit(1, NEXT.id, b""), Done)
        assert await is_served(door, NEXT)
        member = await door.enter(networks=[SHOP, HOME])
        assert (await member.ask(Admit(1, HOME.id, b""), Failed)).code == "secret", "a member is no maker"
        for network in (SHOP, NEXT):
            await ask_relay(tmp_path, RelayRevokeRequest(member=str(network.id)))
        last = await door.enter(maker.who, [HOME])
        assert (await last.ask(Admit(1, HOME.id, b""), Failed)).code == "secret"


async def test_what_the_operator_revokes_while_it_is_being_admitted_stays_revoked(
    open_relay: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list on the disk says so as well, but that is read at the next start."""
    admitted: list[Callable[[object], None]] = []
    on_its_way = anyio.Event()

    def admit(_: RelayMember, done: Callable[[object], None]) -> None:
        admitted.append(done)
        on_its_way.set()

    async with open_relay(closed=True) as (relay, door):
        service = relay.listener.service
        monkeypatch.setattr(service._store, "admit", admit)
        maker = await door.enter(networks=[SHOP])
        await maker.send(shown(maker, relay, SHOP, code_of(relay)))
        await on_its_way.wait()
        relay.listener.revoke(SHOP.id)
        admitted[0](None)
        assert (await maker.next(Failed)).code == "revoked"
        assert service.admission.is_revoked(SHOP.id)
        assert not service.admission.is_admitted(SHOP.id)


async def test_what_the_operator_revoked_the_secret_does_not_bring_back(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay(closed=True) as (relay, door):
        await ask_relay(tmp_path, RelayRevokeRequest(member=str(SHOP.id)))
        with pytest.raises(EOFError):  # it is sent away
            guest = await door.enter(networks=[SHOP])
            await guest.ask(shown(guest, relay, SHOP, code_of(relay)), Done)
        guest = await door.enter(networks=[SHOP, HOME])
        with pytest.raises(EOFError):
            await guest.ask(shown(guest, relay, SHOP, code_of(relay)), Done)
        assert [member.state for member in (await ask_relay(tmp_path, RelayMembersRequest())).members] == ["revoked"]


async def test_ten_wrong_secrets_a_minute_are_looked_at_and_no_more(open_relay: Open) -> None:
    async with open_relay(closed=True, behind_proxy=True) as (relay, door):
        bad, good = ({"X-Forwarded-For": host} for host in ("203.0.113.7", "198.51.100.7"))
        codes = []
        for number in range(11):
            guest = await door.enter(networks=[SHOP], headers=bad)
            codes.append((await guest.ask(Admit(number, SHOP.id, b"x" * 64), Failed)).code)
        assert codes == ["secret"] * 10 + ["rate_limited"]
        maker = await door.enter(networks=[SHOP], headers=good)
        await maker.ask(shown(maker, relay, SHOP, code_of(relay)), Done)


async def test_the_disk_of_a_relay_does_not_hold_the_secret(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay(closed=True) as (relay, door):
        maker = await door.enter(networks=[SHOP])
        await maker.ask(shown(maker, relay, SHOP, code_of(relay)), Done)
        forms = [(relay.admission_url or "").rpartition("=")[2].encode(), code_of(relay), code_of(relay).hex().encode()]
    for path in (tmp_path / "relay").rglob("*"):
        if path.is_file():
            assert not [form for form in forms if form in path.read_bytes()]
    assert forms[0].decode() not in repr(relay)


async def test_an_open_relay_has_no_secret_and_a_relay_of_the_version_before_goes_on_with_its_networks(
    open_relay: Open, tmp_path: Path
) -> None:
    async with open_relay(closed=False) as (relay, door):
        assert relay.admission_url is None
        guest = await door.enter(networks=[SHOP])
        await guest.publish(entry(SHOP, guest.who), Done)
    assert len(relay_schema.MIGRATIONS) == 2
    with closing(sqlite3.connect(tmp_path / "relay" / "relay.db")) as connection:  # as the version before left it
        connection.executescript(
            "DROP TABLE admission; DROP TABLE correspondents; ALTER TABLE members DROP COLUMN sponsor;"
            "DROP INDEX keys_new; DROP INDEX listings_by_peer; ALTER TABLE keys DROP COLUMN account;"
            "ALTER TABLE keys DROP COLUMN settled; PRAGMA user_version=1"
        )
    async with open_relay(closed=True) as (relay, door):
        assert relay.admission_url is not None
        assert await is_served(door, SHOP)
        assert not await is_served(door, HOME)
        stranger = await door.enter()
        await stranger.send(Find(1, stranger.peer))
        assert (await stranger.bye()).code is ByeCode.NOT_ADMITTED


async def test_a_relay_of_the_version_before_with_a_list_keeps_to_its_list(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay(closed=False) as (relay, door):
        guest = await door.enter(networks=[SHOP])
        await guest.publish(entry(SHOP, guest.who), Done)
    with closing(sqlite3.connect(tmp_path / "relay" / "relay.db")) as connection:
        connection.executescript(
            "DROP TABLE admission; DROP TABLE correspondents; ALTER TABLE members DROP COLUMN sponsor;"
            "DROP INDEX keys_new; DROP INDEX listings_by_peer; ALTER TABLE keys DROP COLUMN account;"
            "ALTER TABLE keys DROP COLUMN settled; PRAGMA user_version=1"
        )
        with connection:
            connection.execute("INSERT INTO members VALUES (?, 1, '', 0)", (HOME.id.key,))
    async with open_relay(closed=True) as (relay, door):
        assert await is_served(door, HOME)
        assert not await is_served(door, SHOP)
        assert relay.listener.service.admission.admitted == 1


async def test_each_network_is_admitted_for_itself_when_it_is_made_and_when_it_is_rotated(
    open_relay: Open, tmp_path: Path
) -> None:
    (people := tmp_path / "people").mkdir()
    world = World(people)
    async with open_relay(closed=True) as (relay, door), world.person("alice") as alice, world.person("bob") as bob:
        for name in ("one", "two"):
            made = await alice.api.call(InviteRequest(network=name, relays=(relay.admission_url or "",)))
            assert not [warning for warning in made.warnings if "closed" in warning]
        await bob.api.call(JoinRequest(ticket=made.ticket, allow_private=True))
        rotated = await alice.api.call(RotateRequest(network="two"))
        assert rotated.warnings == ()
        assert await is_served(door, alice.node.networks.named("two").network), "not only those who are in the other"

        without = await bob.api.call(InviteRequest(network="three", relays=(relay.url,)))
        assert [warning for warning in without.warnings if "relay admit" in warning], "a member is no maker"
        await ask_relay(tmp_path, RelayAdmitRequest(member=without.network.id))
        again = await bob.api.call(InviteRequest(network="three", relays=(relay.url,)))
        assert not [warning for warning in again.warnings if "relay admit" in warning]


async def test_a_maker_of_one_network_stays_connected_while_it_is_rotated_and_its_members_are_told(
    open_relay: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (people := tmp_path / "people").mkdir()
    world = World(people)
    async with open_relay(closed=True) as (relay, _):
        async with world.person("alice") as alice, world.person("bob") as bob:
            made = await alice.api.call(InviteRequest(network="shop", relays=(relay.admission_url or "",)))
            await bob.api.call(JoinRequest(ticket=made.ticket, allow_private=True))
            await until(alice, "bob")
        async with world.person("alice") as alice:
            refused: list[str] = []
            monkeypatch.setattr(alice.node.listings, "relay_closed", lambda _, reason: refused.append(reason))
            admit = alice.node.networks.relays.admit

            async def admit_slowly(url: str, network: Network, secret: bytes | None) -> None:
                await anyio.sleep(0.2)
                await admit(url, network, secret)

            monkeypatch.setattr(alice.node.networks.relays, "admit", admit_slowly)
            for number in range(1, 4):
                rotated = await alice.api.call(RotateRequest(network="shop"))
                assert (rotated.told, rotated.warnings) == (1, ())
                assert (await ask_relay(tmp_path, RelayStatusRequest())).messages == number
            assert refused == [], "a closed relay has heard of the next network before the last one is given up"


async def test_a_relay_that_serves_a_network_anyhow_says_so_without_a_proof(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay(closed=True) as (_, door):
        await ask_relay(tmp_path, RelayAdmitRequest(member=str(SHOP.id)))
        member = await door.enter(networks=[SHOP])
        for number in range(20):
            await member.ask(Admit(number, SHOP.id, b""), Done)
        assert (await member.ask(Admit(21, HOME.id, b""), Failed)).code == "not_member"
    async with open_relay(closed=False) as (_, door):
        guest = await door.enter(networks=[HOME])
        await guest.ask(Admit(1, HOME.id, b""), Done)
