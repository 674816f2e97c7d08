"""The agent at the other end: returns the text it gets."""

from __future__ import annotations

from mcp_a2a import Agent

agent = Agent("echo", description="Returns the text", concurrency=64)


@agent.skill
async def echo(text: str) -> str:
    """Return the text."""
    return text


agent.run()
