"""The floor of an MCP tool call: the SDK's own server with one tool that returns its argument."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("echo", version="1")


@server.tool()
async def echo(message: str) -> str:
    """Return the message."""
    return message


server.run("stdio")
