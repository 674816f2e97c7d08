"""Identities of one data folder know each other by what only its owner can write there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.keyfile import OwnDids, load_identity


def test_an_identity_that_was_made_later_is_own_at_once(tmp_path: Path) -> None:
    own = OwnDids(tmp_path)
    assert own() == frozenset()
    dids = set()
    for name in ("one", "two"):
        folder = open_folder(tmp_path / "identities" / name)
        assert own() == dids  # the folder is there before the key
        dids.add(str(load_identity(folder, os.urandom(32)).peer_id))
        assert own() == dids
    assert own() == dids


def test_a_removed_identity_is_no_longer_own(tmp_path: Path) -> None:
    own = OwnDids(tmp_path)
    folder = open_folder(tmp_path / "identities" / "one")
    load_identity(folder, os.urandom(32))
    assert len(own()) == 1
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert own() == frozenset()


def test_the_file_that_says_who_is_own_is_the_users_alone_and_earlier_ones_become_it(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "identities" / "one")
    did = load_identity(folder, os.urandom(32)).peer_id
    path = folder / "did"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    load_identity(folder, b"")
    assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (0o600, f"{did}\n")


def test_a_key_that_another_user_may_have_written_is_not_own(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "identities" / "one")
    did = str(load_identity(folder, os.urandom(32)).peer_id)
    (folder / "did").chmod(0o620)
    assert OwnDids(tmp_path)() == frozenset()
    (folder / "did").rename(folder / "elsewhere")
    (folder / "did").symlink_to("elsewhere")
    assert OwnDids(tmp_path)() == frozenset()
    (folder / "did").unlink()
    (folder / "elsewhere").rename(folder / "did")
    (folder / "did").chmod(0o600)
    assert OwnDids(tmp_path)() == {did}
    if os.getuid() == 0:
        os.chown(folder / "did", 65534, 65534)
        assert OwnDids(tmp_path)() == frozenset()


def test_for_want_of_open_files_none_of_our_own_is_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    own = OwnDids(tmp_path)
    folder = open_folder(tmp_path / "identities" / "one")
    did = str(load_identity(folder, os.urandom(32)).peer_id)
    assert own() == {did}
    other = str(load_identity(open_folder(tmp_path / "identities" / "two"), os.urandom(32)).peer_id)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", none_left)
        assert own() == {did}
    assert own() == {did, other}
