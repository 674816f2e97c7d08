"""Files through a relay: on the way for those who are away, and what is too large for one is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_a2a.api.files import FileArg
from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.api.networks import InviteRequest, JoinRequest
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest, ReplyRequest, SendTaskBySkillRequest
from mcp_a2a.config import RelaySettings
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.relaying import ServingRelay, serve_relay
from tests.files.scenes import MIB, answer, next_item, some_file, task, until
from tests.node.patience import set_patience
from tests.node.world import Person, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    set_patience(monkeypatch, barred=0.0)
    world = World(tmp_path / "world")
    world.folder.mkdir()
    return world


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[ServingRelay]:
    async with serve_relay(RelaySettings(home=tmp_path, listen="127.0.0.1:0", closed=False, rate_mib=1000)) as relay:
        yield relay


async def in_one_network(alice: Person, bob: Person, relay: str) -> None:
    ticket = (await alice.api.call(InviteRequest(network="shop", relays=(relay,)))).ticket
    await bob.api.call(JoinRequest(ticket=ticket))
    await until(lambda: any(peer.name == "bob" and peer.online for peer in alice.node.directory))


async def test_files_wait_at_a_relay_and_larger_ones_are_not_sent_there(
    tmp_path: Path, world: World, relay: ServingRelay
) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await in_one_network(alice, bob, relay.url)
        sent = await alice.api.call(task(some_file(tmp_path, 2 * MIB)))
        await until(lambda: stage(alice, sent.task_id) == Delivery.STORED)

        with pytest.raises(FileError, match="at most 10 MiB may go through one"):
            await alice.api.call(task(some_file(tmp_path, 10 * MIB + 1)))

        async with world.person("bob") as bob:
            item = await next_item(bob)
            assert item.files[0].size == 2 * MIB
            await until(lambda: stage(alice, sent.task_id) == Delivery.DELIVERED)
            await answer(bob, item, some_file(tmp_path, 10 * MIB + 1))
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))
    assert (view.state, view.error) == (Moment.COMPLETED, None)
    assert "larger than may go through one" in (view.text or "")


async def test_a_reply_with_a_file_that_no_relay_takes_is_refused_and_the_task_goes_on(
    tmp_path: Path, world: World, relay: ServingRelay
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await in_one_network(alice, bob, relay.url)
        sent = await alice.api.call(task(some_file(tmp_path, 1000)))
        item = await next_item(bob)
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="input_required", text="which?"))
        await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))
        large = (FileArg(path=str(some_file(tmp_path, 10 * MIB + 1))),)
        with pytest.raises(FileError, match="at most 10 MiB may go through one"):
            await alice.api.call(ReplyRequest(task_id=sent.task_id, message="this", files=large))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id))
        assert (view.state, view.error) == (Moment.INPUT_REQUIRED, None)


async def test_a_file_that_no_relay_takes_is_refused_by_skill_too(
    tmp_path: Path, world: World, relay: ServingRelay
) -> None:
    async with world.person("alice") as alice, world.person("bob", "review") as bob:
        await in_one_network(alice, bob, relay.url)
        large = (FileArg(path=str(some_file(tmp_path, 10 * MIB + 1))),)
        with pytest.raises(FileError, match="at most 10 MiB may go through one"):
            await alice.api.call(SendTaskBySkillRequest(skill="review", message="look", files=large, wait_seconds=0))
        assert (await alice.api.call(ListTasksRequest())).tasks == ()


def stage(person: Person, task_id: str) -> Delivery | None:
    record = person.node.sending.find(task_id)
    return record.delivery if record is not None else None
