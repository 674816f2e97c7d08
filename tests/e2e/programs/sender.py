"""Sends COUNT tasks under fixed idempotency keys, a few at a time, and ends when each has an answer.

Killed and started again by tests: it always begins at the first key, and what was sent before is the same task again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import hurry  # beside this program

from mcp_a2a.api.tasks import SendTaskRequest, TaskView
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.ipc.owner import SharedNode

AT_A_TIME = 6


async def main(home: Path, count: int) -> None:
    answers: dict[int, TaskView] = {}
    async with open_node(Settings(home=home, identity="sender", mdns=False)) as node:
        room = anyio.CapacityLimiter(AT_A_TIME)
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(send, node, number, answers, room)
    for number, view in sorted(answers.items()):
        sys.stdout.write(f"{number} {view.state} {view.text}\n")
    sys.stdout.flush()


async def send(node: SharedNode, number: int, answers: dict[int, TaskView], room: anyio.CapacityLimiter) -> None:
    async with room:
        request = SendTaskRequest(
            agent="receiver", message=str(number), idempotency_key=f"key-{number}", wait_seconds=300
        )
        answers[number] = await node.call(request)


hurry.where_asked()
anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
