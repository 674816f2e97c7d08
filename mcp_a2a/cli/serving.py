"""The MCP server, on a pipe or on a port. Knows no command-line library: an assistant waits for its first answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import anyio

from mcp_a2a.app import open_node
from mcp_a2a.cli.options import UsageError
from mcp_a2a.config import Settings
from mcp_a2a.loop import run


@dataclass(frozen=True)
class Listening:
    """Where to serve: an address as a person writes it, and the public URLs that lead there."""

    address: str
    public_urls: tuple[str, ...] = ()
    card: Literal["v1", "dual"] = "dual"


def parse(words: Sequence[str]) -> Listening | None:
    """Read what follows `serve`; None is the pipe.

    Raises:
        UsageError: it is something else.
    """
    address, urls, card = None, [], "dual"
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in ("--listen", "--public-url", "--card"):
            raise UsageError(f"{word} is nothing that a server takes. mcp-a2a serve --help")
        value = value if equals else next(rest, "")
        if not value:
            raise UsageError(f"{name} needs a value, as in --listen :3000")
        match name:
            case "--listen":
                address = value
            case "--card":
                card = value
            case _:
                urls.append(value)
    return listening(address, urls, card)


def listening(address: str | None, urls: Sequence[str], card: str) -> Listening | None:
    """Where to serve, as it was said; None where nothing was.

    Raises:
        UsageError: it does not fit together.
    """
    if card not in ("v1", "dual"):
        raise UsageError(f"--card {card}: a card is v1, or dual (with the keys of A2A 0.3 as well).")
    if address is None and urls:
        raise UsageError("--public-url goes with --listen.")
    return Listening(address, tuple(urls), cast("Literal['v1', 'dual']", card)) if address is not None else None


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
    from mcp_a2a.server import hosting  # noqa: PLC0415  see `_serve_pipe`
    from mcp_a2a.server.surface import build_server  # noqa: PLC0415  see `_serve_pipe`

    where = hosting.Listening(listening.address, listening.public_urls, listening.card)
    async with open_node(settings, eager=False) as node, anyio.create_task_group() as tasks:
        serve = partial(hosting.host, node, build_server(node), where, settings, start=node.start)
        served: hosting.Served = await tasks.start(serve)
        _say(f"MCP server at {served.url}/mcp")
        _say(f"A2A server at {served.url}/   agents behind this node at {served.url}/a/NAME/")
        if served.token is not None:
            _say(f"Send this header:  Authorization: Bearer {served.token.value}   (kept in {served.token.path})")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
