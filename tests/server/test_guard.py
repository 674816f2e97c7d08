"""What the guard counts, the open requests of each client, and by which headers it knows a proxy."""

from __future__ import annotations

import errno
from pathlib import Path

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from mcp_a2a.a2a.asgi import CALLER
from mcp_a2a.server import guard
from mcp_a2a.server.guard import Guard, Rules, check, is_passed_on
from mcp_a2a.store.callers import CallerFolder

NAMES = {"ann's": "ann", "bob's": "bob"}

RULES = Rules(token="owner's", callers=NAMES.get)  # noqa: S106  of this test


class Streams:
    """An application whose answers have no end of their own."""

    def __init__(self) -> None:
        self.ending = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.ending.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(front: Guard, token: str, statuses: list[int]) -> None:
    headers = [(b"host", b"127.0.0.1:80"), (b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/tasks", "query_string": b"", "headers": headers}

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await front({**scope, "scheme": "http", "server": ("127.0.0.1", 80)}, receive, send)


async def test_a_client_with_too_many_requests_open_keeps_nobody_else_from_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "MAX_OPEN_PER_CALLER", 2)
    app, statuses = Streams(), list[int]()
    front = Guard(app, RULES)
    async with anyio.create_task_group() as tasks:
        for token in ("ann's", "ann's", "bob's", "owner's", "owner's", "owner's"):
            tasks.start_soon(ask, front, token, statuses)
        await anyio.wait_all_tasks_blocked()
        await ask(front, "ann's", statuses)
        assert statuses == [503]
        app.ending.set()
    assert statuses == [503] + [200] * 6
    await ask(front, "ann's", statuses)
    assert statuses[-1] == 200


class Records:
    """An application that keeps who called."""

    def __init__(self) -> None:
        self.callers: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.callers.append(scope[CALLER])
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def test_a_caller_that_is_removed_while_it_is_let_in_is_never_taken_for_the_owner() -> None:
    names = iter(["ann"])
    app, statuses = Records(), list[int]()
    front = Guard(app, Rules(token="owner's", callers=lambda _: next(names, None)))  # noqa: S106  of this test
    await ask(front, "ann's", statuses)
    await ask(front, "ann's", statuses)
    assert (app.callers, statuses) == (["ann"], [200, 401])


async def test_who_cannot_be_looked_up_now_is_told_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers = CallerFolder(tmp_path)
    token = callers.add("ann")
    app, statuses = Records(), list[int]()
    front = Guard(app, Rules(token="owner's", callers=callers.name_of))  # noqa: S106  of this test
    read = Path.read_text
    for error in (errno.EMFILE, errno.EIO, errno.EACCES):

        def fail(*_: object, error: int = error, **__: object) -> str:
            raise OSError(error, "no")

        monkeypatch.setattr(Path, "read_text", fail)
        await ask(front, token, statuses)
        monkeypatch.setattr(Path, "read_text", read)
        await ask(front, token, statuses)
    assert statuses == [503, 200] * 3
    assert app.callers == ["ann"] * 3


@pytest.mark.parametrize("path", ["/message:send", "/", "/mcp"])
@pytest.mark.parametrize(
    ("field", "value", "plain"),
    [
        (b"content-encoding", b"gzip", False),
        (b"content-encoding", b"identity, BR", False),
        (b"transfer-encoding", b"gzip, chunked", False),
        (b"transfer-encoding", b"chunked", True),
        (b"content-encoding", b"Identity", True),
    ],
)
def test_a_compressed_request_is_said_to_be_one(path: str, field: bytes, value: bytes, *, plain: bool) -> None:
    owner = (b"authorization", b"Bearer owner's")
    headers = [(b"host", b"127.0.0.1:80"), owner, (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [*headers, (field, value)]}
    refusal = check({**scope, "scheme": "http", "server": ("127.0.0.1", 80)}, RULES)
    if plain:
        assert refusal is None
    else:
        assert refusal is not None
        assert (refusal.status, "compressed" in refusal.reason) == (415, True)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("[fe80::1]:3000", None),
        ("[fe80::1%25v0]:3000", None),
        ("[FE80::1%v0]:3000", None),
        ("[fe80::2%25v0]:3000", 421),
        ("[fe80::1%25v0.evil.example]:3000", None),
        ("evil.example%25[fe80::1]:3000", 421),
        ("[fe80::1%25v0]:3000@evil.example", 421),
        ("[fe80::1%25v0].evil.example:3000", 421),
    ],
)
def test_the_zone_in_a_host_is_a_name_of_the_client_for_its_own_interface(host: str, status: int | None) -> None:
    headers = [(b"host", host.encode()), (b"authorization", b"Bearer owner's")]
    scope = {"type": "http", "method": "GET", "path": "/tasks", "query_string": b"", "headers": headers}
    refusal = check({**scope, "scheme": "http", "server": ("fe80::1", 3000)}, RULES)
    assert (refusal.status if refusal is not None else None) == status


