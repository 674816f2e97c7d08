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
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from loads import older, ours, peers, wormhole
from loads.flight import busy_seconds, cpu_seconds, quietest
from loads.servers import GENERATOR_CORE, MCP_A2A, relay
from loads.shape import Shape
from roundtrip import TEXT, pin, program, shown, timed_async

from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.shared import SharedNode
from mcp_a2a.views import AddPeerRequest, DiscoverRequest, InviteRequest, SendTaskRequest

PAIRS, MANY_PAIRS, IN_FLIGHT = 32, 256, 64
COUNT = 20_000
IDLE_CONNECTIONS = 2_000
NEAR_SECONDS = 20

Table = dict[str, object]


# --- a task through a relay ------------------------------------------------------------------------------------------


@asynccontextmanager
async def behind_a_relay(folder: Path) -> AsyncIterator[tuple[SharedNode, str]]:
    """A node, and an agent that it can reach only through a relay: the address where the agent listens is not told."""
    ann, ben = folder / "ann", folder / "ben"
    with relay(folder / "relay") as (_, url):
        async with open_node(Settings(home=ann, mdns=False, link_host="127.0.0.1")) as node:
            ticket = (await node.invite(InviteRequest(network="bench", relays=(url,)))).ticket
            joined = [MCP_A2A, "join", "-"]
            environment = {**os.environ, "MCP_A2A_HOME": str(ben), "MCP_A2A_MDNS": "false"}
            subprocess.run(joined, input=ticket, env=environment, text=True, check=True, capture_output=True)  # noqa: ASYNC221  nothing else runs
            with program("echo_agent.py", ben, MCP_A2A_LINK_HOST="127.0.0.1"):
                with anyio.fail_after(NEAR_SECONDS):
                    await until_seen(node)
                yield node, listening_address(ben)


async def until_seen(node: SharedNode) -> None:
    while not any(seen.name == "echo" for seen in (await node.discover(DiscoverRequest())).agents):  # noqa: ASYNC110  another process gives no event
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
            view = await node.send_task(SendTaskRequest(agent="echo", message=TEXT, wait_seconds=30))
            assert view.text == TEXT, view
            assert (view.route == "relay") is (route == "relay"), view.route

        return await timed_async(task)

    async with behind_a_relay(folder) as (node, address):
        started, before = time.perf_counter(), busy_seconds() - cpu_seconds(os.getpid())
        through = await one("relay")
        await node.add_peer(AddPeerRequest(address=address))
        direct = await one("direct")
        foreign = busy_seconds() - cpu_seconds(os.getpid()) - before
    return RoundTrips(through, direct, max(0.0, foreign) / (time.perf_counter() - started))


# --- everything ------------------------------------------------------------------------------------------------------


async def measure_ours(folder: Path, connections: int, say: Callable[[str], None]) -> Table:
    fresh = (folder / str(number) for number in range(1000))
    tls = ours.Certificate.make(folder)
    few, many = Shape(PAIRS, IN_FLIGHT, COUNT), Shape(MANY_PAIRS, IN_FLIGHT, COUNT)
    say("ours, recipients online")
    figures: Table = {"online": asdict(await quietest(lambda: ours.online(next(fresh), few)))}
    say("ours, 512 connections")
    figures["online_512_connections"] = asdict(await quietest(lambda: ours.online(next(fresh), many)))
    say("ours, TLS of its own")
    figures["online_tls"] = asdict(await quietest(lambda: ours.online(next(fresh), few, tls)))
    say("ours, recipients offline")
    figures["offline"] = asdict(await quietest(lambda: ours.offline(next(fresh), few)))
    say(f"ours, {connections:,} idle connections")
    figures["idle"] = asdict(await ours.idle(next(fresh), connections))
    figures["idle_tls"] = asdict(await ours.idle(next(fresh), connections, tls))
    say("a task through a relay")
    figures["task"] = asdict(await quietest(lambda: round_trips(next(fresh))))
    say("the floor: a server that only passes on")
    figures["floor"] = asdict(await quietest(lambda: ours.floor(few)))
    return figures


async def measure_peers(say: Callable[[str], None]) -> tuple[Table, dict[str, str]]:
    figures: Table = {}
    say("installing the others")
    with peers.installed() as (programs, missing):
        for peer in peers.PEERS:
            if peer.name in missing:
                continue
            say(peer.name)
            try:
                compared = await peers.compare(peer, programs, Shape(PAIRS, IN_FLIGHT, COUNT))
            except (OSError, RuntimeError) as error:
                missing[peer.name] = f"did not run: {error}"
                continue
            figures[peer.name] = {name: asdict(figure) for name, figure in compared.items()}
    return figures, missing


