"""Opens the port that a person asked for: what is served there, by which names, and with which token."""

from __future__ import annotations

import ipaddress
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
from anyio.abc import TaskStatus
from typing_extensions import override

from mcp_a2a.a2a.asgi import A2AApp, Offer
from mcp_a2a.api.a2a import OWN_AGENT, OWNER
from mcp_a2a.certificates import CertificateFiles
from mcp_a2a.config import Settings
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.server.address import Listen
from mcp_a2a.server.guard import Rules, admitted
from mcp_a2a.server.http import serve_http
from mcp_a2a.server.listening import PUSH_LOCAL_RULE, Listening
from mcp_a2a.server.local_user import can_tell
from mcp_a2a.store.callers import CallerFolder
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import open_folder, written_aside

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from mcp_a2a.a2a.grpc_server import GrpcOffer
    from mcp_a2a.api.news import EventView
    from mcp_a2a.ports import NodeApi


@dataclass(frozen=True)
class Served:
    """The served URLs, and the credentials of their callers."""

    url: str
    """Without a path, and without a slash at its end."""
    token: Token
    this_user: bool
    """True if programs of this user need no token."""
    show_token: bool = False
    """True if a terminal is shown a token that was made earlier."""
    warnings: tuple[str, ...] = ()
    """Warnings for the person that started it."""
    public_url: str | None = None
    """The URL at which others reach it, if it differs."""
    grpc: str | None = None
    """[HOST]:PORT of gRPC, where it is served."""

    @property
    def shown_url(self) -> str:
        """The URL to give to clients, without a slash at its end."""
        return self.public_url or self.url

    def how_to_call(self, *, show: bool) -> Iterator[str]:
        """The credentials for callers. The token is in them when it is new; later if asked for, and with `show`."""
        who = "Programs of this user need no token. Others send this header" if self.this_user else "Send this header"
        if self.token.new or (show and self.show_token):
            yield f"{who}:  Authorization: Bearer {self.token.value}   (kept in {self.token.path})"
        else:
            yield f"{who}:  Authorization: Bearer TOKEN   (kept in {self.token.path}; on a terminal --show-token)"


