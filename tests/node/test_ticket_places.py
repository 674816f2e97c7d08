"""A ticket has this machine call what its user expects, whoever wrote it."""

# ruff: noqa: S104  addresses that are named, not bound

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from mcp_a2a.api.networks import InviteRequest, JoinRequest
from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.networks import NetworkError, TicketError, TicketPlaceError
from mcp_a2a.node.networks import ticket_places
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.ticket import Ticket
from mcp_a2a.server.address import seen_address
from mcp_a2a.store import network_folder, short_places
from mcp_a2a_transports._dialling import connect, open_client
from mcp_a2a_transports.relay.client import _is_refused
from tests.node.world import World
from tests.relay.scripted import ScriptedRelay

MALLORY = Identity(b"mallory".ljust(32, b"!")).peer_id


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder of the user for this test alone."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setattr(network_folder, "short_places", lambda: [runtime / "mcp-a2a"])
    return runtime / "mcp-a2a"


def ticket(*, relay: str | None = None, address: str | None = None, token: bool = False) -> str:
    return Ticket(
        network="shop",
        owner=MALLORY,
        inviter=MALLORY,
        relays=(relay,) if relay else (),
        addresses=(address,) if address else (),
        secret=None if token else os.urandom(32),
        token=os.urandom(16) if token else None,
        expires=None,
    ).to_text()


@dataclass
class Canary:
    """A program of this machine that notes every connection."""

    port: int
    touched: int = 0


@asynccontextmanager
async def canary() -> AsyncIterator[Canary]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    seen = Canary(listener.extra(SocketAttribute.local_port))  # noqa: S610  anyio's, not Django's

    async def note(stream: SocketStream) -> None:
        seen.touched += 1
        await stream.aclose()

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, note)
        yield seen
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("token", [False, True])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.9.9.9", "localhost", "x.localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0",
     "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]"],
)  # fmt: skip
async def test_a_ticket_of_elsewhere_does_not_have_this_machine_call_itself(
    tmp_path: Path, host: str, *, token: bool
) -> None:
    async with canary() as seen, World(tmp_path).person("ann") as ann:
        for relay in (f"ws://{host}:{seen.port}/#{MALLORY}", f"wss://{host}:{seen.port}/x/#{MALLORY}"):
            with pytest.raises(TicketPlaceError, match="Nothing was called") as refused:
                await ann.api.call(JoinRequest(ticket=ticket(relay=relay, token=token), wait_seconds=2))
            assert "--allow-private" in refused.value.hint
        assert (seen.touched, list(ann.node.networks)) == (0, [])


async def test_an_address_of_this_machine_on_its_network_is_this_machine(tmp_path: Path) -> None:
    own = seen_address("0.0.0.0")
    if own is None or own.startswith("127."):
        pytest.skip("this machine has no way out, so no address to be called at")
    async with World(tmp_path).person("ann") as ann:
        with pytest.raises(TicketPlaceError, match="Nothing was called"):
            await ann.api.call(JoinRequest(ticket=ticket(relay=f"ws://{own}:22/#{MALLORY}"), wait_seconds=2))


async def test_a_person_who_knows_what_is_there_may_say_so(tmp_path: Path) -> None:
    async with canary() as seen, World(tmp_path).person("ann") as ann:
        text = ticket(relay=f"ws://127.0.0.1:{seen.port}/#{MALLORY}", token=True)
        with pytest.raises(NetworkError) as failed:
            await ann.api.call(JoinRequest(ticket=text, wait_seconds=2, allow_private=True))
        assert not isinstance(failed.value, TicketError | TicketPlaceError)
        assert seen.touched


async def test_a_relay_of_this_machine_that_its_user_invites_to_is_joined_without_a_word(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with ScriptedRelay().serve() as relay, world.person("ann") as ann, world.person("bob") as bob:
        invited = await ann.api.call(InviteRequest(network="shop", relays=(relay.url,)))
        assert (await bob.api.call(JoinRequest(ticket=invited.ticket))).network.name == "shop"


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "100.100.100.200",
        "224.0.0.1",
        "[fd00:ec2::254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[fd20:ce::254]",
    ],
)
@pytest.mark.parametrize("allow", [False, True])
async def test_what_is_no_place_for_a_relay_is_never_called(tmp_path: Path, host: str, *, allow: bool) -> None:
    async with World(tmp_path).person("ann") as ann:
        request = JoinRequest(ticket=ticket(relay=f"ws://{host}:6060/#{MALLORY}"), allow_private=allow)
        with pytest.raises(TicketError, match="where no relay can be"):
            await ann.api.call(request)


async def test_a_name_that_leads_to_this_machine_is_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads_to = "127.0.0.1"

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (leads_to, port))]

    monkeypatch.setattr(ticket_places.anyio, "getaddrinfo", getaddrinfo)
    async with World(tmp_path).person("ann") as ann:
        text = ticket(relay=f"ws://relay.example:6060/#{MALLORY}")
        with pytest.raises(TicketPlaceError):
            await ann.api.call(JoinRequest(ticket=text))
        leads_to = "169.254.169.254"
        with pytest.raises(TicketError, match="where no relay can be"):
            await ann.api.call(JoinRequest(ticket=text))


async def test_a_name_that_leads_elsewhere_later_is_not_followed_there() -> None:
    """What a name means is looked at again where the connection is made."""
    async with open_client(_is_refused) as client:
        for host in ("169.254.169.254", "[fe80::1]"):
            with pytest.raises(LinkError, match="no mcp-a2a is at that address"):
                await connect(client, f"ws://{host}:9/link", "a relay")
    async with canary() as seen, open_client(lambda address: address == "127.0.0.1") as client:
        with pytest.raises(LinkError):
            await connect(client, f"ws://localhost:{seen.port}/link", "a relay")
        assert seen.touched == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "0.0.0.0", "169.254.169.254", "name.example"])
async def test_without_a_relay_only_other_machines_are_dialled(tmp_path: Path, host: str) -> None:
    async with canary() as seen, World(tmp_path).person("ann") as ann:
        with pytest.raises(TicketError, match="where no agent of another machine can be"):
            await ann.api.call(JoinRequest(ticket=ticket(address=f"{host}:{seen.port}"), wait_seconds=1))
        assert seen.touched == 0


@pytest.mark.parametrize("address", ["10.1.2.3:40000", "192.168.1.5:40000", "[fd12::5]:40000", "203.0.113.9:40000"])
async def test_a_private_network_is_where_a_home_and_an_office_are(address: str) -> None:
    for text in (ticket(address=address), ticket(relay=f"ws://{address}/#{MALLORY}")):
        read = Ticket.parse_untrusted(text)
        assert await ticket_places.checked_places(read, (), allow_private=False) == read


def test_a_note_is_this_users_and_the_oldest_go(runtime: Path) -> None:
    urls = [f"ws://127.0.0.1:{port}/#{MALLORY}" for port in range(1, network_folder.MAX_NOTES + 3)]
    for number, url in enumerate(urls):
        network_folder.note_relay(url)
        note = max((runtime / "relays").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(note, ns=(number, number))
    assert len(list((runtime / "relays").iterdir())) == network_folder.MAX_NOTES
    assert network_folder.is_noted(urls[-1])
    assert not network_folder.is_noted(urls[0])
    if os.getuid() == 0:
        os.chown(runtime, 65534, 65534)
        assert not network_folder.is_noted(urls[-1])
        assert not short_places.is_private(runtime)
