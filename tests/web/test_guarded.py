"""URLs that others chose: none of them reaches what is not public."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from anyio.abc import SocketAttribute, SocketStream

from mcp_a2a.a2a.addresses import PUBLIC, PUBLIC_HTTPS, as_typed, check_addresses, is_public
from mcp_a2a.a2a.client import WebClient
from mcp_a2a.a2a.guarded import QUIET_SECONDS, Answered, Call, GuardedSession
from mcp_a2a.composition import _closing_what_is_gone
from mcp_a2a.errors.web import AddressNotAllowedError, WebError
from mcp_a2a.web_ports import Range
from mcp_a2a_transports.surroundings import Surroundings
from tests.transports.certificates import Authority, authority

HOSTS = (
    "127.0.0.1", "127.0.0.2", "127.1", "127.0.1", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "0x7f.1",
    "017700000001", "127.0.0.1.", "0.0.0.0", "0",  # noqa: S104  called, not bound
    "00.0.0.0", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:7f00:0001::1]", "[fe80::1]",
    "[fe80::1%25lo]", "[fc00::1]", "[fd12:3456::1]", "[fec0::1]", "[ff02::1]", "[2001::1]", "[100::1]",
    "[2a00:1:2:3:0:5efe:10.0.0.1]", "[2a00:1:2:3:200:5efe:7f00:1]", "[2600:1::5efe:a9fe:a9fe]", "10.0.0.1",
    "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "198.18.0.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.0.1", "192.0.2.1", "203.0.113.9",
    "\u2460\u2461\u2466.0.0.1", "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1", "localhost", "LOCALHOST",
    "localhost.", "loopback.example", "rebinding.example", "mapped.example", "mixed.example", "metadata.example",
)  # fmt: skip
"""Ways to say a host that is not public; the last ones lead there by DNS."""

WRITTEN = (
    "{scheme}://user@127.0.0.1:{port}/", "{scheme}://example.com:80@127.0.0.1:{port}/",
    "{scheme}://example.com#@127.0.0.1:{port}/", "{scheme}://127.0.0.1:{port}\\@example.com/",
    "{scheme}://example.com\\@127.0.0.1:{port}/", "{scheme}://\t127.0.0.1:{port}/", "{scheme}:127.0.0.1:{port}",
    "{scheme}:///127.0.0.1:{port}/", "//127.0.0.1:{port}/", "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x",
    "ftp://127.0.0.1:{port}/", "{scheme}://[::1", "{scheme}://127.0.0.1:{port}x/", "",
)  # fmt: skip

NAMES = {
    "loopback.example": ["127.0.0.1"],
    "rebinding.example": ["127.0.0.1", "::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "localhost": ["127.0.0.1"],
    "localhost.": ["127.0.0.1"],
}


async def resolve(host: str, port: int) -> list[str]:
    """What a hostile DNS says; where it says nothing, what this machine makes of it without asking anybody."""
    if host in NAMES:
        return NAMES[host]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(entry[4][0]) for entry in found]


@dataclass
class Canary:
    """Notes every connection."""

    touched: int = 0
    port: int = 0
    paths: list[str] = field(default_factory=list)


@asynccontextmanager
async def canary(tls: Authority | None = None) -> AsyncIterator[Canary]:
    seen = Canary()

    async def note(request: web.Request) -> web.Response:
        seen.paths.append(request.path)
        if request.path == "/moved":
            raise web.HTTPFound("/here")
        if request.path == "/elsewhere":
            raise web.HTTPFound(f"http://localhost:{seen.port}/here")
        if request.path == "/circle":
            raise web.HTTPFound("/circle")
        if request.path == "/large":
            return web.Response(body=b"x" * 100_000)
        return web.Response(text="ouch")

    server = web.Server(note)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.listening("agent.example") if tls else None)
    await site.start()
    listener = runner.addresses[0]
    seen.port = int(listener[1])
    try:
        yield seen
    finally:
        seen.touched = server.requests_count
        await runner.cleanup()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_way_to_write_it_reaches_what_is_not_public(scheme: str) -> None:
    reached: list[tuple[str, object]] = []
    async with canary() as seen, GuardedSession(PUBLIC, resolve=resolve) as session:
        urls = [f"{scheme}://{host}:{seen.port}/" for host in HOSTS]
        urls += [written.format(scheme=scheme, port=seen.port) for written in WRITTEN]
        for url in urls:
            try:
                reached.append((url, await session.fetch(Call("GET", url, seconds=5))))
            except AddressNotAllowedError:
                continue
            except WebError as error:
                if "no machine of that name" not in str(error):
                    reached.append((url, error))
    assert len(urls) >= 60
    assert (reached, seen.paths, seen.touched) == ([], [], 0)


async def test_a_webhook_is_called_over_tls_only() -> None:
    async with GuardedSession(PUBLIC_HTTPS) as session:
        with pytest.raises(AddressNotAllowedError, match="not https"):
            await session.fetch(Call("POST", "http://93.184.216.34/", body=b"{}"))


async def test_what_a_person_typed_is_reached_wherever_it_is_and_nothing_beside_it() -> None:
    async with canary() as seen:
        url = f"http://loopback.example:{seen.port}/"
        async with GuardedSession(as_typed(url), resolve=resolve) as session:
            assert (await session.fetch(Call("GET", url))).body == b"ouch"
            for other in (f"http://127.0.0.1:{seen.port}/", f"http://localhost:{seen.port}/"):
                with pytest.raises(AddressNotAllowedError):
                    await session.fetch(Call("GET", other))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST.", "loopback.example"])
async def test_another_port_of_what_a_person_typed_is_another_program(host: str) -> None:
    """On this machine it may be this node's own server, to which a call of this user's is its owner's."""
    async with canary() as typed, canary() as other:
        spellings = ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433", host)  # noqa: S104
        async with GuardedSession(as_typed(f"http://{host}:{typed.port}/"), resolve=resolve) as session:
            for spelling in spellings:
                for port in (other.port, 80, 443):
                    with pytest.raises(AddressNotAllowedError):
                        await session.fetch(Call("POST", f"http://{spelling}:{port}/", body=b"{}", seconds=5))
                with pytest.raises(AddressNotAllowedError):
                    await session.fetch(Call("POST", f"http://{spelling}/", body=b"{}", seconds=5))
            if host in ("localhost", "127.0.0.1"):
                assert (await session.fetch(Call("GET", f"http://{host}:{typed.port}/"))).body == b"ouch"
                with pytest.raises(AddressNotAllowedError, match=f"named port {typed.port} there, and no other"):
                    await session.fetch(Call("GET", f"http://{host}:{other.port}/"))
        assert other.paths == []


