"""Every command and every error on a terminal of 60, 80 and 120 columns, in UTF-8, Latin-1 and ASCII.

Each command runs once, against real agents; what it shows is then shown again on a pty(7) of each kind. A new command
or error class without a case fails here.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mcp_a2a.api.agents import AgentView
from mcp_a2a.cli import render
from mcp_a2a.cli.failure import report_failure
from mcp_a2a.cli.options import Options
from mcp_a2a.cli.output import Output
from mcp_a2a.cli.session import Session, set_up_logging
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.agents import PeerNotFoundError
from mcp_a2a.protocol.naming import short_key
from mcp_a2a.screen import width
from mcp_a2a.store.keyfile import DID_FILE
from tests.cli.conftest import two_agents
from tests.cli.inside import Finished, call, own_logging
from tests.cli.test_help import EVERY
from tests.e2e.command import MCP_A2A, environment
from tests.emulator import OnTerminal, Seen, on_terminal, seen
from tests.screens import RealTerminal, Terminal
from tests.test_errors import PLAIN, SHOWN, made, ours

WIDTHS = (60, 80, 120)
ENCODINGS = ("utf-8", "latin-1", "ascii")
TERMINALS = tuple(itertools.product(WIDTHS, ENCODINGS))

Shown = tuple[str, tuple[Any, ...], dict[str, Any]]

KEY = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
"""Of nobody here."""


class Tape(Output):
    """An output that also keeps what it was asked to show."""

    shown: list[Shown]

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        Tape.shown, self._inside = [], False


def _kept(name: str) -> Callable[..., None]:
    plain = getattr(Output, name)

    def keep(self: Tape, *args: Any, **kwargs: Any) -> None:
        inside, self._inside = self._inside, True
        if not inside:
            Tape.shown.append((name, args, kwargs))
        try:
            plain(self, *args, **kwargs)
        finally:
            self._inside = inside

    return keep


for _name in ("line", "verbatim", "piece", "table", "note", "drawing", "ask", "progress", "error"):
    setattr(Tape, _name, _kept(_name))


def shown_on(tape: list[Shown], columns: int, encoding: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Seen:
    """What a terminal shows of it, with a line of progress before every message."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = RealTerminal(columns, encoding)
    output = Output(Options(**options), terminal, terminal)
    for name, args, kwargs in tape:
        output.progress("… waiting for an answer (3 s, Ctrl-C to stop waiting)")
        getattr(output, name)(*args, **kwargs)
        if name in ("ask", "piece"):
            output.verbatim("")
    output.progress("")
    return seen(terminal.everything(), columns, encoding)


# --- every command ---------------------------------------------------------------------------------

CASES: Mapping[tuple[str, ...], tuple[tuple[str, ...], ...]] = {
    (): ((), ("dicover",), ("--wrong",)),
    ("status",): (("status",),),
    ("discover",): (("discover",), ("discover", "nothing-like-that"), ("discover", "--limit", "many")),
    ("show",): (("show", "rev"), ("show", "self"), ("show", "nobody"), ("show", "x" * 300)),
    ("send",): (
        ("send", "helper", "hello wide world", "--skill", "count_words", "-F", "FILE"),
        ("send", "helper", "this", "--skill", "fail"),
        ("send", "helper", "x", "--skill", "choose", "--wait", "5"),
        ("send", "nobody", "hi"),
        ("send", "rev", ""),
    ),
    ("tasks",): (("tasks",), ("tasks", "--state", "done")),
    ("task",): (("task", "TASK"), ("task", "zzzzzz"), ("task", "x")),
    ("save",): (("save", "TASK"), ("save", "zzzzzz")),
    ("answer",): (("answer", "ASKING", "red"), ("answer", "zzzzzz", "x"), ("answer", "TASK", "x", "--status", "well")),
    ("cancel",): (("cancel", "TASK"), ("cancel", "zzzzzz")),
    ("forget",): (("forget", "TASK"), ("forget",), ("forget", "--older-than", "soon")),
    ("inbox",): (("inbox",),),
    ("id",): (("id",),),
    ("name",): (("name",), ("name", "Anna Lee"), ("name", "../x")),
    ("alias",): (("alias", "rev", "reverser"), ("alias",), ("alias", "rev"), ("alias", "--remove", "nobody")),
    ("list",): (("list",),),
    ("peers",): (("peers",),),
    ("peers", "add"): (("peers", "add", "127.0.0.1:1"), ("peers", "add", "rubbish")),
    ("peers", "remove"): (("peers", "remove", "https://agent.example/"), ("peers", "remove", "rev")),
    ("trust",): (("trust", "rev"), ("trust", "rev", "--undo"), ("trust", "nobody")),
    ("block",): (("block", "nobody"),),
    ("allow",): (("allow", KEY), ("allow", "rev"), ("allow", "REV")),
    ("invite",): (("invite", "--network", "shop"), ("invite", "--network", "shop", "--expires", "soon"), ("invite",)),
    ("networks",): (("networks",),),
    ("join",): (("join", "rubbish"), ("join", f"a2a1{'aeaq7uvw' * 20}")),
    ("rotate",): (("rotate", "shop"), ("rotate", "nowhere")),
    ("leave",): (("leave", "shop"), ("leave", "nowhere")),
    ("netcheck",): (("netcheck",),),
    ("ping",): (("ping", "rev", "-c", "1"), ("ping", "nobody")),
    ("callers",): (("callers",),),
    ("callers", "add"): (("callers", "add", "build-server", "--agent", "rev"), ("callers", "add", "build-server")),
    ("callers", "grant"): (("callers", "grant", "build-server", "--agent", "self"), ("callers", "grant", "nobody")),
    ("callers", "remove"): (("callers", "remove", "build-server"), ("callers", "remove", "nobody")),
    ("repair",): (("repair",),),
    ("version",): (("version", "-v"),),
    ("serve",): (("serve", "--listen", "nowhere"), ("serve", "--tls-key", "k")),
    ("agent",): (("agent", "walk"),),
    ("agent", "init"): (("agent", "init", "notes.txt"),),
    ("agent", "run"): (("agent", "run", "missing.py"),),
    ("agent", "exec"): (("agent", "exec", "--name", "x", "--"), ("agent", "exec", "--", "no-such-program-here")),
    ("relay",): (("relay", "walk"),),
    ("relay", "serve"): (("relay", "serve", "--ttl-days", "300"),),
    ("relay", "url"): (("relay", "url"),),
    ("relay", "status"): (("relay", "status"),),
    ("relay", "members"): (("relay", "members"),),
    ("relay", "admit"): (("relay", "admit", KEY, "--note", "laptop"), ("relay", "admit", "laptop")),
    ("relay", "revoke"): (("relay", "revoke", KEY),),
    ("demo",): (),  # on a terminal of its own, below
}
"""What is run of each command: what it does well, and how it fails. FILE, TASK, ASKING and REV are put in."""


