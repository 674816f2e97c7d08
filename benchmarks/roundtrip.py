"""What a sealed, durable task costs: its parts, our round trip, and the MCP surface on top, from one pinned run.

The parts (the floor that the budget is a multiple of): a bare aiohttp WebSocket echo, three SQLite commits with fsync,
and sealing and opening two envelopes. A task makes four commits, two at each end, so the floor is not reachable.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
import anyio
from loads.flight import pin
from loads.servers import PROGRAMS, process
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.ipc.owner import SharedNode
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.envelope import Envelope, seal
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.protocol.payload import Payload, TaskBody

TEXT = "x" * 300
CLIENT_CORE = 0
T = TypeVar("T")
WARM_UP, SAMPLES, IN_FLIGHT, BURST = 100, 1000, 64, 6400


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50_us": statistics.median(ordered) * 1e6, "p99_us": ordered[int(len(ordered) * 0.99)] * 1e6}


def timed(function: Callable[[], object], samples: int = SAMPLES) -> dict[str, float]:
    durations = []
    for _ in range(WARM_UP + samples):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return percentiles(durations[WARM_UP:])


async def timed_async(function: Callable[[], Awaitable[object]], samples: int = SAMPLES) -> dict[str, float]:
    durations = []
    for _ in range(WARM_UP + samples):
        start = time.perf_counter()
        await function()
        durations.append(time.perf_counter() - start)
    return percentiles(durations[WARM_UP:])


@contextmanager
def program(name: str, home: Path | None = None, **variables: str) -> Iterator[str]:
    """A server on the other core; yields the line it prints when it is ready."""
    if home is not None:
        variables |= {"MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false"}
    with process([sys.executable, str(PROGRAMS / name)], **variables) as (_, lines):
        yield lines.next()


# --- the parts -------------------------------------------------------------------------------------------------------


async def websocket_echo(size: int) -> dict[str, float]:
    with program("ws_echo.py") as port:
        url = f"http://127.0.0.1:{port}/"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=0) as socket:

            async def turn() -> None:
                await socket.send_bytes(b"x" * size)
                await socket.receive_bytes()

            return await timed_async(turn)


def commit(folder: Path) -> dict[str, float]:
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE row(id INTEGER PRIMARY KEY, body BLOB)")
    result = timed(lambda: connection.execute("INSERT INTO row(body) VALUES (?)", (b"x" * 600,)))
    connection.close()
    return result


def envelope() -> tuple[dict[str, float], dict[str, float], int]:
    """Sealing, opening, and the size on the wire."""
    alice, bob, now = Identity(os.urandom(32)), Identity(os.urandom(32)), time.time()
    ring = KeyRing(bob)
    ring.handle_timeout(now, os.urandom)
    message = Message(message_id="m", role=Role.USER, parts=(Part(text=TEXT),))
    payload = Payload(
        type="task", id="m", from_=alice.peer_id, to=bob.peer_id, task="task-x", created=now, expires=now + 600,
        body=TaskBody(message=message),
    ).to_bytes()  # fmt: skip
    sealed = seal(alice, payload, ring.current, os.urandom(16), now + 600)
    sealing = timed(lambda: seal(alice, payload, ring.current, os.urandom(16), now + 600))
    return sealing, timed(lambda: Envelope.parse_untrusted(sealed).open_untrusted(ring, bob.peer_id)), len(sealed)


# --- ours ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def beside_an_agent(home: Path) -> AsyncIterator[SharedNode]:
    with program("echo_agent.py", home):
        async with open_node(Settings(home=home, mdns=False)) as node:
            yield node


async def round_trips(home: Path) -> tuple[dict[str, float], dict[str, float]]:
    """One task at a time, and 64 in flight."""
    async with beside_an_agent(home) as node:

        async def task() -> None:
            view = await node.call(SendTaskRequest(agent="echo", message=TEXT, wait_seconds=30))
            assert view.text == TEXT, view

        sequential = await timed_async(task)
        durations: list[float] = []

        async def many() -> None:
            for _ in range(BURST // IN_FLIGHT):
                start = time.perf_counter()
                await task()
                durations.append(time.perf_counter() - start)

        started = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.start_soon(many)
        burst = {**percentiles(durations), "tasks_per_s": BURST / (time.perf_counter() - started)}
    return sequential, burst


async def over_stdio(command: list[str], tool: str, arguments: dict[str, object], home: Path) -> dict[str, float]:
    """A tool call by the official client, and how long `initialize` took from the start of the process."""
    environment = {"MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false", "PATH": os.environ.get("PATH", "")}
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=environment)
    start = time.perf_counter()
    async with Client(stdio_client(parameters), mode="legacy") as client:
        initialized = time.perf_counter() - start

        async def call() -> None:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result

        await call()
        return {**await timed_async(call, samples=SAMPLES // 2), "initialize_ms": initialized * 1000}


async def initialize_ms(command: list[str], home: Path) -> float:
    environment = {"MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false", "PATH": os.environ.get("PATH", "")}
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=environment)
    start = time.perf_counter()
    async with Client(stdio_client(parameters), mode="legacy"):
        return (time.perf_counter() - start) * 1000


async def measure(show: Callable[[str, object], None]) -> dict[str, object]:
    """All figures; each is shown when it is there."""
    pin(CLIENT_CORE)
    figures: dict[str, object] = {}

    def take(name: str, value: T) -> T:
        figures[name] = value
        show(name, value)
        return value

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        sealing, opening, size = envelope()
        echo, committing = await websocket_echo(size), commit(home)
        take("parts", {"websocket_echo": echo, "commit": committing, "seal": sealing, "open": opening, "bytes": size})
        floor = echo["p50_us"] + 3 * committing["p50_us"] + 2 * (sealing["p50_us"] + opening["p50_us"])
        take("parts_sum_us", floor)
        sequential, burst = await round_trips(home / "direct")
        take("direct_1_in_flight", sequential)
        take("direct_64_in_flight", burst)
        bare_command = [sys.executable, str(PROGRAMS / "mcp_echo.py")]
        our_command = [str(Path(sys.executable).parent / "mcp-a2a")]
        bare = take("mcp_bare_echo", await over_stdio(bare_command, "echo", {"message": TEXT}, home))
        with program("echo_agent.py", home / "mcp"):
            arguments = {"agent": "echo", "message": TEXT}
            ours = take("mcp_send_task", await over_stdio(our_command, "send_task", arguments, home / "mcp"))
        starts: dict[str, list[float]] = {"bare": [], "ours": []}
        for _ in range(7):
            starts["bare"].append(await initialize_ms(bare_command, home))
            starts["ours"].append(await initialize_ms(our_command, home / "mcp"))
    start = take("initialize_ms", {name: statistics.median(times) for name, times in starts.items()})
    take(
        "ratios",
        {
            "direct_over_parts (budget 1.8)": sequential["p50_us"] / floor,
            "tasks_per_s (budget 1500)": burst["tasks_per_s"],
            "mcp_over_direct_plus_bare (budget 1.2)": ours["p50_us"] / (sequential["p50_us"] + bare["p50_us"]),
            "initialize_over_bare (budget 1.2)": start["ours"] / start["bare"],
        },
    )
    return figures


def shown(name: str, value: object, indent: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        yield f"{indent}{name}"
        for key, inner in value.items():
            yield from shown(str(key), inner, indent + "  ")
    else:
        yield f"{indent}{name:<42}{value:>12,.2f}" if isinstance(value, float) else f"{indent}{name:<42}{value!s:>12}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object, and the lines to standard error")
    as_json = parser.parse_args().json

    def show(name: str, value: object) -> None:
        print("\n".join(shown(name, value)), file=sys.stderr if as_json else sys.stdout, flush=True)

    found = anyio.run(measure, show, backend_options={"use_uvloop": True})
    if as_json:
        print(json.dumps(found, indent=2))
