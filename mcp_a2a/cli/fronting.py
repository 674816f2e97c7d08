"""The server on a pipe: a front first, and behind it the session, in this process or in that of the node's owner.

Imports nothing heavy: a client waits for the first answer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from mcp_a2a.front.frames import Greeting
from mcp_a2a.front.loop import Front
from mcp_a2a.front.plain import Plain, read_plain
from mcp_a2a.front.streams import claimed

if TYPE_CHECKING:
    from mcp_a2a.config import Settings

_QUIETEST, _LOUDEST = 40, 10
"""Levels of `logging`."""


def serve_pipe(flags: Mapping[str, object], verbosity: int) -> None:
    """Serve one client on stdin and stdout until it closes them, or until a signal ends it.

    Raises:
        McpA2AError: it cannot serve, and why.
    """
    plain = read_plain(flags, os.environ)
    with claimed() as (source, sink):
        front = Front(source, sink, plain, partial(_load, flags, verbosity), partial(_greet, plain, verbosity))
        handover = front.serve()
        if handover is not None:
            from mcp_a2a.cli.serving import serve_behind

            serve_behind(handover)
    if front.is_loading:
        os._exit(0)  # the interpreter would wait for the imports, or break them off


def _load(flags: Mapping[str, object], verbosity: int) -> Settings:
    from mcp_a2a.cli.serving import load_server

    return load_server(flags, verbosity)


def _greet(plain: Plain | None, verbosity: int) -> Greeting:
    """The greeting for an owner, or for a session here, about this process."""
    from mcp_a2a.node.worker.process_tree import hop_of_ancestors

    plain = plain or Plain()
    return Greeting(
        process=os.urandom(16).hex(),
        state_key=os.urandom(32).hex(),
        folder=_working_folder(),
        level=min(max(30 - 10 * verbosity, _LOUDEST), _QUIETEST),
        allow_strangers=plain.allow_strangers,
        hop=max(plain.hop, hop_of_ancestors()),
        file_roots=plain.file_roots,
        downloads=plain.downloads,
    )


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  text, as it is sent
    except FileNotFoundError:
        return ""
