"""What the pages show works as they show it: each block of code is run, with free ports and paths of the test."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp.client.session import ClientSession
from mcp.client.stdio import stdio_client

from tests.cli.inside import answer, run
from tests.cli.keyboard import Typed, typed
from tests.cli.test_allow import on_a_terminal, stranger
from tests.docs.pages import PAGES, ROOT, Snippet, page_of_mcp_remote, snippets
from tests.e2e.command import MCP_A2A, agent, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLACE = "/home/you/mcp-a2a/.venv/bin/mcp-a2a"
"""Where the pages have the command; each reader puts in an own path."""


# --- Python


def typing(home: Path, *words: str) -> str:
    """The answer to a task for the agent of a page, at a terminal where each question is answered "blue"."""
    with typed(home, "send", *words) as talking:
        if "Paint" in words or "painter" in words:
            talking.until("Which colour?")
            talking.type("blue\n")
        assert talking.ends() == 0, talking.screen
    return talking.screen


@pytest.mark.parametrize("snippet", snippets("python"), ids=lambda one: f"{one.page}-{len(one.text)}")
def test_an_agent_of_a_page_does_its_work(snippet: Snippet, tmp_path: Path) -> None:
    file = tmp_path / "shown.py"
    file.write_text(snippet.text)
    name = re.findall(r'Agent\("([^"]+)"', snippet.text)[0]
    with agent(tmp_path / "home", "run", str(file), "--no-mdns"):
        shown = typing(tmp_path / "home", name, "hello wide world")
        if name == "word-counter":
            assert shown.splitlines()[-1] == "3"
        else:
            assert "A blue hello wide world" in shown
            assert "picture.txt" in shown


# --- configurations of clients


def command_of(snippet: Snippet) -> str:
    """The command that a client starts, by the configuration that a page shows for it."""
    fields = tomllib.loads(snippet.text) if snippet.language == "toml" else json.loads(snippet.text)
    for name in ("mcpServers", "servers", "mcp_servers", "mcp"):
        if name in fields:
            command = fields[name]["a2a"]["command"]
            return command if isinstance(command, str) else str(command[0])
    raise AssertionError(snippet.text)


@pytest.mark.parametrize(
    "snippet",
    [one for one in (*snippets("json"), *snippets("toml")) if one != page_of_mcp_remote()],
    ids=lambda one: f"{one.page}-{len(one.text)}",
)
def test_the_configuration_of_a_client_names_the_command(snippet: Snippet) -> None:
    assert command_of(snippet) == PLACE


def test_the_command_that_a_client_starts_is_a_server_with_the_tools_that_the_page_lists(tmp_path: Path) -> None:
    async def tools() -> list[str]:
        server = StdioServerParameters(command=MCP_A2A, env=environment(tmp_path / "home", MCP_A2A_NO_MDNS="1"))
        async with stdio_client(server) as streams, ClientSession(*streams) as client:
            await client.initialize()
            return [tool.name for tool in (await client.list_tools()).tools]

    table = (ROOT / "docs/clients.md").read_text(encoding="utf-8").partition("## The tools")[2]
    rows = re.findall(r"^\|([^|]+)\|", table, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`([a-z_]+)`", row)]
    assert sorted(asyncio.run(tools())) == sorted(listed)


# --- what is typed in a shell


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def shown_agent(home: Path, line: str, port: int = 0) -> Iterator[str]:
    """The agent that a line starts, on this port where it listens; its name."""
    words = shlex.split(line.replace(":5001", f":{port}"))
    assert words[:2] == ["mcp-a2a", "agent"], line
    with agent(home, *words[2:5], "--no-mdns", *words[5:]) as running:
        yield str(running.ready["name"])


@contextmanager
def typing_line(home: Path, line: str) -> Iterator[Typed]:
    """A line of a page, typed at a terminal."""
    words = shlex.split(line)
    assert words[0] == "mcp-a2a", line
    with typed(home, *words[1:]) as terminal:
        yield terminal


def install(snippet: Snippet, place: Path) -> None:
    """The two commands for a fresh clone; CI types the second one, and another test has the demo."""
    (line,) = snippet.lines
    make, fill, go = line.split(" && ")
    assert make == "python3 -m venv .venv"
    assert re.fullmatch(r"\.venv/bin/pip install -e ('\.\[dev\]'|\.)", fill)
    assert (Path(MCP_A2A).parent / Path(go.split()[0]).name).exists()


def rev(snippet: Snippet, place: Path) -> None:
    """An agent of any command, and a task for it."""
    start, *rest = snippet.lines
    with shown_agent(place / "home", start) as name:
        assert name == "rev"
        for line in rest:
            with typing_line(place / "home", line) as sending:
                assert sending.ends() == 0
            assert "olleh" in sending.screen


def networks(snippet: Snippet, place: Path) -> None:
    """A relay, a ticket, and two data folders that see each other."""
    serve, invite, join = snippet.lines
    serving = serve.replace("0.0.0.0:6060", f"127.0.0.1:{free_port()}")
    with typing_line(place / "relay", serving) as relay, agent(place / "mine", *REV), agent(place / "theirs", *FWD):
        url = re.search(r"ws://\S+", relay.until("&admit="))
        assert url is not None
        with typing_line(place / "mine", invite) as inviting:
            inviting.until("relay")
            inviting.type(f"{url[0]}\n")
            assert inviting.ends() == 0, inviting.screen
        ticket = re.search(r"a2a1[a-z0-9\n]+", inviting.screen)
        assert ticket is not None
        with typing_line(place / "theirs", join) as joining:
            joining.until("icket")
            joining.type(f"{ticket[0].strip()}\n\n")
            assert joining.ends() == 0, joining.screen
        assert "Joined shop." in joining.screen
        assert answer(place / "theirs", "--no-mdns", "send", "rev", "hello")["text"] == "olleh"


REV = ("exec", "--name", "rev", "--no-mdns", "--skill", "reverse=Reverses text", "--", "rev")
FWD = ("exec", "--name", "fwd", "--no-mdns", "--skill", "forward=Copies text", "--", "cat")


def curl(snippet: Snippet, place: Path) -> None:
    """An agent that A2A clients reach, and two of their requests."""
    start, *requests = snippet.lines
    port = free_port()
    with shown_agent(place / "home", start, port):
        card, sent = (
            subprocess.run(
                ["bash", "-c", line.replace(":5001", f":{port}")], capture_output=True, check=True, timeout=60
            ).stdout
            for line in requests
        )
    assert json.loads(card)["name"] == "rev"
    assert "olleh" in sent.decode()


def elsewhere(snippet: Snippet, place: Path) -> None:
    """An agent at a URL, kept and asked."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with agent(place / "other", "exec", "--name", "far", "--no-mdns", "--a2a-listen", f":{port}", "--", "rev"):
        for line in snippet.lines:
            with typing_line(place / "mine", line.replace("https://agent.example/", url)) as terminal:
                assert terminal.ends() == 0, terminal.screen
    assert "?od uoy nac tahW" in terminal.screen


