"""The MCP server, on a pipe or on a port. Knows no command-line library: an assistant waits for its first answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

from mcp_a2a.app import open_node
from mcp_a2a.cli.options import UsageError
from mcp_a2a.config import Settings
from mcp_a2a.loop import run


@dataclass(frozen=True)
class Listening:
    """Where to serve: an address as a person writes it, and the public URLs that lead there."""

    address: str
    public_urls: tuple[str, ...] = ()


def parse(words: Sequence[str]) -> Listening | None:
    """Read what follows `serve`; None is the pipe.

    Raises:
        UsageError: it is something else.
    """
    address, urls = None, []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in ("--listen", "--public-url"):
            raise UsageError(f"{word} is nothing that a server takes. mcp-a2a serve --help")
        value = value if equals else next(rest, "")
        if not value:
            raise UsageError(f"{name} needs a value, as in --listen :3000")
        if name == "--listen":
            address = value
        else:
            urls.append(value)
    if address is None and urls:
        raise UsageError("--public-url goes with --listen.")
    return Listening(address, tuple(urls)) if address is not None else None


def serve(settings: Settings, listening: Listening | None) -> None:
    """Serve until the client or a signal ends it.

    Raises:
        McpA2AError: it cannot serve, and why.
    """

    async def operate() -> None:
        await (_serve_pipe(settings) if listening is None else _serve_port(settings, listening))

    run(operate)


async def _serve_pipe(settings: Settings) -> None:
    from mcp_a2a.server.stdio import serve_stdio  # noqa: PLC0415  the HTTP server does without
    from mcp_a2a.server.surface import build_server  # noqa: PLC0415  half a second, spent after the arguments are read

    async with open_node(settings, eager=False) as node:
        await serve_stdio(build_server(node), node.start)


async def _serve_port(settings: Settings, listening: Listening) -> None:
    from urllib.parse import urlsplit  # noqa: PLC0415  see `_serve_pipe`

    from mcp_a2a.server.address import Listen  # noqa: PLC0415  see `_serve_pipe`
    from mcp_a2a.server.http import serve_http  # noqa: PLC0415  see `_serve_pipe`
    from mcp_a2a.server.surface import build_server  # noqa: PLC0415  see `_serve_pipe`
    from mcp_a2a.server.token import load_token  # noqa: PLC0415  see `_serve_pipe`
    from mcp_a2a.store.folder import open_folder  # noqa: PLC0415  see `_serve_pipe`

    listen = Listen.parse(listening.address)
    # A public URL ends at loopback, but begins anywhere.
    token = None
    if not listen.local or listening.public_urls:
        open_folder(settings.home)
        token = load_token(open_folder(settings.folder))
    hosts = [urlsplit(url).netloc for url in listening.public_urls]
    async with open_node(settings, eager=False) as node, anyio.create_task_group() as tasks:

        async def announce(*, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
            await serve_http(
                build_server(node),
                listen,
                token=token.value if token else None,
                hosts=hosts,
                origins=listening.public_urls,
                start=node.start,
                task_status=task_status,
            )

        url = await tasks.start(announce)
        _say(f"MCP server at {url}")
        if token is not None:
            _say(f"Send this header:  Authorization: Bearer {token.value}   (kept in {token.path})")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
