"""Files: attachments of a message, the files of a task, transfers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mcp_a2a.api.request import Request
from mcp_a2a.api.view import Consent, View
from mcp_a2a.protocol.untrusted import Fact, PeerText


class FileArg(View):
    """A file on this machine, to be attached. The path is absolute."""

    path: str = Field(min_length=1, max_length=4096)
    name: str | None = Field(default=None, max_length=1024)
    media_type: str | None = Field(default=None, max_length=256)


class Attachments(View):
    """The files to attach to a message."""

    files: tuple[FileArg, ...] = Field(default=(), max_length=32)
    roots: tuple[str, ...] | None = None
    """Folders that they must be in. None: the user's own program names the paths."""
    consent: Consent = "ask"


class FileView(View):
    """A file that came with a task. What is said about it was checked when it is here."""

    file_id: Fact
    name: PeerText
    """The sender's name for it, made harmless."""
    media_type: PeerText | None = None
    size: int | None = None
    """None for a file that is somewhere on the web; its URL is with the parts."""
    sha256: Fact | None = None
    here: bool = True

    @property
    def can_be_saved(self) -> bool:
        """True if `save_files` writes it: it is no URL, and it is here."""
        return self.size is not None and self.here


class FileGrant(FileView):
    """Access to a file for programs of this person: `raw` content, or a sealed file with its key."""

    raw: PeerText | None = None
    path: Fact | None = None
    key: Fact | None = None

    def shown(self) -> FileView:
        """The file without the way to read it."""
        return FileView.model_validate(self.model_dump(exclude={"raw", "path", "key"}))


class TransferView(View):
    """Files on their way, in bytes."""

    direction: Literal["sending", "receiving"]
    file: PeerText | None = None
    """The one that is moving, where its name is known already."""
    done: int
    total: int


class FilesView(View):
    """Access to the files of a task."""

    files: tuple[FileGrant, ...]


class FilesRequest(Request[FilesView], operation="open_files"):
    """Ask for access to the files of a task, both ways, for programs of this person and its A2A server.

    Args:
        caller: a client of the A2A server, which sees its own tasks only; None is the owner of this node.

    Raises:
        TaskNotFoundError
    """

    task_id: str
    caller: str | None = None


class SavedFile(View):
    """A file that was written."""

    name: PeerText
    path: PeerText
    size: int
    media_type: PeerText | None = None
    sha256: Fact


class SavedFilesView(View):
    """The files that were written, and where."""

    task_id: Fact
    folder: Fact
    files: tuple[SavedFile, ...]
    next: Fact


class SaveFilesRequest(Request[SavedFilesView], operation="save_files"):
    """Write the files that the other side sent, under new names, into a folder; without one, into that for downloads.

    Nothing is overwritten.

    Raises:
        TaskNotFoundError
        FileError: there are none, or they cannot be written.
    """

    task_id: str
    folder: str | None = None
