"""Four assistants as a person would set them up, each with a home of its own, and run once without a terminal.

Each is told of one MCP server and of a model at a URL of ours; there is no account. What would call home is switched
off, and what calls out all the same is led to a proxy that only writes down what was asked of it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process, SocketAttribute, SocketStream, TaskStatus

from tests.clients.install import Programs
from tests.e2e.command import MCP_A2A

PROMPT = "Use the tools."


@dataclass(frozen=True, slots=True)
class Server:
    """Our MCP server, as a client is told of it: a URL, or else a command with these variables."""

    variables: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client runs: a folder of its own, a model and a server."""

    folder: Path
    model: str
    server: Server
    prompt: str = PROMPT

    @property
    def home(self) -> Path:
        """The home folder that the client gets to see."""
        return self.folder / "home"

    def write(self, path: str, text: str) -> Path:
        """A file of the home folder."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file


@dataclass(frozen=True, slots=True)
class Start:
    """A command, and the variables that it gets beside those that all get."""

    command: tuple[str, ...]
    variables: Mapping[str, str]


def claude(programs: Programs, place: Place) -> Start:
    """Claude Code."""
    server = place.server
    named = json.loads(_page(r"```json(.*?)```"))["mcpServers"]["a2a"]
    told = {"type": "http", "url": server.url} if server.url else {**named, "env": dict(server.variables)}
    config = place.write("mcp.json", json.dumps({"mcpServers": {"a2a": told}}))
    options = ("--mcp-config", str(config), "--strict-mcp-config", "--allowedTools", "mcp__a2a")
    variables = {
        "ANTHROPIC_BASE_URL": place.model,
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    return Start((*programs.claude, "-p", place.prompt, "--model", "scripted", *options), variables)


def codex(programs: Programs, place: Place) -> Start:
    """Codex, which asks about every call of `send_task` unless the server is approved as a whole."""
    server = place.server
    variables = ", ".join(f"{name} = {json.dumps(value)}" for name, value in server.variables.items())
    told = (
        f"[mcp_servers.a2a]\nurl = {json.dumps(server.url)}\nrequired = true"
        if server.url
        else f"{_page(r'```toml(.*?)```')}\nenv = {{ {variables} }}"
    )
    place.write(
        ".codex/config.toml",
        f"""\
model = "gpt-5.5"
model_provider = "scripted"
approval_policy = "never"
check_for_update_on_startup = false
[model_providers.scripted]
name = "scripted"
base_url = "{place.model}/v1"
wire_api = "responses"
[analytics]
enabled = false
[features]
apps = false
plugins = false
{told}
default_tools_approval_mode = "approve"
""",
    )
    return Start((*programs.codex, "exec", "--skip-git-repo-check", place.prompt), {})


def _page(pattern: str) -> str:
    """What the page for clients tells people to write, with the path of this command."""
    text = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None
    return found[1].replace("/home/you/mcp-a2a/.venv/bin/mcp-a2a", MCP_A2A)


def gemini(programs: Programs, place: Place) -> Start:
    """Gemini CLI."""
    server = place.server
    told = {"httpUrl": server.url} if server.url else {"command": MCP_A2A, "env": dict(server.variables)}
    settings = {
        "mcpServers": {"a2a": {**told, "trust": True}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
    }
    place.write(".gemini/settings.json", json.dumps(settings))
    variables = {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": place.model, "GEMINI_CLI_NO_RELAUNCH": "true"}
    return Start((*programs.gemini, "-p", place.prompt, "-m", "gemini-2.5-flash", "--approval-mode", "yolo"), variables)


def opencode(programs: Programs, place: Place) -> Start:
    """OpenCode."""
    server = place.server
    told = (
        {"type": "remote", "url": server.url}
        if server.url
        else {"type": "local", "command": [MCP_A2A], "environment": dict(server.variables)}
    )
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{place.model}/v1", "apiKey": "none"},
        "models": {"scripted": {"name": "scripted"}},
    }
    settings = {
        "autoupdate": False,
        "share": "disabled",
        "model": "scripted/scripted",
        "small_model": "scripted/scripted",
        "enabled_providers": ["scripted"],
        "provider": {"scripted": provider},
        "mcp": {"a2a": {**told, "enabled": True}},
        "permission": {"*": "allow"},
    }
    config = place.write("opencode.json", json.dumps(settings))
    switches = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    variables = {f"OPENCODE_DISABLE_{switch}": "1" for switch in switches}
    return Start(
        (*programs.opencode, "run", place.prompt), {"OPENCODE_CONFIG": str(config), "OPENCODE_PURE": "1", **variables}
    )


CLIENTS: Mapping[str, Callable[[Programs, Place], Start]] = {
    "claude": claude,
    "codex": codex,
    "gemini": gemini,
    "opencode": opencode,
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run."""

    code: int
    said: str
    """Both its outputs."""
    called_out: Sequence[str]
    """First lines of what it asked of hosts other than this machine."""


async def run(start: Start, place: Place, seconds: float) -> Ran:
    """Run a client to its end, which is to come within `seconds`."""
    log = place.folder / "log"
    with log.open("wb") as out:
        async with started(start, place, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as (process, asked):
            try:
                with anyio.fail_after(seconds):
                    code = await process.wait()
            except TimeoutError:
                said = log.read_text(errors="replace")
                raise AssertionError(f"not done in {seconds} s: {said[-3_000:]}") from None
    return Ran(code, log.read_text(errors="replace"), asked)


@asynccontextmanager
async def started(start: Start, place: Place, **streams: Any) -> AsyncIterator[tuple[Process, list[str]]]:
    """A client while the context lasts, and what it asks of other hosts; what it leaves behind ends with it."""
    work = place.folder / "work"
    work.mkdir()
    place.home.mkdir(exist_ok=True)
    async with _proxy() as (proxy, asked):
        variables = {
            "HOME": str(place.home),
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TMPDIR": str(place.folder),
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
            **start.variables,
        }
        process = await anyio.open_process(start.command, cwd=work, env=variables, start_new_session=True, **streams)
        try:
            yield process, asked
        finally:
            _end(process.pid)
            with anyio.CancelScope(shield=True):
                await process.aclose()


def _end(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@asynccontextmanager
async def _proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that leads nowhere; its URL, and what was asked of it."""
    asked: list[str] = []

    async def note(stream: SocketStream) -> None:
        async with stream:
            try:
                head = await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return
            asked.append(head.partition(b"\r\n")[0].decode(errors="replace"))

    async def serve(*, task_status: TaskStatus[int]) -> None:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            task_status.started(listener.extra(SocketAttribute.local_port))  # noqa: S610  this is no query
            await listener.serve(note)

    async with anyio.create_task_group() as group:
        port = await group.start(serve)
        try:
            yield f"http://127.0.0.1:{port}", asked
        finally:
            group.cancel_scope.cancel()
