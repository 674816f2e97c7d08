"""What a screen says of a node and of a network that was joined: what is there, and nothing that is not."""

from __future__ import annotations

import pytest
import typer

from mcp_a2a.api.networks import JoinView, NetworkView
from mcp_a2a.api.status import StatusView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.cli.networks import _show_joined
from mcp_a2a.cli.options import Options
from mcp_a2a.cli.output import Output
from mcp_a2a.cli.render import status_lines
from mcp_a2a.cli.session import Session
from mcp_a2a.cli.telling import head_lines, report
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.error import ErrorDetail
from tests.protocol.people import ALICE, BOB
from tests.screens import Terminal
from tests.server.standin import task

QUIET = StatusView(
    version="1",
    identity="default",
    name="anna",
    did=str(ALICE.peer_id),
    words="",
    home="/home/anna",
    pid=1,
    uptime_seconds=1,
    listening=(),
    lookups={},
    agents_online=0,
    outbox=0,
    inbox=0,
    held=0,
    accept="trusted",
)
COUNTED = {
    "outbox": ("1 message to deliver", "2 messages to deliver"),
    "inbox": ("1 task to answer", "2 tasks to answer"),
    "held": ("1 message from strangers to decide on", "2 messages from strangers to decide on"),
}


def test_what_there_is_none_of_is_not_in_the_status() -> None:
    lines = status_lines(QUIET)
    assert lines[-1] == "  now        0 agents online"
    assert not [line for line in lines if "0 message" in line or "0 task" in line or "stored yet" in line]


@pytest.mark.parametrize("name", COUNTED)
def test_what_there_is_some_of_is_counted_in_plain_words(name: str) -> None:
    for count, said in enumerate(COUNTED[name], start=1):
        lines = status_lines(QUIET.model_copy(update={name: count, "agents_online": count}))
        online = "1 agent online" if count == 1 else "2 agents online"
        assert lines[-1] == f"  now        {online}, {said}"


def test_who_joins_is_told_who_invited_and_how_many_others_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    shop = NetworkView(name="shop", id="did:key:z", owner=str(BOB.peer_id), mine=False, joined="2026-11-30T10:00:00Z")
    anna = AgentRef(name="anna", did=str(BOB.peer_id))
    session = Session(Options(), Output(Options()))
    _show_joined(session, JoinView(network=shop, agents_visible=1, invited_by=anna))
    shown = capsys.readouterr()
    assert shown.out == "Joined shop. 1 other agent visible.\n"
    assert shown.err == f"Invited by anna   {BOB.peer_id}\n"
    _show_joined(session, JoinView(network=shop, agents_visible=2, already_member=True))
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("Already in shop. 2 other agents visible.\n", "")


@pytest.mark.parametrize(
    ("state", "style", "said"),
    [(Moment.FAILED, "31", "failed: it broke"), (Moment.QUEUED, "33", "queued (it has not been delivered yet)"),
     (Moment.WORKING, "", "working (its agent is working on it)")],
)  # fmt: skip
def test_what_failed_is_red_and_what_waits_is_yellow_where_one_task_is_shown(
    state: Moment, style: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    failed = state == Moment.FAILED
    error = ErrorDetail(code="failed", message="it broke", hint="Send it again.") if failed else None
    terminal = Terminal()
    session = Session(Options(), Output(Options(), terminal, terminal))
    with pytest.raises(typer.Exit):
        report(session, task(state=state, done=failed, text=None, error=error))
    shown = terminal.said.decode()
    assert (f"\x1b[{style}m" if style else "") + said in shown
    assert ("\x1b[" in shown) is bool(style)
    assert not failed or "\nSend it again." in shown


@pytest.mark.parametrize(("updated", "said"), [("10:00:02.500", ", took 2.5 s"), ("09:00:00.000", " ago)")])
def test_a_clock_that_was_set_back_makes_no_time_less_than_none(updated: str, said: str) -> None:
    shown = head_lines(task(created="2026-11-20T10:00:00.000Z", updated=f"2026-11-20T{updated}Z"))
    assert shown[1].endswith(said)
