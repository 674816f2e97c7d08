"""Peers of one machine see each other through the board, whatever else hangs there."""

# ruff: noqa: ASYNC220, ASYNC240  a test may wait for a disk

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.ports import Announcement, Sighting
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a_transports._sightings import MAX_SIGHTINGS, fingerprint
from mcp_a2a_transports.local import MAX_FILES, LocalLookup, Notice
from tests.protocol.people import flip
from tests.transports.people import Spotter, identity, until

ANN, BEN = identity("ann").peer_id, identity("ben").peer_id


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return tmp_path / "home" / "announce"


@asynccontextmanager
async def looking(board: Path, name: str, port: int = 7301) -> AsyncIterator[Spotter]:
    """That peer announces itself and looks."""
    spotter = Spotter()
    async with LocalLookup(board).open(Announcement(identity(name).peer_id, port), spotter):
        yield spotter


def file_of(board: Path, name: str) -> Path:
    return board / f"{fingerprint(identity(name).peer_id)}.json"


def notice(name: str, **changes: object) -> dict[str, object]:
    """What that peer would post from this process."""
    ours = json.loads(Notice(identity(name).peer_id, 7301, os.getpid(), "").to_text())
    return ours | changes


@asynccontextmanager
async def seeing_only_ben(board: Path) -> AsyncIterator[Spotter]:
    """Ann looks at a board where Ben hangs beside whatever the test put there."""
    async with looking(board, "ann") as spotter, looking(board, "ben"):
        await until(lambda: spotter.seen, spotter)
        assert set(spotter.seen) == {BEN}
        yield spotter


async def test_two_peers_see_each_other_wherever_they_listen(board: Path) -> None:
    async with looking(board, "ann", 7001) as of_ann, looking(board, "ben", 7002) as of_ben:
        await until(lambda: of_ann.seen, of_ann)
        await until(lambda: of_ben.seen, of_ben)
        assert of_ann.seen == {BEN: Sighting(BEN, (DirectAddr("127.0.0.1", 7002),), "local")}
        assert of_ben.seen == {ANN: Sighting(ANN, (DirectAddr("127.0.0.1", 7001),), "local")}


async def test_who_stops_is_lost_and_leaves_no_file(board: Path) -> None:
    async with looking(board, "ann") as of_ann:
        async with looking(board, "ben"):
            await until(lambda: of_ann.seen, of_ann)
        assert not file_of(board, "ben").exists()
        await until(lambda: not of_ann.seen, of_ann)
        assert of_ann.story == [("sighted", BEN), ("lost", BEN)]


