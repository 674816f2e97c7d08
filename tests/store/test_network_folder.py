"""The networks of a person: files that only their owner reads, and of which a damaged one costs no other."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_a2a.errors.machine import ConfigurationError, HomeUnusableError
from mcp_a2a.store.network_folder import NetworkFolder, NetworkRow

SHOP = NetworkRow("did:key:shop", "shop", "ab" * 32, "did:key:owner", ("ws://127.0.0.1:6060/",), 1.5)
HOME = NetworkRow("did:key:home", "home", "cd" * 32, "did:key:owner", (), 2.5)


def test_what_is_saved_is_there_for_everybody_and_what_is_dropped_is_not(tmp_path: Path) -> None:
    folder, other = NetworkFolder(tmp_path), NetworkFolder(tmp_path)
    folder.save(SHOP)
    folder.save(HOME)
    assert other.rows() == [HOME, SHOP]
    folder.drop(SHOP.id)
    folder.drop(SHOP.id)
    assert other.rows() == [HOME]


def test_what_was_saved_or_dropped_is_so_after_a_power_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[list[str]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            synced.append([path.suffix for path in (tmp_path / "networks").iterdir()])
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    folder = NetworkFolder(tmp_path)
    folder.save(SHOP)
    assert synced == [[".json"]]
    folder.drop(SHOP.id)
    assert synced == [[".json"], []]


def test_every_change_can_be_noticed_also_within_one_tick_of_the_clock(tmp_path: Path) -> None:
    folder = NetworkFolder(tmp_path)
    stamps = [folder.stamp()]
    for change in (
        lambda: folder.save(SHOP),
        lambda: folder.save(HOME),
        lambda: folder.save(replace(HOME, name="elsewhere")),
        lambda: folder.drop(SHOP.id),
    ):
        change()
        for path in (tmp_path / "networks", *(tmp_path / "networks").iterdir()):
            os.utime(path, ns=(0, 0))
        stamps.append(folder.stamp())
    assert len(set(stamps)) == len(stamps)


def test_a_secret_is_for_its_owner_only_and_not_in_what_a_log_would_show(tmp_path: Path) -> None:
    NetworkFolder(tmp_path).save(SHOP)
    (path,) = (tmp_path / "networks").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert SHOP.secret not in repr(SHOP)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"id": 1}', b"\xff" * 40])
def test_a_damaged_file_is_said_and_costs_no_other_network(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    folder = NetworkFolder(tmp_path)
    folder.save(SHOP)
    folder.save(HOME)
    (tmp_path / "networks" / "zz.json").write_bytes(damage)
    assert folder.rows() == [HOME, SHOP]
    assert "cannot be read" in caplog.text


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "networks").write_text("in the way")
    with pytest.raises(HomeUnusableError):
        NetworkFolder(tmp_path).save(SHOP)


def test_for_want_of_open_files_no_network_looks_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    folder = NetworkFolder(tmp_path)
    folder.save(SHOP)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", none_left)
        patch.setattr(os, "listdir", none_left)
        assert folder.stamp() is None
        assert folder.rows() == []
        assert folder.holds(SHOP.id)
    folder.drop(SHOP.id)
    assert not folder.holds(SHOP.id)
    assert folder.stamp() == frozenset()


def test_who_stays_out_of_networks_has_none_and_can_join_none() -> None:
    nobody = NetworkFolder(None)
    assert nobody.rows() == []
    assert not nobody.stamp()
    nobody.drop(SHOP.id)
    with pytest.raises(ConfigurationError, match="stay out of networks"):
        nobody.save(SHOP)
