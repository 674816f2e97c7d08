"""The owner's end of a local socket: answers what other processes of the user ask, each by its question's table.

The owner of an identity (`node.ipc.control`) and a relay (`relay_operator`) listen this way. The protocol is in
`node.ipc.wire`. A connection that ends cancels what it asked for. The socket is 0600 in a 0700 folder, and the uid of
the other process is checked.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.lowlevel
from anyio.abc import SocketListener, SocketStream, TaskGroup, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import JsonValue, ValidationError

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.file_events import watched
from mcp_a2a.node.ipc import wire
from mcp_a2a.node.ipc.stream import lines_of, set_fields, socket_of
from mcp_a2a.node.ipc.view_writer import written_down
from mcp_a2a.node.ipc.wire import ALIVE, error_fields, line_of
from mcp_a2a.store.disk import refused
from mcp_a2a.store.short_places import make_private, short_places
from mcp_a2a.store.socket_peer import is_same_user

if TYPE_CHECKING:
    from mcp_a2a.api.request import Call, Request
    from mcp_a2a.api.view import View

logger = logging.getLogger(__name__)

MAX_OPEN = 4096
"""Questions of one process that wait for an answer at a time."""

MAX_UNSENT = 256
"""Answers that one process has not taken, beyond which nothing more is read of it."""

AGAIN_SECONDS = 3.0
"""Seconds after which the owner tries again to make its socket, or to open a file for a process that waits."""

Greeted: TypeAlias = Callable[[SocketStream, BufferedByteReceiveStream, Mapping[str, JsonValue]], Awaitable[None]]
"""Has the MCP session of a front: the stream, what was read of it, and what the front says of itself."""


@dataclass(frozen=True)
class LocalService:
    """The service of a process on its socket."""

    name: str
    """As an error names the process: "node"."""
    restart: str
    """The next step where the two processes are of different versions."""
    operations: Mapping[str, type[Request[View]]]
    connection: Callable[[], AbstractAsyncContextManager[Call]]
    """Opened for each connection: how its questions are answered, and what its end changes."""
    greeted: Greeted | None = None
    longest: int | None = None
    """Bytes of a question; None for `wire.MAX_LINE`."""


class LocalServer:
    """Listens on a local socket."""

    def __init__(self, service: LocalService) -> None:
        self._service = service

    @asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[None]:
        """Listen until the context ends. The caller holds the folder's lock, so an old socket file is stale.

        Raises:
            HomeUnusableError, StorageFullError, SystemLimitError: there can be no socket.
        """
        async with anyio.create_task_group() as tasks:
            try:
                await tasks.start(self._listen, path)
                yield
            finally:
                tasks.cancel_scope.cancel()
                with contextlib.suppress(OSError):  # what is there now is no socket of ours
                    path.unlink()  # noqa: ASYNC240  one system call, no wait

    async def _listen(self, path: Path, *, task_status: TaskStatus[None]) -> None:
        """Listen, and listen anew when the socket's file is gone or another: programs that tidy up remove it."""
        async with anyio.create_task_group() as conversations, watched(path.parent) as changes:
            listener, file = await self._open(path)
            task_status.started()
            trouble = ""
            while True:
                async with listener, anyio.create_task_group() as accepting:
                    accepting.start_soon(self._accept, listener, conversations)
                    while _file_of(path) == file:
                        await changes.wait()
                    accepting.cancel_scope.cancel()
                if not trouble:
                    logger.warning("the control socket %s was removed; it is made again", path)
                try:
                    listener, file = await self._open(path)
                    trouble = ""
                except McpA2AError as error:
                    if str(error) != trouble:  # said once, not with each try
                        trouble = str(error)
                        logger.warning("%s", error)
                    await anyio.sleep(AGAIN_SECONDS)

    async def _accept(self, listener: SocketListener, conversations: TaskGroup) -> None:
        """Take on other processes. Where the system has no open file for one, it waits: the owner goes on."""
        told = False
        while True:
            try:
                stream = await listener.accept()
            except anyio.BrokenResourceError as error:
                if not isinstance(error.__cause__, OSError):
                    raise
                if not told:
                    logger.warning("another process of this identity waits to be taken on: %s", error.__cause__)
                told = True
                await anyio.sleep(AGAIN_SECONDS)
                continue
            told = False
            conversations.start_soon(self._converse, stream)

    async def _open(self, path: Path) -> tuple[SocketListener, tuple[int, int] | None]:
        try:
            if path.parent in short_places():
                make_private(path.parent)
            path.unlink(missing_ok=True)  # noqa: ASYNC240  one system call, no wait
            listener = await anyio.create_unix_listener(path, mode=0o600)
        except OSError as error:
            raise refused(path.parent, error) from error
        return listener, _file_of(path)

    async def _converse(self, stream: SocketStream) -> None:
        longest = self._service.longest or wire.MAX_LINE
        async with stream:
            if not is_same_user(socket_of(stream)):
                return
            try:
                buffered = BufferedByteReceiveStream(stream)
                beginning = await _beginning(buffered, longest)
                if (greeting := _greeting(beginning)) is not None and self._service.greeted is not None:
                    await self._service.greeted(stream, buffered, greeting)
                    return
                async with self._service.connection() as call, anyio.create_task_group() as tasks:
                    conversation = _Conversation(self._service, call, stream, tasks)
                    await conversation.run(lines_of(buffered, longest, *beginning))
                    tasks.cancel_scope.cancel()
            except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # it went away while it was answered
            except* Exception as errors:  # noqa: BLE001  whatever one process says, the owner goes on for the others
                logger.warning("a process at the control socket was not understood: %r", errors.exceptions[0])


