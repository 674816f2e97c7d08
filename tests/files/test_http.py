"""Files over HTTP, in both bindings: in with the message, out in the answer or from a URL of the same server."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from mcp_a2a import Agent, File, TaskContext
from mcp_a2a.agent.console import Console
from mcp_a2a.agent.hosting import agent_settings, host_service
from mcp_a2a.config import Settings
from mcp_a2a.server.listening import Listening
from tests.a2a.kit import Kit, user_message
from tests.files.scenes import MIB

LARGE = os.urandom(5 * MIB)
MEDIUM = 700 * 1024
"""In base64 as much as this client sends in one piece without a warning."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """One server for all tests: its agent returns what it got, and something larger."""
    agent = Agent("filer")

    @agent.skill(input_modes=["application/octet-stream"])
    def look(task: TaskContext) -> list[object]:
        "Return the file, and a large one."
        (file,) = task.files
        return [hashlib.sha256(file.read()).hexdigest(), File(content=file.read(), name=file.name), large]

    folder = tmp_path_factory.mktemp("filer")
    (folder / "large.html").write_bytes(LARGE)
    large = File(folder / "large.html", media_type="text/html")
    settings = agent_settings(Settings(home=folder / "home", mdns=False, link_host="127.0.0.1"), "filer")
    stopping, ready, urls = anyio.Event(), anyio.Event(), list[str]()

    def tell(_: object, served: Any) -> None:
        urls.append(served.url)
        ready.set()

    async with anyio.create_task_group() as tasks:
        console = Console(tell, lambda _: None)
        tasks.start_soon(host_service, agent.service(), settings, console, stopping, Listening("127.0.0.1:0"))
        await ready.wait()
        yield f"{urls[0]}/"
        stopping.set()


@pytest.fixture(params=["jsonrpc", "rest"])
async def kit(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Kit]:
    async with aiohttp.ClientSession() as session:
        yield Kit(session, url, request.param)


def with_file(content: bytes) -> dict[str, Any]:
    raw = base64.b64encode(content).decode()
    part = {"raw": raw, "filename": "in.bin", "mediaType": "application/octet-stream"}
    return {**user_message("m"), "parts": [{"text": "look"}, part]}


@pytest.mark.parametrize("size", [10, 64 * 1024 + 1, MEDIUM])
async def test_a_file_goes_in_with_a_message_and_comes_out_in_the_answer(kit: Kit, size: int) -> None:
    content = os.urandom(size)
    result: Any = await kit.call("SendMessage", message=with_file(content))
    text, same, large = result["task"]["artifacts"][0]["parts"]
    assert text["text"] == hashlib.sha256(content).hexdigest()
    assert (base64.b64decode(same["raw"]), same["filename"]) == (content, "in.bin")
    assert "raw" not in large
    async with kit.session.get(large["url"]) as response:
        assert (response.status, await response.read()) == (200, LARGE)
        assert response.headers["Content-Type"] == "application/octet-stream", "no browser shall show it as a page"
        assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''large.html"


async def test_streams_and_lists_show_the_same_files(kit: Kit) -> None:
    events: list[Any] = [event async for event in kit.stream("SendStreamingMessage", message=with_file(LARGE[:MEDIUM]))]
    parts = [part for event in events for part in event.get("artifactUpdate", {}).get("artifact", {}).get("parts", ())]
    assert [sorted(set(part) & {"text", "raw", "url"}) for part in parts] == [["text"], ["url"], ["url"]]
    page: Any = await kit.call("ListTasks", includeArtifacts=True, pageSize=1)
    listed = page["tasks"][0]["artifacts"][0]["parts"]
    assert [sorted(set(part) & {"text", "raw", "url"}) for part in listed] == [["text"], ["url"], ["url"]]
    async with kit.session.get(listed[1]["url"]) as response:
        assert await response.read() == LARGE[:MEDIUM]
    assert '"key"' not in str(page)


async def test_a_file_that_there_is_not_is_not_found(kit: Kit, tmp_path: Path) -> None:
    del tmp_path
    for path in ("files/task-x/0", "files/../../etc/passwd", "files/", "files/task-x"):
        async with kit.session.get(f"{kit.url}{path}") as response:
            assert response.status == 404
    async with kit.session.post(f"{kit.url}files/task-x/0", json={}) as response:
        assert response.status == 405
