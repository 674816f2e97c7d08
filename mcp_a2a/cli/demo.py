"""`mcp-a2a demo`: the whole way of a task, with real processes, a real MCP client, and nothing left behind.

Two agents (the files of `examples/`) and an MCP server are started in a data folder of their own that is removed at
the end, so the demonstration neither sees nor changes anything of yours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client, StdioServerParameters
from mcp.types import TextContent
from pydantic import JsonValue

from mcp_a2a.agent.hosting import until_signalled
from mcp_a2a.cli.output import Output
from mcp_a2a.cli.session import Session
from mcp_a2a.errors import McpA2AError
from mcp_a2a.loop import run
from mcp_a2a.protocol.naming import short_key
from mcp_a2a.server.fence import unwrapped
from mcp_a2a.version import __version__

AGENTS = {"word-counter": "word_counter.py", "haiku": "haiku.py"}
READY_SECONDS = 15.0
END_SECONDS = 3.0
DISCOVERY_ATTEMPTS = 5

Fields = Mapping[str, JsonValue]


class DemoError(McpA2AError, code="demo"):
    """A step of the demonstration did not do what it shows."""


@dataclass
class Step:
    """A step of the demo, with its time in seconds and its outcome."""

    name: str
    seconds: float
    result: str


class Narrator:
    """Tells each step when it is done."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._begun = anyio.current_time()
        self._last = self._begun
        self.steps: list[Step] = []

    def tell(self, name: str, result: str) -> None:
        """The step that just ended."""
        now = anyio.current_time()
        self.steps.append(Step(name, round(now - self._last, 3), result))
        self._last = now
        if not self._output.options.json:
            self._output.line(f"  {self.steps[-1].seconds:5.2f} s  {name}")
            for line in result.splitlines():
                self._output.line(" " * 11 + line, "dim")

    @property
    def seconds(self) -> float:
        """From the beginning to now."""
        return round(anyio.current_time() - self._begun, 2)


def run_demo(session: Session) -> None:
    """Run it; every step is printed with its time.

    Raises:
        DemoError: a step failed, and why.
        KeyboardInterrupt: a signal ended it; everything it started has ended too.
    """
    mdns = session.settings().mdns

    async def operate() -> bool:
        async with until_signalled() as stopping, anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_at, stopping, tasks.cancel_scope)
            await _demonstrate(session.output, mdns=mdns)
            tasks.cancel_scope.cancel()
        return stopping.is_set()

    if run(operate):
        raise KeyboardInterrupt


async def _cancel_at(stopping: anyio.Event, scope: anyio.CancelScope) -> None:
    await stopping.wait()
    scope.cancel()


async def _demonstrate(output: Output, *, mdns: bool) -> None:
    narrator = Narrator(output)
    if not output.options.json:
        output.line(f"mcp-a2a {__version__} demo: two agents, an MCP server, and an MCP client\n")
    with tempfile.TemporaryDirectory(prefix="mcp-a2a-demo-") as folder:
        home = Path(folder)
        async with AsyncExitStack() as stack:
            dids = await _start_agents(stack, home, mdns=mdns)
            narrator.tell("two agents start, each in a process of its own", ", ".join(dids))
            client = await stack.enter_async_context(_assistant(home, mdns=mdns))
            narrator.tell("an MCP client starts the MCP server", "initialized over stdio")
            await _converse(client, narrator, dids)
        narrator.tell("everything ends", "nothing left running")
    _conclude(output, narrator)


def _conclude(output: Output, narrator: Narrator) -> None:
    steps: list[JsonValue] = [
        {"step": step.name, "seconds": step.seconds, "result": step.result} for step in narrator.steps
    ]
    output.show_fields(
        {"ok": True, "seconds": narrator.seconds, "steps": steps},
        lambda: output.line(
            f"\nDone in {narrator.seconds} s. Now start an agent of your own:\n"
            "  `mcp-a2a agent exec --name rev --skill reverse -- rev`"
        ),
    )


# --- the conversation


async def _converse(client: Client, narrator: Narrator, dids: Mapping[str, str]) -> None:
    narrator.tell("discover", await _discover(client, dids))
    first = await _call(client, "send_task", agent=dids["word-counter"], message="hello wide world", wait_seconds=10)
    narrator.tell('send_task word-counter "hello wide world"', _result(first))
    second = await _call(client, "send_task_by_skill", skill="write-haiku", message="autumn rain", wait_seconds=10)
    narrator.tell('send_task_by_skill write-haiku "autumn rain"', _result(second))
    again = await _call(client, "get_task_status", task_id=first["task_id"])
    narrator.tell("get_task_status of the first task, once more", _result(again))
    if _result(again) != _result(first):
        raise DemoError(f"The first task's answer was {_result(first)!r} and became {_result(again)!r}.")


