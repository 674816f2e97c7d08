"""Files in tools: from allowed folders only, listed without their content, written on request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.types import ListRootsResult, Root

from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.server.fence import unwrapped
from mcp_a2a.server.files import _folder, _uris
from mcp_a2a.server.surface import build_server
from tests.server.test_real_node import assistant, call, seen
from tests.server.test_tools import outside_fences, text_of

pytestmark = pytest.mark.slow


async def test_one_assistant_sends_files_and_another_returns_some(tmp_path: Path) -> None:
    downloads = tmp_path / "files"
    downloads.mkdir()
    (downloads / "in.bin").write_bytes(os.urandom(300_000))
    (downloads / "out.csv").write_text("a,b")
    async with assistant(tmp_path, "alice", "auto") as (alice, _), assistant(tmp_path, "bob", "auto") as (bob, _):
        await seen(alice, "bob")
        sent = await call(
            alice, "send_task", agent="bob", message="Read", files=[str(downloads / "in.bin")], wait_seconds=0
        )
        inbox = await bob.call_tool("check_inbox", {"wait_seconds": 30})
        (leased,) = _items(inbox.structured_content)
        assert [(unwrapped(str(file["name"])), file["size"]) for file in leased["files"]] == [("in.bin", 300_000)]
        assert "in.bin" not in outside_fences(text_of(inbox)), "a name is somebody else's words"
        assert "in.bin (293 KiB" in text_of(inbox)
        saved = await call(bob, "save_files", task_id=str(leased["task_id"]))
        assert [unwrapped(str(file["name"])) for file in _files(saved)] == ["in (2).bin"]
        files = [str(downloads / "out.csv")]
        await call(bob, "answer_task", task_id=leased["task_id"], status="completed", text="done", files=files)
        view = await call(alice, "get_task_status", task_id=sent["task_id"], wait_seconds=30)
        assert [unwrapped(str(file["name"])) for file in _files(view)] == ["out.csv"]
        assert "artifacts" not in view or not view["artifacts"], "its content is not for the model"


async def test_a_tool_attaches_only_what_the_client_or_the_settings_allow(tmp_path: Path) -> None:
    for folder in ("work", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("a")

    async def roots(_: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root.model_validate({"uri": (tmp_path / "work").as_uri()})])

    async with assistant(tmp_path / "home", "bob", "auto") as (bob, _):
        settings = Settings(home=tmp_path / "home", identity="alice", mdns=False, link_host="127.0.0.1")
        async with (
            open_node(settings) as node,
            Client(build_server(node), mode="legacy", list_roots_callback=roots) as client,
            Client(build_server(node), mode="auto") as rootless,
        ):
            await seen(client, "bob")

            async def sent(through: Client, folder: str) -> bool:
                files = [str(tmp_path / folder / "a.txt")]
                arguments = {"agent": "bob", "message": "m", "files": files, "wait_seconds": 0}
                result = await through.call_tool("send_task", arguments)
                assert not result.is_error or "MCP_A2A_FILE_ROOTS" in text_of(result)
                return not result.is_error

            assert await sent(client, "work") is True
            assert await sent(client, "other") is False
            assert await sent(rootless, "work") is False
        assert len(_items(await call(bob, "check_inbox", wait_seconds=30))) == 1


@pytest.mark.parametrize(
    "odd",
    [
        *(
            "https://example.org/p",
            "file:",
            "file://elsewhere/p",
            "file:///a%00b",
            "file:///home/c#/p",
            "file:///tmp?p",
        ),
        *("http://[", "", 5, None, {"uri": 1}),
    ],
)
def test_an_odd_root_of_the_client_forbids_no_other(odd: object, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    good = (tmp_path / "work").as_uri()
    named = good.replace("file://", "FILE://LocalHost")
    uris = _uris({"roots": [{"uri": odd}, odd, {"name": "n"}, {"uri": good}, {"uri": named}]})
    assert [folder for folder in map(_folder, uris) if folder] == [str(tmp_path / "work")] * 2


@pytest.mark.parametrize("roots", [None, "x", 5, {"uri": "file:///"}, {}])
def test_a_list_of_roots_that_is_none_has_none(roots: object) -> None:
    assert _uris({"roots": roots}) == _uris({}) == []


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the client sends what the SDK's model refuses
async def test_a_client_with_an_odd_root_attaches_from_the_others(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.txt").write_text("a")
    uris = [(tmp_path / "work").as_uri(), "https://example.org/p"]

    async def roots(_: Any) -> ListRootsResult:
        return ListRootsResult.model_construct(roots=[Root.model_construct(uri=uri) for uri in uris])

    async with assistant(tmp_path / "home", "bob", "auto"):
        settings = Settings(home=tmp_path / "home", identity="alice", mdns=False, link_host="127.0.0.1")
        async with (
            open_node(settings) as node,
            Client(build_server(node), mode="legacy", list_roots_callback=roots) as client,
        ):
            await seen(client, "bob")
            files = [str(tmp_path / "work" / "a.txt")]
            arguments = {"agent": "bob", "message": "m", "files": files, "wait_seconds": 0}
            result = await client.call_tool("send_task", arguments)
            assert not result.is_error, text_of(result)


def _items(content: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = content["items"]
    return items


def _files(content: Any) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = content["files"]
    return files
