"""Files on the command line: attached by path, saved on request, and shown while they move."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcp_a2a.cli.arguments import check_file, check_files, check_folder
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.render import MIB
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.steps import seen_task
from mcp_a2a.protocol.text import preview

if TYPE_CHECKING:
    from mcp_a2a.api.files import FileArg, SavedFilesView, TransferView
    from mcp_a2a.api.tasks import TaskView
    from mcp_a2a.ports import NodeApi

FileOption = Annotated[
    list[str] | None,
    typer.Option("--file", "-F", metavar="PATH", help="A file to attach. Repeatable."),
]

BAR_WIDTH = 24


def attachments(paths: Sequence[str] | None) -> tuple[FileArg, ...]:
    """The files that were named, from wherever we are.

    Raises:
        UsageError, FileError: one of them cannot be sent.
    """
    from mcp_a2a.api.files import FileArg

    whole = [_whole(path) for path in paths or ()]
    for path in whole:
        check_file(path)
    return tuple(FileArg(path=str(path)) for path in whole)


def _whole(path: str) -> Path:
    """The path as seen from anywhere: the node may run in another process.

    Raises:
        UsageError: it depends on a folder that does not exist.
    """
    from mcp_a2a.config import whole_path

    try:
        return whole_path(path)
    except ValueError as error:
        raise UsageError(f"{path!r} cannot be found: {error}.") from error


def save(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="Task id, or its last letters.")],
    folder: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="Folder to save to. Default: files in the data folder.")
    ] = None,
) -> None:
    """Save the files that came with a task.

    Unsafe file names are changed, and no existing file is overwritten.
    """
    session = session_of(context)
    session.waiting_for = "the files"
    if folder:
        check_folder(_whole(folder))
    task = seen_task(session, task_id)
    check_files(task)
    saved = session.ask(lambda node: save_to(node, task_id, folder))
    session.output.show(saved, lambda: tell_saved(session, saved))
    if len(saved.files) < sum(file.size is not None for file in task.files):
        session.output.note(saved.next)  # says how many are not here


async def save_to(node: NodeApi, task_id: str, folder: str | None) -> SavedFilesView:
    """Write the files of a task into a folder, as seen from where we are."""
    from mcp_a2a.api.files import SaveFilesRequest

    return await node.call(SaveFilesRequest(task_id=task_id, folder=str(_whole(folder)) if folder else None))


def tell_saved(session: Session, saved: SavedFilesView) -> None:
    """The paths are the answer: a line each."""
    for file in saved.files:
        session.output.line(file.path)


class Moving:
    """Shows how far files are that are on their way, and knows whether they get on."""

    def __init__(self, session: Session) -> None:
        import anyio

        self._session = session
        self._clock = anyio.current_time
        self._began = anyio.current_time()
        self._first: int | None = None
        self._done = -1
        self.moved_at = self._began

    def show(self, task: TaskView) -> bool:
        """Show it; whether files are on their way."""
        transfer = task.transfer
        if transfer is None:
            if self._session.moving:
                self._session.moving = ""
                self._session.output.progress("")
            return False
        now = self._clock()
        if transfer.done != self._done:
            self._done, self.moved_at = transfer.done, now
        if self._first is None:
            self._first, self._began = transfer.done, now
        speed = (transfer.done - self._first) / max(0.001, now - self._began)
        self._session.moving = bar(transfer, speed)
        self._session.output.progress(self._session.moving)
        return True


def bar(transfer: TransferView, speed: float) -> str:
    """A progress bar, in one line."""
    share = transfer.done / transfer.total if transfer.total else 1.0
    full = round(share * BAR_WIDTH)
    name = preview(transfer.file, 32) if transfer.file else "files"
    drawn = "█" * full + "░" * (BAR_WIDTH - full)
    left = f", {(transfer.total - transfer.done) / speed:.0f} s left" if speed > 0 and transfer.done else ""
    amount = f"{transfer.done / MIB:.1f} of {transfer.total / MIB:.1f} MiB"
    return f"  {transfer.direction} {name}  {drawn} {share:4.0%}  {amount}{left}"
