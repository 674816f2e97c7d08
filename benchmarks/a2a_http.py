"""What an A2A message over HTTP costs: our server, which keeps every task on the disk, beside the official SDK's, which
keeps them in memory. The same client for both, in one run.

A message is done when its task is completed and the artifact has come back. The server has a core for itself, the
client the other one. The SDK runs as its documentation sets it up, and once more with all that makes it faster (uvloop,
httptools, no OpenTelemetry). Ours is `mcp-a2a agent run`, whose tasks are fsynced before they are answered.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from loads.environments import INSTALL_SECONDS, environment
from loads.flight import Figures, pin, quietest
from loads.servers import GENERATOR_CORE, PROGRAMS, process
from loads.web import Load, client

SDK = "a2a-sdk[http-server]==1.3.0"
TUNED = {"OTEL_INSTRUMENTATION_A2A_SDK_ENABLED": "false"}
LOADS = {"1_in_flight": Load(2_000, 1), "64_in_flight": Load(6_400, 64)}

Say = Callable[[str], None]
Measured = dict[str, dict[str, Figures]]


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    url: str
    pid: int


@contextmanager
def serving(command: Sequence[str], **variables: str) -> Iterator[Server]:
    """A server on its core, that prints its URL, or a JSON object with it, when it is ready.

    Raises:
        HungError: the server does not become ready in 60 s.
    """
    with process(command, **variables) as (running, lines):
        line = lines.next()
        yield Server(json.loads(line)["a2a_url"] if line.startswith("{") else line, running.pid)


async def loaded(name: str, server: Server, say: Say, *, patient: bool) -> dict[str, Figures]:
    """A server under each load. Each figure is shown when it is there."""
    found = {}
    async with client(server.url) as calling:
        for load_name, load in LOADS.items():

            async def fly(load: Load = load) -> Figures:
                return await calling.fly(load, server.pid)

            figures = found[load_name] = await (quietest(fly) if patient else fly())
            say(row(f"{name}, {load_name}", figures))
    return found


async def ours(say: Say, *, patient: bool = True) -> dict[str, Figures]:
    agent = ["agent", "run", str(PROGRAMS / "echo_agent.py"), "--a2a-listen", "127.0.0.1:0"]
    command = [str(Path(sys.executable).parent / "mcp-a2a"), "--json", "--quiet", *agent]
    with tempfile.TemporaryDirectory() as home, serving(command, MCP_A2A_HOME=home, MCP_A2A_MDNS="false") as server:
        return await loaded("ours", server, say, patient=patient)


async def theirs(name: str, python: str, say: Say, *, patient: bool = True, **variables: str) -> dict[str, Figures]:
    with serving([python, str(PROGRAMS / "sdk_server.py")], **variables) as server:
        return await loaded(name, server, say, patient=patient)


async def measure(say: Say, *, patient: bool) -> tuple[Measured, dict[str, str]]:
    """The figures of each server, and why some are missing: a server that hangs is left out."""
    pin(GENERATOR_CORE)
    figures: Measured = {}
    missing: dict[str, str] = {}

    async def take(name: str, run: Awaitable[dict[str, Figures]]) -> None:
        try:
            figures[name] = await run
        except (OSError, RuntimeError) as error:
            missing[name] = f"did not run: {error}"
            say(f"{name} {missing[name]}")

    say(HEAD)
    await take("ours", ours(say, patient=patient))
    try:
        with environment(SDK, "uvicorn") as python:
            await take("sdk", theirs("sdk", python, say, patient=patient))
            install = [python, "-m", "pip", "install", "--quiet", "uvicorn[standard]"]
            subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_SECONDS)  # noqa: ASYNC221  nothing else runs
            await take("sdk_tuned", theirs("sdk_tuned", python, say, patient=patient, **TUNED))
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        missing |= {name: f"could not be installed: {error}" for name in ("sdk", "sdk_tuned") if name not in figures}
    return figures, missing


def ratios(figures: Mapping[str, Mapping[str, Figures]]) -> dict[str, float]:
    """How many times theirs ours is; and how many of our messages the processor time of one of theirs is enough for."""
    found = {}
    for name in ("sdk", "sdk_tuned"):
        for load in LOADS if {"ours", name} <= figures.keys() else ():
            ours, their = figures["ours"][load], figures[name][load]
            note = " (budget at least 3)" if name == "sdk" else ""
            found[f"times {name}, {load}{note}"] = ours.messages_per_s / their.messages_per_s
            found[f"for one of {name}, {load}"] = their.server_us_per_message / ours.server_us_per_message
    return found


HEAD = f"{'':<28}{'messages/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'server':>8}{'client':>8}{'us each':>9}{'foreign':>9}"


def row(name: str, of: Figures) -> str:
    """A server under one load, as a line of the table."""
    return (
        f"{name:<28}{of.messages_per_s:>12,.0f}{of.p50_us / 1000:>9.2f}{of.p99_us / 1000:>9.2f}"
        f"{of.server_core:>8.2f}{of.generator_core:>8.2f}{of.server_us_per_message:>9.0f}{of.foreign_cores:>9.2f}"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object, and the lines to standard error")
    parser.add_argument("--quick", action="store_true", help="do not wait for a quiet moment")
    asked = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    measured, missing = anyio.run(lambda: measure(say, patient=not asked.quick), backend_options={"use_uvloop": True})
    if asked.json:
        plain = {name: {load: asdict(of) for load, of in loads.items()} for name, loads in measured.items()}
        print(json.dumps({**plain, "missing": missing, "ratios": ratios(measured)}, indent=2))
    else:
        print("\n".join(["", *(f"{name:<60}{value:>8.2f}" for name, value in ratios(measured).items())]))
        print("\n".join(f"not measured: {name}: {why}" for name, why in missing.items()))


if __name__ == "__main__":
    main()
