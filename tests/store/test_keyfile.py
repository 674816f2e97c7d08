"""The identity's key: private, whole, made once; and refused with a next step where it is not."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_a2a.errors.machine import HomeUnusableError, KeyFileError
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.store.disk import refused, unusable
from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.keyfile import DID_FILE, KEY_FILE, OwnDids, load_identity

SEED = bytes(range(32))
needs_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="giving files away needs root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return open_folder(tmp_path / "home" / "identities" / "default")


def test_a_key_is_made_once_and_stays(folder: Path) -> None:
    first = load_identity(folder, SEED)
    assert load_identity(folder, os.urandom(32)).peer_id == first.peer_id == Identity(SEED).peer_id
    assert sorted(path.name for path in folder.iterdir()) == [DID_FILE, KEY_FILE]


def test_a_key_that_is_gone_is_not_replaced_by_another_in_silence(folder: Path) -> None:
    first = load_identity(folder, SEED)
    (folder / KEY_FILE).unlink()
    with pytest.raises(KeyFileError, match=str(first.peer_id)):
        load_identity(folder, os.urandom(32))
    assert not (folder / KEY_FILE).exists()
    (folder / DID_FILE).unlink()  # as the error says
    assert load_identity(folder, os.urandom(32)).peer_id != first.peer_id


def test_key_and_folders_are_private(folder: Path) -> None:
    load_identity(folder, SEED)
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    for place in (folder, folder.parent, folder.parent.parent):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


# --- refused --------------------------------------------------------------------------------------


def readable_by_others(path: Path) -> None:
    path.chmod(0o644)


def writable_by_the_group(path: Path) -> None:
    path.chmod(0o620)


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def a_link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def somebody_elses(path: Path) -> None:
    os.chown(path, 12345, -1)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def holding(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("spoil", "reason", "next_step"),
    [
        pytest.param(readable_by_others, "mode 0644", "chmod 600"),
        pytest.param(writable_by_the_group, "mode 0620", "chmod 600"),
        pytest.param(a_link, "symbolic link", "key file itself"),
        pytest.param(a_link_to_nowhere, "symbolic link", "key file itself"),
        pytest.param(somebody_elses, "another user", "--home", marks=needs_root),
        pytest.param(a_folder, "not a file", "backup"),
        pytest.param(a_pipe, "not a file", "backup"),
        pytest.param(holding(b""), "does not hold a key", "backup"),
        pytest.param(holding(b"garbage"), "does not hold a key", "backup"),
        pytest.param(holding(b"ff" * 31), "does not hold a key", "backup"),
        pytest.param(holding(b"ff" * 33), "does not hold a key", "backup"),
        pytest.param(holding(b"\xff" * 64), "does not hold a key", "backup"),
        pytest.param(holding(b"0" * 10_000_000), "does not hold a key", "backup"),
    ],
)
def test_a_key_file_that_is_not_as_it_must_be_is_refused_with_a_next_step(
    folder: Path, spoil: Callable[[Path], None], reason: str, next_step: str
) -> None:
    load_identity(folder, SEED)
    spoil(folder / KEY_FILE)
    with pytest.raises(KeyFileError, match=reason) as refused:
        load_identity(folder, os.urandom(32))
    assert next_step in refused.value.hint
    assert SEED.hex() not in str(refused.value)


def test_a_damaged_did_file_is_put_right(folder: Path) -> None:
    identity = load_identity(folder, SEED)
    (folder / DID_FILE).write_bytes(b"\xff\xfe garbage")
    load_identity(folder, SEED)
    assert OwnDids(folder.parent.parent)() == {str(identity.peer_id)}


def test_a_damaged_did_file_of_another_identity_is_nobodys(folder: Path) -> None:
    identity = load_identity(folder, SEED)
    other = open_folder(folder.parent / "other")
    (other / DID_FILE).write_bytes(b"\xff\xfe garbage")
    assert OwnDids(folder.parent.parent)() == {str(identity.peer_id)}


def test_an_identity_is_known_to_the_others_of_its_folder_from_its_first_moment(folder: Path) -> None:
    own = OwnDids(folder.parent.parent)
    known = {str(load_identity(folder, SEED).peer_id)}
    for number in range(20):
        assert own() == known
        another = load_identity(open_folder(folder.parent / f"another-{number}"), os.urandom(32))
        known.add(str(another.peer_id))
    assert own() == known


# --- folders --------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(HomeUnusableError) as refused:
            open_folder(place)
        assert "--home" in refused.value.hint


def test_a_link_to_a_disk_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    for place in (tmp_path / "data", tmp_path / "data" / "identities" / "default"):
        with pytest.raises(HomeUnusableError, match=f"{tmp_path / 'data'} cannot be used: it is a symbolic link to a"):
            open_folder(place)
    (tmp_path / "disk").mkdir()
    assert stat.S_IMODE(open_folder(tmp_path / "data" / "identities").stat().st_mode) == 0o700


def test_a_umask_takes_nothing_away_that_the_owner_needs(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        folder = open_folder(tmp_path / "home" / "identities" / "default")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(place.stat().st_mode) for place in (folder, *folder.parents[:2])] == [0o700] * 3


@needs_root
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "theirs"
    place.mkdir()
    os.chown(place, 12345, -1)
    with pytest.raises(HomeUnusableError, match="another user"):
        open_folder(place)


@needs_root
def test_a_file_of_somebody_else_in_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "node.db").touch()
    os.chown(tmp_path / "node.db", 12345, -1)
    said = unusable(tmp_path / "node.db", sqlite3.OperationalError("unable to open database file"))
    assert "node.db in it belongs to another user" in said.message
    said = refused(tmp_path, PermissionError(errno.EPERM, "Operation not permitted"))
    assert "node.db in it belongs to another user" in said.message


def test_a_folder_on_a_disk_that_cannot_be_written_is_refused() -> None:
    place = Path("/sys/mcp-a2a-test")
    if not place.parent.is_dir():
        pytest.skip("needs /sys, where nobody can make folders")
    with pytest.raises(HomeUnusableError):
        open_folder(place)


# --- many at once ---------------------------------------------------------------------------------

FIRST_START = """
import os, sys
from pathlib import Path
from mcp_a2a.store.disk import refused, unusable
from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.keyfile import load_identity
sys.stdin.readline()
print(load_identity(open_folder(Path(sys.argv[1])), os.urandom(32)).peer_id)
"""


@pytest.mark.slow
def test_fifty_first_starts_at_once_make_one_key(tmp_path: Path) -> None:
    place = tmp_path / "home" / "identities" / "default"
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_START, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(50)
    ]
    for process in starting:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = {process.communicate(timeout=50)[0] for process in starting}
    assert len(said) == 1
    assert all(process.returncode == 0 for process in starting)
    assert sorted(path.name for path in place.iterdir()) == [DID_FILE, KEY_FILE]
