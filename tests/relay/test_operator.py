"""Closed relays, and the operator who admits, revokes and asks: of a running relay and of one that rests."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from anyio.abc import SocketStream

from mcp_a2a import relay_admin
from mcp_a2a.api.relay import (
    RelayAdmitRequest,
    RelayMembersRequest,
    RelayRevokeRequest,
    RelayStatusRequest,
    RelayStatusView,
)
from mcp_a2a.api.request import Request
from mcp_a2a.errors.machine import ConfigurationError, RelayRunsError
from mcp_a2a.protocol.control import ByeCode, Claim, Claimed, Done, Failed, Find, Found, Offer, Refused, Stored, Watch
from mcp_a2a.protocol.envelope import HOUR
from mcp_a2a.protocol.network import Network
from mcp_a2a.relay_admin import ask_relay
from mcp_a2a.store.owner_file import LOCK
from mcp_a2a.store.short_places import socket_path
from tests.node.test_glance import LISTENS_AND_STOPS
from tests.relay.conftest import Open
from tests.relay.guest import Door, Guest, envelope, person

SHOP, HOME = Network(b"s" * 32), Network(b"h" * 32)


async def turned_away(guest: Guest, *, ask: bool = True) -> ByeCode:
    """Why a guest is sent away as soon as it wants anything."""
    if ask:
        await guest.send(Find(1, guest.peer))
    return (await guest.bye()).code


async def test_a_closed_relay_serves_admitted_keys_and_members_of_admitted_networks_and_nobody_else(
    open_relay: Open, tmp_path: Path
) -> None:
    agent, member = person(), person()
    async with open_relay(closed=True) as (_, door):
        await ask_relay(tmp_path, RelayAdmitRequest(member=str(agent.peer)))
        await ask_relay(tmp_path, RelayAdmitRequest(member=str(SHOP.id)))
        alice = await door.enter(agent)
        bob = await door.enter(member, [SHOP])
        await alice.ask(Find(1, bob.peer), Found)
        assert await turned_away(await door.enter()) is ByeCode.NOT_ADMITTED
        assert await turned_away(await door.enter(member)) is ByeCode.NOT_ADMITTED, "without its proof"
        assert await turned_away(await door.enter(networks=[HOME])) is ByeCode.NOT_ADMITTED
        stranger = person()
        await turned_away(await door.enter(stranger))
        assert (await alice.submit(envelope(stranger.peer), Refused)).code == "no_mailbox"


async def test_an_error_of_the_relay_comes_to_its_operator_with_its_remedy(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay(closed=True):
        with pytest.raises(ConfigurationError, match="neither an agent's key nor a network's id") as refused:
            await ask_relay(tmp_path, RelayAdmitRequest(member="bob"))
    assert refused.value.hint == "Both look like did:key:z6Mk…: mcp-a2a id and mcp-a2a networks show them."
    assert not refused.value.remedy.is_plain


async def test_whoever_is_not_admitted_may_fetch_an_invitation_first_and_come_in_with_it(
    open_relay: Open, tmp_path: Path
) -> None:
    async with open_relay(closed=True) as (_, door):
        await ask_relay(tmp_path, RelayAdmitRequest(member=str(SHOP.id)))
        alice = await door.enter(networks=[SHOP])
        offer = Offer(1, SHOP.id, b"i" * 16, b"sealed", 1, int(time.time()) + HOUR)
        await alice.ask(offer, Done)
        newcomer = await door.enter()
        assert (await newcomer.ask(Claim(1, b"?" * 16), Failed)).code == "unknown"
        assert (await newcomer.ask(Claim(2, b"i" * 16), Claimed)).sealed == b"sealed"
        assert await turned_away(newcomer) is ByeCode.NOT_ADMITTED
        await (await door.enter(newcomer.who, [SHOP])).ask(Watch(1, SHOP.id, 0, 0), Done)


async def test_an_envelope_of_whoever_is_not_admitted_goes_nowhere(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay(closed=True) as (relay, door):
        bob = person()
        await ask_relay(tmp_path, RelayAdmitRequest(member=str(bob.peer)))
        inside = await door.enter(bob)
        outsider = await door.enter()
        await outsider.send(envelope(bob.peer))
        assert (await outsider.bye()).code is ByeCode.NOT_ADMITTED
        assert inside.kept == []
        assert relay.listener.facts().deposited == 0


@pytest.mark.parametrize("closed", [False, True])
async def test_revoking_a_key_ends_its_sessions_at_once_and_deletes_its_mail(
    open_relay: Open,
    tmp_path: Path,
    closed: bool,  # noqa: FBT001
) -> None:
    alice_who, bob_who = person(), person()
    async with open_relay(closed=closed) as (relay, door):
        for who in (alice_who, bob_who):
            await ask_relay(tmp_path, RelayAdmitRequest(member=str(who.peer)))
        alice, bob = await door.enter(alice_who), await door.enter(bob_who)
        await alice.submit(envelope(bob.peer), Stored)
        with anyio.fail_after(30):
            await ask_relay(tmp_path, RelayRevokeRequest(member=str(bob.peer)))
            assert await turned_away(bob, ask=False) is ByeCode.REVOKED
        assert (await alice.submit(envelope(bob.peer), Refused)).code == "revoked"
        assert (await alice.ask(Find(1, bob.peer), Failed)).code == "unknown"
        assert await turned_away(await door.enter(bob_who), ask=False) is ByeCode.REVOKED
        assert relay.listener.facts().messages == 0
    async with open_relay(closed=closed) as (relay, door):
        assert await turned_away(await door.enter(bob_who), ask=False) is ByeCode.REVOKED
        await ask_relay(tmp_path, RelayAdmitRequest(member=str(bob_who.peer)))
        await door.enter(bob_who)
        assert relay.listener.facts().messages == 0


async def test_revoking_a_network_ends_those_who_came_with_it_alone(open_relay: Open, tmp_path: Path) -> None:
    agent = person()
    async with open_relay(closed=True) as (_, door):
        for member in (agent.peer, SHOP.id, HOME.id):
            await ask_relay(tmp_path, RelayAdmitRequest(member=str(member)))
        by_key = await door.enter(agent, [SHOP])
        by_both = await door.enter(networks=[SHOP, HOME])
        by_shop = await door.enter(networks=[SHOP])
        await ask_relay(tmp_path, RelayRevokeRequest(member=str(SHOP.id)))
        assert await turned_away(by_shop, ask=False) is ByeCode.REVOKED
        for guest in (by_key, by_both):
            assert (await guest.ask(Watch(1, SHOP.id, 0, 0), Failed)).code == "not_member"
        await by_both.ask(Watch(2, HOME.id, 0, 0), Done)
        assert await turned_away(await door.enter(networks=[SHOP]), ask=False) is ByeCode.REVOKED


async def test_the_list_is_the_same_whether_the_relay_runs_or_rests(open_relay: Open, tmp_path: Path) -> None:
    alice, other = person(), person()
    async with open_relay(closed=True) as (relay, door):
        await ask_relay(tmp_path, RelayAdmitRequest(member=str(alice.peer), note="Alice's laptop"))
        guest = await door.enter(alice)
        running = await ask_relay(tmp_path, RelayMembersRequest())
        assert running.running
        assert running.closed
        (entry,) = running.members
        assert (entry.member, entry.state, entry.kind) == (str(alice.peer), "admitted", "agent")
        assert (entry.online, entry.note) == (1, "Alice's laptop")
        status = await ask_relay(tmp_path, RelayStatusRequest())
        assert not guest.closed
        assert (status.running, status.url, status.relay) == (True, relay.url, str(relay.relay))
        assert (status.connections, status.agents_online, status.admitted, status.revoked) == (1, 1, 1, 0)
    resting = await ask_relay(tmp_path, RelayStatusRequest())
    assert (resting.running, resting.url, resting.relay, resting.keys) == (False, None, status.relay, 1)
    assert (await ask_relay(tmp_path, RelayRevokeRequest(member=str(other.peer)))).state == "revoked"
    listed = await ask_relay(tmp_path, RelayMembersRequest())
    assert {entry.state for entry in listed.members} == {"admitted", "revoked"}
    async with open_relay(closed=True) as (_, door):
        await door.enter(alice)


async def test_what_is_not_a_key_is_said_to_be_none_by_both(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay():
        with pytest.raises(ConfigurationError, match="neither"):
            await ask_relay(tmp_path, RelayAdmitRequest(member="bob"))
    with pytest.raises(ConfigurationError, match="neither"):
        await ask_relay(tmp_path, RelayRevokeRequest(member="did:key:z6Mk"))


async def test_where_there_is_no_relay_none_is_made_by_asking(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no relay"):
        await ask_relay(tmp_path / "nothing", RelayStatusRequest())
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("tidied", [False, True])
async def test_a_second_relay_does_not_run_from_the_same_folder(
    open_relay: Open, tmp_path: Path, *, tidied: bool
) -> None:
    async with open_relay():
        if tidied:  # by a program that removes old files
            (tmp_path / "relay" / "lock").unlink()
        with pytest.raises(RelayRunsError, match="running from"):
            async with open_relay():
                pass


async def test_folder_key_socket_and_database_are_their_owners_alone(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay():
        folder = tmp_path / "relay"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        admin = socket_path(folder, "admin.sock")
        for file in (folder / "identity.key", folder / "relay.db", admin):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert not admin.exists()


async def test_a_relay_in_a_very_deep_folder_is_asked_all_the_same(open_relay: Open, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6)
    async with open_relay(home=deep) as (relay, _):
        assert (await ask_relay(deep, RelayStatusRequest())).url == relay.url
    assert os.path.exists(deep)  # noqa: PTH110, ASYNC240
    assert not (await ask_relay(deep, RelayStatusRequest())).running


async def test_leaving_says_goodbye_stores_what_is_pending_and_waits_for_no_reader(open_relay: Open) -> None:
    async with open_relay() as (_, door):
        alice, bob = await door.enter(), await door.enter()
        clogged = [await door.knock() for _ in range(3)]
        sealed = envelope(bob.peer)
        await alice.send(sealed)
        await bob.mail()
        before = time.monotonic()
        del clogged
    assert time.monotonic() - before < 20
    async with open_relay() as (_, door):
        again: Door = door
        assert await (await again.enter(bob.who)).take() == sealed


@pytest.mark.skipif(sys.platform != "linux", reason="only there the system tells that a process was stopped")
def test_a_relay_that_was_stopped_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_admin, "ANSWER_SECONDS", 0.05)
    folder = tmp_path / "relay"
    folder.mkdir(mode=0o700)
    words = [sys.executable, "-S", "-c", LISTENS_AND_STOPS, str(socket_path(folder, "admin.sock")), str(folder / LOCK)]
    with subprocess.Popen(words) as process:
        try:
            os.waitpid(process.pid, os.WUNTRACED)
            with pytest.raises(ConfigurationError, match=f"process {process.pid}, stopped") as raised:
                anyio.run(ask_relay, tmp_path, RelayStatusRequest())
            assert f"kill -CONT {process.pid}" in raised.value.hint
        finally:
            process.kill()


async def test_a_relay_of_another_version_is_named_with_what_to_do(tmp_path: Path) -> None:
    """An earlier relay spoke HTTP at this socket."""
    folder = tmp_path / "relay"
    folder.mkdir(mode=0o700)

    async def answer(stream: SocketStream) -> None:
        async with stream:
            assert await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    listener = await anyio.create_unix_listener(socket_path(folder, "admin.sock"))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        with pytest.raises(ConfigurationError, match="another version") as raised:
            await ask_relay(tmp_path, RelayStatusRequest())
        assert raised.value.hint == "Restart it."
        tasks.cancel_scope.cancel()


async def test_a_command_that_the_relay_does_not_know_is_refused_and_the_relay_goes_on(
    open_relay: Open, tmp_path: Path
) -> None:
    class Unknown(Request[RelayStatusView]):
        operation: ClassVar[str] = "fly"

    async with open_relay():
        with pytest.raises(ConfigurationError, match="running relay does not know 'fly'") as raised:
            await ask_relay(tmp_path, Unknown())
        assert raised.value.hint.startswith("Restart it")
        assert (await ask_relay(tmp_path, RelayStatusRequest())).running


def test_asking_a_relay_that_runs_imports_no_http() -> None:
    code = "import sys, mcp_a2a.relay_admin; print(sorted({'aiohttp', 'sqlite3', 'nacl'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
