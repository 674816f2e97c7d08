"""An agent that takes its time, so that a kill finds work in its hands. Started by tests."""

from __future__ import annotations

import os

import anyio
import hurry  # beside this program

from mcp_a2a import Agent

hurry.where_asked()
agent = Agent("receiver", description="Takes its time", concurrency=4)


@agent.skill
async def work(text: str) -> str:
    """Think for a moment and confirm."""
    await anyio.sleep(float(os.environ.get("WORK_SECONDS", "0.1")))
    return f"done {text}"


if __name__ == "__main__":
    agent.run()