async def test_for_want_of_open_files_nobody_is_lost_and_who_came_meanwhile_is_seen_later(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = list[Path]()
    thrice = anyio.Event()

    def none_left(path: Path) -> bytes:
        looks.append(path)
        if len(looks) == 3:
            thrice.set()
        raise OSError(errno.EMFILE, "Too many open files")

    async with seeing_only_ben(board) as spotter:
        with monkeypatch.context() as patch:
            patch.setattr("mcp_a2a_transports.local._read", none_left)
            (board / file_of(board, "eve").name).write_text(json.dumps(notice("eve", boot=boot_of(board))))
            with anyio.fail_after(30):
                await thrice.wait()
            assert set(spotter.seen) == {BEN}
        await until(lambda: len(spotter.seen) == 2, spotter)


def boot_of(board: Path) -> str:
    return str(json.loads(file_of(board, "ben").read_text())["boot"])


async def test_who_starts_again_is_sighted_again(board: Path) -> None:
    async with looking(board, "ann") as of_ann:
        for _ in range(2):
            async with looking(board, "ben"):
                await until(lambda: of_ann.seen, of_ann)
            await until(lambda: not of_ann.seen, of_ann)
        assert [what for what, _ in of_ann.story] == ["sighted", "lost"] * 2


async def test_a_restart_that_nobody_saw_the_end_of_is_a_new_sighting(board: Path) -> None:
    async with looking(board, "ann") as of_ann, looking(board, "ben", 7002):
        await until(lambda: of_ann.seen, of_ann)
        async with looking(board, "ben", 7003):  # the file is replaced in one step
            await until(lambda: of_ann.seen[BEN].addresses == (DirectAddr("127.0.0.1", 7003),), of_ann)
        assert ("lost", BEN) not in of_ann.story[:2]


async def test_nobody_sees_themselves(board: Path) -> None:
    async with looking(board, "ann"), seeing_only_ben(board) as of_ann:
        assert ANN not in of_ann.seen


async def test_only_the_owner_can_read_what_is_announced(board: Path) -> None:
    board.mkdir(mode=0o777, parents=True)
    async with looking(board, "ann"):
        assert stat.S_IMODE(board.stat().st_mode) == 0o700
        assert stat.S_IMODE(file_of(board, "ann").stat().st_mode) == 0o600


async def test_a_file_says_nothing_but_key_port_and_process(board: Path) -> None:
    async with looking(board, "ann"):
        fields = json.loads(file_of(board, "ann").read_text())
        assert fields.keys() == {"v", "did", "host", "port", "pid", "boot"}
        assert list(board.iterdir()) == [file_of(board, "ann")]


async def test_a_board_that_was_taken_away_is_put_up_again(board: Path) -> None:
    async with looking(board, "ann") as of_ann:
        file_of(board, "ann").unlink()
        board.rmdir()
        async with looking(board, "ben") as of_ben:
            await until(lambda: of_ann.seen, of_ann)
            await until(lambda: of_ben.seen, of_ben)


async def test_a_notice_that_another_process_of_ours_put_up_stays(board: Path) -> None:
    async with looking(board, "ann", 7001):
        successor = json.dumps(notice("ann", port=7009))
        file_of(board, "ann").write_text(successor)
    assert file_of(board, "ann").read_text() == successor


async def test_a_folder_that_can_not_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        async with looking(tmp_path / "file" / "announce", "ann"):
            pytest.fail("announced inside a file")


# --- what was left behind -------------------------------------------------------------------------


async def test_the_notice_of_a_dead_process_is_ignored_and_taken_down(board: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    async with looking(board, "cat"):
        left = json.loads(file_of(board, "cat").read_text()) | {"pid": dead.pid}
    file_of(board, "cat").write_text(json.dumps(left))
    async with seeing_only_ben(board):
        assert not file_of(board, "cat").exists()


async def test_a_process_that_is_killed_is_lost(board: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        async with looking(board, "ann") as of_ann:
            content = json.loads(file_of(board, "ann").read_text())
            alive = content | {"did": str(BEN), "pid": other.pid}
            file_of(board, "ben").write_text(json.dumps(alive))
            await until(lambda: of_ann.seen, of_ann)
            other.kill()
            other.wait()
            await until(lambda: not of_ann.seen, of_ann)
    assert not file_of(board, "ben").exists()


async def test_a_notice_from_before_the_machine_started_is_ignored_and_taken_down_after_a_day(board: Path) -> None:
    board.mkdir(parents=True)
    for name, age in (("old", 90_000), ("new", 60)):
        path = file_of(board, name)
        path.write_text(json.dumps(notice(name, boot="another start")))
        then = path.stat().st_mtime - age
        os.utime(path, (then, then))
    async with seeing_only_ben(board):
        assert not file_of(board, "old").exists()
        assert file_of(board, "new").exists()  # perhaps another machine that shares the folder


# --- what does not belong there -------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b"{" * 100_000,
        b"x" * 10_000_000,
        json.dumps(notice("cat", v=2)).encode(),
        json.dumps(notice("cat", did="did:key:z6Mk")).encode(),
        json.dumps(notice("cat", did=7)).encode(),
        json.dumps(notice("cat", port=0)).encode(),
        json.dumps(notice("cat", port=65_536)).encode(),
        json.dumps(notice("cat", port="7301")).encode(),
        json.dumps(notice("cat", pid=0)).encode(),
        json.dumps(notice("cat", pid=-1)).encode(),
        json.dumps(notice("cat", pid=2**70)).encode(),
        json.dumps(notice("cat", did=str(BEN))).encode(),
    ],
    ids=lambda content: content[:20],
)
async def test_a_file_that_is_no_notice_is_passed_over(board: Path, content: bytes) -> None:
    board.mkdir(parents=True)
    file_of(board, "cat").write_bytes(content)
    async with seeing_only_ben(board):
        pass


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to("nowhere"),
        os.mkfifo,
    ],
    ids=["folder", "endless", "loop", "nowhere", "pipe"],
)
async def test_what_is_no_file_is_passed_over(board: Path, make: Callable[[Path], None]) -> None:
    board.mkdir(parents=True)
    make(file_of(board, "cat"))
    async with seeing_only_ben(board):
        pass


async def test_a_board_full_of_rubbish_costs_little_and_ends_no_lookup(board: Path) -> None:
    board.mkdir(parents=True)
    for number in range(MAX_FILES * 2):
        (board / f"{number}.txt").touch()
    async with looking(board, "ann"), looking(board, "ben"):
        pass


async def test_more_peers_than_a_lookup_keeps_do_not_fill_memory(board: Path) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(looking(board, "peer 0"))
        content = json.loads(file_of(board, "peer 0").read_text())
        for number in range(1, MAX_SIGHTINGS + 50):
            path = file_of(board, f"peer {number}")
            path.write_text(json.dumps(content | {"did": str(identity(f"peer {number}").peer_id)}))
        of_ann = await stack.enter_async_context(looking(board, "ann"))
        await until(lambda: len(of_ann.seen) >= MAX_SIGHTINGS, of_ann)
        assert len(of_ann.seen) == MAX_SIGHTINGS


async def test_a_handler_that_fails_does_not_end_the_lookup(board: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Clumsy(Spotter):
        def sighted(self, sighting: Sighting) -> None:
            super().sighted(sighting)
            raise RuntimeError("a bug of ours")

    spotter = Clumsy()
    async with LocalLookup(board).open(Announcement(ANN, 7301), spotter):
        for name in ("ben", "cat"):
            async with looking(board, name):
                await until(lambda: identity(name).peer_id in spotter.seen, spotter)  # noqa: B023  awaited here
    assert "a bug of ours" in caplog.text


@given(st.data())
def test_a_damaged_notice_raises_nothing_but_a_protocol_error(data: st.DataObject) -> None:
    raw = Notice(ANN, 7301, 4711, "boot").to_text().encode()
    damaged = data.draw(
        st.one_of(
            st.binary(max_size=300),
            st.integers(0, len(raw)).map(lambda end: raw[:end]),
            st.integers(0, len(raw) * 8 - 1).map(lambda bit: flip(raw, bit)),
        )
    )
    with suppress(RemoteProtocolError):
        Notice.parse_untrusted(damaged)


def test_a_notice_is_read_as_it_was_written() -> None:
    ours = Notice(ANN, 7301, 4711, "boot")
    assert Notice.parse_untrusted(ours.to_text()) == ours
