"""The HTTP server: MCP at `/mcp` in both protocol eras, A2A everywhere else, behind one guard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import ExitStack, contextmanager
from socket import socket

import anyio
import uvicorn
from anyio.abc import TaskStatus
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcp_a2a.accepting import MAX_HANDSHAKES, RESERVED_FILES, accept, raise_open_files
from mcp_a2a.certificates import ServerTls
from mcp_a2a.errors import ConfigurationError
from mcp_a2a.server.address import Listen, url_of
from mcp_a2a.server.closing import OpenRequests
from mcp_a2a.server.connection import Connection
from mcp_a2a.server.guard import HEALTH_PATH, INNER_HOST, MCP_PATH, Guard, Rules
from mcp_a2a.server.listening import Certificate
from mcp_a2a.server.local_user import can_tell
from mcp_a2a.server.mcp_requests import McpRequests
from mcp_a2a.server.reception import MAX_CONNECTIONS, Limits, Reception
from mcp_a2a.server.sdk import LifespanT
from mcp_a2a.server.signals import stop_on_signal

MAX_BODY_BYTES = 4 * 1024 * 1024
"""The SDK counts while the body arrives, and answers 413 without waiting for the rest."""

GRACE_SECONDS = 1.0
"""How long open requests may go on after a signal. Without it an open `subscriptions/listen` would never end."""

OTHER_FILES = 256
"""Open files of a node: its database, links, sockets to other processes, files of tasks."""


def http_app(
    server: MCPServer[LifespanT] | None, rules: Rules, *, a2a: ASGIApp | None = None, stateless: bool = True
) -> ASGIApp:
    """The whole application, of one of them or both.

    Stateless by default: hosted clients open a session per call and do not survive a restart of a server that keeps
    them. A stateful server can ask clients of the older era something in the middle of a call.
    """
    if server is None:
        return Guard(_Split(a2a or _nothing, Starlette(routes=[Route(HEALTH_PATH, _healthy)])), rules)
    inner = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        stateless_http=stateless,
        max_request_body_size=MAX_BODY_BYTES,
        transport_security=TransportSecuritySettings(allowed_hosts=[INNER_HOST], allowed_origins=[]),
    )
    routes = [Route(HEALTH_PATH, _healthy), Mount("/", app=McpRequests(inner))]
    mcp = Starlette(routes=routes, lifespan=lambda _: server.session_manager.run())
    return Guard(_Split(a2a, mcp) if a2a is not None else mcp, rules)


class _Split:
    """A2A has every path but those of MCP, and is reached without a router in between."""

    def __init__(self, a2a: ASGIApp, rest: ASGIApp) -> None:
        self._a2a, self._rest = a2a, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_rest = scope["type"] != "http" or scope["path"] in (MCP_PATH, HEALTH_PATH)
        await (self._rest if is_rest else self._a2a)(scope, receive, send)


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
    start: Callable[[], None] | None = None,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until SIGTERM, SIGINT or SIGHUP; then return normally, soon after `GRACE_SECONDS`.

    A program of this user needs no token, where `this_user` allows it and that can be told (`local_user`): never beyond
    loopback, behind a proxy, or with names of a tunnel in `hosts` or `origins`.

    `task_status.started` gets the URL, without a path, once connections are accepted, after which `start` is called.

    Raises:
        PortInUseError: another program has the port.
        ConfigurationError: the address cannot be used, or there is no token and nothing else tells who calls.
    """
    # A proxy or a tunnel on this machine is a program of this user, and speaks for everybody.
    this_user = this_user and listen.local and not (hosts or origins or behind_proxy) and can_tell()
    if token is None and not this_user:
        raise ConfigurationError(
            f"Listening on {listen.host} lets others in, and nothing shows who they are, so it needs a token.",
            "Let mcp-a2a make one.",
        )
    rules = Rules(token=token, this_user=this_user, callers=callers, hosts=_lowered(hosts), origins=_lowered(origins))
    with ExitStack() as stack:
        bound = [stack.enter_context(one) for one in listen.bind_all()]
        files = raise_open_files(MAX_CONNECTIONS + MAX_HANDSHAKES + RESERVED_FILES + OTHER_FILES)
        limits = limits or Limits.within(files - MAX_HANDSHAKES - RESERVED_FILES - OTHER_FILES)
        reception = Reception(limits, behind_proxy=behind_proxy)
        web = _WebServer(http_app(server, rules, a2a=a2a, stateless=stateless), tls, reception)
        async with anyio.create_task_group() as group:
            await group.start(stop_on_signal, web.stop)
            try:
                await group.start(web.serve_on, bound)
                task_status.started(url_of(bound[0], "http" if tls is None else "https"))
                if start is not None:
                    start()
                await web.finished.wait()
            finally:
                web.should_exit = True  # and the group waits until it has
            group.cancel_scope.cancel()


class _WebServer(uvicorn.Server):
    """uvicorn inside a task group: it leaves the signals to us and cannot be cut off in the middle of its shutdown."""

    def __init__(self, app: ASGIApp, tls: Certificate | None, reception: Reception) -> None:
        self._requests, self._reception = OpenRequests(app), reception
        config = uvicorn.Config(
            self._requests,
            http=HttpToolsProtocol,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # nobody but us decides who is calling
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=3,  # ours is shorter; this is for what does not listen to it
        )
        super().__init__(config)
        self._tls = None if tls is None else ServerTls(tls.chain, tls.key)
        self.finished = anyio.Event()
        self._ready, self._accepting = anyio.Event(), anyio.CancelScope()

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
                    one.listen()  # so that whoever reads the URL is let in
                    group.start_soon(accept, one, self._connection, self._tls)
                task_status.started()

    def _connection(self) -> Connection:
        return Connection(
            self._reception, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
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
        self._reception.show_out(anyio.current_time())
        return await super().on_tick(counter)

    async def _end_requests(self) -> None:
        await anyio.sleep(GRACE_SECONDS)
        self._requests.end()

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def _healthy(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


def _lowered(names: Collection[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)
