"""A server that a person starts: what it says at a terminal, how it ends, and options that are written wrong."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest

from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.serving import listening
from mcp_a2a.serving_options import ServingOptions
from tests.cli.inside import call
from tests.cli.keyboard import CTRL_C, CTRL_D, typed
from tests.e2e.command import MCP_A2A

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "hands", "version": "1"}},
}


# --- at a terminal


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_a_server_on_a_terminal_says_what_it_waits_for_and_ends_at_one_key(tmp_path: Path, key: str) -> None:
    home = tmp_path / "home"
    with typed(home, "serve") as server:
        server.until("Ctrl-C ends it.")
        assert "Waiting for an MCP client on standard input." in server.screen
        assert MCP_A2A in server.screen
        assert "mcp-a2a --listen :3000" in server.screen
        server.type('{"jsonrpc": "2.0", "id": 7, "method": "ping"}\n')  # it listens: only now a key can end it
        server.until('"id":7')
        server.type(key)
        assert server.ends(20) == 0
    assert server.raw.rstrip().endswith("\r\x1b[KStopped.")
    assert not list(home.glob("identities/*/control.sock"))


def test_a_client_may_be_typed(tmp_path: Path) -> None:
    with typed(tmp_path / "home", "serve") as server:
        server.until("Ctrl-C ends it.")
        server.type(json.dumps(HELLO) + "\n")
        server.until('"serverInfo"')
        server.type(CTRL_D)
        assert server.ends(20) == 0


def test_a_quiet_server_on_a_terminal_says_nothing(tmp_path: Path) -> None:
    with typed(tmp_path / "home", "serve", "-q") as server:
        server.type('{"jsonrpc": "2.0", "id": 7, "method": "ping"}\n')
        server.until('"id":7')
        server.type(CTRL_C)
        assert server.ends(20) == 0
    assert "Waiting" not in server.screen


def test_without_a_command_a_terminal_gets_the_status_also_through_a_pipe(tmp_path: Path) -> None:
    for words in (MCP_A2A, f"{MCP_A2A} | cat"):
        with typed(tmp_path / "home", command=["sh", "-c", words], MCP_A2A_NO_MDNS="1") as status:
            assert status.ends() == 0
        assert "identity   default" in status.screen
        assert re.search(rf"Next:\s+{re.escape(MCP_A2A)} demo", status.screen)


def test_a_server_on_a_port_says_that_it_starts_and_clears_that_before_anything_else(tmp_path: Path) -> None:
    with typed(tmp_path / "home", "--listen", ":0") as server:
        server.until("Bearer")
        server.type(CTRL_C)
        assert server.ends(20) == 0
    assert "starting the server\r\x1b[KMCP server at " in server.raw
    rubbish = tmp_path / "cert.pem"
    rubbish.write_text("no certificate")
    with typed(tmp_path / "home", "--listen", ":0", "--tls-cert", str(rubbish)) as server:
        assert server.ends(20) == 2
    assert re.search(r"starting the server\r\x1b\[K(\x1b\[31m)?The certificate", server.raw)


@pytest.mark.parametrize("option", ["--listen", "--grpc-listen"])
def test_a_port_that_another_program_has_is_told_before_anything_is_written(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        words = ("--listen", taken) if option == "--listen" else ("--listen", ":0", "--grpc-listen", taken)
        failed = call(tmp_path / "home", *words, "--json")
    assert (failed.returncode, failed.stderr) == (9, "")
    assert json.loads(failed.stdout)["error"]["message"] == f"{taken} is already in use by another program."
    assert not (tmp_path / "home").exists()


# --- options that are written wrong


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("--lisen", ":3000"), "--listen"),
        (("--lisen=:3000",), "--listen"),
        (("--behind-proxi",), "--behind-proxy"),
        (("--identiti", "work", "discover"), "--identity"),
        (("discover", "--jsn"), "--json"),
        (("tasks", "--recieved"), "--received"),
        (("serve", "--listn", ":3000"), "--listen"),
        (("--listen", ":3000", "--public-ulr", "https://agents.example"), "--public-url"),
        (("send", "rev", "hello", "--detatch"), "--detach"),
    ],
)
def test_a_mistyped_option_is_told_the_one_that_was_meant(tmp_path: Path, words: tuple[str, ...], meant: str) -> None:
    failed = call(tmp_path / "home", *words)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert f"Did you mean {meant}?" in failed.stderr


@pytest.mark.parametrize("file", ["missing.pem", "a" * 300])
def test_a_certificate_that_cannot_be_looked_at_is_told_in_a_sentence(file: str) -> None:
    with pytest.raises(UsageError, match="not a file that this user can read"):
        listening(":0", ServingOptions(tls_cert=Path(file)))


@pytest.mark.skipif(os.getuid() == 0, reason="root may enter every folder")
def test_so_is_one_in_a_folder_that_this_user_may_not_enter(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir(mode=0)
    with pytest.raises(UsageError, match="not a file that this user can read"):
        listening(":0", ServingOptions(tls_cert=tmp_path / "live" / "fullchain.pem"))


def test_an_option_that_is_like_none_is_told_nothing_wrong(tmp_path: Path) -> None:
    failed = call(tmp_path / "home", "--xyzzy")
    assert failed.returncode == 2
    assert failed.stderr.startswith("There is no option '--xyzzy'.\n")


def test_the_first_help_names_the_server_that_the_readme_names(tmp_path: Path) -> None:
    assert "mcp-a2a --listen :3000" in " ".join(call(tmp_path / "home", "--help").stdout.replace("│", " ").split())
