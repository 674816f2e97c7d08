"""Which files may be attached, by whom."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_a2a.api.files import Attachments, FileArg
from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.api.view import Consent
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.node.files import attaching as attaching_module
from mcp_a2a.node.files.attaching import Attaching
from mcp_a2a.node.ipc.caller import Caller
from mcp_a2a.protocol.blob import MAX_INLINE_SIZE, BlobRef
from mcp_a2a.protocol.model import Part
from tests.files.scenes import MIB, some_file, spooled
from tests.node.world import World


@pytest.fixture
async def attaching(tmp_path: Path) -> AsyncIterator[Attaching]:
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world")
    (tmp_path / "allowed").mkdir()
    async with world.person("alice") as alice:
        made = Attaching(alice.node.context, world.folder / "files", world.folder / "identities")
        yield made
        assert spooled(world, "alice") == []


def named(path: Path | str, roots: tuple[str, ...] | None = None, consent: Consent = "ask") -> Attachments:
    return Attachments(files=(FileArg(path=str(path)),), roots=roots, consent=consent)


async def refused(attaching: Attaching, path: Path | str, roots: tuple[str, ...] | None = None) -> str:
    with pytest.raises(FileError) as caught:
        await attaching.attach((), named(path, roots))
    return str(caught.value)


async def test_a_small_file_is_in_the_message_with_its_name_and_kind(attaching: Attaching, tmp_path: Path) -> None:
    attached = await attaching.attach((Part(text="see"),), named(some_file(tmp_path, MAX_INLINE_SIZE, "a.pdf")))
    text, part = attached.parts
    assert text == Part(text="see")
    assert (part.filename, part.media_type, attached.refs) == ("a.pdf", "application/pdf", ())


async def test_small_files_that_are_too_many_for_a_message_travel_beside_it(
    attaching: Attaching, tmp_path: Path
) -> None:
    files = tuple(FileArg(path=str(some_file(tmp_path, 60_000 + number, f"{number}"))) for number in range(6))
    attached = await attaching.attach((), Attachments(files=files))
    assert len(attached.refs) == 2
    assert [BlobRef.of_untrusted(part) is not None for part in attached.parts] == [False] * 4 + [True] * 2
    with attaching.given_to("a task that never comes", attached.refs):
        pass


async def test_a_model_may_only_attach_from_allowed_folders(attaching: Attaching, tmp_path: Path) -> None:
    allowed, other = some_file(tmp_path / "allowed", 9), some_file(tmp_path, 9)
    roots = (str(tmp_path / "allowed"),)
    assert len((await attaching.attach((), named(allowed, roots))).parts) == 1
    assert "MCP_A2A_FILE_ROOTS" in await refused(attaching, other, roots)
    assert "MCP_A2A_FILE_ROOTS" in await refused(attaching, tmp_path / "allowed" / ".." / other.name, roots)


def test_folders_that_a_person_has_set_outweigh_those_of_the_client(tmp_path: Path) -> None:
    caller, asked = Caller(file_roots=("/srv",)), SendTaskRequest(agent="a", message="m", files=(FileArg(path="/x"),))
    by_model = asked.model_copy(update={"roots": (str(tmp_path),)})
    assert caller.with_files(by_model).roots == ("/srv",)
    assert Caller().with_files(by_model).roots == (str(tmp_path),)
    assert caller.with_files(asked).roots is None, "a person at a terminal names any file"


def test_a_relative_path_is_one_of_the_folder_in_which_the_asking_process_works(tmp_path: Path) -> None:
    asked = SendTaskRequest(agent="a", message="m", files=(FileArg(path="x"), FileArg(path="/y")))
    told = Caller(folder=str(tmp_path)).with_files(asked)
    assert [file.path for file in told.files] == [str(tmp_path / "x"), "/y"]
    assert Caller().with_files(asked).files[0].path == str(Path.cwd() / "x")


async def test_the_folders_of_the_client_count_where_nobody_has_set_any(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    world, there = World(tmp_path / "world"), some_file(tmp_path, 9)
    async with world.person("alice") as alice:
        assert len((await alice.node.attaching.attach((), named(there, (str(tmp_path),)))).parts) == 1
        await refused(alice.node.attaching, there, (str(tmp_path / "sub"),))


async def test_a_link_does_not_lead_out_of_an_allowed_folder(attaching: Attaching, tmp_path: Path) -> None:
    secret = some_file(tmp_path, 9, "secret")
    (tmp_path / "allowed" / "link").symlink_to(secret)
    (tmp_path / "allowed" / "folder").symlink_to(tmp_path)
    await refused(attaching, tmp_path / "allowed" / "link", ())
    await refused(attaching, tmp_path / "allowed" / "folder" / "secret", ())


@pytest.mark.parametrize("roots", [None, ("/",)])
async def test_nobody_attaches_what_is_no_file_or_belongs_to_the_node(
    attaching: Attaching, tmp_path: Path, roots: tuple[str, ...] | None
) -> None:
    os.mkfifo(tmp_path / "allowed" / "pipe")
    keys = tmp_path / "world" / "identities"
    keys.mkdir()
    assert "its keys" in await refused(attaching, some_file(keys, 9, "key"), roots)
    assert "not a file" in await refused(attaching, tmp_path / "allowed" / "pipe", roots)
    assert "not a file" in await refused(attaching, tmp_path / "allowed", roots)
    assert "system" in await refused(attaching, "/proc/self/environ", roots)
    assert "system" in await refused(attaching, "/dev/zero", roots)
    assert "No such file" in await refused(attaching, tmp_path / "missing", roots)
    assert "cannot be attached" in await refused(attaching, "a\0b", roots)


async def test_a_file_beyond_the_limit_is_refused_before_it_is_read(
    attaching: Attaching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(101 * MIB)
    assert "101 MiB; at most 100 MiB" in await refused(attaching, tmp_path / "huge")
    monkeypatch.setattr(attaching_module, "MAX_FILE_SIZE", MIB)
    with pytest.raises(FileError, match="larger than"):
        await attaching.attach((Part(raw="AAAA" * MIB),))


async def test_a_part_that_names_a_file_of_another_message_is_refused(attaching: Attaching, tmp_path: Path) -> None:
    attached = await attaching.attach((), named(some_file(tmp_path, MIB)))
    with pytest.raises(FileError):
        await attaching.attach(attached.parts)
    with attaching.given_to("a task that never comes", attached.refs):
        pass
    with pytest.raises(FileError, match="base64"):
        await attaching.attach((Part(raw="not base64!"),))
