"""An agent that takes a moment for each task, so that its acknowledgement and its result are far apart. With CARELESS
set its database does not wait for the disk: what the test of acknowledgements must notice."""

from __future__ import annotations

import anyio
import careless  # beside this program

from mcp_a2a import Agent

careless.where_asked()

agent = Agent("acknowledger", description="Takes its time")


@agent.skill
async def echo(text: str) -> str:
    """Return the text, a little later."""
    await anyio.sleep(0.02)
    return text


agent.run()