def test_every_command_has_a_case() -> None:
    assert set(EVERY) == set(CASES)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder of its own: the cases name, block and forget what other tests ask for."""
    with two_agents(tmp_path_factory.mktemp("screens")) as home:
        yield home


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Path]:
    """The folder of two agents, with a node of our own that is asked."""
    process = subprocess.Popen(
        [MCP_A2A, "--no-mdns", "--json", "serve", "--listen", "127.0.0.1:0"],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield home
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def tapes(served: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], list[Shown]]:
    """What every case shows."""
    file = tmp_path_factory.mktemp("files") / "a rather long name of a file.txt"
    file.write_text("hello")
    words = {"FILE": str(file), "REV": (served / "identities" / "rev" / DID_FILE).read_text()}
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mcp_a2a.cli.app.Output", Tape)
        patch.setattr("mcp_a2a.cli.output.Output", Tape)
        for case in itertools.chain(*CASES.values()):
            Tape.shown = []
            finished = call(served, *(words.get(word, word) for word in case), stdin="n\n", typed=True)
            assert "unexpected" not in finished.stderr, finished
            found[case] = Tape.shown
            if case[0:1] == ("send",) and "TASK" not in words:
                words["TASK"] = newest(served)
            if "choose" in case:
                words["ASKING"] = newest(served)
    return found


def newest(home: Path) -> str:
    return str(answer(call(home, "tasks", "--json"))["tasks"][0]["task_id"])


def answer(finished: Finished) -> Any:
    assert finished.returncode == 0, finished
    return json.loads(finished.stdout)


@pytest.mark.parametrize("case", [case for cases in CASES.values() for case in cases], ids=" ".join)
def test_a_command_breaks_no_screen(
    case: tuple[str, ...], tapes: dict[tuple[str, ...], list[Shown]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tapes[case], "it shows nothing at all"
    for columns, encoding in TERMINALS:
        shown = shown_on(tapes[case], columns, encoding, monkeypatch)
        assert shown.faults() == [], (columns, encoding)


@pytest.mark.parametrize("case", [case for cases in CASES.values() for case in cases], ids=" ".join)
def test_no_mark_of_ours_becomes_a_question_mark_and_no_colour_stays_where_none_is_wanted(
    case: tuple[str, ...], tapes: dict[tuple[str, ...], list[Shown]], monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = shown_on(tapes[case], 120, "utf-8", monkeypatch).text.count("?")
    for encoding in ("latin-1", "ascii"):
        assert shown_on(tapes[case], 120, encoding, monkeypatch).text.count("?") == questions
    plain = shown_on(tapes[case], 120, "utf-8", monkeypatch, ascii=True, color=False)
    assert plain.text.isascii()
    assert re.findall(rb"\x1b\[[\d;]*m", plain.raw) == []


# --- every error -----------------------------------------------------------------------------------

WORST = "what was said of it is rather long, and names /a/path/that/is/long/enough/to/be/wider/than/some/terminals.txt"


def worst(kind: type[McpA2AError]) -> McpA2AError:
    if kind in SHOWN:
        return made(kind)
    return McpA2AError.rebuild(kind.code, f"Something failed: {WORST}.", f"Try it again: mcp-a2a allow {KEY}")


@pytest.mark.parametrize("kind", ours(), ids=lambda kind: kind.__name__)
def test_an_error_breaks_no_screen(kind: type[McpA2AError]) -> None:
    assert kind in SHOWN or kind in PLAIN
    for columns, encoding in TERMINALS:
        terminal = RealTerminal(columns, encoding)
        output = Output(Options(), terminal, terminal)
        output.progress("… waiting for an answer (3 s, Ctrl-C to stop waiting)")
        report_failure(output, worst(kind))
        shown = seen(terminal.everything(), columns, encoding)
        assert shown.faults() == [], (columns, encoding)
        assert shown.rows[0].strip(), "the message begins where the line of progress was"


def test_what_failed_is_red_and_what_to_do_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    report_failure(Output(Options(), terminal, terminal), PeerNotFoundError("bob"))
    first, second = terminal.said.decode().splitlines()
    assert first.startswith("\x1b[31mNo agent named 'bob'")
    assert "\x1b" not in second


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_record_of_the_log_begins_a_line_and_fits_the_screen(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = RealTerminal(columns)
    monkeypatch.setattr("sys.stderr", terminal)
    with own_logging():
        output = Output(Options())
        set_up_logging(0, output)
        output.progress("… waiting for an answer (3 s, Ctrl-C to stop waiting)")
        logging.getLogger("mcp_a2a").warning(WORST)
    shown = seen(terminal.everything(), columns)
    assert shown.faults() == []
    assert shown.rows[0].startswith("WARNING mcp_a2a: what was said")


# --- what peers choose -----------------------------------------------------------------------------

NAMES = ("漢字" * 16, "a" * 32, "word-counter", "zoë", "e\u0301" * 16)


@pytest.mark.parametrize("columns", WIDTHS)
def test_tables_fit_whatever_the_agents_are_called(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    agents = [
        AgentView.model_validate({"name": name, "did": KEY, "words": "pony-lily-garage-zebra", **more})
        for name in NAMES
        for more in ({}, {"route": "local", "rtt_ms": 12.0, "online": True, "trust": "member", "networks": (name,)})
    ]
    shown = shown_on([("table", (render.agents_table(agents),), {})], columns, "utf-8", monkeypatch)
    assert shown.faults() == []
    assert KEY not in shown.text
    assert short_key(KEY) in shown.text
    assert all(width(line) <= columns for line in shown.lines)


# --- the truth -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "columns", "encoding"),
    [
        (("show", "nobody"), 60, "utf-8"),
        (("status",), 60, "ascii"),
        (("netcheck",), 60, "latin-1"),
        (("--help",), 60, "ascii"),
        (("relay", "serve", "--help"), 80, "latin-1"),
    ],
)
def test_a_command_on_a_real_terminal_breaks_nothing(
    tmp_path: Path, words: tuple[str, ...], columns: int, encoding: str
) -> None:
    finished = on_terminal(tmp_path, *words, columns=columns, encoding=encoding)
    assert finished.returncode in (0, 3)
    assert finished.seen.faults() == []


@pytest.mark.slow
def test_the_demonstration_fits_a_narrow_terminal_and_ends_with_a_command_that_works_here(tmp_path: Path) -> None:
    finished = on_terminal(tmp_path, "demo", columns=60)
    assert finished.returncode == 0
    assert finished.seen.faults() == []
    assert finished.seen.lines[-1].strip() == f"{MCP_A2A} agent exec --name rev --skill reverse -- rev"


@pytest.mark.slow
def test_ctrl_c_leaves_a_clean_line_and_says_how_to_go_on(served: Path) -> None:
    found = {"PATH": f"{Path(MCP_A2A).parent}:{os.environ['PATH']}"}
    command = OnTerminal(served, ("send", "helper", "20", "--skill", "sleep"), 60, "utf-8", found)
    try:
        command.wait_for("dozing off")
        command.press("\x03")
        finished = command.end()
    finally:
        command.close()
    assert finished.returncode == 130
    assert finished.seen.faults() == []
    assert re.fullmatch(r"The task goes on\. Follow it: mcp-a2a task [a-z0-9]{6} --follow", finished.seen.lines[-1])


@pytest.mark.parametrize("name", ["x" * 300, "漢字" * 16, "rev"])
@pytest.mark.parametrize(("columns", "encoding"), [(60, "utf-8"), (80, "utf-8"), (60, "ascii")])
def test_a_command_that_waits_says_how_to_stop_it_however_long_a_name_is(
    columns: int, encoding: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = RealTerminal(columns, encoding)
    session = Session(Options(), Output(Options(), terminal, terminal))
    session.waiting_for = name
    session._say_how_long(3)
    assert seen(terminal.everything(), columns, encoding).rows[-1].rstrip().endswith("(3 s, Ctrl-C to stop waiting)")
