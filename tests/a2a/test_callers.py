"""Who may call: the owner, and clients with tokens of their own, each reaching its own tasks only."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mcp_a2a.errors.machine import ConfigurationError, StorageFullError
from mcp_a2a.store.callers import CallerFolder
from tests.a2a.bindings import Binding, Failed
from tests.a2a.conftest import Served, serving

OWNER = "o" * 43

PATHS = ["/", "/message:send", "/tasks", "/tasks/x", "/extendedAgentCard", "/a2a/peers", "/a/x/"]


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server that wants tokens."""
    async with serving(tmp_path_factory.mktemp("guarded"), token=OWNER) as server:
        yield server


@pytest.fixture(scope="module")
def tokens(guarded: Served) -> dict[str, str]:
    return {name: guarded.callers.add(name) for name in ("ann", "bea")} | {"": OWNER}


def by(served: Served, binding: str, token: str, *, key: bool = False) -> Binding:
    return served.binding(binding, **({"X-API-Key": token} if key else {"Authorization": f"Bearer {token}"}))


@pytest.mark.parametrize(
    "path", ["/", "/message:send", "/tasks", "/tasks/x", "/extendedAgentCard", "/a2a/peers", "/a/x/"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": OWNER},
        {"Authorization": f"Basic {OWNER}"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": OWNER, "Authorization": f"Bearer {OWNER}"},
    ],
)
async def test_without_the_right_token_nothing_is_told(guarded: Served, path: str, headers: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        async with guarded.web.request(
            method, f"{guarded.url}{path}", headers={"Content-Type": "application/json", **headers}, data=b"{}"
        ) as response:
            assert response.status == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert (await response.json())["error"]["code"] in (401, -32600)


NAMES_OF_SECRETS = [
    "apiKey",
    "api_key",
    "api-key",
    "X-API-Key",
    "token",
    "access_token",
    "access-token",
    "auth_token",
    "key",
]


@pytest.mark.parametrize("name", NAMES_OF_SECRETS)
async def test_a_token_in_the_url_is_refused(guarded: Served, name: str) -> None:
    async with guarded.web.get(
        f"{guarded.url}/tasks?{name}={OWNER}", headers={"Authorization": f"Bearer {OWNER}"}
    ) as response:
        assert response.status == 400


async def test_card_and_health_are_for_everybody_and_name_nobody(guarded: Served) -> None:
    for path in ("/.well-known/agent-card.json", "/.well-known/agent.json", "/health", "/healthz"):
        async with guarded.web.get(f"{guarded.url}{path}") as response:
            assert response.status == 200
            text = await response.text()
    assert "ann" not in text


@pytest.mark.parametrize("binding", ["jsonrpc", "rest"])
@pytest.mark.parametrize("key", [False, True])
async def test_both_styles_of_header_are_accepted(
    guarded: Served, tokens: dict[str, str], binding: str, *, key: bool
) -> None:
    for token in tokens.values():
        task = await by(guarded, binding, token, key=key).task("hello")
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize("binding", ["jsonrpc", "rest"])
@pytest.mark.parametrize("other", ["bea", ""])
async def test_13_another_callers_task_is_as_unknown_as_none(
    guarded: Served, tokens: dict[str, str], binding: str, other: str
) -> None:
    task = await by(guarded, binding, tokens["ann"]).task("ask")
    stranger = by(guarded, binding, tokens[other])

    async def told(operation: str, params: dict[str, Any]) -> Failed:
        with pytest.raises(Failed) as caught:
            if operation == "SubscribeToTask":
                async with stranger.events(operation, params):
                    pass
            await stranger.call(operation, params)
        return caught.value

    for operation in ("GetTask", "CancelTask", "SubscribeToTask"):
        known = await told(operation, {"id": task["id"]})
        unknown = await told(operation, {"id": "task-aaaaaaaaaaaaaaaaaaaaaaaa"})
        assert (known.code, known.http, known.reason) == (unknown.code, unknown.http, unknown.reason)
        assert known.message.replace(task["id"], "X") == unknown.message.replace("task-aaaaaaaaaaaaaaaaaaaaaaaa", "X")
    with pytest.raises(Failed) as caught:
        await stranger.send("blue", taskId=task["id"])
    assert caught.value.reason == "TASK_NOT_FOUND"
    listed = await stranger.list(pageSize=100)
    assert task["id"] not in [one["id"] for one in listed["tasks"]]
    assert task["id"] in [one["id"] for one in (await by(guarded, binding, tokens["ann"]).list())["tasks"]]


async def test_a_removed_caller_is_refused_from_its_next_request_on(guarded: Served) -> None:
    token = guarded.callers.add("gone")
    client = by(guarded, "jsonrpc", token)
    assert await client.task("hello")
    CallerFolder(guarded.callers._folder.parent).remove("gone")
    async with client._request("ListTasks", {}) as response:
        assert response.status == 401


async def test_on_this_machine_without_a_token_the_caller_is_the_owner_and_a_wrong_token_is_still_wrong(
    served: Served,
) -> None:
    assert await served.binding("jsonrpc").task("hello")
    async with by(served, "jsonrpc", "wrong")._request("ListTasks", {}) as response:
        assert response.status == 401


async def test_a_token_is_kept_as_a_hash_in_a_private_file(guarded: Served) -> None:
    token = guarded.callers.add("kept")
    path = guarded.callers._folder / "kept"
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigurationError):
        guarded.callers.add("kept")
    for name in ("owner", "../x", "", "A", "x" * 49):
        with pytest.raises(ConfigurationError):
            guarded.callers.add(name)


def test_a_caller_of_an_earlier_version_has_our_own_agent_only(tmp_path: Path) -> None:
    folder = CallerFolder(tmp_path)
    token = folder.add("old")
    path = tmp_path / "callers" / "old"
    path.write_text(path.read_text().splitlines()[0])  # as it was kept: a hash, and nothing else
    assert (folder.name_of(token), folder.agents_of("old")) == ("old", {"self"})
    folder.grant("old", ["did:key:z6MkOne", "https://agent.example/"])
    assert CallerFolder(tmp_path).agents_of("old") == {"did:key:z6MkOne", "https://agent.example/"}
    assert (folder.name_of(token), path.stat().st_mode & 0o077) == ("old", 0)
    assert [path.name for path in path.parent.iterdir()] == ["old"]


def test_a_disk_that_takes_nothing_leaves_no_client_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = CallerFolder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageFullError):
            folder.add("ann")
    assert folder.rows() == []
    token = folder.add("ann")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageFullError):
            folder.grant("ann", ["did:key:z6MkOne"])
    assert (folder.name_of(token), folder.agents_of("ann")) == ("ann", {"self"})


def test_every_change_counts_at_once_however_close_it_is_to_the_one_before(tmp_path: Path) -> None:
    """The clock of a file system has ticks of milliseconds."""
    folder, other = CallerFolder(tmp_path), CallerFolder(tmp_path)
    for _ in range(50):
        token = other.add("ann", ["did:key:z6MkOne"])
        assert (folder.name_of(token), folder.agents_of("ann")) == ("ann", {"did:key:z6MkOne"})
        other.grant("ann", ["self"])
        assert folder.agents_of("ann") == {"self"}
        other.remove("ann")
        assert (folder.name_of(token), folder.agents_of("ann")) == (None, frozenset())
    with pytest.raises(ConfigurationError):
        folder.grant("ann", ["self"])
