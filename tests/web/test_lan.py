"""A2A agents of a real LAN: somebody else's is found and used, and ours is announced where it is open."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.command import MCP_A2A, answer, environment, until
from tests.e2e.lan import lan, link_local, why_not

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
    await web.TCPSite(runner, ["0.0.0.0", "::"], 8123).start()
    other.url = "http://0.0.0.0:8123/"
    async with announced("*", 8123, tls=False):
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


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_on_a_network_with_ipv6_alone_agents_are_found_named_and_called_by_link(
    tmp_path: Path,
) -> None:
    with lan("ann", "ben", ipv4=False) as on:
        at_ben, at_ann = link_local(on["ben"]), link_local(on["ann"])
        with running(*on["ben"], sys.executable, "-c", STRANGER, home=tmp_path / "ben"):
            home = tmp_path / "ann"

            def seen() -> list[str]:
                return [one["did"] for one in answer(home, "discover", on=on["ann"])["agents"]]

            until(lambda: seen() == [f"http://[{at_ben}%25v0]:8123/"], 30, "ann sees the agent")
            assert answer(home, "send", "stranger", "abc", on=on["ann"])["text"] == "ABC"
            other = tmp_path / "other"
            added = answer(other, "--no-mdns", "peers", "add", f"http://[{at_ben}%v0]:8123", on=on["ann"])
            assert added["did"] == f"http://[{at_ben}%25v0]:8123/"
            assert answer(other, "--no-mdns", "send", added["did"], "abc", on=on["ann"])["text"] == "ABC"

        with (
            running(*on["ben"], sys.executable, "-c", WATCH, home=tmp_path / "ben") as watch,
            running(*on["ann"], MCP_A2A, "--listen", "[::]:3002", home=tmp_path / "server"),
        ):
            assert watch.stdout is not None
            where = watch.stdout.readline().strip()
            assert where == f"http://[{at_ann}%25v0]:3002/.well-known/agent-card.json"
            card = subprocess.run([*on["ben"], "curl", "-gs", where], capture_output=True, check=True, text=True)
            assert f'"http://[{at_ann}]:3002/' in card.stdout
