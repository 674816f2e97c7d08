"""With -v a command tells what it does, step by step; never what was said, and no secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcp_a2a.protocol.ticket import Ticket
from tests.cli.inside import call
from tests.cli.keyboard import typed
from tests.protocol.people import ALICE, BOB

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_it_tells_who_answers_what_was_tried_and_how_long_it_took(home: Path) -> None:
    sent = call(home, "send", "rev", "a secret text", "-v")
    assert sent.stdout == "txet terces a\n"
    assert "this command runs it" in sent.stderr
    assert re.search(r"^ *\d+ ms  (trying rev via this machine: |link opened to did:key:)", sent.stderr, re.MULTILINE)
    assert re.search(r"send_task: \d+ ms", sent.stderr)
    assert re.search(r"task-\w+ is completed; message delivered via this machine", sent.stderr)
    assert "secret" not in sent.stderr


def test_it_tells_which_process_runs_the_node(home: Path) -> None:
    shown = call(home, "--identity", "rev", "show", "self", "-v")
    assert re.search(r"process \d+ runs the node of 'rev', and answers", shown.stderr)
    assert re.search(r"get_agent: \d+ ms", shown.stderr)


def test_it_tells_nothing_of_libraries_and_twice_where_it_happens(home: Path) -> None:
    loud = call(home, "send", "rev", "hello", "-vv").stderr
    steps = re.findall(r"^ *\d+ ms  ([\w.]+): ", loud, re.MULTILINE)
    assert "mcp_a2a.cli.tracing" in steps
    assert {step.partition(".")[0] for step in steps} <= {"mcp_a2a", "mcp_a2a_transports"}


def test_without_v_there_is_no_step(home: Path) -> None:
    assert " ms  " not in call(home, "send", "rev", "hello").stderr


def test_no_secret_of_a_ticket_or_a_relay_is_a_step(tmp_path: Path) -> None:
    secret = bytes(range(32))
    ticket = Ticket("shop", ALICE.peer_id, BOB.peer_id, (), ("192.0.2.7:7301",), secret).to_text()
    joined = call(tmp_path / "home", "join", "--wait", "0.1", "-vv", stdin=ticket)
    assert ticket[:40] not in joined.stderr
    assert secret.hex() not in joined.stderr
    url = f"ws://127.0.0.1:9/#{ALICE.peer_id}&admit={'q' * 43}"
    invited = call(tmp_path / "home", "invite", "--network", "shop", "--relay", "-", "-vv", stdin=f"{url}\n")
    assert "q" * 43 not in invited.stderr


def test_steps_at_a_terminal_are_not_overwritten_by_the_line_that_waits(home: Path) -> None:
    with typed(home, "send", "helper", "--skill", "sleep", "1.5", "-v") as sent:
        assert sent.ends() == 0
    assert "\x1b[K" not in sent.raw
    assert "Ctrl-C to stop waiting" not in sent.screen


def test_a_name_that_counts_for_nothing_is_told_so(home: Path) -> None:
    shown = call(home, "--identity", "rev", "--name", "Anna", "show", "self")
    assert "--name Anna has no effect: process " in shown.stderr
    assert shown.stdout.startswith("rev\n")
    assert "reverse" in shown.stdout
    assert "no effect" not in call(home, "--identity", "rev", "--name", "rev", "show", "self").stderr


def test_a_ping_and_what_is_shown_name_the_same_address(home: Path) -> None:
    address = re.search(r"via this machine (\S+) ", call(home, "ping", "rev", "-c", "1").stdout)
    assert address is not None
    assert address[1] in call(home, "show", "rev").stdout
