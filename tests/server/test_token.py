"""The token is made once, and only its owner can read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mcp_a2a.errors.machine import ConfigurationError, HomeUnusableError
from mcp_a2a.server.hosting import load_token


def test_it_is_made_once_with_256_bits_for_the_owner_alone(tmp_path: Path):
    first, second = load_token(tmp_path), load_token(tmp_path)
    assert first.new
    assert not second.new
    assert first.value == second.value
    assert len(first.value) >= 43  # 256 bits in base64
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [first.path.name]


def test_each_identity_has_its_own(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert load_token(tmp_path / "a").value != load_token(tmp_path / "b").value


def test_one_that_others_can_read_is_not_used(tmp_path: Path):
    path = load_token(tmp_path).path
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="Others can read"):
        load_token(tmp_path)


@pytest.mark.parametrize("content", ["", "short", "é" * 43])
def test_a_damaged_one_is_not_used(tmp_path: Path, content: str):
    path = load_token(tmp_path).path
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="damaged"):
        load_token(tmp_path)


def test_a_folder_that_is_missing_is_said_to_be(tmp_path: Path):
    with pytest.raises(HomeUnusableError):
        load_token(tmp_path / "missing")


def test_it_does_not_show_in_a_log(tmp_path: Path):
    token = load_token(tmp_path)
    assert token.value not in f"{token} {token!r}"
