"""Clients that no model drives: each connects by stdio and over HTTP, and calls discover, send_task, get_task_status.

They come from npm and PyPI (`python -m tests.clients.install`), each of Python in an environment of its own; where they
are not installed these tests are skipped, or fail if MCP_A2A_REQUIRE_CLIENTS is set.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.clients.install import Libraries, libraries
from tests.docs.pages import page_of_mcp_remote
from tests.e2e.command import MCP_A2A, agent, environment
from tests.npm import NpmError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROGRAMS = Path(__file__).parent / "programs"
ALONE = {"MCP_A2A_MDNS": "0", "MCP_A2A_LINK_HOST": "127.0.0.1"}
SECONDS = 60.0
TASK = re.compile(r"task-[a-z2-7]{24}")

Place = dict[str, JsonValue]
"""A server as the programs are told of it: `url` and perhaps `headers`, or `command`, `args` and `env`."""


@dataclass(frozen=True)
class Post:
    """A data folder with a node that runs and an agent `rev`, and where that node speaks MCP."""

    home: Path
    url: str
    guarded_url: str
    """Where every client needs the token."""
    token: str

    def place(self, way: str) -> Place:
        """The server, by that way."""
        if way == "stdio":
            return {
                "command": MCP_A2A,
                "args": [],
                "env": {**ALONE, "MCP_A2A_HOME": str(self.home), "PATH": os.defpath},
            }
        if way == "http":
            return {"url": self.url}
        return {"url": self.guarded_url, "headers": {"Authorization": f"Bearer {self.token}"}}


@pytest.fixture(scope="module")
def installed() -> Libraries:
    try:
        return libraries()
    except NpmError as error:
        if os.environ.get("MCP_A2A_REQUIRE_CLIENTS"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def post(installed: Libraries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    home = tmp_path_factory.mktemp("post") / "home"
    with ExitStack() as stack:
        url = stack.enter_context(_listening(home))
        guarded = stack.enter_context(_listening(home, "--token"))
        stack.enter_context(
            agent(home, "exec", "--name", "rev", "--skill", "reverse=Reverses text", "--", "rev", **ALONE)
        )
        yield Post(home, url, guarded, (home / "identities" / "default" / "http.token").read_text().strip())


@contextmanager
def _listening(home: Path, *words: str) -> Iterator[str]:
    """Where a server of this folder speaks MCP, while the context lasts."""
    command = [MCP_A2A, "serve", "--listen", "127.0.0.1:0", *words]
    with subprocess.Popen(
        command, env=environment(home, **ALONE), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+/mcp", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.terminate()


@dataclass(frozen=True)
class Said:
    """What the three tools returned to a client, as it gives it to its model or its person."""

    discovered: str
    sent: str
    status: str
    era: str | None = None


def _run(folder: Path, *command: str) -> str:
    """What a client printed; it has a home of its own."""
    folder.mkdir(exist_ok=True)
    variables = {"HOME": str(folder), "PATH": os.defpath, "LANG": "C.UTF-8", "MCP_USE_ANONYMIZED_TELEMETRY": "false"}
    done = subprocess.run(
        command, env=variables, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-3_000:]
    return done.stdout


def _of_program(folder: Path, command: Sequence[str], place: Place) -> Said:
    told = json.loads(_run(folder, *command, json.dumps(place), "rev").splitlines()[-1])
    return Said(*told["said"], told.get("era"))


# --- the clients ----------------------------------------------------------------------------------

Client = Callable[[Libraries, Path, Place], Said]


def javascript(sdk: str) -> Client:
    """A client made with an SDK in TypeScript."""

    def client(installed: Libraries, folder: Path, place: Place) -> Said:
        beside = installed.modules.parent / "javascript.mjs"  # what a module imports is looked for beside it
        shutil.copyfile(PROGRAMS / beside.name, beside)
        return _of_program(folder, [installed.node, str(beside), sdk], place)

    return client


def python(package: str, program: str) -> Client:
    """A client in Python."""

    def client(installed: Libraries, folder: Path, place: Place) -> Said:
        return _of_program(folder, [installed.pythons[package], str(PROGRAMS / program)], place)

    return client


def remote(installed: Libraries, folder: Path, place: Place) -> Said:
    """mcp-remote, which is a server on stdio for a client that knows no HTTP."""
    shown = json.loads(page_of_mcp_remote().text)["mcpServers"]["a2a"]
    words = shown["args"][shown["args"].index("mcp-remote") + 1 :]
    words[0], env = str(place["url"]), {"HOME": str(folder), "PATH": os.defpath}
    if headers := place.get("headers"):
        assert isinstance(headers, dict)
        env |= {name: headers["Authorization"] for name, value in shown["env"].items() if value == "Bearer TOKEN"}
    else:
        words = words[: words.index("--header")]
    proxy = installed.modules / "mcp-remote" / "dist" / "proxy.js"
    return javascript("v1")(installed, folder, {"command": installed.node, "args": [str(proxy), *words], "env": env})


def inspector(installed: Libraries, folder: Path, place: Place) -> Said:
    """The MCP Inspector at a prompt, once for each call."""
    program = installed.modules / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
    env, headers = place.get("env") or {}, place.get("headers") or {}
    assert isinstance(env, dict)
    assert isinstance(headers, dict)
    variables = [word for name, value in env.items() for word in ("-e", f"{name}={value}")]
    fields = [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]
    where = [str(place["url"]), "--transport", "http"] if "url" in place else [str(place["command"])]

    def call(tool: str, **arguments: JsonValue) -> str:
        given = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
        words = ["--cli", *where, *variables, *fields, *given, "--format", "json", "-q"]
        result = json.loads(_run(folder, installed.node, str(program), *words))["result"]
        return "\n".join(block["text"] for block in result["content"])

    discovered, sent = call("discover"), call("send_task", agent="rev", message="hello", wait_seconds=30)
    return Said(discovered, sent, call("get_task_status", task_id=TASK.findall(sent)[0], wait_seconds=30))


CLIENTS: dict[str, Client] = {
    "inspector": inspector,
    "typescript-v1": javascript("v1"),
    "typescript-v2": javascript("v2"),
    "typescript-v2-legacy": javascript("v2-legacy"),
    "typescript-v2-auto": javascript("v2-auto"),
    "mcp-remote": remote,
    "fastmcp": python("fastmcp", "fastmcp_client.py"),
    "mcp-use": python("mcp-use", "mcp_use_client.py"),
    "langchain": python("langchain-mcp-adapters", "langchain_client.py"),
}

ERAS = {"typescript-v2": "2025-11-25", "typescript-v2-legacy": "2025-11-25", "typescript-v2-auto": "2026-07-28"}
"""Which one each of them is to speak; the others do not tell."""

WAYS = [
    (client, way)
    for client in CLIENTS
    for way in ("stdio", "http", "http with a token")
    if (client, way) != ("mcp-remote", "stdio")  # it is for servers elsewhere
]


@pytest.mark.parametrize(("client", "way"), WAYS, ids=map("-".join, WAYS))
def test_a_client_finds_an_agent_sends_it_a_task_and_reads_the_answer(
    installed: Libraries, post: Post, tmp_path: Path, client: str, way: str
):
    said = CLIENTS[client](installed, tmp_path / "home", post.place(way))
    assert '"rev"' in said.discovered
    assert "Reverses text" in said.discovered
    assert len({*TASK.findall(said.sent), *TASK.findall(said.status)}) == 1
    for told in (said.sent, said.status):
        assert "completed" in told
        assert re.search(r"<(untrusted-[a-z]{8})>\s*olleh\s*</\1>", told)
    assert said.era == ERAS.get(client, said.era)


def test_the_inspector_finds_no_fault_in_any_schema(installed: Libraries, post: Post, tmp_path: Path):
    program = installed.modules / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
    for era in ("legacy", "modern"):
        words = ["--transport", "http", "--protocol-era", era, "--method", "tools/list", "--strict", "--format", "json"]
        listed = json.loads(_run(tmp_path / era, installed.node, str(program), "--cli", post.url, *words))
        assert len(listed["result"]["tools"]) == 12


def test_a_client_without_the_token_hears_of_it_and_waits_for_no_browser(
    installed: Libraries, post: Post, tmp_path: Path
):
    proxy = installed.modules / "mcp-remote" / "dist" / "proxy.js"
    done = subprocess.run(
        [installed.node, str(proxy), post.guarded_url],
        env={"HOME": str(tmp_path), "PATH": os.defpath},
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode != 0
    assert "404" in done.stderr
    assert "Please authorize" not in done.stderr
