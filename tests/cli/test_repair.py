"""`mcp-a2a repair` at the command line."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from mcp_a2a.store.owner_file import write_owner
from tests.cli.inside import call

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """That of an identity which knows two peers."""
    home = tmp_path / "home"
    assert call(home, "status").returncode == 0
    path = home / "identities" / "default" / "node.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for number in range(200):
            did = f"did:key:z6Mk{number:044d}"
            connection.execute("INSERT INTO consents VALUES (?, 'text', 'allowed', 1.0)", (did,))
    return path


def answer(home: Path, *words: str) -> dict[str, object]:
    finished = call(home, *words, "--json")
    assert finished.returncode == 0, finished.stderr
    return dict(json.loads(finished.stdout))


def test_what_is_in_order_is_said_to_be(database: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert call(home, "repair").stdout == f"{database} is in order.\n"
    told = answer(home, "repair")
    assert (told["in_order"], told["found"], told["damaged_rows"]) == (True, [], 0)


def test_a_damaged_page_costs_its_own_rows_and_status_says_so_until_it_is_repaired(
    database: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    data = database.read_bytes()
    at = data.rindex(b"did:key:z6Mk" + b"0" * 41 + b"100")
    database.write_bytes(data[:at] + bytes(64) + data[at + 64 :])
    status = answer(home, "status")
    (sentence,) = status["damage"]  # type: ignore[misc]  # a list
    assert "damaged" in sentence
    assert "damage " in call(home, "status").stdout
    tasks = answer(home, "tasks")
    assert tasks["damage"] == [sentence]
    told = answer(home, "repair")
    assert told["found_before"] == [sentence]
    assert answer(home, "status")["damage"] == []
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM consents").fetchone()[0] >= 198


def test_repair_finds_damage_itself(database: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE consents SET at='never' WHERE agent LIKE '%007'")
    told = answer(home, "repair")
    assert (told["in_order"], told["damaged_rows"]) == (False, 1)
    assert "1 of consents" in str(told["found"])


def test_it_says_which_process_has_the_database(database: Path, tmp_path: Path) -> None:
    lock = FileLock(database.parent / "lock")
    with lock:
        write_owner(database.parent)
        refused = call(tmp_path / "home", "repair")
    assert refused.returncode == 9
    assert f"Process {os.getpid()} is running the node of the identity default" in refused.stderr
