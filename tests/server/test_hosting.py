"""MCP and A2A on one port, each for whom it is meant."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import aiohttp
import anyio
import pytest
from anyio.abc import TaskGroup

from mcp_a2a.config import Settings
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.server.hosting import Served, host
from mcp_a2a.server.listening import Listening
from mcp_a2a.server.surface import build_server
from mcp_a2a.store.callers import CallerFolder
from tests.e2e.command import MCP_A2A, environment
from tests.server.standin import StandIn
from tests.server.test_http import needs_ipv6

CARD = "/.well-known/agent-card.json"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def hosted(tasks: TaskGroup, settings: Settings, listening: Listening) -> Served:
    node = StandIn()
    return await tasks.start(partial(host, node, build_server(node), listening, settings))


async def test_one_port_serves_both(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as web:
        served = await hosted(tasks, Settings(home=tmp_path), Listening("127.0.0.1:0"))
        assert served.this_user
        async with web.post(f"{served.url}/mcp", json=PING, headers=ACCEPT) as response:
            assert response.status == 200
        for path in (CARD, "/healthz", "/health"):
            async with web.get(f"{served.url}{path}") as response:
                assert response.status == 200
        async with web.post(f"{served.url}/", json=PING) as response:
            assert (await response.json())["error"]["code"] == -32601
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["0.0.0.0:0", pytest.param("[::]:0", marks=needs_ipv6), "*:0"])
async def test_who_listens_everywhere_is_told_an_address_that_answers(tmp_path: Path, address: str) -> None:
    async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as web:
        served = await hosted(tasks, Settings(home=tmp_path), Listening(address))
        async with web.get(f"{served.url}{CARD}") as response:
            assert response.status == 200
            card = await response.json()
        assert card["url"] == f"{served.url}/"
        tasks.cancel_scope.cancel()


@needs_ipv6
@pytest.mark.parametrize("address", ["[::]:0", "*:0"])
async def test_a_card_has_the_address_by_which_it_was_asked_for_in_either_family(tmp_path: Path, address: str) -> None:
    async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as web:
        served = await hosted(tasks, Settings(home=tmp_path), Listening(address))
        port = urlsplit(served.url).port
        for host in ("127.0.0.1", "[::1]"):
            async with web.get(f"http://{host}:{port}{CARD}") as response:
                assert (await response.json())["url"] == f"http://{host}:{port}/"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("address", "grpc", "behind_proxy", "overheard"),
    [
        (":0", None, False, False),
        ("0.0.0.0:0", None, False, True),
        (":0", ":0", False, False),
        (":0", "*:0", False, True),
        (":0", "[::]:0", False, True),
        ("0.0.0.0:0", "*:0", True, False),
    ],
)
def test_a_token_that_travels_in_the_clear_is_warned_of_also_by_grpc(
    address: str, grpc: str | None, *, behind_proxy: bool, overheard: bool
) -> None:
    assert Listening(address, grpc_listen=grpc, behind_proxy=behind_proxy).is_overheard is overheard


async def test_a_caller_of_a2a_is_none_of_mcp(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as web:
        served = await hosted(tasks, settings, Listening("127.0.0.1:0", public_url=("https://agents.example",)))
        assert not served.this_user
        connection = CallerFolder(settings.folder).add("connection")
        for token, mcp in ((served.token.value, 200), (connection, 401), ("x" * 43, 401)):
            headers = {"Authorization": f"Bearer {token}", **ACCEPT}
            async with web.post(f"{served.url}/mcp", json=PING, headers=headers) as response:
                assert response.status == mcp
        for token, a2a in ((served.token.value, 200), (connection, 200), ("x" * 43, 401)):
            async with web.post(f"{served.url}/", json=PING, headers={"X-API-Key": token}) as response:
                assert response.status == a2a
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("style", ["v1", "dual"])
async def test_the_card_is_in_the_style_that_was_asked_for(tmp_path: Path, style: str) -> None:
    async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as web:
        served = await hosted(tasks, Settings(home=tmp_path), Listening("127.0.0.1:0", card=style))
        async with web.get(f"{served.url}{CARD}") as response:
            card = await response.json()
        assert {"url", "protocolVersion", "preferredTransport"}.isdisjoint(card) is (style == "v1")
        versions = {interface["protocolVersion"] for interface in card["supportedInterfaces"]}
        assert versions == ({"1.0"} if style == "v1" else {"1.0", "0.3"})
        tasks.cancel_scope.cancel()


async def test_push_is_declared_where_it_is_switched_on(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as web:
        served = await hosted(tasks, Settings(home=tmp_path, a2a_push=True), Listening("127.0.0.1:0"))
        async with web.get(f"{served.url}{CARD}") as response:
            assert (await response.json())["capabilities"]["pushNotifications"] is True
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("named", [False, True])
def test_grpc_is_in_the_card_where_that_was_asked_for(tmp_path: Path, *, named: bool) -> None:
    pytest.importorskip("a2a.server.request_handlers.grpc_handler", reason="the extra `grpc` is not installed")
    words = ("--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", *(["--grpc-in-card"] if named else []))
    # A process of its own: gRPC takes one event loop for all of a process.
    with subprocess.Popen(
        [MCP_A2A, "--no-mdns", *words, "--json"],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            with urlopen(f"{ready['listening']}{CARD}", timeout=60) as response:  # noqa: S310  our own
                interfaces = json.load(response)["supportedInterfaces"]
        finally:
            server.terminate()
    assert len([one for one in interfaces if one["protocolBinding"] == "GRPC"]) == named
    assert {one["url"] for one in interfaces if one["protocolBinding"] != "GRPC"} == {f"{ready['listening']}/"}


@pytest.mark.parametrize(
    "listening",
    [
        Listening("0.0.0.0:0"),
        Listening("127.0.0.1:0", public_url=("https://agents.example",)),
        Listening("127.0.0.1:0", behind_proxy=True),
        Listening("127.0.0.1:0", grpc_listen="0.0.0.0:0"),
    ],
    ids=["everywhere", "a tunnel", "a proxy", "gRPC everywhere"],
)
async def test_hooks_near_go_with_a_server_that_only_this_machine_reaches(tmp_path: Path, listening: Listening) -> None:
    node, settings = StandIn(), Settings(home=tmp_path, a2a_push_local=True)
    with pytest.raises(ConfigurationError, match="only this machine can reach"):
        await host(node, build_server(node), listening, settings)
