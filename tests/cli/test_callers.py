"""Which agents a client is given on the command line: by key or URL, whatever they are called later."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import IO

import pytest

from mcp_a2a.cli.exits import Exit
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.naming import short_key
from mcp_a2a.store.callers import CallerFolder
from tests.cli.inside import call
from tests.e2e.command import MCP_A2A, environment


def test_a_client_is_given_our_own_agent_or_those_that_are_named(home: Path) -> None:
    folder = CallerFolder(home / "identities" / "default")
    rev = json.loads(call(home, "show", "rev", "--json").stdout)["agent"]["did"]
    token = call(home, "callers", "add", "plain").stdout.strip()
    assert (folder.name_of(token), folder.agents_of("plain")) == ("plain", {"self"})
    made = json.loads(call(home, "callers", "add", "two", "--agent", "rev", "--agent", "self", "--json").stdout)
    assert made["agents"] == [rev, "self"]
    assert folder.agents_of("two") == {rev, "self"}
    assert call(home, "callers", "grant", "two", "--agent", rev).stdout == f"two may use {short_key(rev)}.\n"
    assert folder.agents_of("two") == {rev}
    assert folder.name_of(made["token"]) == "two"
    listed = json.loads(call(home, "callers", "--json").stdout)["callers"]
    assert {row["name"]: row["agents"] for row in listed} == {"plain": ["self"], "two": [rev]}
    shown = call(home, "callers").stdout.splitlines()
    assert shown[0].split() == ["CLIENT", "SINCE", "AGENTS"]
    assert shown[1].split()[::2] == ["plain", "self"]
    assert short_key(rev) in shown[2]


def not_added(home: Path, stdout: IO[str], *more: str) -> str:
    """What is said on stderr of a client whose token could not be written here, and who was therefore not added."""
    failed = subprocess.run(
        [MCP_A2A, "callers", "add", "ci", *more],
        env=environment(home),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert "So ci was not added." in failed.stderr
    assert CallerFolder(home / "identities" / "default").rows() == []
    return failed.stderr


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_client_whose_token_cannot_be_shown_is_not_added(tmp_path: Path, more: list[str]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  a device
        assert "mcp-a2a tasks" not in not_added(tmp_path, full, *more)


@pytest.mark.slow
def test_one_whose_token_goes_into_a_pipe_that_is_closed_is_not_added_and_that_is_said(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:  # noqa: PTH123  a pipe
        not_added(tmp_path, closed)


def test_a_client_that_is_removed_while_it_is_given_agents_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = CallerFolder(tmp_path).add("ci")
    removal = threading.Thread(target=CallerFolder(tmp_path).remove, args=("ci",))
    stamp = os.utime

    def remove_first(*given: object, **more: object) -> None:
        removal.start()
        removal.join(0.1)  # it is done by then, unless it waits for its turn
        stamp(*given, **more)  # type: ignore[call-overload]  # as it was called

    monkeypatch.setattr(os, "utime", remove_first)
    CallerFolder(tmp_path).grant("ci", ["self"])
    removal.join(30)
    assert CallerFolder(tmp_path).name_of(token) is None
    assert CallerFolder(tmp_path).rows() == []


def test_a_suspended_process_that_changes_the_clients_is_named_and_keeps_none_of_them_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.store.changing.LOCK_SECONDS", 0.05)
    folder = CallerFolder(tmp_path)
    folder.add("ci")
    with (tmp_path / "callers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match="being changed by another process"):
            folder.grant("ci", ["self"])
        folder.remove("ci")
    assert folder.rows() == []


def test_what_is_no_agent_of_ours_is_not_given(home: Path) -> None:
    folder = CallerFolder(home / "identities" / "default")
    for words in (["--agent", "never-was"], ["--agent", "https://agent.invalid/"]):
        assert call(home, "callers", "add", "three", *words).returncode != Exit.DONE
    url = call(home, "callers", "add", "three", "--agent", "https://agent.invalid/")
    assert "mcp-a2a peers add https://agent.invalid/" in url.stderr
    assert folder.agents_of("three") == frozenset()
    assert call(home, "callers", "grant", "three", "--agent", "self").returncode != Exit.DONE
    assert call(home, "callers", "grant", "plain").returncode == Exit.USAGE