def listening(snippet: Snippet, place: Path) -> None:
    """A server for clients that connect over HTTP."""
    (line,) = snippet.lines
    port = free_port()
    with typing_line(place / "home", line.replace(":3000", f":{port}")) as serving:
        serving.until(f"http://127.0.0.1:{port}/mcp")
        serving.type("\x03")
        assert serving.ends() in (0, 130)


def claude(snippet: Snippet, place: Path) -> None:
    """A command of another program, which the tests with real clients type."""
    assert snippet.lines == [f"claude mcp add --scope user a2a -- {PLACE}"]


def files(snippet: Snippet, place: Path) -> None:
    """Files that go with a task, and some that come with one."""
    send, save = snippet.lines
    home, script = place / "home", place / "reviewer.py"
    script.write_text(
        "from mcp_a2a import Agent, File, TaskContext\n"
        "agent = Agent('reviewer')\n"
        "@agent.skill(default=True)\n"
        "def review(text: str, task: TaskContext) -> list[object]:\n"
        "    return [' '.join(file.name for file in task.files), File(content=b'fine', name='review.txt')]\n"
        "agent.run()\n"
    )
    (place / "report.pdf").write_bytes(b"%PDF-1.4")
    (place / "data.csv").write_text("a,b\n")
    target = place / "Downloads"
    target.mkdir()
    with agent(home, "run", str(script), "--no-mdns"):
        words = [str(place / word) if word.endswith((".pdf", ".csv")) else word for word in shlex.split(send)[1:]]
        with typed(home, *words) as sending:
            assert sending.ends() == 0, sending.screen
        assert "report.pdf data.csv" in sending.screen
        (task,) = answer(home, "tasks")["tasks"]
        words = shlex.split(save.replace("TASK", task["task_id"][-6:]).replace("~/Downloads", str(target)))
        assert run(home, *words[1:]).returncode == 0
    assert [file.read_text() for file in target.iterdir()] == ["fine"]


def allow(snippet: Snippet, place: Path) -> None:
    """A person allows what an assistant may send to a stranger."""
    (line,) = snippet.lines
    with stranger(place) as other:
        code, shown = on_a_terminal(place / "mine", *shlex.split(line.replace("KEY", other.did))[1:], says="y\n")
    assert code == 0, shown
    assert "mallory" in shown


SCENES: tuple[tuple[str, Callable[[Snippet, Path], None]], ...] = (
    ("python3 -m venv", install),
    ("mcp-a2a agent exec --name rev --a2a-listen", curl),
    ("mcp-a2a agent exec --name rev", rev),
    ("mcp-a2a relay serve", networks),
    ("mcp-a2a peers add", elsewhere),
    ("mcp-a2a --listen", listening),
    ("mcp-a2a send reviewer", files),
    ("mcp-a2a allow", allow),
    ("claude mcp add", claude),
)


@pytest.mark.skipif(shutil.which("rev") is None, reason="the pages use the program rev")
@pytest.mark.parametrize("snippet", snippets(""), ids=lambda one: f"{one.page}-{one.lines[0]}")
def test_what_a_page_says_to_type_does_what_it_says(snippet: Snippet, tmp_path: Path) -> None:
    scene = next(scene for start, scene in SCENES if snippet.text.startswith(start))
    scene(snippet, tmp_path)


def test_each_block_of_the_pages_has_a_language_that_is_tested() -> None:
    fences = re.findall(r"^```([a-z]+)$", "\n".join((ROOT / page).read_text() for page in PAGES), re.MULTILINE)
    assert set(fences) <= {"python", "json", "toml", "mermaid"}  # the last: test_diagrams
