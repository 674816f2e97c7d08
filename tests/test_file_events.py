"""Changes of folders are told when they happen, and found by looking where the system tells of none."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from mcp_a2a import file_events
from mcp_a2a.file_events import Changes, watched

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

NEVER = 3_600.0


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at: what is found was told by the kernel."""
    monkeypatch.setattr(file_events, "LOOK_SECONDS", NEVER)
    monkeypatch.setattr(file_events, "POLL_SECONDS", NEVER)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def descriptors() -> list[str]:
    """The instances of inotify of this process."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(entry.readlink()))
    return [target for target in found if "inotify" in target]


def kernel_watches() -> int:
    """The watches that the kernel holds for this process."""
    lines = list[str]()
    for entry in Path("/proc/self/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            lines += entry.read_text().splitlines()
    return sum(line.startswith("inotify wd:") for line in lines)


async def told(changes: Changes) -> None:
    with anyio.fail_after(30):
        await changes.wait()


async def told_of_all(changes: Changes) -> None:
    """A change is told, and whatever follows from it."""
    await told(changes)
    quiet = False
    while not quiet:
        with anyio.move_on_after(0.1) as scope:
            await changes.wait()
        quiet = scope.cancelled_caught


@contextmanager
def without_instances() -> Iterator[None]:
    """As for a user whose instances are all in use."""

    def refuse(*_: object, **__: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inotify_simple.INotify.__init__", refuse)
        yield


@pytest.mark.usefixtures("only_told")
async def test_a_file_that_comes_changes_its_place_or_goes_is_told(tmp_path: Path) -> None:
    async with watched(tmp_path) as changes:
        (tmp_path / "draft").touch()
        await told(changes)
        (tmp_path / "draft").rename(tmp_path / "file")
        await told(changes)
        (tmp_path / "file").unlink()
        await told(changes)
        with anyio.move_on_after(0.2) as quiet:
            await changes.wait()
        assert quiet.cancelled_caught


@pytest.mark.usefixtures("only_told")
async def test_what_changes_between_two_waits_is_told_at_the_second(tmp_path: Path) -> None:
    async with watched(tmp_path) as changes:
        (tmp_path / "one").touch()
        await told(changes)
        (tmp_path / "two").touch()
        await anyio.sleep(0.01)
        await told(changes)


@pytest.mark.usefixtures("only_told")
async def test_a_folder_that_is_made_later_taken_away_and_made_again_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "not yet" / "folder"
    async with watched(folder) as changes:
        for _ in range(2):
            folder.mkdir(parents=True)
            await told_of_all(changes)
            (folder / "file").touch()
            await told_of_all(changes)
            shutil.rmtree(folder.parent)
            await told_of_all(changes)


@pytest.mark.usefixtures("only_told")
async def test_a_folder_in_the_place_of_another_is_followed(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    async with watched(folder) as changes:
        folder.rename(tmp_path / "old")
        other.rename(folder)
        await told_of_all(changes)
        (folder / "file").touch()
        await told(changes)


@pytest.mark.usefixtures("only_told")
async def test_a_burst_is_told_in_a_few_waits(tmp_path: Path) -> None:
    waits = 0
    async with watched(tmp_path) as changes:
        for number in range(500):
            (tmp_path / str(number)).touch()
        with anyio.move_on_after(0.5):
            while True:
                await changes.wait()
                waits += 1
    assert 1 <= waits <= 3


@pytest.mark.usefixtures("only_told")
async def test_all_that_watch_the_same_folder_are_told_and_share_one_watch(tmp_path: Path) -> None:
    async with watched(tmp_path) as one:
        async with watched(tmp_path) as other, watched(tmp_path / "missing") as third:
            assert (len(descriptors()), kernel_watches()) == (1, 1)
            (tmp_path / "file").touch()
            for changes in (one, other, third):
                await told(changes)
        (tmp_path / "file").unlink()  # the first goes on, also without the task of the second
        await told(one)


@pytest.mark.usefixtures("only_told")
async def test_who_stays_is_told_when_the_first_has_gone(tmp_path: Path) -> None:
    ready, gone = anyio.Event(), anyio.Event()

    async def stay() -> None:
        async with watched(tmp_path) as changes:
            ready.set()
            await gone.wait()
            (tmp_path / "file").touch()
            await told(changes)

    async with anyio.create_task_group() as tasks:
        async with watched(tmp_path):
            tasks.start_soon(stay)
            await ready.wait()
        gone.set()


async def test_no_watch_and_no_thread_is_left(tmp_path: Path) -> None:
    before = threads()
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with watched(folder) as changes, watched(tmp_path):
            assert kernel_watches() == 2
            folder.rmdir()
            await told_of_all(changes)
            assert kernel_watches() == 1  # of the folder above, that both watch now
    assert (descriptors(), kernel_watches()) == ([], 0)
    assert threads() <= before


def threads() -> set[str]:
    """Names of this process's threads, without those that run the event loop of a test."""
    return {one.name for one in threading.enumerate() if not one.name.startswith("Trio thread")}


async def test_without_an_instance_folders_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_events, "LOOK_SECONDS", NEVER)
    monkeypatch.setattr(file_events, "POLL_SECONDS", 0.01)
    with without_instances():
        async with watched(tmp_path) as changes:
            assert descriptors() == []
            await told(changes)
            await told(changes)


LIMITED = """
import anyio, pathlib, sys, tempfile
from mcp_a2a import file_events
from mcp_a2a.file_events import watched

file_events.LOOK_SECONDS, file_events.POLL_SECONDS = 3600.0, 0.05
LIMIT = pathlib.Path("/proc/sys/user/max_inotify_" + sys.argv[1])

async def main():
    LIMIT.write_text("0")
    with tempfile.TemporaryDirectory() as name:
        async with watched(pathlib.Path(name)) as changes:
            for _ in range(3):
                await changes.wait()  # by looking
            if sys.argv[1] == "watches":  # others have given back theirs: it is told from now on
                LIMIT.write_text("8")
                await changes.wait()
                pathlib.Path(name, "file").touch()
                await changes.wait()
                with anyio.move_on_after(0.3) as quiet:
                    await changes.wait()
                assert quiet.cancelled_caught

anyio.run(main)
print("seen")
"""


@pytest.mark.parametrize("used_up", ["watches", "instances"])
def test_where_the_watches_of_a_user_are_used_up_folders_are_looked_at_until_there_are_more(used_up: str) -> None:
    own_user = ["unshare", "--user", "--map-root-user"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*own_user, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("there are no user namespaces here")
    command = [*own_user, sys.executable, "-c", LIMITED, used_up]
    ended = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("seen\n", "")


INTERRUPTED = """
import anyio, pathlib, sys
from mcp_a2a.file_events import watched

async def main():
    async with watched(pathlib.Path(sys.argv[1])) as changes:
        print("waiting", flush=True)
        while True:
            await changes.wait()

anyio.run(main)
"""


def test_ctrl_c_ends_a_program_that_waits_for_changes(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "waiting\n"
        program.send_signal(signal.SIGINT)
        assert program.wait(10) != 0
        assert program.stderr is not None
        assert "KeyboardInterrupt" in program.stderr.read()
