"""Running a relay from the command line: what it prints, whom it takes, how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mcp_a2a.cli.app import app
from mcp_a2a.config import RelaySettings
from tests.cli.inside import call
from tests.e2e.command import MCP_A2A, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ADMIT = r"&admit=[A-Za-z0-9_-]{22}"
URL = r"ws://[0-9.]+:\d+/#did:key:z6Mk\w{44}"


@contextmanager
def serving(home: Path, *options: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A relay on a free port of this machine, which is told to end if the test has not done so."""
    process = subprocess.Popen(
        [MCP_A2A, "relay", "serve", *options],
        env=environment(home, **{"MCP_A2A_RELAY_LISTEN": "127.0.0.1:0", **env}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answer(home: Path, *words: str) -> Any:
    """The one object that `--json` prints."""
    finished = call(home, *words, "--json")
    assert (finished.returncode, finished.stdout.count("\n")) == (0, 1), finished
    return json.loads(finished.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_relay_prints_one_line_to_copy_and_ends_at_once_with_nothing_left(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path) as process:
        url = first_line(process)
        assert re.fullmatch(URL + ADMIT, url)
        started = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - started < 10
        assert (process.returncode, out) == (0, "")
        assert "mcp-a2a invite --network NAME --relay -" in err
        assert url.partition("&")[2] not in err
        assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.sock"))
    assert not list(tmp_path.rglob("*-wal"))
    with serving(tmp_path) as again:
        kept = first_line(again).partition("#")[2]
        assert kept == url.partition("#")[2].partition("&")[0], "its key is kept, and its secret is not shown again"


def test_a_relay_with_members_connected_ends_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(tmp_path / "relay") as process:
        url = first_line(process)
        call(home, "invite", "--network", "shop", "--relay", url)
        with subprocess.Popen(
            [MCP_A2A, "--no-mdns", "inbox", "--wait", "60"],
            env=environment(home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as member:
            deadline = time.monotonic() + 30
            while not answer(tmp_path / "relay", "relay", "status")["agents_online"]:
                assert time.monotonic() < deadline
            started = time.monotonic()
            process.terminate()
            assert process.wait(30) == 0
            assert time.monotonic() - started < 10
            member.terminate()


def test_with_json_it_prints_one_object(tmp_path: Path) -> None:
    with serving(tmp_path, "--json") as process:
        told = json.loads(first_line(process))
        assert re.fullmatch(URL + ADMIT, told["url"])
        assert (told["closed"], f"#{told['relay']}&" in told["url"]) == (True, True)
        process.terminate()
        assert process.communicate(timeout=30)[0] == ""


def test_a_relay_for_others_says_what_they_can_dial_and_what_that_means(tmp_path: Path) -> None:
    with serving(tmp_path, "--listen", "0.0.0.0:0", "--open") as process:
        assert "//0.0.0.0" not in first_line(process)
        process.terminate()
        said = process.communicate(timeout=30)[1]
        assert "not encrypted in transit" in said
        assert "This relay is open" in said


def test_a_public_url_is_what_others_are_told(tmp_path: Path) -> None:
    with serving(tmp_path, "--behind-proxy", "--public-url", "wss://relay.example/team") as process:
        assert re.fullmatch(r"wss://relay\.example/team/#did:key:\w+" + ADMIT, first_line(process))


def test_an_option_wins_over_its_variable(tmp_path: Path) -> None:
    with serving(tmp_path, "--open", MCP_A2A_RELAY_CLOSED="1") as process:
        first_line(process)
        assert answer(tmp_path, "relay", "status")["closed"] is False
    with serving(
        tmp_path, MCP_A2A_RELAY_CLOSED="1", MCP_A2A_RELAY_METRICS_ALLOW="10.0.0.0/8, 192.168.0.0/16"
    ) as process:
        first_line(process)
        assert answer(tmp_path, "relay", "status")["closed"] is True


def test_every_setting_has_an_option_and_the_help_tells_its_variable() -> None:
    shown = CliRunner().invoke(app, ["relay", "serve", "--help"]).output
    for field in RelaySettings.model_fields.keys() - {"home"}:
        assert f"--{field.replace('_', '-')} " in shown, field
    assert "MCP_A2A_RELAY_" in shown


@pytest.mark.parametrize(
    ("options", "env", "says"),
    [
        (["--listen", "nowhere"], {}, "--listen (or MCP_A2A_RELAY_LISTEN)"),
        ([], {"MCP_A2A_RELAY_MAX_QUEUE": "many"}, "--max-queue (or MCP_A2A_RELAY_MAX_QUEUE)"),
        (["--ttl-days", "30"], {}, "--ttl-days (or MCP_A2A_RELAY_TTL_DAYS)"),
        (["--metrics-allow", "everybody"], {}, "--metrics-allow (or MCP_A2A_RELAY_METRICS_ALLOW)"),
        (["--tls-cert", "no-such.pem"], {}, "/no-such.pem cannot be used: No such file or directory"),
        (["--tls-key", "key.pem"], {}, "Add --tls-cert"),
        (["--public-url", "https://relay.example"], {}, "does not begin with ws:// or wss://"),
    ],
)
def test_what_it_cannot_be_told_is_a_sentence(
    tmp_path: Path, options: list[str], env: dict[str, str], says: str
) -> None:
    with serving(tmp_path, *options, **env) as process:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (2, "")
        assert says in err
        assert "Traceback" not in err


def test_one_relay_at_a_time_runs_from_a_folder_and_on_a_port(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        first_line(process)
        with serving(tmp_path) as second:
            said = second.communicate(timeout=30)[1]
            assert second.returncode in (2, 9)
            assert "another relay" in said or "already" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(tmp_path / "other", "--listen", address) as third:
            assert f"{address} is already in use" in third.communicate(timeout=30)[1]
            assert third.returncode == 9


def test_a_closed_relay_takes_networks_and_agents_that_were_admitted(tmp_path: Path) -> None:
    operator, member = tmp_path / "operator", tmp_path / "member"
    with serving(operator, "--closed") as process:
        url = first_line(process).partition("&admit=")[0]
        refused = call(member, "invite", "--network", "shop", "--relay", url)
        assert (refused.returncode, refused.stdout) == (5, "")
        told = re.search(r"mcp-a2a relay admit (did:key:\w+)", refused.stderr)
        assert told is not None
        assert "No network is admitted yet" in call(operator, "relay", "members").stderr

        admitted = call(operator, "relay", "admit", told[1], "--note", "the shop")
        assert admitted.stdout == f"Admitted {told[1]}.\n"
        invited = call(member, "invite", "--network", "shop", "--relay", url)
        assert invited.returncode == 0, invited.stderr
        (listed,) = answer(operator, "relay", "members")["members"]
        assert (listed["member"], listed["state"], listed["note"]) == (told[1], "admitted", "the shop")
        assert "the shop" in call(operator, "relay", "members").stdout

        revoked = call(operator, "relay", "revoke", told[1])
        assert revoked.stdout == f"Revoked {told[1]}.\n"
        assert call(member, "invite", "--network", "shop", "--relay", url).returncode == 5
        status = answer(operator, "relay", "status")
        assert (status["running"], status["closed"], status["admitted"], status["revoked"]) == (True, True, 0, 1)
    assert answer(operator, "relay", "status")["running"] is False
    assert call(operator, "relay", "status").stdout.splitlines()[0].endswith("not running")
    assert answer(operator, "relay", "admit", told[1])["state"] == "admitted", "also while it does not run"


def test_a_network_made_with_the_url_is_admitted_and_its_secret_is_in_no_ticket_and_no_file(tmp_path: Path) -> None:
    operator, maker, member = tmp_path / "operator", tmp_path / "maker", tmp_path / "member"
    with serving(operator) as process:
        url = first_line(process)
        secret = url.rpartition("=")[2]
        invited = call(maker, "-vv", "invite", "--network", "shop", "--relay", "-", stdin=f"{url}\n")
        assert invited.returncode == 0, invited.stderr
        joined = call(member, "join", "-", stdin=invited.stdout)
        assert joined.returncode == 0, joined.stderr
        rotated = answer(maker, "rotate", "shop", "--yes")
        assert not [warning for warning in rotated["warnings"] if "relay admit" in warning], "its maker is known"
        listed = answer(operator, "relay", "members")["members"]
        assert [entry["state"] for entry in listed] == ["admitted", "admitted"]

        said = call(operator, "relay", "url")
        assert said.stdout.strip() == url.partition("&")[0]
        renewed = call(operator, "relay", "url", "--new").stdout.strip()
        assert re.fullmatch(URL + ADMIT, renewed)
        late = call(member, "invite", "--network", "late", "--relay", url)
        assert late.returncode == 5
        assert "relay url --new" in late.stderr
        assert call(member, "invite", "--network", "late", "--relay", renewed).returncode == 0
        process.terminate()
        log = process.communicate(timeout=30)[1]
    everything = [invited.stdout, invited.stderr, joined.stdout, joined.stderr, late.stderr, log, str(rotated)]
    everything += [answer(home, "networks").__repr__() for home in (maker, member)]
    assert not [text for text in everything if secret in text]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_without_a_url_on_stdin_invite_says_what_it_reads(tmp_path: Path) -> None:
    asked = call(tmp_path, "invite", "--network", "shop", "--relay", "-")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "reads the URL of a relay from stdin" in asked.stderr


@pytest.mark.parametrize("words", [["status"], ["members"], ["admit", "x"], ["revoke", "x"]])
def test_where_no_relay_was_there_is_nothing_to_ask(tmp_path: Path, words: list[str]) -> None:
    asked = call(tmp_path / "home", "relay", *words)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "mcp-a2a relay serve makes one" in asked.stderr


def test_what_is_no_key_is_not_admitted(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        first_line(process)
        refused = call(tmp_path, "relay", "admit", "laptop")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "neither an agent's key nor a network's id" in refused.stderr
