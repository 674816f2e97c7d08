"""Dialling others' listeners: certificates, proxies, redirects, and saying in a sentence what is wrong."""

from __future__ import annotations

import datetime as dt
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import pytest
from aiohttp import web

from mcp_a2a.a2a.addresses import as_typed
from mcp_a2a.a2a.guarded import Call, GuardedSession
from mcp_a2a.config import RelaySettings
from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.web import WebError
from mcp_a2a.protocol.control import Delivered
from mcp_a2a.protocol.envelope import seal
from mcp_a2a.protocol.paths import RelayAddr
from mcp_a2a.relaying import serve_relay
from mcp_a2a_transports._dialling import connect, open_client
from mcp_a2a_transports.relay.client import RelayTransport
from tests.server.test_http import has_ipv6
from tests.transports.certificates import Authority, authority
from tests.transports.people import Witness, credentials, identity, ring, until

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@asynccontextmanager
async def site(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A web server on a free port of this machine."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def upgrade(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.close()
    return socket


async def dial(url: str, tls: ssl.SSLContext | None = None) -> None:
    """Come as far as the WebSocket."""
    async with open_client() as client:
        with anyio.fail_after(30):
            channel = await connect(client, url, "a relay", tls)
        await channel.aclose()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize("listen", ["[::1]:0", "[::]:0", "*:0"])
async def test_a_relay_is_reached_in_ipv6_at_the_url_that_it_tells(listen: str, tmp_path: Path) -> None:
    settings = RelaySettings(home=tmp_path / "relay", listen=listen, closed=False)
    async with serve_relay(settings) as relay:
        if listen.startswith("[::1]"):
            assert relay.url.startswith(f"ws://[::1]:{relay.port}/#did:key:")
        for url in {relay.url, f"ws://[::1]:{relay.port}/#{relay.relay}"}:
            ann, of_ann = RelayTransport(), Witness("ann")
            ann.keep(url, list)
            async with ann.open(credentials("ann"), of_ann):
                assert await ann.try_out(url) >= 0


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize(
    ("host", "why"),
    [("fe80::1", r"needs the name of the interface .* \[fe80::1%eth0\]"), ("fe80::1%nope", "named nope")],
)
async def test_a_link_local_address_that_leads_nowhere_says_what_is_wrong_with_its_zone(host: str, why: str) -> None:
    with pytest.raises(LinkError, match=why):
        await dial(f"ws://[{host}]:7301/link")
    async with GuardedSession(as_typed(f"http://[{host}]:7301/")) as session:
        with pytest.raises(WebError, match=why):
            await session.fetch(Call("GET", f"http://[{host.replace('%', '%25')}]:7301/"))


async def test_a_relay_may_listen_at_a_name_of_this_machine(tmp_path: Path) -> None:
    async with serve_relay(RelaySettings(home=tmp_path / "relay", listen="localhost:0", closed=False)) as relay:
        assert relay.url.startswith(f"ws://localhost:{relay.port}/")
        ann, of_ann = RelayTransport(), Witness("ann")
        async with ann.open(credentials("ann"), of_ann):
            assert await ann.try_out(relay.url) >= 0


# --- TLS ------------------------------------------------------------------------------------------


async def test_mail_goes_through_a_relay_with_tls(ca: Authority, tmp_path: Path) -> None:
    certificate, key = ca.issue("127.0.0.1", "localhost")
    settings = RelaySettings(
        home=tmp_path / "relay", listen="127.0.0.1:0", closed=False, tls_cert=certificate, tls_key=key
    )
    async with serve_relay(settings) as relay:
        assert relay.url.startswith("wss://")
        people = {name: (RelayTransport(ca.trusted), Witness(name)) for name in ("ann", "ben")}
        (ann, of_ann), (ben, of_ben) = people.values()
        for transport in (ann, ben):
            transport.keep(relay.url, list)
        async with ben.open(credentials("ben"), of_ben), ann.open(credentials("ann"), of_ann):
            assert await ben.find(relay.url, identity("ben").peer_id) is not None
            link = await ann.dial(identity("ben").peer_id, RelayAddr(relay.url), "relay")
            sealed = seal(identity("ann"), b"{}", ring("ben").current, bytes(16), time.time() + 3600)
            link.submit(sealed)
            await until(lambda: of_ann.answers, of_ann)
            assert isinstance(of_ann.answers[0], Delivered)
            assert of_ben.received == [sealed]


async def test_a_certificate_of_an_authority_that_we_trust_is_accepted(ca: Authority) -> None:
    async with site(upgrade, ca.listening("127.0.0.1")) as port:
        await dial(f"wss://127.0.0.1:{port}/link", ca.trusted)


async def test_an_authority_that_this_system_does_not_know_is_refused(ca: Authority) -> None:
    async with site(upgrade, ca.listening("127.0.0.1")) as port:
        with pytest.raises(LinkError, match=r"certificate is not accepted \(unable to get local issuer certificate"):
            await dial(f"wss://127.0.0.1:{port}/link")


async def test_an_authority_that_the_system_was_told_of_is_accepted(
    ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "authorities.pem"
    bundle.write_text(ssl.DER_cert_to_PEM_cert(ca.trusted.get_ca_certs(binary_form=True)[0]))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    async with site(upgrade, ca.listening("127.0.0.1")) as port:
        await dial(f"wss://127.0.0.1:{port}/link", ssl.create_default_context())


async def test_a_certificate_for_another_name_is_refused(ca: Authority) -> None:
    async with site(upgrade, ca.listening("relay.example")) as port:
        with pytest.raises(LinkError, match=r"certificate is not valid for '127\.0\.0\.1'"):
            await dial(f"wss://127.0.0.1:{port}/link", ca.trusted)


async def test_a_certificate_that_has_expired_is_refused_beside_what_our_clock_says(ca: Authority) -> None:
    """Where the clock of this machine is wrong, that is how a person notices."""
    expired, said = (
        ca.listening("127.0.0.1", lasts=dt.timedelta(days=-1)),
        "certificate has expired; the clock of this ",
    )
    async with site(upgrade, expired) as port:
        with pytest.raises(LinkError, match=rf"{said}machine says 2\d\d\d-"):
            await dial(f"wss://127.0.0.1:{port}/link", ca.trusted)
        url = f"https://127.0.0.1:{port}/"
        async with GuardedSession(as_typed(url), tls=ca.trusted) as session:
            with pytest.raises(WebError, match=rf"{said}machine says 2\d\d\d-"):
                await session.fetch(Call("GET", url))


async def test_a_listener_without_tls_is_said() -> None:
    async with site(upgrade) as port:
        with pytest.raises(LinkError, match="does not speak TLS"):
            await dial(f"wss://127.0.0.1:{port}/link")


async def test_a_listener_that_wants_tls_is_something_else(ca: Authority) -> None:
    async with site(upgrade, ca.listening("127.0.0.1")) as port:
        with pytest.raises(LinkError, match="something other than a relay answers there"):
            await dial(f"ws://127.0.0.1:{port}/link")


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_proxy_whose_relay_is_away_is_said(status: int) -> None:
    async def broken(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    async with site(broken) as port:
        with pytest.raises(LinkError, match=rf"a proxy answers there, and a relay does not.*HTTP {status}"):
            await dial(f"ws://127.0.0.1:{port}/link")


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 308, 400, 401, 403, 404, 407, 426, 429, 500])
async def test_whatever_else_a_server_says_it_is_no_relay_and_no_redirect_is_followed(status: int) -> None:
    asked: list[str] = []

    async def other(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere", "Set-Cookie": "a=b"})

    async with site(other) as port:
        for _ in range(2):
            with pytest.raises(LinkError, match="something other than a relay answers there"):
                await dial(f"ws://127.0.0.1:{port}/link")
    assert asked == ["/link", "/link"]


async def test_a_relay_is_told_nothing_but_that_we_want_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dict[str, str]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        heard.append(dict(request.headers))
        return web.Response(status=404, headers={"Set-Cookie": "a=b"})

    async with site(note) as proxy_port, site(note) as port:
        for name in ("http_proxy", "https_proxy", "ws_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://user:secret@127.0.0.1:{proxy_port}")
        async with open_client() as client:
            for _ in range(2):
                with pytest.raises(LinkError):
                    await connect(client, f"ws://127.0.0.1:{port}/team/link", "a relay")
    assert len(heard) == 2
    for headers in heard:
        assert sorted(headers) == [
            "Accept", "Accept-Encoding", "Connection", "Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
            "Upgrade", "User-Agent",
        ]  # fmt: skip
        assert (headers["Host"], headers["User-Agent"]) == (f"127.0.0.1:{port}", "mcp-a2a")


async def test_a_listener_that_says_nothing_and_closes_is_something_else() -> None:
    async def close(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await stream.receive()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, close)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  not Django
        with pytest.raises(LinkError, match="something other"):
            await dial(f"ws://127.0.0.1:{port}/link")
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ws://nobody.invalid/link", "there is no machine of that name"),
        ("wss://nobody.invalid/link", "there is no machine of that name"),
    ],
)
async def test_a_name_that_nobody_has_is_said(url: str, reason: str) -> None:
    with pytest.raises(LinkError, match=reason):
        await dial(url)
