"""The MCP server, on a pipe or on a port. Knows no command-line library: an assistant waits for its first answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
from anyio.abc import TaskStatus

from mcp_a2a.app import announce_a2a, open_node
from mcp_a2a.cli.options import SERVER_OPTIONS, Options, UsageError, no_such_option
from mcp_a2a.cli.session import set_up_logging
from mcp_a2a.config import Settings, load_settings
from mcp_a2a.loop import run
from mcp_a2a.own_command import own_command
from mcp_a2a.protocol.text import clean
from mcp_a2a.server.address import Listen
from mcp_a2a.server.listening import PUSH_LOCAL_RULE, Listening
from mcp_a2a.serving_options import SWITCHES, VALUED, ServingOptions, flag_of

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.cli.output import Output
    from mcp_a2a.front.handover import Handover
    from mcp_a2a.server.hosting import Served


def parse(words: Sequence[str]) -> Listening | None:
    """Read what follows `serve`; None is the pipe.

    Raises:
        UsageError: it is something else.
    """
    given: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in ("--listen", *VALUED):
            value = value if equals else next(rest, "")
            if not value:
                raise UsageError(f"{name} needs a value, as in --listen :3000")
        elif word not in SWITCHES:
            if word.startswith("-"):
                raise UsageError(
                    f"{no_such_option(word, SERVER_OPTIONS)} mcp-a2a serve --help lists those of a server."
                )
            raise UsageError(f"{word} is not an option of the server. See mcp-a2a serve --help")
        given.setdefault(name, []).append(value)
    address = given.pop("--listen", [None])[-1]
    return listening(address, ServingOptions.of({name[2:].replace("-", "_"): values for name, values in given.items()}))


def listening(address: str | None, options: ServingOptions, flag: str = "--listen") -> Listening | None:
    """The address and the options of a server; None without an address.

    Raises:
        UsageError: it does not fit together.
        ConfigurationError: it is no address to listen on.
    """
    if options.card not in ("v1", "dual"):
        raise UsageError(f"--card {options.card}: choose v1, or dual, which also serves A2A 0.3.")
    if address is None:
        if replace(options, card="dual") != ServingOptions():
            *names, last = [flag_of(one.name) for one in fields(ServingOptions) if one.name != "card"]
            raise UsageError(f"{', '.join(names)} and {last} go with {flag}.")
        return None
    made = Listening(address, **vars(options))
    if made.tls_key is not None and made.tls_cert is None:
        raise UsageError("--tls-key needs its certificate as well: add --tls-cert.")
    for url in made.public_url:
        _check_public(url)
    for where in filter(None, (address, made.grpc_listen)):
        Listen.parse(where)
    for file in filter(None, (made.tls_cert, made.tls_key)):
        _check_readable(file)
    _check_together(made)
    return made


def _check_together(made: Listening) -> None:
    """Check that each option has the others that it needs.

    Raises:
        UsageError
    """
    if made.behind_proxy and not made.public_url:
        raise UsageError("--behind-proxy needs --public-url: the URL at which clients reach the proxy.")
    if made.grpc_in_card and made.grpc_listen is None:
        raise UsageError("--grpc-in-card goes with --grpc-listen.")
    if made.a2a_push_local and not made.here_only:
        raise UsageError(PUSH_LOCAL_RULE)


def check_ports(listening: Listening) -> None:
    """Check that the ports are free, before a node is started for nothing.

    Raises:
        PortInUseError, ConfigurationError
    """
    for where in filter(None, (listening.address, listening.grpc_listen)):
        Listen.parse(where).bind().close()


def _check_readable(path: Path) -> None:
    """The files of a certificate are looked at before a node starts; what is in them, when it is served."""
    # Asked in this order: to look at a file in a folder that this user may not enter raises.
    if not os.access(path, os.R_OK) or not path.is_file():
        raise UsageError(f"{path} is not a file that this user can read. --tls-cert and --tls-key name PEM files.")


def _check_public(url: str) -> None:
    """A public URL is in cards, and its host is a name that this server answers to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    more = parts.username or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or more:
        raise UsageError("--public-url must look like https://agents.example, without a login, query or fragment.")


def applied(settings: Settings, listening: Listening | None) -> Settings:
    """The settings of a node that serves so."""
    if listening is None:
        return settings
    local = listening.a2a_push_local
    asked = {"a2a_push": listening.a2a_push or local, "a2a_push_local": local}
    return settings.model_copy(update={name: True for name, value in asked.items() if value})


def _waits_for() -> str:
    """A line about the client that a server on a terminal waits for, since a person has started it."""
    return (
        f"Waiting for an MCP client on standard input. An assistant starts this server itself; its command is:\n"
        f"    {clean(own_command(absolute=True))}\n"
        "To serve clients over HTTP instead: mcp-a2a --listen :3000\n"
        "Ctrl-C ends it."
    )


