"""Connections are counted when they are accepted: one that begins no TLS handshake keeps no other out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
import anyio
import pytest
from typing_extensions import override

from mcp_a2a import accepting
from mcp_a2a.accepting import MAX_HANDSHAKES, MAX_HANDSHAKES_PER_HOST, RESERVED_FILES, accept, raise_open_files
from mcp_a2a.config import RelaySettings
from mcp_a2a.relaying import serve_relay
from mcp_a2a.server.listening import Certificate
from tests.server.test_http import serving
from tests.transports.certificates import Authority, authority

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
"""Two addresses of loopback that stand for two hosts."""


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"], autouse=True)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Each event loop has its own TLS."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is as any other network."""
    monkeypatch.setattr(accepting, "is_here", lambda _: False)


class Echo(asyncio.Protocol):
    """Says each byte again."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is of no such class

    @override
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None, seconds: float = 5.0) -> AsyncIterator[int]:
    with socket.create_server((HERE, 0)) as bound:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: accept(bound, Echo, tls and (lambda: tls), handshake_seconds=seconds))
            await anyio.wait_all_tasks_blocked()
            yield bound.getsockname()[1]
            tasks.cancel_scope.cancel()


@contextlib.contextmanager
def silent(port: int, count: int, source: str = HERE) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(socket.create_connection((HERE, port), timeout=5, source_address=(source, 0)))
            for _ in range(count)
        ]
        for connection in made:
            connection.settimeout(0)
        yield made


def is_open(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


async def settled(connections: list[socket.socket], left: int) -> None:
    """Wait until that many are open; one or two fewer, where others had a place in between."""
    with anyio.fail_after(30):
        while sum(map(is_open, connections)) > left:  # noqa: ASYNC110  the other side closes them
            await anyio.sleep(0.01)
    assert sum(map(is_open, connections)) >= left - 2


async def said_again(port: int, ca: Authority, source: str = HERE) -> bytes:
    """What an honest client hears."""
    with anyio.fail_after(30):
        async with await anyio.connect_tcp(
            HERE, port, local_host=source, ssl_context=ca.trusted, tls_hostname=HERE
        ) as stream:
            await stream.send(b"hello")
            return await stream.receive()


@pytest.mark.usefixtures("strangers")
async def test_one_silent_host_has_16_handshakes_and_keeps_no_other_host_out(ca: Authority) -> None:
    async with listening(ca.listening(HERE)) as port:
        with silent(port, 4 * MAX_HANDSHAKES_PER_HOST) as flood:
            await settled(flood, MAX_HANDSHAKES_PER_HOST)
            assert not any(map(is_open, flood[:-MAX_HANDSHAKES_PER_HOST]))
            assert await said_again(port, ca, ELSEWHERE) == b"hello"
            assert await said_again(port, ca) == b"hello"
            with silent(port, 2, ELSEWHERE) as others:
                await settled(others, 2)


@pytest.mark.usefixtures("strangers")
async def test_a_handshake_that_is_over_takes_no_place(ca: Authority) -> None:
    async with listening(ca.listening(HERE)) as port, contextlib.AsyncExitStack() as stack:
        trusted = ca.trusted
        streams = [
            await stack.enter_async_context(await anyio.connect_tcp(HERE, port, ssl_context=trusted, tls_hostname=HERE))
            for _ in range(2 * MAX_HANDSHAKES_PER_HOST)
        ]
        with silent(port, 2 * MAX_HANDSHAKES_PER_HOST) as flood:
            await settled(flood, MAX_HANDSHAKES_PER_HOST)
        for stream in streams:
            await stream.send(b"here")
            assert await stream.receive() == b"here"


async def test_this_machine_has_half_of_the_places_and_no_more(ca: Authority) -> None:
    async with listening(ca.listening(HERE)) as port:
        with silent(port, MAX_HANDSHAKES + 10) as crowd:
            await settled(crowd, MAX_HANDSHAKES)
            assert await said_again(port, ca) == b"hello"


@pytest.mark.parametrize("start", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_handshake_that_does_not_end_is_ended(ca: Authority, start: bytes) -> None:
    async with listening(ca.listening(HERE), 0.2) as port:
        with silent(port, 3) as flood:
            for connection in flood:
                connection.send(start)
            await settled(flood, 0)
        assert await said_again(port, ca) == b"hello"


def is_descriptor(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def without_gaps(stack: contextlib.ExitStack) -> int:
    """Open files until no number below the next one is free, as in a process that has closed none; that next number."""
    last = next(number for number in range(4096, -1, -1) if is_descriptor(number))
    while (opened := os.open(os.devnull, os.O_RDONLY)) < last:
        stack.callback(os.close, opened)
    os.close(opened)
    return opened


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_last_open_files_are_for_no_connection(
    ca: Authority,
    scheme: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server((HERE, 0)) as bound, contextlib.ExitStack() as stack:
        probe = without_gaps(stack)
        # Each connection has two ends in this process.
        monkeypatch.setattr(accepting, "_open_files", lambda: probe + RESERVED_FILES + 40)
        async with anyio.create_task_group() as tasks:
            tls = ca.listening(HERE) if scheme == "https" else None
            tasks.start_soon(lambda: accept(bound, Echo, tls and (lambda: tls)))
            made = [stack.enter_context(socket.create_connection(bound.getsockname(), timeout=5)) for _ in range(30)]
            for connection in made:
                connection.settimeout(0)
            with anyio.fail_after(30):
                while sum(map(is_open, made)) > 20:  # noqa: ASYNC110  as above
                    await anyio.sleep(0.01)
            assert sum(map(is_open, made)) > 5
            tasks.cancel_scope.cancel()


async def test_the_https_server_serves_beside_a_thousand_that_begin_nothing(ca: Authority) -> None:
    raise_open_files(4096)
    certificate = Certificate(*ca.issue(HERE))
    async with serving(tls=certificate) as web, aiohttp.ClientSession() as client:
        with silent(web.port, 1000) as flood, anyio.fail_after(30):
            async with client.get(f"https://{web.name}/healthz", ssl=ca.trusted) as response:
                assert response.status == 200
            await settled(flood, MAX_HANDSHAKES)


async def test_a_relay_with_tls_serves_beside_a_thousand_that_begin_nothing(tmp_path: Path, ca: Authority) -> None:
    raise_open_files(4096)
    cert, key = ca.issue(HERE)
    settings = RelaySettings(home=tmp_path, listen="127.0.0.1:0", closed=False, tls_cert=cert, tls_key=key)
    async with serve_relay(settings) as relay, aiohttp.ClientSession() as client:
        await anyio.wait_all_tasks_blocked()
        with silent(relay.port, 1000) as flood, anyio.fail_after(30):
            async with client.get(f"https://{HERE}:{relay.port}/healthz", ssl=ca.trusted) as response:
                assert response.status == 200
            await settled(flood, MAX_HANDSHAKES)
