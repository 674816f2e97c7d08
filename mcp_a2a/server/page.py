"""The page for a person that opens the server's address in a browser, or with curl: its purpose and its use.

A program never gets it: it names the type that it wants, and these are for who takes text. The page holds no script, no
style, no secret and no word of any agent, and the guard has let the request in before.
"""

from __future__ import annotations

import html

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Scope

from mcp_a2a.a2a.wire import header

_BY_HAND = ("curl/", "wget/", "httpie/", "xh/")
"""Programs that people type requests with. They accept anything, so what they accept does not tell."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def wants_page(scope: Scope) -> bool:
    """True if a person asks, and no program: a browser that shows a page, or a command typed by hand."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    accepted = _accepted(scope)
    if "text/html" in accepted:
        return True
    agent = (header(scope["headers"], b"user-agent") or "").lower()
    return agent.startswith(_BY_HAND) and accepted <= {"*/*", ""}


def page(scope: Scope, origin: str, *, mcp: bool) -> Response:
    """The page of the server that is reached at this origin, in the form that is accepted."""
    lines = list(_lines(origin, mcp=mcp))
    if "text/html" not in _accepted(scope):
        return PlainTextResponse("".join(f"{what} {value}".rstrip() + "\n" for what, value in lines), headers=_HEADERS)
    told = "".join(
        f"<p>{html.escape(what)}" + (f"<br><code>{html.escape(value)}</code>" if value else "") + "</p>\n"
        for what, value in lines
    )
    return HTMLResponse(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>mcp-a2a</title></head>\n<body>\n'
        f"<h1>mcp-a2a</h1>\n{told}</body></html>\n",
        headers=_HEADERS,
    )


def _lines(origin: str, *, mcp: bool) -> list[tuple[str, str]]:
    lines = [("This server is for programs: AI assistants and agents. It is running.", "")]
    if mcp:
        lines.append(("Give this URL to an MCP client:", f"{origin}/mcp"))
        lines.append(("In Claude Code, for example:", f"claude mcp add --transport http a2a {origin}/mcp"))
    lines.append(("Give this URL to an A2A client:", f"{origin}/"))
    lines.append(("Its agent card:", f"{origin}/.well-known/agent-card.json"))
    lines.append(("In a terminal on that machine, to see the agents and what is waiting:", "mcp-a2a status"))
    return lines


def _accepted(scope: Scope) -> set[str]:
    said = header(scope["headers"], b"accept") or ""
    return {part.partition(";")[0].strip().lower() for part in said.split(",")}
