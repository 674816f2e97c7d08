"""A peer or relay of version 1 of the link protocol: no link, and both sides say what to update."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web

from mcp_a2a.api.agents import AddPeerRequest
from mcp_a2a.api.networks import InviteRequest
from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.protocol.envelope import MAX_ENVELOPE
from mcp_a2a.protocol.identity import Identity
from mcp_a2a_transports.direct import DirectTransport
from tests.node.world import World

OLD = Identity(b"old".ljust(32, b"!"))
UPDATE_IT = "it runs an older mcp-a2a (version 1 of the link protocol, ours is 2): update mcp-a2a there"


def challenge(role: str, version: int = 1) -> str:
    """As version 1 wrote it."""
    fields = {
        "t": "challenge",
        "v": version,
        "nonce": "11" * 32,
        "did": str(OLD.peer_id),
        "role": role,
        "limits": {"envelope": MAX_ENVELOPE, "text": 65536},
    }
    return json.dumps(fields, separators=(",", ":"))


@asynccontextmanager
async def old_listener(role: str, said: list[str]) -> AsyncIterator[int]:
    """Listens as version 1 did; what a dialler says to it."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(challenge(role))
        said.extend([message.data async for message in socket])
        return socket

    app = web.Application()
    app.router.add_get("/link", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_an_agent_of_version_1_is_no_route_and_the_error_says_what_to_update(world: World) -> None:
    said: list[str] = []
    direct = DirectTransport("127.0.0.1")
    async with old_listener("node", said) as port, world.person("alice", transport=direct) as alice:
        with pytest.raises(NoRouteError) as failed:
            await alice.api.call(AddPeerRequest(address=f"127.0.0.1:{port}"))
        assert UPDATE_IT in str(failed.value)
    assert [json.loads(frame) for frame in said] == [{"t": "bye", "code": "version"}]


async def test_a_relay_of_version_1_is_named_with_what_to_update(world: World) -> None:
    said: list[str] = []
    async with old_listener("relay", said) as port, world.person("alice") as alice:
        url = f"ws://127.0.0.1:{port}/#{OLD.peer_id}"
        with pytest.raises(RelayError) as failed:
            await alice.api.call(InviteRequest(network="shop", relays=(url,)))
        assert UPDATE_IT in str(failed.value)
    assert json.loads(said[0]) == {"t": "bye", "code": "version"}


@pytest.mark.parametrize("leaves", [True, False], ids=["it says goodbye", "it says hello"])
async def test_a_dialler_of_version_1_is_turned_away_and_the_log_says_what_to_update(
    world: World, caplog: pytest.LogCaptureFixture, *, leaves: bool
) -> None:
    direct = DirectTransport("127.0.0.1")
    async with world.person("bob", transport=direct) as bob, aiohttp.ClientSession() as client:
        with caplog.at_level(logging.WARNING):
            async with client.ws_connect(f"http://{bob.addresses[0]}/link") as socket:
                heard = json.loads(await socket.receive_str())
                # What version 1 looks at before anything else: it can be read, and it is another number.
                assert (heard["t"], heard["v"], len(bytes.fromhex(heard["nonce"]))) == ("challenge", 2, 32)
                hello = {"t": "hello", "v": 1, "did": str(OLD.peer_id), "nonce": "22" * 32, "sig": "00" * 64}
                bye = {"t": "bye", "code": "version"}
                await socket.send_str(json.dumps(bye if leaves else {**hello, "bundle": "{}"}))
                if not leaves:
                    assert json.loads(await socket.receive_str()) == {"t": "bye", "code": "version"}
                await socket.receive()
        assert ("update the older of the two" if leaves else UPDATE_IT) in caplog.text