async def _discover(client: Client, dids: Mapping[str, str]) -> str:
    lines: list[str] = []
    for _ in range(DISCOVERY_ATTEMPTS):
        found = cast("list[dict[str, JsonValue]]", (await _call(client, "discover"))["agents"])
        ours = [agent for agent in found if str(agent["did"]) in map(short_key, dids.values())]
        lines = [_agent_line(agent) for agent in ours]
        if len(ours) == len(dids) and all(agent.get("about") and agent.get("online", True) for agent in ours):
            return "\n".join([f"{_agent_line(agent)} (route: {await _route(client, agent)})" for agent in ours])
        await anyio.sleep(0.2)
    raise DemoError(
        f"discover found {len(lines)} of {len(dids)} agents: {'; '.join(lines) or 'none'}.",
        "mcp-a2a status tells how this machine looks for agents.",
    )


def _agent_line(agent: Fields) -> str:
    _, _, skills = unwrapped(str(agent.get("about", ""))).rpartition("|")
    ids = ", ".join(skill.partition(":")[0].strip() for skill in skills.split("; "))
    return f"{agent['name']}: {ids}"


async def _route(client: Client, agent: Fields) -> str:
    whole = cast("Fields", (await _call(client, "get_agent", agent=str(agent["did"])))["agent"])
    return str(whole.get("route"))


def _result(task: Fields) -> str:
    if task.get("state") != "completed":
        why = task.get("error") or task.get("next")
        raise DemoError(f"The task {task.get('task_id')} is {task.get('state')}: {why}", "mcp-a2a demo -v shows more.")
    return unwrapped(str(task.get("text")))


async def _call(client: Client, tool: str, **arguments: JsonValue) -> Fields:
    answer = await client.call_tool(tool, arguments)
    said = " ".join(content.text for content in answer.content if isinstance(content, TextContent))
    if answer.is_error or not isinstance(answer.structured_content, dict):
        raise DemoError(f"The tool {tool} failed: {said}")
    return cast("Fields", answer.structured_content)


# --- the processes


def _command(home: Path, *words: str, mdns: bool) -> list[str]:
    return ["-m", "mcp_a2a", "--home", str(home), *([] if mdns else ["--no-mdns"]), *words]


def _environment() -> dict[str, str]:
    """Ours, without what would lead the demonstration to an identity of yours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MCP_A2A_")}


@asynccontextmanager
async def _assistant(home: Path, *, mdns: bool) -> AsyncIterator[Client]:
    server = StdioServerParameters(command=sys.executable, args=_command(home, "serve", mdns=mdns), env=_environment())
    async with Client(server) as client:
        yield client


async def _start_agents(stack: AsyncExitStack, home: Path, *, mdns: bool) -> dict[str, str]:
    """Start all agents at once; their keys by name."""
    streams = [await stack.enter_async_context(_agent(home, find_example(file), mdns=mdns)) for file in AGENTS.values()]
    return dict([await _ready(stream) for stream in streams])


@asynccontextmanager
async def _agent(home: Path, file: Path, *, mdns: bool) -> AsyncIterator[anyio.abc.Process]:
    words = _command(home, "--json", "--quiet", "agent", "run", str(file), mdns=mdns)
    process = await anyio.open_process(
        [sys.executable, *words], env=_environment(), stdin=subprocess.DEVNULL, stderr=None, start_new_session=True
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _ready(process: anyio.abc.Process) -> tuple[str, str]:
    if process.stdout is None:
        raise TypeError("its stdout was asked for")
    with anyio.move_on_after(READY_SECONDS):
        try:
            line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 65_536)
        except (anyio.IncompleteRead, anyio.EndOfStream):
            raise DemoError("An agent ended before it was ready; what it said is above.") from None
        ready = json.loads(line)
        return str(ready["name"]), str(ready["did"])
    raise DemoError(f"An agent was not ready after {READY_SECONDS:g} s.", "Is this machine very busy?")


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(END_SECONDS):
            await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()


def find_example(file: str) -> Path:
    """An example: inside the installed package, or beside it in a checkout.

    Raises:
        DemoError: this installation has none.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / file).is_file():
            return folder / file
    raise DemoError(f"This installation lacks the example {file}.", "Install mcp-a2a again.")
