"""The HTTP server: MCP at `/mcp` in both protocol eras, A2A everywhere else, behind one guard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from socket import socket

import anyio
import uvicorn
from anyio.abc import TaskStatus
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcp_a2a.a2a.asgi import CALLER
from mcp_a2a.a2a.card import PATHS as CARD_PATHS
from mcp_a2a.accepting import MAX_HANDSHAKES, RESERVED_FILES, accept, raise_open_files
from mcp_a2a.api.news import EventView
from mcp_a2a.certificates import ServerTls
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.times import iso
from mcp_a2a.protocol.web_url import own_host_in_url
from mcp_a2a.server.address import Listen, url_of
from mcp_a2a.server.closing import OpenRequests, stop_on_signal
from mcp_a2a.server.connection import Connection
from mcp_a2a.server.connection_limits import MAX_CONNECTIONS, HttpConnection, LimitedConnections, Limits
from mcp_a2a.server.guard import HEALTH_PATH, INNER_HOST, MCP_PATH, Guard, Rules
from mcp_a2a.server.listening import Certificate
from mcp_a2a.server.local_user import can_tell
from mcp_a2a.server.mcp_requests import McpRequests
from mcp_a2a.server.page import page, wants_page
from mcp_a2a.server.sdk import LifespanT
from mcp_a2a.server.visitors import Visitors, name_in
from mcp_a2a.wall_clock import wall_clock

MAX_BODY_BYTES = 4 * 1024 * 1024
"""The SDK counts while the body arrives, and answers 413 without waiting for the rest."""

GRACE_SECONDS = 1.0
"""Seconds that open requests may go on after a signal. Without it an open `subscriptions/listen` would never end."""

OTHER_FILES = 256
"""Open files of a node: its database, links, sockets to other processes, files of tasks."""


def http_app(
    server: MCPServer[LifespanT] | None,
    rules: Rules,
    *,
    a2a: ASGIApp | None = None,
    stateless: bool = True,
    visitors: Visitors | None = None,
    url: str | None = None,
) -> ASGIApp:
    """The whole application, of one of them or both.

    Stateless by default: hosted clients open a session per call and do not survive a restart of a server that keeps
    them. A stateful server can ask clients of the older era something in the middle of a call.
    """
    refused = visitors.refused if visitors is not None else lambda *_: None
    if server is None:
        health = Starlette(routes=[Route(HEALTH_PATH, _healthy)])
        return Guard(_Split(a2a or _nothing, health, visitors, url, mcp=False), rules, refused)
    inner = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        stateless_http=stateless,
        max_request_body_size=MAX_BODY_BYTES,
        transport_security=TransportSecuritySettings(allowed_hosts=[INNER_HOST], allowed_origins=[]),
    )
    routes = [Route(HEALTH_PATH, _healthy), Mount("/", app=McpRequests(inner, partial(_seen, visitors)))]
    mcp = Starlette(routes=routes, lifespan=lambda _: server.session_manager.run())
    return Guard(_Split(a2a, mcp, visitors, url, mcp=True) if a2a is not None else mcp, rules, refused)


class _Split:
    """A2A has every path but those of MCP, and is reached without a router in between. A person gets a page."""

    def __init__(self, a2a: ASGIApp, rest: ASGIApp, visitors: Visitors | None, url: str | None, *, mcp: bool) -> None:
        self._a2a, self._rest = a2a, rest
        self._visitors, self._url, self._mcp = visitors, url, mcp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == HEALTH_PATH:
            return await self._rest(scope, receive, send)
        is_mcp = scope["path"] == MCP_PATH
        if (scope["path"] == "/" or (is_mcp and self._mcp)) and wants_page(scope):
            origin = self._url or _origin(scope)
            return await page(scope, origin.rstrip("/"), mcp=self._mcp)(scope, receive, send)
        if is_mcp:
            return await self._rest(scope, receive, send)
        if self._visitors is not None and scope["path"] not in CARD_PATHS:
            self._visitors.asks(scope, "A2A", str(scope.get(CALLER) or ""), None, anyio.current_time())
        return await self._a2a(scope, receive, send)


def _seen(visitors: Visitors | None, scope: Scope, message: Mapping[str, JsonValue]) -> None:
    if visitors is not None:
        visitors.asks(scope, "MCP", "", name_in(message), anyio.current_time())


def _origin(scope: Scope) -> str:
    """The origin of the server by the connection's own address: the client's `Host` is not repeated."""
    host, port = scope["server"]
    return f"{scope['scheme']}://{own_host_in_url(host)}:{port}"


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("Nothing is served here.\n", 404)(scope, receive, send)


async def serve_http(  # noqa: PLR0913  keyword-only settings of a server
    server: MCPServer[LifespanT] | None,
    listen: Listen,
    *,
    a2a: ASGIApp | None = None,
    callers: Callable[[str], str | None] = lambda _: None,
    token: str | None = None,
    this_user: bool = True,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    tls: Certificate | None = None,
    behind_proxy: bool = False,
    limits: Limits | None = None,
    stateless: bool = True,
    tell: Callable[[EventView], None] | None = None,
    start: Callable[[], None] | None = None,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until SIGTERM, SIGINT or SIGHUP; then return normally, soon after `GRACE_SECONDS`.

    A program of this user needs no token, where `this_user` allows it and that can be told (`local_user`): never beyond
    loopback, behind a proxy, or with names of a tunnel in `hosts` or `origins`.

    `tell` is told of clients that come and go, and of requests that are refused.
    `task_status.started` gets the URL, without a path, once connections are accepted, after which `start` is called.

    Raises:
        PortInUseError: another program has the port.
        ConfigurationError: the address cannot be used, or there is no token and nothing else tells who calls.
    """
    # A proxy or a tunnel on this machine is a program of this user, and speaks for all its clients.
    this_user = this_user and listen.local and not (hosts or origins or behind_proxy) and can_tell()
    if token is None and not this_user:
        raise ConfigurationError(
            f"Listening on {listen.host} lets others in, and nothing shows who they are, so it needs a token.",
            "Let mcp-a2a make one.",
        )
    rules = Rules(token=token, this_user=this_user, callers=callers, hosts=_lowered(hosts), origins=_lowered(origins))
    with ExitStack() as stack:
        bound = [stack.enter_context(one) for one in listen.bind_all()]
        visitors = Visitors(tell, _stamp) if tell is not None else None
        app = http_app(server, rules, a2a=a2a, stateless=stateless, visitors=visitors, url=next(iter(origins), None))
        web = _WebServer(app, tls, LimitedConnections(limits or _limits_here(), behind_proxy=behind_proxy), visitors)

        def started() -> None:
            task_status.started(url_of(*bound, scheme="http" if tls is None else "https"))
            if start is not None:
                start()

        await web.serve_until_stopped(bound, started)


