"""Agents at URLs on the command line: a URL that a person types may be private, and credentials are no arguments."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.terminal import answered_for
from mcp_a2a.errors.web import AddressNotAllowedError
from mcp_a2a.protocol.web_url import is_web

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

T = TypeVar("T")

MAX_TOKEN = 16_384
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")

TokenStdin = Annotated[bool, typer.Option("--token-stdin", help="Read a bearer token for this agent from stdin.")]
HeaderEnv = Annotated[
    list[str] | None,
    typer.Option(
        "--header-env",
        metavar="NAME=VAR",
        help="Send this header to the agent, with the value of an environment variable. Repeatable.",
    ),
]


def credentials(address: str, header_env: Sequence[str] | None, *, token_stdin: bool) -> dict[str, str] | None:
    """The headers that were asked for; None without an option that asks for one.

    Raises:
        UsageError: a header cannot be read, or the address takes none.
    """
    if not token_stdin and not header_env:
        return None
    if not is_web(address):
        raise UsageError("Credentials are only for A2A agents at URLs: mcp-a2a peers add https://… --token-stdin")
    headers = dict(map(_header, header_env or ()))
    if token_stdin:
        headers["Authorization"] = f"Bearer {_value(sys.stdin.read(MAX_TOKEN), 'stdin')}"
    return headers


def _header(text: str) -> tuple[str, str]:
    name, equals, variable = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise UsageError("--header-env takes NAME=VAR, for example X-API-Key=AGENT_KEY")
    if variable not in os.environ:
        raise UsageError(f"The environment has no variable {variable}.")
    return name, _value(os.environ[variable], variable)


def _value(text: str, where: str) -> str:
    value = text.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise UsageError(f"{where} is not a usable credential: it must be one line of plain characters.")
    return value


async def as_typed(node: NodeApi, agent: str, ask: Callable[[], Awaitable[T]]) -> T:
    """What is asked about an agent that a person named: a URL may then lead anywhere."""
    try:
        return await ask()
    except AddressNotAllowedError:
        if not is_web(agent) or answered_for() != "typed":
            raise
        from mcp_a2a.api.agents import AddPeerRequest

        await node.call(AddPeerRequest(address=agent))
        return await ask()
