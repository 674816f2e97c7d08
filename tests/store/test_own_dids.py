"""Identities of one data folder know each other by what only its owner can write there."""

from __future__ import annotations

import os
from pathlib import Path

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
