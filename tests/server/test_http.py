"""The HTTP server: who may call it, on every address and every route, and how it ends."""

# ruff: noqa: S104  to bind to all interfaces is what is tested

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_a2a.errors.machine import ConfigurationError, PortInUseError
from mcp_a2a.server.address import Listen
from mcp_a2a.server.http import MAX_BODY_BYTES, serve_http
from mcp_a2a.server.surface import build_server
from tests.server.standin import StandIn
from tests.server.test_protocol_eras import INITIALIZE

TOKEN = "a-token-of-at-least-forty-three-characters-0"  # noqa: S105  of this test

ROUTES = ["/mcp", "/mcp/", "/healthz", "/", "/nowhere"]

HELLO = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}).encode()

JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


@dataclass(frozen=True)
class Web:
    """A running server, spoken to byte by byte: an honest client library would not send what we need."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.name}/mcp"

    @property
    def name(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def status(
        self, method: str, path: str, headers: list[tuple[str, str]] | None = None, body: bytes = b""
    ) -> int:
        return (await self.ask(method, path, headers, body)).status

    async def ask(
        self, method: str, path: str, headers: list[tuple[str, str]] | None = None, body: bytes = b""
    ) -> http.client.HTTPResponse:
        return await anyio.to_thread.run_sync(partial(self._ask, method, path, headers or [], body))

    async def read(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b""
    ) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        response, received = await anyio.to_thread.run_sync(partial(self._exchange, method, path, headers, body))
        return response.status, response.headers.get("Content-Type", ""), received

    def _ask(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> http.client.HTTPResponse:
        return self._exchange(method, path, headers, body)[0]

    def _exchange(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if not any(name.lower() == "host" for name, _ in headers):
            connection.putheader("Host", self.name)
        for name, value in headers:
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        received = response.read()
        connection.close()
        return response, received

    async def hello(self, *headers: tuple[str, str]) -> int:
        return await self.status("POST", "/mcp", [*JSON_HEADERS.items(), *headers], HELLO)


class Brisk:
    """asyncio for uvicorn, which looks ten times a second whether it is to end: here a hundred times."""

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


@asynccontextmanager
async def serving(bind: str = "127.0.0.1", connect: str | None = None, **options: object) -> AsyncIterator[Web]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.server.asyncio", Brisk())
        async with _serving(bind, connect, **options) as web:
            yield web


@asynccontextmanager
async def _serving(bind: str, connect: str | None, **options: object) -> AsyncIterator[Web]:
    async with anyio.create_task_group() as group:
        serve = partial(serve_http, build_server(StandIn()), Listen(bind, 0), **options)  # type: ignore[arg-type]
        url = urlsplit(await group.start(serve))
        assert url.port is not None
        yield Web(connect or bind, url.port)
        group.cancel_scope.cancel()


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")

BINDS = [
    pytest.param("127.0.0.1", "127.0.0.1", id="127.0.0.1"),
    pytest.param("::1", "::1", id="::1", marks=needs_ipv6),
    pytest.param("0.0.0.0", "127.0.0.1", id="0.0.0.0"),
    pytest.param("::", "::1", id="::", marks=needs_ipv6),
    pytest.param("::", "127.0.0.1", id="::-mapped", marks=needs_ipv6),
]


def good_hosts(port: int) -> list[str]:
    return [f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", f"LocalHost:{port}"]


def bad_hosts(port: int) -> list[str]:
    return [
        "evil.example",
        f"evil.example:{port}",
        "localhost",
        "127.0.0.1",
        f"localhost:{port + 1}",
        f"localhost.:{port}",
        f"localhost.evil.example:{port}",
        f"127.0.0.1.nip.io:{port}",
        f"0.0.0.0:{port}",
        f"127.0.0.2:{port}",
        f"localhost:{port}@evil.example",
        "",
    ]


def bad_origins(port: int) -> list[str]:
    return [
        "null",
        "",
        "http://evil.example",
        f"http://evil.example:{port}",
        "http://localhost",
        "http://localhost:5173",
        "http://127.0.0.1:8080",
        f"https://localhost:{port}",
        f"http://localhost:{port}.evil.example",
        f"http://localhost:{port}/",
        "chrome-extension://abcdef",
        "file://",
    ]


@pytest.mark.parametrize(("bind", "connect"), BINDS)
async def test_only_an_exact_host_and_origin_pass_on_every_address_and_route(bind: str, connect: str):
    async with serving(bind, connect, token=TOKEN) as web:
        bearer = ("Authorization", f"Bearer {TOKEN}")
        for path, host in itertools.product(ROUTES, bad_hosts(web.port)):
            assert await web.status("GET", path, [("Host", host), bearer]) in {421, 400}, (path, host)
        for path, origin in itertools.product(ROUTES, bad_origins(web.port)):
            assert await web.status("GET", path, [("Origin", origin), bearer]) == 403, (path, origin)
            assert await web.status("POST", path, [("Origin", origin), bearer]) == 403, (path, origin)
        for host in good_hosts(web.port):
            origins = [("Origin", f"http://{name}") for name in good_hosts(web.port)]
            for origin in ([], *([one] for one in origins)):
                assert await web.hello(("Host", host), bearer, *origin) == 200, (host, origin)


async def test_two_hosts_or_one_bad_origin_among_two_are_refused():
    async with serving() as web:
        assert await web.status("GET", "/healthz", [("Host", web.name), ("Host", web.name)]) in {400, 421}
        assert await web.hello(("Origin", f"http://{web.name}"), ("Origin", "http://evil.example")) == 403


async def test_a_name_that_the_owner_configured_passes_with_its_origin():
    async with serving(token=TOKEN, hosts=["Agents.example"], origins=["https://app.example"]) as web:
        bearer = ("Authorization", f"Bearer {TOKEN}")
        assert await web.hello(bearer, ("Host", "agents.example")) == 200
        assert await web.hello(bearer, ("Host", "agents.example"), ("Origin", "https://agents.example")) == 200
        assert await web.hello(bearer, ("Origin", "https://app.example")) == 200
        assert await web.hello(bearer, ("Host", "agents.example:444")) == 421


async def test_no_page_of_another_site_is_ever_told_it_may_call():
    async with serving() as web:
        for method, origin in itertools.product(
            ("OPTIONS", "GET", "POST"), ("http://evil.example", f"http://{web.name}")
        ):
            response = await web.ask(method, "/mcp", [("Origin", origin), ("Access-Control-Request-Method", "POST")])
            assert not [name for name in response.headers if name.lower().startswith("access-control-")]


# --- the token -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN} {TOKEN}",
        "Bearer é",
    ],
)
async def test_without_the_token_nothing_but_health_answers(value: str | None):
    headers = [] if value is None else [("Authorization", value)]
    async with serving(token=TOKEN, this_user=False) as web:
        for path in ("/mcp", "/", "/nowhere"):
            response = await web.ask("GET", path, headers)
            assert response.status == 401
            assert response.headers["www-authenticate"] == "Bearer"
        assert await web.hello(*headers) == 401
        assert await web.status("GET", "/healthz", headers) == 200


async def test_the_token_opens_and_two_headers_do_not():
    bearer = ("Authorization", f"bearer {TOKEN}")
    async with serving(token=TOKEN) as web:
        assert await web.hello(bearer) == 200
        assert await web.hello(bearer, ("Authorization", "Bearer wrong")) == 401


async def test_blanks_around_the_value_of_any_header_are_no_part_of_it():
    """RFC 9110 5.5: for what the guard reads, and for what the server below it does."""
    async with serving(token=TOKEN, this_user=False) as web:
        headers = {"Host": web.name, "Origin": f"http://{web.name}", "Authorization": f"Bearer {TOKEN}", **JSON_HEADERS}
        headers |= {"Sec-Fetch-Site": "same-origin", "Expect": "100-continue", "Content-Length": str(len(HELLO))}
        head = "".join(f"{name}: \t {value} \t \r\n" for name, value in headers.items())
        async with await anyio.connect_tcp(web.host, web.port) as stream:
            await stream.send(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode())
            with anyio.fail_after(10):
                assert (await stream.receive()).startswith(b"HTTP/1.1 100 ")
                await stream.send(HELLO)
                assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("query", [f"token={TOKEN}", f"access_token={TOKEN}", "a=1&API_KEY=x", "key=", "%74oken=x"])
async def test_a_token_in_the_url_is_refused_even_with_the_right_header(query: str):
    async with serving(token=TOKEN) as web:
        headers = [*JSON_HEADERS.items(), ("Authorization", f"Bearer {TOKEN}")]
        assert await web.status("POST", f"/mcp?{query}", headers, HELLO) == 400


@pytest.mark.parametrize("name", ["oauth-protected-resource", "oauth-authorization-server", "openid-configuration"])
@pytest.mark.parametrize("path", ["/.well-known/{}", "/.well-known/{}/mcp", "/mcp/.well-known/{}"])
async def test_a_client_that_looks_for_an_authorization_server_hears_that_there_is_none(path: str, name: str):
    """A 401 there, or any metadata, makes clients drop the token that their user configured."""
    async with serving(token=TOKEN, this_user=False) as web:
        assert await web.status("GET", path.format(name)) == 404


@pytest.mark.parametrize("rules", [{"token": TOKEN}, {"token": TOKEN, "this_user": False}], ids=["user", "outside"])
@pytest.mark.parametrize("path", ["/register", "/authorize", "/token", "/revoke", "/token/", "/mcp/register"])
async def test_a_client_that_tries_an_authorization_server_unasked_hears_that_there_is_none(
    path: str, rules: dict[str, object]
):
    """mcp-remote registers itself at /register where it got a 401, and takes another one for a broken server."""
    form = ("Content-Type", "application/x-www-form-urlencoded")
    async with serving(**rules) as web:
        for method, headers in (("GET", []), ("POST", [form]), ("POST", [*JSON_HEADERS.items()])):
            status, kind, said = await web.read(method, path, headers, b"" if method == "GET" else b"{}")
            assert (status, kind.partition(";")[0]) == (404, "text/plain")
            assert said == b"There is no authorization server here.\n"


@pytest.mark.parametrize("path", ["/tokens", "/mcp/tokenize", "/a/token", "/a2a/register"])
async def test_what_only_looks_like_a_path_of_an_authorization_server_needs_the_token(path: str):
    async with serving(token=TOKEN, this_user=False) as web:
        assert await web.status("GET", path) == 401


async def test_loopback_needs_no_token():
    async with serving() as web:
        assert await web.hello() == 200


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.1"])
async def test_an_address_that_others_reach_needs_a_token(bind: str):
    with pytest.raises(ConfigurationError, match="needs a token"):
        await serve_http(build_server(StandIn()), Listen(bind, 0))


# --- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"],
)
async def test_a_post_that_does_not_say_it_is_json_is_refused(content_type: str | None):
    headers = [("Accept", "*/*")] + ([] if content_type is None else [("Content-Type", content_type)])
    async with serving() as web:
        assert await web.status("POST", "/mcp", headers, HELLO) == 415


async def test_a_charset_behind_the_content_type_is_fine():
    async with serving() as web:
        headers = [("Accept", "*/*"), ("Content-Type", "Application/JSON; charset=utf-8")]
        assert await web.status("POST", "/mcp", headers, HELLO) == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("agents.example:8443", 200),
        ("agents.example", 200),
        ("AGENTS.example", 200),
        ("[2001:db8::1]", 200),
        ("agents.example:8444", 421),
        ("evil.example", 421),
        ("agents.example:", 421),
        ("[2001:db8:", 421),
    ],
)
async def test_a_proxy_may_drop_the_port_of_a_name_that_was_configured(host: str, status: int):
    async with serving(token=TOKEN, hosts=["agents.example:8443", "[2001:db8::1]:8443"]) as web:
        assert await web.status("GET", "/healthz", [("Host", host)]) == status
        other_site = [("Host", "agents.example"), ("Origin", "https://agents.example")]
        assert await web.status("GET", "/healthz", other_site) == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("agents.example:443", 200),
        ("Agents.example:80", 200),
        ("[2001:db8::1]:443", 200),
        ("agents.example", 200),
        ("agents.example:8443", 421),
        ("evil.example:443", 421),
    ],
)
async def test_a_proxy_may_write_out_the_port_that_a_url_leaves_out(host: str, status: int):
    async with serving(token=TOKEN, hosts=["agents.example", "[2001:db8::1]"]) as web:
        assert await web.status("GET", "/healthz", [("Host", host)]) == status


@needs_ipv6
async def test_localhost_is_both_addresses_of_loopback():
    async with anyio.create_task_group() as group:
        url = urlsplit(await group.start(serve_http, build_server(StandIn()), Listen.parse("localhost:0")))
        assert url.port is not None
        for host in ("127.0.0.1", "::1"):
            assert await Web(host, url.port).hello() == 200
        group.cancel_scope.cancel()


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_4_mib_is_refused_while_it_arrives(declared: bool):  # noqa: FBT001
    length = f"Content-Length: {MAX_BODY_BYTES * 100}" if declared else "Transfer-Encoding: chunked"
    head = f"POST /mcp HTTP/1.1\r\nHost: {{}}\r\nContent-Type: application/json\r\nAccept: */*\r\n{length}\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    async with serving() as web, await anyio.connect_tcp(web.host, web.port) as stream:
        await stream.send(head.format(web.name).encode())
        with contextlib.suppress(anyio.BrokenResourceError):
            for _ in range(0 if declared else MAX_BODY_BYTES // 0x10000 + 1):
                await stream.send(chunk)
        assert (await stream.receive()).startswith(b"HTTP/1.1 413")


async def test_a_body_of_almost_4_mib_is_read():
    async with serving() as web:
        body = HELLO + b" " * (MAX_BODY_BYTES - len(HELLO))
        assert await web.status("POST", "/mcp", list(JSON_HEADERS.items()), body) == 200


@pytest.mark.parametrize("body", [b"{", b"null", b"[]", b"\xff", b"[" * 100_000, b'{"jsonrpc":"2.0","id":1}'])
async def test_a_body_that_is_nonsense_is_the_clients_fault(body: bytes):
    async with serving() as web:
        assert 400 <= await web.status("POST", "/mcp", list(JSON_HEADERS.items()), body) < 500
        assert await web.hello() == 200


# --- MCP -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_official_client_works_in_both_eras(mode: str, slash: str):
    async with serving(token=TOKEN) as web:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx2.AsyncClient(headers=headers) as connection:
            transport = streamable_http_client(web.url + slash, http_client=connection)
            async with Client(transport, mode=mode) as client:
                assert len((await client.list_tools()).tools) == 12
                assert not (await client.call_tool("discover", {})).is_error


async def test_health_says_nothing_but_that():
    async with serving(token=TOKEN) as web, httpx2.AsyncClient() as client:
        response = await client.get(f"http://{web.name}/healthz")
    assert response.text == "ok\n"
    assert "server" not in response.headers


async def test_the_node_starts_when_connections_are_accepted():
    started: list[str] = []
    async with serving(start=lambda: started.append("now")):
        assert started == ["now"]


async def test_a_port_in_use_is_said_to_be():
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(PortInUseError):
        await serve_http(build_server(StandIn()), Listen("127.0.0.1", other.getsockname()[1]))


# --- the end ---------------------------------------------------------------------------------------


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "tests.server.http_program"], stdout=pipe, stderr=pipe, text=True
    ) as it:
        yield it
        it.kill()


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_it_ends_cleanly_within_3_seconds_with_a_stream_open(
    process: subprocess.Popen[str], sign: signal.Signals, mode: str
):
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    async with httpx2.AsyncClient(timeout=30) as connection, _open_stream(connection, url, mode) as ended:
        process.send_signal(sign)
        output, errors = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=30))
        await ended()
    assert process.returncode == 0
    assert errors == "cleaned up\n"
    assert output == ""


@asynccontextmanager
async def _open_stream(connection: httpx2.AsyncClient, url: str, mode: str) -> AsyncIterator[Callable[[], object]]:
    """A stream that has no end of its own: the listening request of either era."""
    if mode == "legacy":
        headers = {"Accept": "text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
        async with connection.stream("GET", url, headers=headers) as response:
            assert response.status_code == 200
            yield response.aread
        return
    client = Client(streamable_http_client(url, http_client=connection), mode=mode)
    async with client, client.listen(tools_list_changed=True):
        yield anyio.lowlevel.checkpoint
