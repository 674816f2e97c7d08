"""The sender of a comparison: `HOME TASKS BURST IN_FLIGHT`. It runs with the interpreter of either tree.

First TASKS tasks one at a time, then BURST tasks with IN_FLIGHT of them under way (none where BURST is 0). Standard
output gets a JSON line for every bit of progress, and at last one with the figures, each per task.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import counting

counting.start()

import anyio  # noqa: E402  the hooks come first

import mcp_a2a  # noqa: E402

TEXT = "x" * 300
WARM_UP = 100
REACH_SECONDS = 30.0
REPORTS = 20
MODELS = ("mcp_a2a.api.tasks", "mcp_a2a.api", "mcp_a2a.views")
"""Where a tree may have its `SendTaskRequest`, the newest place first."""
LIBRARIES = ("aiohttp", "anyio", "cryptography", "pydantic", "pydantic-core", "pynacl", "uvloop")


def request_type() -> type:
    """`SendTaskRequest` of this tree."""
    for name in MODELS:
        try:
            found: type = importlib.import_module(name).SendTaskRequest
        except (ImportError, AttributeError):
            continue
        return found
    raise SystemExit("this tree has no SendTaskRequest where the benchmark looks for it")


Request = request_type()


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def ask(node: Any, text: str) -> str:  # noqa: ANN401  the node of either tree
    """Send one task and wait for its answer."""
    request = Request(agent="echo", message=text, wait_seconds=30)
    view = await (node.call(request) if hasattr(node, "call") else node.send_task(request))
    answer: str = view.text
    return answer


async def echoed(node: Any) -> None:  # noqa: ANN401  as above
    answer = await ask(node, TEXT)
    assert answer == TEXT, answer


async def agents_counts(node: Any) -> dict[str, float]:  # noqa: ANN401  as above
    found: dict[str, float] = json.loads(await ask(node, counting.QUESTION))
    return found


def per_task(before: Mapping[str, float], after: Mapping[str, float], tasks: int) -> dict[str, float]:
    return {name: (after[name] - before[name]) / tasks for name in after}


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50_us": statistics.median(ordered) * 1e6, "p99_us": ordered[int(len(ordered) * 0.99)] * 1e6}


async def reached(node: Any) -> None:  # noqa: ANN401  as above
    """Wait until the agent answers."""
    deadline = time.monotonic() + REACH_SECONDS
    while True:
        try:
            return await echoed(node)
        except mcp_a2a.McpA2AError:
            if time.monotonic() > deadline:
                raise
            await anyio.sleep(0.2)


async def one_at_a_time(node: Any, tasks: int) -> dict[str, object]:  # noqa: ANN401  as above
    durations = []
    agent, sender, began = await agents_counts(node), counting.snapshot(), time.time()
    for number in range(tasks):
        if number % max(1, tasks // REPORTS) == 0:
            say(progress=number)
        start = time.perf_counter()
        await echoed(node)
        durations.append(time.perf_counter() - start)
    ended, sender_after = time.time(), counting.snapshot()
    return {
        **spread(durations),
        "sender": per_task(sender, sender_after, tasks),
        # Its counts are taken within the tasks that ask for them: one task more lies between.
        "agent": per_task(agent, await agents_counts(node), tasks + 1),
        "between": (began, ended),
        "tasks": tasks,
    }


async def many_at_a_time(node: Any, tasks: int, in_flight: int) -> dict[str, object]:  # noqa: ANN401  as above
    durations: list[float] = []

    async def some() -> None:
        for _ in range(tasks // in_flight):
            start = time.perf_counter()
            await echoed(node)
            durations.append(time.perf_counter() - start)
            if len(durations) % max(1, tasks // REPORTS) == 0:
                say(progress=len(durations))

    agent, sender, began = await agents_counts(node), counting.snapshot(), time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(in_flight):
            group.start_soon(some)
    seconds, sender_after = time.perf_counter() - began, counting.snapshot()
    return {
        **spread(durations),
        "tasks_per_s": len(durations) / seconds,
        "sender": per_task(sender, sender_after, len(durations)),
        "agent": per_task(agent, await agents_counts(node), len(durations) + 1),
    }


async def measure(home: str, tasks: int, burst: int, in_flight: int) -> None:
    settings = mcp_a2a.Settings(home=Path(home), mdns=False, link_host="127.0.0.1")
    async with mcp_a2a.open_node(settings) as node:
        await reached(node)
        for _ in range(min(WARM_UP, tasks)):
            await echoed(node)
        say(progress="warm")
        figures: dict[str, object] = {"one": await one_at_a_time(node, tasks)}
        if burst:
            figures["many"] = await many_at_a_time(node, burst, in_flight)
    say(figures=figures, libraries={name: version(name) for name in LIBRARIES})


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    anyio.run(measure, place, *map(int, numbers), backend_options={"use_uvloop": True})