# --- what proxies add --------------------------------------------------------------------------------

PROXIES = {
    "standards": "Forwarded Via Early-Data CDN-Loop Surrogate-Capability Forwarded-For",
    "anything": "X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Forwarded-Server X-Forwarded-By "
    "X-Forwarded X-Forward-For X-Forwarded-Client-Cert X-Original-Forwarded-For X-Real-IP X-Real-Port X-Client-IP "
    "Client-IP True-Client-IP X-True-Client-IP X-Cluster-Client-IP X-Remote-IP X-Remote-Addr X-Originating-IP X-Host "
    "X-Source-IP X-Scheme X-URL-Scheme X-SSL-Client-Cert SSL-Client-Verify Front-End-Https Proxy-Client-IP Remote-User "
    "HTTP_X_FORWARDED_FOR HTTP_CLIENT_IP HTTP_VIA Z-Forwarded-For X-Comingfrom",
    "cloudflare": "CF-Connecting-IP CF-Connecting-IPv6 CF-Ray CF-Visitor CF-IPCountry CF-Worker "
    "Cf-Access-Jwt-Assertion",
    "akamai": "True-Client-IP Akamai-Origin-Hop X-Akamai-Edgescape",
    "fastly": "Fastly-Client-IP Fastly-FF X-Varnish X-Fastly-Orig-Host",
    "amazon": "X-Amzn-Trace-Id X-Amz-Cf-Id CloudFront-Viewer-Address CloudFront-Forwarded-Proto",
    "google": "X-Cloud-Trace-Context X-Appengine-User-IP X-Goog-Authenticated-User-Email X-Goog-IAP-JWT-Assertion",
    "azure": "X-Azure-ClientIP X-Azure-SocketIP X-FD-HealthProbe X-ARR-LOG-ID X-MS-CLIENT-PRINCIPAL-NAME "
    "Ocp-Apim-Subscription-Key X-Rewrite-URL X-Original-URL X-Original-Host",
    "hosts": "Fly-Client-IP Fly-Forwarded-Proto X-Vercel-Forwarded-For X-NF-Client-Connection-IP X-Railway-Edge "
    "Rndr-Id X-Replit-User-Id DO-Connecting-IP X-Request-Start",
    "other networks": "Incap-Client-IP X-Sucuri-ClientIP Ali-CDN-Real-IP EagleId CDN-RequestId X-CDN X-Edge-Location",
    "tunnels": "Ngrok-Auth-User-Email Tailscale-User-Login Tailscale-User-Name Tailscale-Funnel-Request X-Tunnel-Id "
    "X-Proxy X-Inlets-Id X-PageKite-Port Teleport-Jwt-Assertion",
    "proxies": "X-Envoy-External-Address X-Envoy-Original-Path X-Haproxy-Id X-Nginx-Proxy X-Accel-Internal "
    "X-Kong-Proxy X-Consumer-Username X-Istio-Attributes l5d-client-id WL-Proxy-Client-IP X-BlueCoat-Via "
    "X-ProxyUser-IP",
    "logins": "X-Auth-Request-User X-authentik-username X-WebAuth-User X-Pomerium-Jwt-Assertion Remote-Email",
}


@pytest.mark.parametrize("product", PROXIES)
def test_a_request_with_what_a_proxy_adds_was_passed_on_however_that_is_spelled(product: str) -> None:
    names = PROXIES[product].split()
    spelled = [
        spell(name) for name in names for spell in (str, str.lower, str.upper, lambda name: name.replace("-", "_"))
    ]
    assert [name for name in spelled if not is_passed_on(["host", name, "accept"])] == []
