"""The agent at the other end of a comparison: returns the text it gets, or its counts (`counting.QUESTION`)."""

from __future__ import annotations

import json

import counting

counting.start()

from mcp_a2a import Agent  # noqa: E402  the hooks come first

agent = Agent("echo", description="Returns the text", concurrency=64)


@agent.skill
async def echo(text: str) -> str:
    """Return the text."""
    return json.dumps(counting.snapshot()) if text == counting.QUESTION else text


agent.run()