def _limits_here() -> Limits:
    """As many connections as the system allows open files."""
    others = MAX_HANDSHAKES + RESERVED_FILES + OTHER_FILES
    return Limits.within(raise_open_files(MAX_CONNECTIONS + others) - others)


class _WebServer(uvicorn.Server):
    """uvicorn inside a task group: it leaves the signals to us and cannot be cut off in the middle of its shutdown."""

    def __init__(
        self, app: ASGIApp, tls: Certificate | None, connections: LimitedConnections, visitors: Visitors | None = None
    ) -> None:
        self._requests, self._connections, self._visitors = OpenRequests(app), connections, visitors
        if visitors is not None:
            connections.on_left = self._left
        config = uvicorn.Config(
            self._requests,
            http=HttpToolsProtocol,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # the guard alone decides who is calling
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=3,  # ours is shorter; this is for what does not listen to it
        )
        super().__init__(config)
        self._tls = None if tls is None else ServerTls(tls.chain, tls.key)
        self.finished = anyio.Event()
        self._ready, self._accepting = anyio.Event(), anyio.CancelScope()

    async def serve_until_stopped(self, bound: Sequence[socket], started: Callable[[], None]) -> None:
        """Serve until cancelled or told to stop by a signal; `started` is called when connections are accepted."""
        async with anyio.create_task_group() as group:
            await group.start(stop_on_signal, self.stop)
            try:
                await group.start(self.serve_on, bound)
                started()
                await self.finished.wait()
            finally:
                self.should_exit = True  # and the group waits until it has
            group.cancel_scope.cancel()

    async def serve_on(self, bound: Sequence[socket], *, task_status: TaskStatus[None]) -> None:
        """Serve until `should_exit`; reports as started when connections are accepted."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                group.start_soon(self._accept, bound, task_status)
                await self.serve(sockets=[])
                group.cancel_scope.cancel()
        self.finished.set()

    def stop(self) -> None:
        """Stop accepting and end; the second time, at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def _accept(self, bound: Sequence[socket], task_status: TaskStatus[None]) -> None:
        await self._ready.wait()
        with self._accepting:
            async with anyio.create_task_group() as group:
                for one in bound:
                    one.listen()  # before the URL is told, so that its readers are let in
                    group.start_soon(accept, one, self._connection, self._tls)
                task_status.started()

    def _connection(self) -> Connection:
        return Connection(
            self._connections, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    @override
    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    @override
    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._accepting.cancel()
        async with anyio.create_task_group() as group:
            group.start_soon(self._end_requests)
            await super().shutdown(sockets)
            group.cancel_scope.cancel()

    @override
    async def on_tick(self, counter: int) -> bool:
        now = anyio.current_time()
        self._connections.evict_overdue(now)
        if self._visitors is not None:
            self._visitors.forget_idle(now)
        return await super().on_tick(counter)

    def _left(self, connection: HttpConnection) -> None:
        if self._visitors is not None and connection.client is not None:
            self._visitors.closed(connection.client, anyio.current_time())

    async def _end_requests(self) -> None:
        await anyio.sleep(GRACE_SECONDS)
        self._requests.end()

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _stamp() -> str:
    return iso(wall_clock())


async def _healthy(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


def _lowered(names: Collection[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)
