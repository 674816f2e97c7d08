"""What a relay carries, and what it costs to go through one: beside a floor and other people's servers, in one run.

One load shape for all: pairs of a sender and a recipient, 64 messages of 1,712 bytes under way (the smallest envelope),
each acknowledged by its recipient. The server has a core for itself, the generator the other one. Each figure is taken
in a quiet moment, or again; `foreign_cores` says how quiet it was, `generator_core` near 1 that the generator was the
limit. Peers that are not there are named with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import anyio
from loads import older, ours, peers, wormhole
from loads.flight import HUNG_SECONDS, busy_seconds, cpu_seconds, pin, quietest
from loads.servers import GENERATOR_CORE, MCP_A2A, relay
from loads.shape import Shape
from roundtrip import TEXT, program, shown, timed_async

from mcp_a2a.api.agents import AddPeerRequest, DiscoverRequest
from mcp_a2a.api.networks import InviteRequest
from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.ipc.owner import SharedNode

PAIRS, MANY_PAIRS, IN_FLIGHT = 32, 256, 64
COUNT = 20_000
IDLE_CONNECTIONS = 2_000
NEAR_SECONDS = 20

Table = dict[str, object]
Say = Callable[[str], None]
Names = tuple[str, ...]

RATIOS: tuple[tuple[str, Names, Names | float], ...] = (
    ("messages/s online (budget at least 15,000)", ("online", "messages_per_s"), 1),
    ("messages/s online, 512 connections", ("online_512_connections", "messages_per_s"), 1),
    ("messages/s to offline recipients (budget at least 8,000)", ("offline", "stored", "messages_per_s"), 1),
    ("p99 ms online (budget under 10)", ("online", "p99_us"), 1000),
    ("p99 ms offline (budget under 10)", ("offline", "stored", "p99_us"), 1000),
    ("KiB per idle connection (budget 20)", ("idle", "bytes_each"), 1024),
    ("KiB per idle connection, own TLS (budget 64)", ("idle_tls", "bytes_each"), 1024),
    (
        "task through a relay over direct, p50 (budget 1.6)",
        ("task", "through_relay", "p50_us"),
        ("task", "direct", "p50_us"),
    ),
    ("of the floor's messages/s", ("online", "messages_per_s"), ("floor", "messages_per_s")),
)
"""What is shown of our own figures: one over another, or over a number."""


# --- a task through a relay ------------------------------------------------------------------------------------------


@asynccontextmanager
async def behind_a_relay(folder: Path) -> AsyncIterator[tuple[SharedNode, str]]:
    """A node, and an agent that it can reach only through a relay: the address where the agent listens is not told."""
    ann, ben = folder / "ann", folder / "ben"
    with relay(folder / "relay") as (_, url):
        async with open_node(Settings(home=ann, mdns=False, link_host="127.0.0.1")) as node:
            ticket = (await node.call(InviteRequest(network="bench", relays=(url,)))).ticket
            joined = [MCP_A2A, "join", "-"]
            environment = {**os.environ, "MCP_A2A_HOME": str(ben), "MCP_A2A_MDNS": "false"}
            subprocess.run(  # noqa: ASYNC221  nothing else runs
                joined, input=ticket, env=environment, text=True, check=True, capture_output=True, timeout=HUNG_SECONDS
            )
            with program("echo_agent.py", ben, MCP_A2A_LINK_HOST="127.0.0.1"):
                with anyio.fail_after(NEAR_SECONDS):
                    await until_seen(node)
                yield node, listening_address(ben)


async def until_seen(node: SharedNode) -> None:
    while not any(seen.name == "echo" for seen in (await node.call(DiscoverRequest())).agents):  # noqa: ASYNC110  another process gives no event
        await anyio.sleep(0.1)


def listening_address(home: Path) -> str:
    environment = {**os.environ, "MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false"}
    status = subprocess.run(
        [MCP_A2A, "--identity", "echo", "status", "--json"], env=environment, text=True, check=True, capture_output=True
    )
    return f"127.0.0.1:{json.loads(status.stdout)['listening'][0].rpartition(':')[2]}"


@dataclass(frozen=True)
class RoundTrips:
    """Of a task, one at a time."""

    through_relay: dict[str, float]
    direct: dict[str, float]
    foreign_cores: float


async def round_trips(folder: Path) -> RoundTrips:
    """The same two nodes, first through the relay, then with a link of their own."""

    async def one(route: str) -> dict[str, float]:
        async def task() -> None:
            view = await node.call(SendTaskRequest(agent="echo", message=TEXT, wait_seconds=30))
            assert view.text == TEXT, view
            assert (view.route == "relay") is (route == "relay"), view.route

        return await timed_async(task)

    async with behind_a_relay(folder) as (node, address):
        started, before = time.perf_counter(), busy_seconds() - cpu_seconds(os.getpid())
        through = await one("relay")
        await node.call(AddPeerRequest(address=address))
        direct = await one("direct")
        foreign = busy_seconds() - cpu_seconds(os.getpid()) - before
    return RoundTrips(through, direct, max(0.0, foreign) / (time.perf_counter() - started))


# --- everything ------------------------------------------------------------------------------------------------------


class Taken:
    """Figures as they come: each is shown at once, and a measurement that fails or hangs is named and left out."""

    def __init__(self, say: Say, show: Say) -> None:
        self.figures: Table = {}
        self.missing: dict[str, str] = {}
        self._say, self._show = say, show

    async def take(self, name: str, title: str, run: Callable[[], Awaitable[object]]) -> None:
        """Measure one thing; `run` gives a dataclass of figures."""
        self._say(title)
        try:
            found = asdict(await run())  # type: ignore[call-overload]
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            self.leave_out(title, f"did not run: {error}")
            return
        self.figures[name] = found
        self._show(line_of(title, found))

    def leave_out(self, title: str, why: str) -> None:
        self.missing[title] = why
        self._show(f"{title}: {why}")


async def measure_ours(folder: Path, connections: int, taken: Taken) -> None:
    fresh = (folder / str(number) for number in range(1000))
    tls = ours.Certificate.make(folder)
    few, many = Shape(PAIRS, IN_FLIGHT, COUNT), Shape(MANY_PAIRS, IN_FLIGHT, COUNT)
    runs: dict[str, tuple[str, Callable[[], Awaitable[object]]]] = {
        "online": ("mcp-a2a relay, online", lambda: quietest(lambda: ours.online(next(fresh), few))),
        "online_512_connections": (
            "mcp-a2a relay, online, 512 connections",
            lambda: quietest(lambda: ours.online(next(fresh), many)),
        ),
        "online_tls": (
            "mcp-a2a relay, online, own TLS",
            lambda: quietest(lambda: ours.online(next(fresh), few, tls)),
        ),
        "offline": ("mcp-a2a relay, offline (fsync)", lambda: quietest(lambda: ours.offline(next(fresh), few))),
        "idle": (f"{connections:,} idle connections", lambda: ours.idle(next(fresh), connections)),
        "idle_tls": (f"{connections:,} idle connections, own TLS", lambda: ours.idle(next(fresh), connections, tls)),
        "task": ("a task, 1 in flight", lambda: quietest(lambda: round_trips(next(fresh)))),
        "floor": ("bare aiohttp forwarder", lambda: quietest(lambda: ours.floor(few))),
    }
    for name, (title, run) in runs.items():
        await taken.take(name, title, run)


async def measure_peers(taken: Taken, say: Say) -> None:
    say("installing the others")
    shape = Shape(PAIRS, IN_FLIGHT, COUNT)
    with peers.installed() as (programs, missing):
        for name, why in missing.items():
            taken.leave_out(name, why)
        for peer in peers.PEERS:
            for state in () if peer.name in missing else ("online", "offline"):
                run = partial(peers.compare, peer, programs, shape, offline=state == "offline")
                await taken.take(f"{peer.name}, {state}", f"{peer.name}, {state}", run)


def number(figures: object, *path: str) -> float:
    for name in path:
        assert isinstance(figures, Mapping)
        figures = figures[name]
    assert isinstance(figures, int | float)
    return float(figures)


def ratios(mine: Table, others: Table) -> dict[str, float]:
    """What DESIGN promises, and how it stands; without what was not measured."""
    found = {}
    for name, over, under in RATIOS:
        if over[0] in mine and (not isinstance(under, tuple) or under[0] in mine):
            found[name] = number(mine, *over) / (number(mine, *under) if isinstance(under, tuple) else under)
    for name, figures in others.items():
        state, path = ("offline", ("stored",)) if name.endswith(", offline") else ("online", ())
        if state in mine:
            note = " (budget at least 15)" if name == f"{wormhole.NAME}, online" else ""
            found[f"times {name}{note}"] = number(mine, state, *path, "messages_per_s") / number(
                figures, "messages_per_s"
            )
    return found


async def measure(connections: int, *, with_peers: bool, say: Say, show: Say) -> Table:
    pin(GENERATOR_CORE)
    show(HEAD)
    mine, others = Taken(say, show), Taken(say, show)
    with tempfile.TemporaryDirectory() as folder:
        await measure_ours(Path(folder), connections, mine)
    if with_peers:
        await measure_peers(others, say)
    return {
        "ours": mine.figures,
        "peers": others.figures,
        "missing": mine.missing | others.missing,
        "ratios": ratios(mine.figures, others.figures),
    }


HEAD = f"{'':<46}{'messages/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'server':>8}{'generator':>11}{'foreign':>9}"


def line_of(title: str, found: Table) -> str:
    """A measurement as a line of the table, or as several where it has other columns."""
    of = found.get("stored", found)
    assert isinstance(of, Mapping)
    if "messages_per_s" not in of:
        return "\n".join(shown(title, found))
    return (
        f"{title:<46}{number(of, 'messages_per_s'):>12,.0f}{number(of, 'p50_us') / 1000:>9.2f}"
        f"{number(of, 'p99_us') / 1000:>9.2f}{number(of, 'server_core'):>8.2f}{number(of, 'generator_core'):>11.2f}"
        f"{number(of, 'foreign_cores'):>9.2f}"
    )


def against(revision: str, rounds: int, say: Say) -> Table:
    """This tree's messages/s over those of an earlier one, and its processor time per message over the other's."""
    compared: Table = {}
    for kind in ("online", "offline"):
        say(f"{kind}, this tree and {revision} in turn")
        mine, theirs = older.compare(revision, kind, COUNT, rounds)
        compared[kind] = {
            "messages/s ratio": mine.messages_per_s / theirs.messages_per_s,
            "server us per message ratio": mine.server_us_per_message / theirs.server_us_per_message,
            "this tree": asdict(mine),
            revision: asdict(theirs),
        }
    return compared


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--alone", action="store_true", help="without the other servers")
    parser.add_argument("--against", metavar="REV", help="only this tree against an earlier one, in turn")
    parser.add_argument("--rounds", type=int, default=5, help="of a comparison")
    parser.add_argument("--connections", type=int, default=IDLE_CONNECTIONS, help="how many idle ones")
    arguments = parser.parse_args()

    def say(what: str) -> None:
        print(what, file=sys.stderr)

    def show(line: str) -> None:
        print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    if arguments.against:
        compared = against(arguments.against, arguments.rounds, say)
        print(json.dumps(compared, indent=2) if arguments.json else "\n".join(shown(arguments.against, compared)))
        sys.exit()
    figures = anyio.run(
        lambda: measure(arguments.connections, with_peers=not arguments.alone, say=say, show=show),
        backend_options={"use_uvloop": True},
    )
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        kept = figures["ratios"]
        assert isinstance(kept, Mapping)
        print("\n".join(["", *(f"{name:<72}{value:>12,.2f}" for name, value in kept.items())]))
