"""Files from node to node: whole, once, through cuts and restarts, and within limits."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.agents import PeersRequest, SetTrustRequest
from mcp_a2a.api.files import FileArg, SaveFilesRequest
from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.api.tasks import CancelRequest, GetTaskRequest, ReplyRequest
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.node.delivery import letters
from mcp_a2a.node.files import pieces
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Delivery, Part
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.store.forgetting import forget_finished
from mcp_a2a.store.records import note_finished
from tests.files.scenes import MIB, answer, mode, next_item, sha256, some_file, spooled, task, until
from tests.node.patience import set_patience
from tests.node.world import World, acquainted
from tests.transports.memory import Faults


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "world")
    world.folder.mkdir()
    world.make_own("alice", "bob")
    return world


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 5 * MIB + 7])
async def test_a_file_goes_there_and_another_comes_back(world: World, tmp_path: Path, size: int) -> None:
    there = some_file(tmp_path, size, "there.bin")
    back = some_file(tmp_path, size + 3, "back.txt")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task(there))
        item = await next_item(bob)
        (received,) = item.files
        assert (received.name, received.size, received.sha256) == ("there.bin", size, sha256(there))
        saved = await bob.api.call(SaveFilesRequest(task_id=item.task_id))
        assert sha256(saved.files[0].path) == sha256(there)
        await answer(bob, item, back)
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))
        assert (view.state, view.text, view.delivery) == (Moment.COMPLETED, "done", Delivery.DELIVERED)
        assert [(file.name, file.size, file.here) for file in view.files] == [("back.txt", size + 3, True)]
        saved = await alice.api.call(SaveFilesRequest(task_id=sent.task_id, folder=str(tmp_path / "out")))
        assert sha256(saved.files[0].path) == sha256(back)


async def test_a_file_arrives_whole_though_the_line_is_cut_again_and_again(world: World, tmp_path: Path) -> None:
    there = some_file(tmp_path, 12 * MIB)
    chances = random.Random(7)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await alice.api.call(task(there))
        for _ in range(10):
            await anyio.sleep(chances.uniform(0, 0.05))
            world.network.cut("alice", "bob")
            world.network.heal()
            alice.sees(bob)
        item = await next_item(bob, 40)
        saved = await bob.api.call(SaveFilesRequest(task_id=item.task_id))
    assert sha256(saved.files[0].path) == sha256(there)


async def test_files_travel_on_after_a_restart_of_either_side(world: World, tmp_path: Path) -> None:
    there = some_file(tmp_path, 3 * MIB)
    digest = sha256(there)
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await acquainted(alice, bob)
        sent = await alice.api.call(task(there))
        assert sent.transfer is not None
        assert (sent.transfer.direction, sent.transfer.done, sent.transfer.file) == ("sending", 0, "data.bin")
    there.unlink()  # what was attached does not depend on it
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            alice.sees(bob)
            await until(lambda: len(spooled(world, "bob")) == 1)
        async with world.person("bob") as bob:
            alice.sees(bob)
            item = await next_item(bob)
            assert item.files[0].size == 3 * MIB
            saved = await bob.api.call(SaveFilesRequest(task_id=item.task_id))
    assert sha256(saved.files[0].path) == digest


async def test_a_file_is_not_lost_for_want_of_open_files(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, failures, read = some_file(tmp_path, 2 * MIB), [1] * 3, letters.read_piece

    def read_piece(path: Path, number: int) -> bytes:
        if failures:
            failures.pop()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return read(path, number)

    monkeypatch.setattr(letters, "read_piece", read_piece)
    set_patience(monkeypatch, system_limit=0.01, full=0.01)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await alice.api.call(task(there))
        item = await next_item(bob)
        saved = await bob.api.call(SaveFilesRequest(task_id=item.task_id))
    assert not failures
    assert sha256(saved.files[0].path) == sha256(there)


async def test_what_several_files_hold_and_are_called_is_kept_apart(world: World, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    files = [some_file(folder, 70_000 + number, "same.txt") for number, folder in enumerate(folders)]
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await alice.api.call(task(*files))
        item = await next_item(bob)
        saved = await bob.api.call(SaveFilesRequest(task_id=item.task_id))
        assert [file.name for file in saved.files] == ["same.txt", "same (2).txt", "same (3).txt"]
        assert [file.sha256 for file in saved.files] == [sha256(path) for path in files]
        again = await bob.api.call(SaveFilesRequest(task_id=item.task_id))
        assert [file.name for file in again.files] == ["same (4).txt", "same (5).txt", "same (6).txt"]
        with pytest.raises(FileError, match="may name another folder with MCP_A2A_DOWNLOADS"):
            await bob.api.call(SaveFilesRequest(task_id=item.task_id, folder=str(files[0])))
    assert {mode(file.path) for file in again.files} == {0o600}


async def test_a_large_raw_part_of_a_result_travels_as_a_file(world: World) -> None:
    raw = "QUJD" * 500_000
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task())
        item = await next_item(bob)
        part = Part(raw=raw, filename="abc.txt", media_type="text/plain")
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", parts=(part,)))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        assert [(file.name, file.size) for file in view.files] == [("abc.txt", 1_500_000)]
        assert '"key"' not in view.model_dump_json(exclude_none=True)


async def test_a_stranger_is_known_by_its_message_before_any_file_of_it_is_here(world: World, tmp_path: Path) -> None:
    world.own.clear()
    there = some_file(tmp_path, 2 * MIB)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        view = await alice.api.call(task(there, wait=5))
        assert view.delivery == Delivery.HELD
        assert [contact.preview for contact in (await bob.api.call(PeersRequest())).contacts] == ["look"]
        assert spooled(world, "bob") == []
        await bob.api.call(SetTrustRequest(agent=alice.did, level="trusted"))
        item = await next_item(bob)
        saved = await bob.api.call(SaveFilesRequest(task_id=item.task_id))
        assert sha256(saved.files[0].path) == sha256(there)


async def test_whoever_sends_more_than_its_share_is_refused_and_told(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MAX_BYTES_PER_PEER", MIB)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        view = await alice.api.call(task(some_file(tmp_path, 2 * MIB), wait=10))
        assert (view.state, view.delivery) == (Moment.REJECTED, Delivery.REFUSED)
        assert view.error is not None
        assert "no room for more files" in view.error.message
        assert spooled(world, "bob") == []


async def test_a_result_whose_files_are_refused_arrives_without_them_and_says_so(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task())
        item = await next_item(bob)
        monkeypatch.setattr(pieces, "MAX_BYTES_PER_PEER", MIB)
        await answer(bob, item, some_file(tmp_path, 2 * MIB))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
    assert (view.state, view.error) == (Moment.COMPLETED, None)
    assert "no room for more files" in (view.text or "")


async def test_nothing_of_a_canceled_task_stays(world: World, tmp_path: Path) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await acquainted(alice, bob)
        sent = await alice.api.call(task(some_file(tmp_path, MIB)))
        assert len(spooled(world, "alice")) == 1
        await alice.api.call(CancelRequest(task_id=sent.task_id))
        world.clock.advance(300)
        alice.node.files.tidy()
        await until(lambda: spooled(world, "alice") == [])


async def test_what_lies_around_from_a_killed_process_goes_at_the_start(world: World, tmp_path: Path) -> None:
    stray = world.folder / "alice" / "blobs" / "out-0123"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"half")
    async with world.person("alice"):
        assert not stray.exists()


async def test_a_task_that_did_not_come_to_be_leaves_no_file(world: World, tmp_path: Path) -> None:
    there = some_file(tmp_path, MIB)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await alice.api.call(task(there, idempotency_key="k"))
        again = await alice.api.call(task(there, idempotency_key="k"))
        assert len(spooled(world, "alice")) == 1
        with pytest.raises(FileError):
            await alice.api.call(task(there, tmp_path / "missing"))
        assert len(spooled(world, "alice")) == 1
        assert again.task_id


async def test_a_reply_brings_files_too(world: World, tmp_path: Path) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task())
        item = await next_item(bob)
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="input_required", text="which file?"))
        await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        this = FileArg(path=str(some_file(tmp_path, MIB, "this.bin")))
        await alice.api.call(ReplyRequest(task_id=sent.task_id, message="this", wait_seconds=0, files=(this,)))
        item = await next_item(bob)
        assert (item.text, [file.name for file in item.files]) == ("look\nthis", ["this.bin"])


async def test_a_file_in_a_streamed_piece_of_a_result_comes_with_it(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task())
        item = await next_item(bob)
        for number in range(2):
            part = Part(raw="QUJD" * 50_000, filename=f"{number}.txt")
            chunk = ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(part,)), append=bool(number))
            chunks = AnswerRequest(task_id=item.task_id, status="working", chunks=(chunk,), streamed=number)
            await bob.api.call(chunks)
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed"))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        assert [(file.name, file.size, file.here) for file in view.files] == [
            ("0.txt", 150_000, True),
            ("1.txt", 150_000, True),
        ]


async def test_results_stay_with_their_task_and_inputs_go_a_day_after_it(world: World, tmp_path: Path) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(task(some_file(tmp_path, MIB, "in")))
        await answer(bob, await next_item(bob), some_file(tmp_path, MIB + 1, "out"))
        await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        for days, at_alice, at_bob in ((0.9, 2, 2), (0.2, 1, 0), (31, 0, 0)):
            world.clock.advance(days * 86_400)
            for person in (alice, bob):
                await person.node.context.database.write(
                    lambda connection: (
                        note_finished(connection, 0.0, world.clock()),
                        forget_finished(connection, world.clock(), 30 * 86_400),
                    )
                )
                person.node.files.tidy()
                await person.node.context.database.write(lambda _: None)
            assert (len(spooled(world, "alice")), len(spooled(world, "bob"))) == (at_alice, at_bob)


async def test_a_file_arrives_whole_over_a_network_that_loses_doubles_and_delays(world: World, tmp_path: Path) -> None:
    there, back = some_file(tmp_path, 3 * MIB, "there"), some_file(tmp_path, 2 * MIB, "back")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        world.network.faults = Faults(loss=0.02, delay_seconds=0.001, jitter_seconds=0.004, duplication=0.5)
        sent = await alice.api.call(task(there))
        item = await next_item(bob, 40)
        assert item.files[0].sha256 == sha256(there)
        await answer(bob, item, back)
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=40))
        assert [file.sha256 for file in view.files] == [sha256(back)]