async def host(  # noqa: PLR0913  keyword-only settings of a server
    node: NodeApi,
    mcp: MCPServer[NodeApi] | None,
    listening: Listening,
    settings: Settings,
    *,
    tell: Callable[[EventView], None] | None = None,
    start: Callable[[], None] | None = None,
    task_status: TaskStatus[Served] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve A2A, and MCP where there is a server for it, until cancelled or told to stop by a signal.

    Raises:
        PortInUseError, ConfigurationError
    """
    listen = Listen.parse(listening.address)
    if settings.a2a_push_local and not listening.here_only:
        raise ConfigurationError(PUSH_LOCAL_RULE, "Leave --a2a-push-local (MCP_A2A_A2A_PUSH_LOCAL) out.")
    if listening.certificate is not None:
        listening.certificate.check()
    open_folder(settings.home)
    folder = open_folder(settings.folder)
    token, callers = load_token(folder), CallerFolder(folder)
    rules = Rules(token=token.value, this_user=_is_told_by_user(listen, listening), callers=callers.name_of)
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        grpc, web = None, _Web()
        if listening.grpc_listen is not None:
            offering = partial(_grpc_offer, listening, settings, rules, web, callers)
            port = await stack.enter_async_context(_serve_grpc(node, listening.grpc_listen, rules, offering))
            grpc = _grpc_address(listening, port)
        web.app = A2AApp(node, _offer(listening, settings, rules, grpc), callers.agents_of)
        serve = partial(
            serve_http,
            mcp,
            listen,
            a2a=web.app,
            callers=rules.callers,
            token=rules.token,
            this_user=rules.this_user,
            hosts=[urlsplit(url).netloc for url in listening.public_url],
            origins=listening.public_url,
            tls=listening.certificate,
            behind_proxy=listening.behind_proxy,
            tell=tell,
            start=start,
        )
        web.url = await tasks.start(serve)
        web.serves.set()
        task_status.started(_served(web.url, listening, rules, token, grpc))


def _offer(listening: Listening, settings: Settings, rules: Rules, grpc: str | None) -> Offer:
    return Offer(
        style=listening.card,
        push=settings.pushes,
        token=not rules.this_user,
        url=listening.public_url[0] if listening.public_url else None,
        grpc=grpc if listening.grpc_in_card else None,
    )


def _served(url: str, listening: Listening, rules: Rules, token: Token, grpc: str | None) -> Served:
    public_url = listening.public_url[0].rstrip("/") if listening.public_url else None
    warnings = tuple(_warnings(listening))
    return Served(url, token, rules.this_user, listening.show_token, warnings, public_url, grpc)


class _Web:
    """The HTTP server beside gRPC, which is there a moment later: cards and files are its."""

    def __init__(self) -> None:
        self.app: A2AApp | None = None
        self.url = ""
        self.serves = anyio.Event()

    async def card(self) -> bytes:
        await self.serves.wait()
        return await self.app.own_card(self.url) if self.app is not None else b"null"

    def file_url(self, task_id: str, file_id: str) -> str:
        return self.app.own_file_url(self.url, task_id, file_id) if self.app is not None else ""


@asynccontextmanager
async def _serve_grpc(
    node: NodeApi, address: str, rules: Rules, offering: Callable[[], GrpcOffer]
) -> AsyncIterator[int]:
    try:
        from mcp_a2a.a2a.grpc_server import grpc_server  # noqa: PLC0415  an extra, which few install
    except ImportError as error:
        raise ConfigurationError(
            f"gRPC cannot be served: {error}.", "Install the extra: pip install 'mcp-a2a[grpc]'"
        ) from error
    listen = Listen.parse(address)
    host = "::" if listen.also == "::" else listen.host  # which gRPC takes for both families
    async with grpc_server(node, f"{_bracketed(host)}:{listen.port}", offering()) as port:
        yield port


def _grpc_offer(listening: Listening, settings: Settings, rules: Rules, web: _Web, callers: CallerFolder) -> GrpcOffer:
    from mcp_a2a.a2a.grpc_server import GrpcOffer  # noqa: PLC0415  see `_serve_grpc`

    certificate = listening.certificate
    if not Listen.parse(listening.grpc_listen or "").local:
        rules = replace(rules, this_user=False)
    return GrpcOffer(
        partial(admitted, rules),
        lambda caller: caller == OWNER or OWN_AGENT in callers.agents_of(caller),
        push=settings.pushes,
        token=not rules.this_user,
        certificate=CertificateFiles(certificate.chain, certificate.key) if certificate else None,
        show_card=web.card,
        file_url=web.file_url,
    )


def _is_told_by_user(listen: Listen, listening: Listening) -> bool:
    """True if the user of a connection says who calls.

    Not where a proxy or a tunnel leads here: it ends at loopback as a program of this user, but begins anywhere.
    """
    if listening.token or listening.public_url or listening.behind_proxy:
        return False
    return listen.local and can_tell()


def _grpc_address(listening: Listening, port: int) -> str:
    """The gRPC address on cards: the one that it is bound to; of a server on every address, the port alone."""
    host = Listen.parse(listening.grpc_listen or "").host
    anywhere = listening.public_url or ipaddress.ip_address(host).is_unspecified
    return f":{port}" if anywhere else f"{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _warnings(listening: Listening) -> Iterator[str]:
    if listening.is_overheard:
        yield (
            "An observer of the network can read the requests to this server, including the token. "
            "Use --tls-cert and --tls-key, or a proxy and --behind-proxy."
        )


# The bearer token of the HTTP server: made once, kept beside the identity, readable by its owner alone.

TOKEN_FILE = "http.token"  # noqa: S105  a file name
_TOKEN_BYTES = 32


@dataclass(frozen=True)
class Token:
    """The token, where it is kept, and whether it was made just now."""

    value: str
    path: Path
    new: bool

    @override
    def __repr__(self) -> str:
        return f"Token(path={self.path})"


def load_token(folder: Path) -> Token:
    """The token of this identity; the first call makes it.

    Raises:
        ConfigurationError: others can read it, or it is damaged.
        HomeUnusableError: the folder does not allow it.
    """
    path = folder / TOKEN_FILE
    try:
        if not path.exists() and _write_once(path, secrets.token_urlsafe(_TOKEN_BYTES)):
            return Token(_read(path), path, new=True)
        return Token(_read(path), path, new=False)
    except OSError as error:
        raise refused(folder, error) from error


def _write_once(path: Path, value: str) -> bool:
    # Linked into place when it is complete: of two servers that start together, both use the token of the first.
    with written_aside(path, value.encode() + b"\n") as aside:
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
    return True


def _read(path: Path) -> str:
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise ConfigurationError(
            f"Others can read the HTTP token {path} (mode {mode:04o}), so it is not used.",
            "Delete it; the next start makes a new one.",
        )
    value = path.read_text(encoding="ascii", errors="replace").strip()
    if len(value) < _TOKEN_BYTES or not value.isascii():
        raise ConfigurationError(f"The HTTP token {path} is damaged.", "Delete it; the next start makes a new one.")
    return value