class _Conversation:
    """The conversation with one connected process."""

    def __init__(self, service: LocalService, call: Call, stream: SocketStream, tasks: TaskGroup) -> None:
        self._service = service
        self._call = call
        self._stream = stream
        self._tasks = tasks
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._writing = anyio.Lock()
        self._open = self._unsent = 0
        self._news = anyio.Event()

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        async for line in lines:
            await self._room()
            message = json.loads(line)
            if "cancel" in message:
                scope = self._scopes.get(message["cancel"])
                if scope is not None:
                    scope.cancel()
            elif message["op"] == ALIVE:
                self._tasks.start_soon(self._say, message["id"], ALIVE, {"id": message["id"]})
            else:
                # Known before it begins: it may be withdrawn by the very next line.
                scope = self._scopes[message["id"]] = anyio.CancelScope()
                self._open += 1
                self._tasks.start_soon(self._answer, scope, message["id"], message["op"], message)

    async def _room(self) -> None:
        """Read no more from a process that asks on and takes no answers: they would all be kept in memory."""
        while self._unsent >= MAX_UNSENT or self._open >= MAX_OPEN:
            self._news = anyio.Event()
            await self._news.wait()

    async def _answer(self, scope: anyio.CancelScope, number: int, op: str, message: dict[str, JsonValue]) -> None:
        answer: dict[str, JsonValue] = {}
        with scope:
            await anyio.lowlevel.checkpoint_if_cancelled()
            try:
                view = await self._call(self._question(op, message["request"]))
                answer = {"id": number, **_formed(view, message.get("form"))}
            except McpA2AError as error:
                answer = {"id": number, "error": error_fields(error)}
            except Exception:
                logger.exception("the operation %s failed", op)
                inside = McpA2AError(f"{op} failed inside the {self._service.name}.", "See its log.")
                answer = {"id": number, "error": error_fields(inside)}
        self._scopes.pop(number, None)
        self._open -= 1
        self._news.set()
        if not scope.cancelled_caught:
            await self._say(number, op, answer)

    async def _say(self, number: int, op: str, answer: dict[str, JsonValue]) -> None:
        line = line_of(answer)
        if len(line) > wire.MAX_LINE:
            message = f"The answer to {op} is {len(line):,} bytes; at most {wire.MAX_LINE:,} pass between processes."
            hint = "Ask for less at a time: with a smaller limit or text_limit."
            line = line_of({"id": number, "error": error_fields(McpA2AError(message, hint))})
        self._unsent += 1
        try:
            async with self._writing:
                await self._stream.send(line)
        finally:
            self._unsent -= 1
            self._news.set()

    def _question(self, op: str, fields: JsonValue) -> Request[View]:
        kind = self._service.operations.get(op)
        if kind is None:
            raise ConfigurationError(f"The running {self._service.name} does not know {op!r}.", self._service.restart)
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            raise ConfigurationError(f"{op}: {error}", self._service.restart) from error


def _file_of(path: Path) -> tuple[int, int] | None:
    """The file at a path, as device and inode; None if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _formed(view: View, form: JsonValue) -> dict[str, JsonValue]:
    match form:
        case "written":
            return {"view": written_down(view), "form": form}
        case "programs":
            return {"view": view.model_dump(mode="json", by_alias=True, exclude_none=True), "form": form}
        case _:
            return {"view": set_fields(view)}


async def _beginning(stream: BufferedByteReceiveStream, longest: int) -> list[bytes]:
    """The first line of a process; none where it says nothing."""
    with contextlib.suppress(anyio.IncompleteRead, anyio.EndOfStream):
        return [await stream.receive_until(b"\n", longest)]
    return []


def _greeting(beginning: Sequence[bytes]) -> Mapping[str, JsonValue] | None:
    """The greeting of a front; None for any other beginning."""
    if not beginning or not beginning[0].startswith(b'{"mcp":'):
        return None
    found = json.loads(beginning[0])["mcp"]
    return found if isinstance(found, dict) else None
