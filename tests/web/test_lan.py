"""A2A agents of a real LAN: somebody else's is found and used, and ours is announced where it is open."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.command import MCP_A2A, answer, environment, until
from tests.e2e.lan import lan, why_not

pytestmark = [pytest.mark.lan, pytest.mark.slow, pytest.mark.timeout(300)]

STRANGER = """
import anyio
from aiohttp import web
from mcp_a2a_transports.dns_sd import announced
from tests.web.agents import Agent, shout

async def main():
    other = Agent(shout)
    app = web.Application()
    app.router.add_get("/.well-known/agent-card.json", other._card)
    app.router.add_post("/rpc", other._rpc)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 8123).start()
    other.url = "http://0.0.0.0:8123/"
    async with announced("0.0.0.0", 8123, tls=False):
        await anyio.sleep_forever()

anyio.run(main)
"""

WATCH = """
import anyio
from mcp_a2a_transports.dns_sd import A2AWatch
from mcp_a2a_transports.surroundings import Surroundings
from mcp_a2a_transports.wires import Multicast

async def main():
    here = Surroundings()
    multicast = Multicast(here)
    async with here.open(), multicast.open():
        async with A2AWatch(multicast).open(lambda seen: print(seen.card_url, flush=True), lambda name: None):
            await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if reason := why_not():
        pytest.skip(reason)


@contextmanager
def running(*words: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    root = str(Path(__file__).parents[2])
    env = environment(home, PYTHONPATH=f"{root}:{root}/transports")
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_a2a_agents_of_the_lan_are_found_and_ours_is_announced_where_it_is_open(tmp_path: Path) -> None:
    with lan("ann", "ben") as on:
        with running(*on["ben"], sys.executable, "-c", STRANGER, home=tmp_path / "ben"):

            def seen() -> list[tuple[str, str, str]]:
                found = answer(tmp_path / "ann", "discover", on=on["ann"])
                return [(one["name"], one["did"], one["trust"]) for one in found["agents"]]

            until(lambda: seen() == [("stranger", "http://10.77.0.12:8123/", "stranger")], 30, "ann sees the agent")
            view = answer(tmp_path / "ann", "send", "stranger", "abc", on=on["ann"])
            assert (view["text"], view["route"]) == ("ABC", "http")

        with running(*on["ben"], sys.executable, "-c", WATCH, home=tmp_path / "ben") as watch:
            for address in ("127.0.0.1:3001", "0.0.0.0:3002"):
                words = [*on["ann"], MCP_A2A, "--listen", address]
                with running(*words, home=tmp_path / address.replace(":", "-")):
                    if address.startswith("0"):
                        assert watch.stdout is not None
                        assert watch.stdout.readline() == "http://10.77.0.11:3002/.well-known/agent-card.json\n"
