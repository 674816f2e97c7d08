"""What a relay can read of what passes it: which keys talk, when, and sizes from a list. Nothing else, anywhere."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.agents import DiscoverRequest
from mcp_a2a.api.diagnostics import PingRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.networks import InviteRequest, JoinRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest
from mcp_a2a.protocol.envelope import WIRE_SIZES
from mcp_a2a.protocol.listing import LISTING_SIZES
from mcp_a2a.protocol.model import AgentCard, AgentSkill, Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.relay_url import parse_relay_url
from tests.e2e.relays import GENEROUS, relay
from tests.node.wiretap import TcpTap, canary, found, tcp_tap
from tests.node.world import Person, World

SECRETS = ("name", "description", "skill", "tag", "task", "later", "result", "network", "context")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def card(said: dict[str, str]) -> AgentCard:
    skill = AgentSkill(id=said["skill"], name=said["skill"], description=said["skill"], tags=(said["tag"],))
    return AgentCard(name=said["name"], description=said["description"], skills=(skill,))


def memory_of(pid: int, folder: Path) -> bytes:
    """Everything that a process holds in its memory."""
    if shutil.which("gcore") is not None:
        subprocess.run(["gcore", "-o", str(folder / "core"), str(pid)], check=True, capture_output=True)
        return (folder / f"core.{pid}").read_bytes()
    held = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            start, end = (int(edge, 16) for edge in span.split("-"))
            if "rw" in rights:
                memory.seek(start)
                held += memory.read(end - start)
    return bytes(held)


def disk_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def converse(alice: Person, bob: Person, said: dict[str, str]) -> None:
    """A task and its result, through the relay."""
    request = SendTaskRequest(
        agent=bob.did, message=said["task"], skill=said["skill"], context_id=said["context"], wait_seconds=0
    )
    sent = await alice.api.call(request)
    await bob.api.call(CheckInboxRequest(wait_seconds=30))
    await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text=said["result"]))
    view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
    assert (view.state, view.text, view.route) == (Moment.COMPLETED, said["result"], "relay")


async def leave_something(alice: Person, bob_did: str, said: dict[str, str]) -> None:
    """A task for somebody who is away: it stays at the relay."""
    sent = await alice.api.call(SendTaskRequest(agent=bob_did, message=said["later"], wait_seconds=0))
    with anyio.fail_after(30):
        while (await alice.api.call(GetTaskRequest(task_id=sent.task_id))).delivery != Delivery.STORED:
            await alice.node.context.task_changes.event(f"{sent.task_id}/delivery").wait()


async def everything(world: World, tap: TcpTap, url: str, said: dict[str, str]) -> str:
    """A network, entries, a ping, a conversation, and a task that waits. Returns a key that is no secret."""
    pinned = parse_relay_url(url)
    tapped = url.replace(f":{pinned.port}/", f":{tap.port}/")
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(world.person("alice"))
        async with world.person("bob", card=card(said)) as bob:
            invitation = InviteRequest(network=said["network"], relays=(tapped,), uses=2)
            await bob.api.call(JoinRequest(ticket=(await alice.api.call(invitation)).ticket))
            with anyio.fail_after(30):
                while not (await alice.api.call(DiscoverRequest(settle_seconds=0, query=said["skill"]))).agents:
                    await alice.node.directory.changes.event().wait()
            await converse(alice, bob, said)
            assert (await alice.api.call(PingRequest(agent=bob.did))).ms is not None
        await leave_something(alice, bob.did, said)
        return bob.did


async def test_nothing_of_what_agents_say_and_are_is_found_at_a_relay(tmp_path: Path) -> None:
    said = {what: canary(what) for what in SECRETS}
    with relay(tmp_path / "relay", "-vv", "--listen", "127.0.0.1:0", *GENEROUS) as serving:
        port = parse_relay_url(serving.url).port
        async with tcp_tap(port) as tap:
            did = await everything(World(tmp_path), tap, serving.url, said)
            assert serving.process is not None
            memory = await anyio.to_thread.run_sync(memory_of, serving.process.pid, tmp_path)
        disk = disk_of(tmp_path / "relay")
        serving.end(signal.SIGTERM)
        disk += disk_of(tmp_path / "relay")
        places = {"memory": memory, "disk": disk, "log": serving.log.read_bytes(), "wire": tap.wire}

    assert did.encode() in places["memory"], "the search finds what a relay must know"
    assert did.encode() in places["wire"]
    assert did.encode() in places["disk"]
    words = list(said.values())
    assert {place: found(words, held) for place, held in places.items()} == {place: [] for place in places}
    assert tap.sealed_sizes
    assert tap.sealed_sizes <= WIRE_SIZES | LISTING_SIZES
