"""Sends COUNT tasks under fixed idempotency keys, and ends when each has an answer. Killed and started again by tests."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.views import GetTaskRequest, SendTaskRequest


async def main(home: Path, count: int) -> None:
    settings = Settings(home=home, identity="sender", mdns=False)
    async with open_node(settings) as node:
        ids = []
        for number in range(count):
            view = await node.send_task(
                SendTaskRequest(
                    agent="receiver", message=str(number), idempotency_key=f"key-{number}", wait_seconds=0
                )
            )
            ids.append(view.task_id)
        for number, task_id in enumerate(ids):
            view = await node.get_task(GetTaskRequest(task_id=task_id, wait_seconds=300))
            sys.stdout.write(f"{number} {view.state} {view.text}\n")
        sys.stdout.flush()


anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
