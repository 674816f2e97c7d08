"""Two people who exchange files."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from mcp_a2a.api.files import FileArg
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest, InboxItem
from mcp_a2a.api.tasks import SendTaskRequest, TaskView
from tests.node.world import Person, World

MIB = 1024 * 1024


def some_file(folder: Path, size: int, name: str = "data.bin") -> Path:
    """A file that no other looks like."""
    path = folder / name
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def mode(path: str) -> int:
    """Who may do what with a file."""
    return Path(path).stat().st_mode & 0o777


def task(*files: Path, text: str = "look", wait: float = 0, **more: object) -> SendTaskRequest:
    arguments = tuple(FileArg(path=str(path)) for path in files)
    fields = {"agent": "bob", "message": text, "wait_seconds": wait, "files": arguments, **more}
    return SendTaskRequest.model_validate(fields)


async def next_item(person: Person, seconds: float = 30) -> InboxItem:
    inbox = await person.api.call(CheckInboxRequest(wait_seconds=seconds))
    assert inbox.items, "nothing came"
    return inbox.items[0]


async def answer(person: Person, item: InboxItem, *files: Path, text: str = "done") -> TaskView:
    arguments = tuple(FileArg(path=str(path)) for path in files)
    return await person.api.call(AnswerRequest(task_id=item.task_id, status="completed", text=text, files=arguments))


def spooled(world: World, name: str) -> list[Path]:
    """What lies in somebody's spool."""
    folder = world.folder / name / "blobs"
    return sorted(folder.iterdir()) if folder.exists() else []


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Look again and again, until it is so."""
    with anyio.fail_after(seconds):
        while True:
            outcome = condition()
            if outcome is True or (not isinstance(outcome, bool) and await outcome):
                return
            await anyio.sleep(0.01)
