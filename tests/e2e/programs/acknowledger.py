"""An agent that takes a moment for each task, so that its acknowledgement and its result are far apart. With CARELESS
set its database does not wait for the disk: what the test of acknowledgements must notice."""

from __future__ import annotations

import os
import sqlite3

import anyio

from mcp_a2a import Agent


class Careless(sqlite3.Connection):
    """Commits without fsync."""

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous=FULL", "synchronous=NORMAL"), *parameters)


if os.environ.get("CARELESS"):
    connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **options: connect(*arguments, **options, factory=Careless)

agent = Agent("acknowledger", description="Takes its time")


@agent.skill
async def echo(text: str) -> str:
    """Return the text, a little later."""
    await anyio.sleep(0.02)
    return text


agent.run()