def serve(
    settings: Settings,
    listening: Listening | None,
    options: Options,
) -> None:
    """Serve until the client or a signal ends it.

    Raises:
        McpA2AError: it cannot serve, and why.
    """
    settings = applied(settings, listening)
    if listening is not None:
        check_ports(listening)
    if listening is None and (os.isatty(0) or os.isatty(1)) and not options.is_quiet:
        from mcp_a2a.screen import put

        put(sys.stderr, _waits_for(), ascii_only=options.ascii)

    async def operate() -> None:
        if listening is None:
            await _serve_pipe(settings)
        else:
            starting = _starting(options)
            try:
                await _serve_port(settings, listening, options, lambda: starting.progress(""))
            finally:
                starting.progress("")

    run(operate)
    if not options.is_quiet:
        from mcp_a2a.screen import put_end

        put_end(sys.stderr)


async def _serve_pipe(settings: Settings, front: Handover[Settings] | None = None) -> None:
    from mcp_a2a.server.stdio import serve_stdio
    from mcp_a2a.server.surface import build_server

    key, lock = (bytes.fromhex(front.greeting.state_key), front.lock) if front is not None else (None, None)
    async with open_node(settings, eager=False, lock=lock) as node:
        await serve_stdio(build_server(node, state_key=key), node.start, front)


def load_server(flags: Mapping[str, object], verbosity: int) -> Settings:
    """Import what a session on the pipe needs, in a thread behind the front, and read the settings.

    Raises:
        ConfigurationError: they cannot be.
    """
    import mcp_a2a.composition
    import mcp_a2a.server.stdio
    import mcp_a2a.server.surface  # noqa: F401

    set_up_logging(verbosity)
    return load_settings(flags)


def serve_behind(front: Handover[Settings]) -> None:
    """Serve the client whom a front has served until now.

    Raises:
        McpA2AError: it cannot serve, and why.
    """
    run(partial(_serve_pipe, front.loaded, front))


def _starting(options: Options) -> Output:
    """Say that the server starts, until a line takes the place of that."""
    from mcp_a2a.cli.output import Output

    output = Output(Options(verbosity=-1 if options.is_quiet or options.json else 0, ascii=options.ascii))
    output.progress("… starting the server")
    return output


async def _serve_port(settings: Settings, listening: Listening, options: Options, serves: Callable[[], None]) -> None:
    from mcp_a2a.agent.reporting import Reporter
    from mcp_a2a.screen import put
    from mcp_a2a.server import hosting
    from mcp_a2a.server.surface import build_server

    async with open_node(settings, eager=False) as node, anyio.create_task_group() as tasks:
        reporter = None if options.is_quiet else Reporter(as_json=options.json, ascii_only=options.ascii)

        async def serve(*, task_status: TaskStatus[hosting.Served]) -> None:
            await hosting.host(
                node,
                build_server(node),
                listening,
                settings,
                tell=reporter.tell if reporter is not None else None,
                start=node.start,
                task_status=task_status,
            )
            tasks.cancel_scope.cancel()

        served: hosting.Served = await tasks.start(serve)
        serves()
        tasks.start_soon(announce_a2a, settings, listening.address, served.url)
        if options.json:
            _say(json.dumps(_ready(served)))
        else:
            put(sys.stdout, "\n".join(_banner(served)), ascii_only=options.ascii)
            for warning in served.warnings:
                put(sys.stderr, f"Note: {warning}", ascii_only=options.ascii)
        if reporter is not None:
            tasks.start_soon(reporter.run, node)


def _banner(served: Served) -> list[str]:
    """The URLs of a server: first the one to give to a client."""
    url = served.shown_url
    lines = [f"MCP server at {url}/mcp", f"A2A server at {url}/   agents behind this node at {url}/a/NAME/"]
    if served.public_url is not None:
        lines.append(f"Listening at {served.url}")
    grpc = [f"A2A server by gRPC at {served.grpc}"] if served.grpc is not None else []
    return [*lines, *served.how_to_call(show=sys.stdout.isatty()), *grpc]


def _ready(served: Served) -> dict[str, JsonValue]:
    """The same for a program, which reads the token from its file."""
    return {
        "event": "ready",
        "mcp_url": f"{served.shown_url}/mcp",
        "a2a_url": f"{served.shown_url}/",
        "listening": served.url,
        **({"grpc_address": served.grpc} if served.grpc is not None else {}),
        "token_file": str(served.token.path),
        "token_needed": not served.this_user,
        "warnings": list(served.warnings),
    }


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