def number(figures: object, *path: str) -> float:
    for name in path:
        assert isinstance(figures, Mapping)
        figures = figures[name]
    assert isinstance(figures, int | float)
    return float(figures)


def ratios(mine: Table, others: Table) -> dict[str, float]:
    """What DESIGN promises, and how it stands."""
    found = {
        "messages/s online (budget at least 15,000)": number(mine, "online", "messages_per_s"),
        "messages/s online, 512 connections": number(mine, "online_512_connections", "messages_per_s"),
        "messages/s to offline recipients (budget at least 8,000)": number(mine, "offline", "stored", "messages_per_s"),
        "p99 ms online (budget under 10)": number(mine, "online", "p99_us") / 1000,
        "p99 ms offline (budget under 10)": number(mine, "offline", "stored", "p99_us") / 1000,
        "KiB per idle connection (budget 20)": number(mine, "idle", "bytes_each") / 1024,
        "KiB per idle connection, own TLS (budget 64)": number(mine, "idle_tls", "bytes_each") / 1024,
        "task through a relay over direct, p50 (budget 1.6)": number(mine, "task", "through_relay", "p50_us")
        / number(mine, "task", "direct", "p50_us"),
        "of the floor's messages/s": number(mine, "online", "messages_per_s") / number(mine, "floor", "messages_per_s"),
    }
    for name in others:
        for state, path in (("online", ("online",)), ("offline", ("offline", "stored"))):
            note = " (budget at least 15)" if (name, state) == (wormhole.NAME, "online") else ""
            ratio = number(mine, *path, "messages_per_s") / number(others, name, state, "messages_per_s")
            found[f"times {name}, {state}{note}"] = ratio
    return found


async def measure(connections: int, *, with_peers: bool, say: Callable[[str], None]) -> Table:
    pin(GENERATOR_CORE)
    with tempfile.TemporaryDirectory() as folder:
        mine = await measure_ours(Path(folder), connections, say)
    others, missing = await measure_peers(say) if with_peers else ({}, {})
    return {"ours": mine, "peers": others, "missing": missing, "ratios": ratios(mine, others)}


def table(figures: Table) -> str:
    """For people: one line per server and load."""
    lines = [f"{'':<46}{'messages/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'server':>8}{'generator':>11}{'foreign':>9}"]

    def row(name: str, of: object) -> None:
        lines.append(
            f"{name:<46}{number(of, 'messages_per_s'):>12,.0f}{number(of, 'p50_us') / 1000:>9.2f}"
            f"{number(of, 'p99_us') / 1000:>9.2f}{number(of, 'server_core'):>8.2f}{number(of, 'generator_core'):>11.2f}"
            f"{number(of, 'foreign_cores'):>9.2f}"
        )

    mine, others = figures["ours"], figures["peers"]
    assert isinstance(mine, dict)
    assert isinstance(others, dict)
    row("mcp-a2a relay, online", mine["online"])
    row("mcp-a2a relay, online, 512 connections", mine["online_512_connections"])
    row("mcp-a2a relay, online, own TLS", mine["online_tls"])
    row("mcp-a2a relay, offline (fsync)", mine["offline"]["stored"])
    row("bare aiohttp forwarder", mine["floor"])
    for name, states in others.items():
        for state, of in states.items():
            row(f"{name}, {state}", of)
    lines.append("")
    lines += shown("a task, 1 in flight", mine["task"])
    lines += shown("not measured", figures["missing"]) if figures["missing"] else ()
    lines += (f"{name:<72}{value:>12,.2f}" for name, value in ratios(mine, others).items())
    return "\n".join(lines)


def against(revision: str, rounds: int, say: Callable[[str], None]) -> Table:
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

    if arguments.against:
        compared = against(arguments.against, arguments.rounds, say)
        print(json.dumps(compared, indent=2) if arguments.json else "\n".join(shown(arguments.against, compared)))
        sys.exit()
    figures = anyio.run(
        lambda: measure(arguments.connections, with_peers=not arguments.alone, say=say),
        backend_options={"use_uvloop": True},
    )
    print(json.dumps(figures, indent=2) if arguments.json else table(figures))