async def test_a_connection_goes_to_the_address_that_was_checked_while_tls_asks_for_the_name(tmp_path: Path) -> None:
    signer = authority(tmp_path)
    async with canary(signer) as seen:
        typed = as_typed(f"https://agent.example:{seen.port}/")

        async def here(host: str, port: int) -> list[str]:
            return ["127.0.0.1"]

        async with GuardedSession(typed, tls=signer.trusted, resolve=here) as session:
            assert (await session.fetch(Call("GET", f"https://agent.example:{seen.port}/"))).status == 200
        other = as_typed(f"https://other.example:{seen.port}/")
        async with GuardedSession(other, tls=signer.trusted, resolve=here) as session:
            with pytest.raises(WebError, match="certificate"):
                await session.fetch(Call("GET", f"https://other.example:{seen.port}/"))
    assert seen.paths == ["/"]


async def _typed(seen: Canary, path: str, **options: object) -> Answered:
    url = f"http://127.0.0.1:{seen.port}{path}"
    async with GuardedSession(as_typed(url), resolve=resolve) as session:
        return await session.fetch(Call("GET", url, **options))  # type: ignore[arg-type]


async def test_a_move_is_followed_on_its_host_only_and_not_for_ever() -> None:
    async with canary() as seen:
        assert (await _typed(seen, "/moved", follow=True)).url.endswith("/here")
        with pytest.raises(WebError, match="not followed"):
            await _typed(seen, "/elsewhere", follow=True)
        with pytest.raises(WebError, match="not followed"):
            await _typed(seen, "/moved")
        with pytest.raises(WebError, match="in a circle"):
            await _typed(seen, "/circle", follow=True)


