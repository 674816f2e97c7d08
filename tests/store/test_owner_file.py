"""Which process has the folder of an identity: as the system knows it, whatever an old note says."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from mcp_a2a.front.owner import take_lock
from mcp_a2a.store.folder_lock import lock_folder
from mcp_a2a.store.keyfile import published_did
from mcp_a2a.store.offline import NotStillError, still_database
from mcp_a2a.store.owner_file import (
    LOCK,
    NAME,
    STANDS_IN,
    STARTS,
    STARTS_SECONDS,
    has_stand_in,
    is_starting,
    read_owner,
    write_owner,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there the system tells who holds a lock")


def note(folder: Path, pid: int, *words: str) -> None:
    (folder / NAME).write_text(" ".join([str(pid), *words]))


def test_the_process_that_holds_the_folder_is_named_and_not_one_that_has_the_number_of_an_earlier_owner(
    tmp_path: Path,
) -> None:
    note(tmp_path, os.getppid(), STARTS, f"{time.monotonic()}")
    assert read_owner(tmp_path) == os.getppid(), "no process holds it, so the note is all there is"
    lock = lock_folder(tmp_path)
    assert lock is not None
    assert read_owner(tmp_path) == os.getpid()
    assert not is_starting(tmp_path)
    lock.release()


def test_an_owner_that_could_not_note_itself_is_not_taken_for_the_stand_in_before_it(tmp_path: Path) -> None:
    note(tmp_path, os.getppid(), STANDS_IN)
    assert has_stand_in(tmp_path)
    lock = lock_folder(tmp_path)
    assert lock is not None
    assert not has_stand_in(tmp_path)
    lock.release()


def test_a_process_that_never_comes_to_its_node_does_not_count_as_starting_for_ever(tmp_path: Path) -> None:
    lock = take_lock(tmp_path)
    assert lock is not None
    for _ in range(32):  # a time that is rounded lies ahead every other time
        write_owner(tmp_path, starts=True)
        assert is_starting(tmp_path)
    for since in (time.monotonic() - STARTS_SECONDS, time.monotonic() + 3600.0):  # it hangs; it is of an earlier boot
        note(tmp_path, os.getpid(), STARTS, f"{since}")
        assert not is_starting(tmp_path)
    lock.release()


@pytest.mark.parametrize("name", [NAME, "did"])
def test_what_is_no_file_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").write_text(f"{os.getpid()} stands-in")
    for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to(tmp_path / "other")):
        make(tmp_path / name)
        assert (has_stand_in(tmp_path), published_did(tmp_path)) == (False, None)
        write_owner(tmp_path)
        (tmp_path / name).rmdir() if (tmp_path / name).is_dir() else (tmp_path / name).unlink()
    assert (tmp_path / "other").read_text().endswith("stands-in"), "nothing was written through the link"


def test_a_folder_has_one_owner_though_the_file_of_its_lock_was_removed(tmp_path: Path) -> None:
    for take in (lock_folder, take_lock):
        owner = take(tmp_path)
        assert owner is not None
        (tmp_path / LOCK).unlink()
        assert lock_folder(tmp_path) is None
        assert take_lock(tmp_path) is None
        (tmp_path / "node.db").touch()
        with (
            pytest.raises(NotStillError, match="has the folder"),
            still_database(tmp_path / "node.db", tmp_path / LOCK),
        ):
            pass
        owner.release()
        again = lock_folder(tmp_path)
        assert again is not None
        again.release()
