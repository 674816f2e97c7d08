"""Networks from the command line: a ticket made, given, used and refused; who is in; pings and checks."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcp_a2a.cli.networks import duration
from mcp_a2a.cli.options import UsageError
from mcp_a2a.protocol.ticket import Ticket
from tests.cli.inside import call
from tests.e2e.command import MCP_A2A, agent, environment, until
from tests.protocol.people import ALICE, BOB

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@contextmanager
def relay(home: Path, *options: str) -> Iterator[str]:
    """`mcp-a2a relay serve` on a free port, until the context ends."""
    process = subprocess.Popen(
        [MCP_A2A, "relay", "serve", "--listen", "127.0.0.1:0", *options],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stdout.close()


@dataclass(frozen=True)
class Shop:
    """A network of two data folders: mine, and one where the agent `rev` works."""

    url: str
    mine: Path
    theirs: Path
    ticket: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("networks")
    mine, theirs = folder / "mine", folder / "theirs"
    worker = ("exec", "--name", "rev", "--no-mdns", "--skill", "reverse=Reverses text", "--", "rev")
    with relay(folder / "relay") as url, agent(theirs, *worker):
        invited = call(mine, "invite", "--network", "shop", "--relay", url)
        assert (invited.returncode, invited.stdout.count("\n")) == (0, 1)
        joined = call(theirs, "join", stdin=invited.stdout)
        assert (joined.returncode, joined.stdout) == (0, "Joined shop. 1 other agent visible.\n")
        # The agent looks from time to time at what its person has joined.
        until(lambda: answer(mine, "discover", "rev")["agents"], 30, "rev is in the network of its data folder")
        yield Shop(url, mine, theirs, invited.stdout.strip())


def answer(home: Path, *words: str, code: int = 0, stdin: str = "") -> Any:
    """The one object that `--json` prints."""
    finished = call(home, *words, "--json", stdin=stdin)
    assert finished.returncode == code, finished
    assert finished.stdout.count("\n") == 1
    return json.loads(finished.stdout)


def ticket(**more: Any) -> str:
    fields = {"network": "shop", "owner": ALICE.peer_id, "inviter": BOB.peer_id, "secret": bytes(32), **more}
    return Ticket(**fields).to_text()


# --- members find and task each other


def test_members_see_each_other_and_their_network(shop: Shop) -> None:
    found = answer(shop.mine, "discover", "rev")["agents"]
    assert [(one["name"], one["trust"], one["networks"], one["online"]) for one in found] == [
        ("rev", "member", ["shop"], True)
    ]
    assert call(shop.mine, "discover").stdout.splitlines()[1].endswith("member of shop")
    known = answer(shop.mine, "peers")
    assert ("rev" in [one["name"] for one in known["peers"]], known["running"]) == (True, False)
    assert "shop" in call(shop.mine, "show", "rev").stdout


def test_a_member_takes_tasks_of_members(shop: Shop) -> None:
    sent = call(shop.mine, "send", "rev", "hello")
    assert (sent.returncode, sent.stdout) == (0, "olleh\n")


def test_networks_and_status_tell_relays_and_members(shop: Shop) -> None:
    (network,) = answer(shop.mine, "networks")["networks"]
    assert (network["name"], network["mine"], [one["url"] for one in network["relays"]]) == (
        "shop",
        True,
        [shop.url.partition("&admit=")[0]],
    )
    for words, state in ((["networks"], "not asked"), (["status"], "on ")):
        shown = call(shop.mine, *words).stdout
        assert re.search(r"shop   \d other agents?, \d online   yours", shown)
        assert f"id     {network['id']}" in shown
        assert f"relay  {shop.url.partition('#')[0]}   {state}" in shown


def test_who_is_in_no_network_is_told_how_to_get_into_one(tmp_path: Path) -> None:
    shown = call(tmp_path / "home", "networks")
    assert (shown.returncode, shown.stdout) == (0, "")
    assert "mcp-a2a join" in shown.stderr
    assert answer(tmp_path / "home", "networks")["networks"] == []


# --- tickets


def test_a_ticket_alone_goes_to_stdout_and_what_it_does_to_stderr(shop: Shop) -> None:
    made = call(shop.mine, "invite", "--network", "shop")
    assert re.fullmatch(r"a2a1[a-z2-7]+\n", made.stdout)
    assert "admits every agent that has it to the network 'shop'" in made.stderr
    assert "mcp-a2a rotate" in made.stderr
    assert "127.0.0.1 is an address of this machine" in made.stderr
    quiet = call(shop.mine, "invite", "--network", "shop", "-q")
    assert quiet.stderr == ""


def test_a_ticket_for_one_admits_one(shop: Shop, tmp_path: Path) -> None:
    made = call(shop.mine, "invite", "--network", "shop", "--uses", "1", "--expires", "12h")
    assert re.search(r"admits 1 agent, until \d{4}-\d\d-\d\d \d\d:\d\d UTC, to the network 'shop'", made.stderr)
    first = answer(tmp_path / "first", "join", stdin=made.stdout)
    assert first["network"]["name"] == "shop"
    assert first["agents_visible"] >= 2
    again = call(tmp_path / "first", "join", made.stdout.strip())
    assert again.stdout.startswith("Already in shop.")
    second = call(tmp_path / "second", "join", stdin=made.stdout)
    assert (second.returncode, second.stdout) == (5, "")
    assert "it was used as often as it may be" in second.stderr


def test_a_ticket_that_is_counted_needs_a_relay_and_leaves_no_network_without(tmp_path: Path) -> None:
    refused = call(tmp_path / "home", "invite", "--network", "x", "--uses", "1")
    assert (refused.returncode, refused.stdout) == (5, "")
    assert "needs a relay that counts" in refused.stderr
    assert answer(tmp_path / "home", "networks")["networks"] == []


def test_capitals_spaces_and_line_breaks_of_a_mail_program_do_no_harm(shop: Shop, tmp_path: Path) -> None:
    broken = "\r\n".join(re.findall(".{1,60}", shop.ticket.upper()))
    joined = call(tmp_path / "home", "join", "-", stdin=f"  {broken}\r\n\r\n")
    assert (joined.returncode, joined.stdout[:12]) == (0, "Joined shop.")


DEAD = f"ws://127.0.0.1:1/#{ALICE.peer_id}"


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", 5, "does not begin with a2a1"),
        ("hello", 5, "does not begin with a2a1"),
        ("a2a2abc", 5, "of a newer version"),
        (ticket()[:-1], 5, "a letter is wrong or missing"),
        (ticket()[:50] + "q" + ticket()[51:], 5, "a letter is wrong or missing"),
        (ticket(expires=1_700_000_000), 5, "it expired on 2023-11-14 22:13 UTC"),
        (ticket(relays=(DEAD,)), 4, "127.0.0.1 is an address of the machine that made the ticket"),
        (ticket(relays=(DEAD,), secret=None, token=bytes(16)), 4, "ask for a ticket with an address of the relay"),
        (ticket(secret=None, token=bytes(16)), 5, "it names no relay"),
        (ticket(relays=("http://example.net/",)), 2, "does not begin with ws://"),
    ],
)
def test_a_ticket_that_does_not_count_says_why(tmp_path: Path, text: str, code: int, says: str) -> None:
    home = tmp_path / "home"
    refused = call(home, "join", "--wait", "2", stdin=text)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert says in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    error = answer(home, "join", "--wait", "2", stdin=text, code=code)["error"]
    assert says in f"{error['message']} {error['hint']}"
    assert answer(home, "networks")["networks"] == []


def test_a_ticket_is_asked_for_at_a_terminal_and_may_be_pasted_in_pieces(shop: Shop, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    joining = subprocess.Popen(
        [MCP_A2A, "--no-mdns", "join"], env=environment(tmp_path / "home"), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = read_until(ours, "Ticket: ")
    pieces = re.findall(".{1,76}", shop.ticket)
    os.write(ours, "\n".join([*pieces, ""]).encode())
    shown = read_until(ours, "visible.")
    assert "Joined shop. " in shown
    assert joining.wait(30) == 0
    os.close(ours)


def read_until(terminal: int, text: str) -> str:
    shown = ""
    while text not in shown:
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown


def test_ctrl_c_at_the_question_for_a_ticket_ends_with_130(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    joining = subprocess.Popen([MCP_A2A, "join"], env=environment(tmp_path), stdin=theirs, stdout=theirs, stderr=theirs)
    read_until(ours, "Ticket: ")
    joining.send_signal(signal.SIGINT)
    assert joining.wait(30) == 130
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_picture_of_a_ticket_is_drawn_beside_it_where_its_letters_can_be_written(
    shop: Shop, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(raw, encoding=encoding))
    made = subprocess.run(
        [MCP_A2A, "--no-mdns", "invite", "--network", "shop", "--qr"],
        env=environment(shop.mine, PYTHONIOENCODING=encoding),
        capture_output=True,
        check=True,
    )
    assert re.fullmatch(rb"a2a1[a-z2-7]+\n", made.stdout)
    drawn = made.stderr.decode(encoding)
    assert ("█▄▄▄█" if encoding == "utf-8" else "A QR code needs block characters or colors") in drawn
    assert "\x1b" not in drawn


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("12h", 43_200), ("7d", 604_800), (" 1.5 H ", 5400)])
def test_times_are_written_as_people_do(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 weeks", "-1d", "0m", "1e3d", "31d", "9" * 400 + "d", "٣d"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        duration(text)


# --- leaving and rotating


@pytest.mark.timeout(300)  # a machine with much to do gives each short life of the member's node little of it
def test_a_network_is_rotated_by_its_owner_when_it_says_so(shop: Shop, tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    first = call(mine, "invite", "--network", "team", "--relay", shop.url).stdout
    call(theirs, "join", stdin=first)
    refused = call(theirs, "rotate", "team")
    assert (refused.returncode, refused.stdout) == (5, "")
    assert "Only the creator of team" in refused.stderr

    nobody = call(mine, "rotate", "team", "--without", "nobody", stdin="y\n", typed=True)
    assert (nobody.returncode, "[y/N]" in nobody.stderr) == (3, False)

    terminal, end = pty.openpty()
    asking = subprocess.Popen(
        [MCP_A2A, "--no-mdns", "rotate", "team"], env=environment(mine), stdin=end, stdout=end, stderr=end
    )
    os.close(end)
    read_until(terminal, "Older tickets stop working.")
    os.write(terminal, b"n\n")
    read_until(terminal, "Nothing was changed.")
    assert asking.wait(30) == 5
    os.close(terminal)

    rotated = answer(mine, "rotate", "team", "--yes")
    assert (rotated["network"]["name"], rotated["told"]) == ("team", 1)
    assert answer(mine, "networks")["networks"][0]["id"] == rotated["network"]["id"]

    def has_moved() -> bool:
        call(theirs, "inbox", "--wait", "4")  # its node has to run to hear of it
        return bool(answer(theirs, "networks")["networks"][0]["id"] == rotated["network"]["id"])

    until(has_moved, 90, "the member has the new secret")
    assert call(mine, "invite", "--network", "team").stdout != first


def test_who_leaves_a_network_is_in_it_no_more(shop: Shop, tmp_path: Path) -> None:
    home = tmp_path / "home"
    call(home, "join", shop.ticket)
    assert call(home, "leave", "SHOP").stdout == "Left shop.\n"
    assert answer(home, "networks")["networks"] == []
    gone = call(home, "leave", "shop")
    assert gone.returncode == 3
    assert "You are in none." in gone.stderr


# --- trying out


def test_ping_times_the_whole_way_and_tells_the_route(shop: Shop) -> None:
    pinged = call(shop.mine, "ping", "rev", "--count", "2")
    first, second, summary = pinged.stdout.splitlines()
    assert re.fullmatch(r"reply from rev via (relay|this machine|LAN|direct) \S+   \d+\.\d ms", first), first
    assert second.startswith("reply from rev via ")
    assert re.fullmatch(r"2 sent, 2 answered   min \d+\.\d   median \d+\.\d   max \d+\.\d ms", summary)
    assert pinged.returncode == 0
    told = answer(shop.mine, "ping", "rev", "-c", "1")
    assert (told["agent"], told["sent"], told["received"]) == ("rev", 1, 1)
    assert told["replies"][0]["ms"] > 0


def test_ping_ends_with_4_when_no_answer_came_and_3_for_nobody(shop: Shop, tmp_path: Path) -> None:
    nobody = call(shop.mine, "ping", "nobody")
    assert (nobody.returncode, nobody.stdout) == (3, "")
    away = tmp_path / "away"
    call(away, "--name", "away", "join", shop.ticket)
    did = answer(away, "id")["did"]
    pinged = call(shop.mine, "ping", did, "-c", "1", "--timeout", "2")
    assert pinged.returncode == 4
    assert pinged.stdout.splitlines()[-1] == "1 sent, 0 answered"
    assert "no reply from " in pinged.stdout
    assert answer(shop.mine, "ping", did, "-c", "1", "--timeout", "2", code=4)["received"] == 0


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_ctrl_c_ends_a_ping_with_its_summary(shop: Shop, flags: list[str]) -> None:
    pinging = subprocess.Popen(
        [MCP_A2A, "--no-mdns", "ping", "rev", "-c", "100", "-v", *flags],
        env=environment(shop.mine),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert pinging.stdout is not None
    if flags:
        with pytest.raises(subprocess.TimeoutExpired):
            pinging.wait(8)  # it says nothing before the end
    else:
        pinging.stdout.readline()
    pinging.send_signal(signal.SIGINT)
    out, _ = pinging.communicate(timeout=30)
    assert pinging.returncode == 130
    if flags:
        assert json.loads(out)["received"] >= 1
    else:
        assert re.search(r"^\d+ sent, \d+ answered   min", out, re.MULTILINE)


def test_netcheck_lists_what_works_and_what_does_not(shop: Shop, tmp_path: Path) -> None:
    checked = call(shop.mine, "netcheck")
    assert checked.returncode == 0
    place = re.escape(shop.url.partition("#")[0])
    assert re.search(rf"^✓ +relay {place} +networks: shop +\d+ ms$", checked.stdout, re.MULTILINE)
    lonely = call(tmp_path / "home", "netcheck")
    assert re.search(r"^\S +relay +none: this machine and the LAN only$", lonely.stdout, re.MULTILINE)
    assert {"name", "ok", "detail"} <= set(answer(shop.mine, "netcheck")["checks"][0])