async def test_more_than_was_asked_for_is_not_read() -> None:
    async with canary() as seen:
        with pytest.raises(WebError, match="more than 65,536 bytes"):
            await _typed(seen, "/large", max_bytes=65_536)


async def test_nobody_at_the_other_end_is_said_in_words() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(WebError, match=f"127.0.0.1:{port} could not be reached"):
        await _typed(Canary(port=port), "/")


def test_what_is_public_is_allowed() -> None:
    for address in ("93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert is_public(address)
    check_addresses("https://example.com", ("example.com", 443), ["93.184.216.34"], PUBLIC)


def test_what_a_cloud_tells_its_own_machines_only_is_not_public() -> None:
    for address in ("169.254.169.254", "168.63.129.16", "100.100.100.200", "64:ff9b::a83f:8110", "fd20:ce::254"):
        assert not is_public(address)


@pytest.mark.parametrize("coding", ["gzip, chunked", "GZIP,chunked", "deflate, chunked"])
async def test_what_is_compressed_on_its_way_is_unpacked_too(coding: str) -> None:
    body = zlib.compress(b"hello") if "deflate" in coding else gzip.compress(b"hello")

    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n{len(body):x}\r\n".encode()
            await stream.send(head + body + b"\r\n0\r\n\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.extra_attributes[SocketAttribute.local_port]()}/"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        async with GuardedSession(as_typed(url)) as session:
            assert (await session.fetch(Call("GET", url))).body == b"hello"
        tasks.cancel_scope.cancel()


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="the option is read by the name that Linux has for it")
@pytest.mark.parametrize("name", ["TCP_KEEPIDLE", "TCP_KEEPALIVE"])
async def test_a_silent_connection_is_asked_for_a_sign_of_life_by_tcp(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By either name: macOS has the second for what Linux has the first for."""
    number = socket.TCP_KEEPIDLE
    monkeypatch.delattr(socket, "TCP_KEEPIDLE")
    monkeypatch.setattr(socket, name, number, raising=False)
    async with canary() as seen, GuardedSession(as_typed(f"http://127.0.0.1:{seen.port}/")) as session:
        await session.fetch(Call("GET", f"http://127.0.0.1:{seen.port}/"))
        asks: list[int] = []
        session.close_gone(lambda end: asks.append(1) is not None)
        (made,) = session._sockets
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert made.getsockopt(socket.IPPROTO_TCP, number) == QUIET_SECONDS
        assert len(asks) == 1


async def test_what_waits_for_an_answer_over_an_address_that_is_gone_waits_no_longer() -> None:
    waiting = anyio.Event()

    async def never(stream: SocketStream) -> None:
        async with stream:
            waiting.set()
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, never)
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"  # noqa: S610  no database
        async with GuardedSession(as_typed(url)) as session:

            async def close() -> None:
                await waiting.wait()
                session.close_gone(lambda end: True)

            tasks.start_soon(close)
            with anyio.fail_after(20), pytest.raises(WebError):
                await session.fetch(Call("POST", url, body=b"{}", seconds=300))
        tasks.cancel_scope.cancel()


async def test_a_node_leaves_the_calls_over_an_address_that_its_machine_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, here = anyio.Event(), Surroundings()

    async def never(stream: SocketStream) -> None:
        async with stream:
            if begun.is_set():
                return  # what does nothing is asked for anew, over the address that there is now
            begun.set()
            await anyio.sleep_forever()

    monkeypatch.setattr(here, "lacks", lambda end: True)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, WebClient() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, never)
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"  # noqa: S610  no database

        async def move() -> None:
            await begun.wait()
            here.look(told=True)

        tasks.start_soon(move)
        monkeypatch.setattr("mcp_a2a.a2a.client.CARD_SECONDS", 300.0)
        with _closing_what_is_gone(here, client), anyio.fail_after(20), pytest.raises(WebError):
            await client.find_card(url, within=Range.ANYWHERE, headers={})
        tasks.cancel_scope.cancel()
