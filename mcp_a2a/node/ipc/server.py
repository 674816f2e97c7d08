"""The control socket: how other processes of this identity reach the node that owns it.

A process that only passes on what an MCP client says begins with `{"mcp": …}`, and goes on in frames (`front.frames`).
Any other says one JSON object a line. `{"id": 1, "op": "send_task", "request": {…}}` is answered, whenever it is ready,
by `{"id": 1, "view": {…}}` or `{"id": 1, "error": {code, message, hint}}`; `{"cancel": 1}` withdraws it. A connection
that ends cancels what it asked for, and ends the leases of the workers that spoke through it. A question with `form`
is answered in that form, which the answer names, for those who read it without its models (`node.ipc.glance`).

The socket is 0600 in a 0700 folder, and the peer's uid is checked.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import anyio
import anyio.lowlevel
from anyio.abc import SocketAttribute, SocketListener, SocketStream, TaskGroup, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import JsonValue, ValidationError

from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.operations import OPERATIONS
from mcp_a2a.api.request import A, Request, answer_of
from mcp_a2a.errors import ConfigurationError, McpA2AError, TooLargeError
from mcp_a2a.file_events import watched
from mcp_a2a.front.calls import call_age
from mcp_a2a.node.ipc.writing_down import written_down
from mcp_a2a.store.disk import refused
from mcp_a2a.store.owner_file import HALTED_SECONDS, is_halted
from mcp_a2a.store.short_places import make_private, short_places
from mcp_a2a.store.socket_peer import is_same_user, pid_of_peer

if TYPE_CHECKING:
    import socket

    from mcp_a2a.api.view import View
    from mcp_a2a.ports import NodeApi

logger = logging.getLogger(__name__)

MAX_LINE = 256 * 1024 * 1024
"""A hundred tasks of a megabyte, each as text and as message. Both sides are the same person's."""

MAX_OPEN = 4096
"""Questions of one process that wait for an answer at a time."""

MAX_UNSENT = 256
"""Answers that one process has not taken, beyond which nothing more is read of it."""

ALIVE = "alive"
"""The operation that asks only for an answer."""

SILENCE_SECONDS = 2.5
"""An owner that has said nothing for so long, while it is asked something, is asked whether it lives; after as long
again it counts as silent."""

LOOK_AGAIN_SECONDS = 15.0
"""How often it is asked that again during a long wait."""

AGAIN_SECONDS = 3.0
"""How soon the owner tries again to make its socket, or to open a file for a process that waits."""

WRITE_SECONDS = 2.0
"""How long a process that is stopping waits for an owner that does not read."""


class OwnerLostError(McpA2AError):
    """The process that owned the node went away before it answered. Never leaves `node.ipc.owner`."""

    code = "owner_lost"
    retryable = True


class OwnerSilentError(McpA2AError):
    """The process that owns the node lives and does not answer. Never leaves `node.ipc.owner`."""

    code = "owner_silent"
    retryable = True


Speak: TypeAlias = (
    "Callable[[NodeApi, SocketStream, BufferedByteReceiveStream, Mapping[str, JsonValue]], Awaitable[None]]"
)
"""Has the MCP session of a front: node, stream, what was read of the stream, and what the front says of itself."""


GONE = (OwnerLostError, OwnerSilentError)


def _socket_of(stream: SocketStream) -> socket.socket:
    return stream.extra(SocketAttribute.raw_socket)  # noqa: S610  anyio's, not Django's


# --- the owner's side ----------------------------------------------------------------------------


def _file_of(path: Path) -> tuple[int, int] | None:
    """Which file is there: device and number."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class ControlServer:
    """Answers for a node on its control socket."""

    def __init__(
        self,
        api: NodeApi,
        release_workers: Callable[[set[str]], Awaitable[None]],
        speak: Speak | None = None,
    ) -> None:
        self._api = api
        self._release_workers = release_workers
        self._speak = speak

    @asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[None]:
        """Listen until the context ends. The caller holds the identity's lock, so an old socket file is stale.

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
        """Take on other processes. Where the system has no open file for one, it waits: the node goes on."""
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
        workers: set[str] = set()
        async with stream:
            if not is_same_user(_socket_of(stream)):
                return
            try:
                buffered = BufferedByteReceiveStream(stream)
                beginning = await _beginning(buffered)
                if (greeting := _greeting(beginning)) is not None and self._speak is not None:
                    await self._speak(self._api, stream, buffered, greeting)
                    return
                async with anyio.create_task_group() as tasks:
                    conversation = _Conversation(self._api, stream, tasks, workers)
                    await conversation.run(_lines(buffered, *beginning))
                    tasks.cancel_scope.cancel()
            except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # it went away while it was answered
            except* Exception as errors:  # noqa: BLE001  whatever one process says, the node goes on for the others
                logger.warning("a process at the control socket was not understood: %r", errors.exceptions[0])
            finally:
                await self._release(workers)

    async def _release(self, workers: set[str]) -> None:
        if not workers:
            return
        try:
            with anyio.CancelScope(shield=True):
                await self._release_workers(workers)
        except McpA2AError as error:
            logger.warning("the leases of a process that went away last until they run out: %s", error)


class _Conversation:
    """One connected process."""

    def __init__(self, api: NodeApi, stream: SocketStream, tasks: TaskGroup, workers: set[str]) -> None:
        self._api = api
        self._stream = stream
        self._tasks = tasks
        self._workers = workers
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
                view = await self._perform(op, message["request"])
                answer = {"id": number, **_formed(view, message.get("form"))}
            except McpA2AError as error:
                answer = {"id": number, "error": _error(error)}
            except Exception:
                logger.exception("the operation %s failed", op)
                answer = {"id": number, "error": _error(McpA2AError(f"{op} failed inside the node.", "See its log."))}
        self._scopes.pop(number, None)
        self._open -= 1
        self._news.set()
        if not scope.cancelled_caught:
            await self._say(number, op, answer)

    async def _say(self, number: int, op: str, answer: dict[str, JsonValue]) -> None:
        line = _line(answer)
        if len(line) > MAX_LINE:
            message = f"The answer to {op} is {len(line):,} bytes; at most {MAX_LINE:,} pass between processes."
            hint = "Ask for less at a time: with a smaller limit or text_limit."
            line = _line({"id": number, "error": _error(McpA2AError(message, hint))})
        self._unsent += 1
        try:
            async with self._writing:
                await self._stream.send(line)
        finally:
            self._unsent -= 1
            self._news.set()

    async def _perform(self, op: str, fields: JsonValue) -> View:
        if op not in OPERATIONS:
            raise ConfigurationError(
                f"The running node does not know {op!r}.", "Restart your apps: they run another version of mcp-a2a."
            )
        try:
            request = OPERATIONS[op].model_validate(fields)
        except ValidationError as error:
            raise ConfigurationError(f"{op}: {error}", "Restart your apps: they may run different versions.") from error
        if isinstance(request, CheckInboxRequest) and request.worker:
            self._workers.add(request.holder)
        return await self._api.call(request)


def _fields(view: View) -> dict[str, JsonValue]:
    """What was set, and nothing more: in a part, which content is there is what counts, and null data is one."""
    return cast("dict[str, JsonValue]", view.model_dump(mode="json", by_alias=True, exclude_unset=True))


def _formed(view: View, form: JsonValue) -> dict[str, JsonValue]:
    match form:
        case "written":
            return {"view": written_down(view), "form": form}
        case "programs":
            return {"view": view.model_dump(mode="json", by_alias=True, exclude_none=True), "form": form}
        case _:
            return {"view": _fields(view)}


def _line(message: dict[str, JsonValue]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _error(error: McpA2AError) -> dict[str, JsonValue]:
    details = cast("JsonValue", dict(error.details))
    return {"code": error.code, "message": error.message, "hint": error.hint, "details": details}


async def _beginning(stream: BufferedByteReceiveStream) -> list[bytes]:
    """The first line of a process; none where it says nothing."""
    with contextlib.suppress(anyio.IncompleteRead, anyio.EndOfStream):
        return [await stream.receive_until(b"\n", MAX_LINE)]
    return []


def _greeting(beginning: Sequence[bytes]) -> Mapping[str, JsonValue] | None:
    """What a front says of itself; None where this is none."""
    if not beginning or not beginning[0].startswith(b'{"mcp":'):
        return None
    found = json.loads(beginning[0])["mcp"]
    return found if isinstance(found, dict) else None


async def _lines(buffered: BufferedByteReceiveStream, *beginning: bytes) -> AsyncIterator[bytes]:
    for line in beginning:
        yield line
    with contextlib.suppress(anyio.IncompleteRead, anyio.EndOfStream):
        while True:
            yield await buffered.receive_until(b"\n", MAX_LINE)


# --- the other side ------------------------------------------------------------------------------


@dataclass
class _Question:
    """A question that waits for its answer."""

    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: dict[str, JsonValue] | None = None


class ControlClient:
    """The node's remote twin. Make it with `connect_control`."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._owner = pid_of_peer(_socket_of(stream))
        self._questions: dict[int, _Question] = {}
        self._numbers = iter(range(1, 2**62))
        self._writing = anyio.Lock()
        self._asking = anyio.Lock()
        self._heard_at = anyio.current_time()
        self.lost = anyio.Event()
        """Set when the owner is gone."""

    async def run(self) -> None:
        """Hand out answers until the owner goes away."""
        try:
            async for line in _lines(BufferedByteReceiveStream(self._stream)):
                answer = json.loads(line)
                self._heard_at = anyio.current_time()
                question = self._questions.get(answer["id"])
                if question is not None:
                    question.answer = answer
                    question.answered.set()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.DelimiterNotFound):
            pass
        finally:
            self.lost.set()
            for question in self._questions.values():
                question.answered.set()

    async def call(self, request: Request[A], /) -> A:
        """Ask the owner.

        Raises:
            OwnerLostError: it went away; whether it acted is unknown.
            OwnerSilentError: it lives and does not answer; the question is withdrawn.
            TooLargeError: nobody asks so much.
            McpA2AError: what the owner raised.
        """
        number, question = next(self._numbers), _Question()
        self._questions[number] = question
        try:
            await self._send({"id": number, "op": request.operation, "request": _fields(request)})
            await self._wait_for(question)
        except (anyio.get_cancelled_exc_class(), OwnerSilentError):
            with (
                anyio.CancelScope(shield=True),
                anyio.move_on_after(1),
                contextlib.suppress(OwnerLostError, OwnerSilentError),
            ):
                await self._send({"cancel": number})
            raise
        finally:
            del self._questions[number]
        return self._read(type(request), question.answer)

    async def _wait_for(self, question: _Question) -> None:
        # A call that waited for its session has waited for this owner, too.
        look, pause = min(HALTED_SECONDS, SILENCE_SECONDS), max(0.0, SILENCE_SECONDS - call_age.get())
        ask_at = anyio.current_time() + pause
        while True:
            with anyio.move_on_after(min(look, ask_at - anyio.current_time())):
                await question.answered.wait()
                return
            now = anyio.current_time()
            if now - self._heard_at >= look and is_halted(self._owner):
                raise OwnerSilentError("The node was stopped.")
            if now >= ask_at:
                await self._check_alive(pause)
                pause = LOOK_AGAIN_SECONDS
                ask_at = anyio.current_time() + pause
            look = SILENCE_SECONDS

    async def _check_alive(self, pause: float) -> None:
        """Ask for a sign of life, one question at a time however many calls wait.

        Raises:
            OwnerSilentError: nothing was heard since the question.
        """
        async with self._asking:
            if anyio.current_time() - self._heard_at < pause:
                return
            number, question = next(self._numbers), _Question()
            self._questions[number] = question
            try:
                await self._send({"id": number, "op": ALIVE, "request": {}})
                with anyio.move_on_after(SILENCE_SECONDS):
                    await question.answered.wait()
            finally:
                del self._questions[number]
            if not question.answered.is_set() and anyio.current_time() - self._heard_at >= SILENCE_SECONDS:
                raise OwnerSilentError("The node does not answer.")

    async def _send(self, message: dict[str, JsonValue]) -> None:
        if self.lost.is_set():
            raise OwnerLostError("The node went away.")
        line = _line(message)
        if len(line) > MAX_LINE:
            raise TooLargeError(len(line), MAX_LINE)
        async with self._writing:
            try:
                # Whoever is cancelled now still ends the line: half of one would spoil all that follow.
                with anyio.move_on_after(WRITE_SECONDS, shield=True) as writing:
                    await self._stream.send(line)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise OwnerLostError("The node went away.") from error
            if writing.cancelled_caught:
                await anyio.aclose_forcefully(self._stream)
                raise OwnerSilentError("The node does not listen.")

    def _read(self, kind: type[Request[A]], answer: dict[str, JsonValue] | None) -> A:
        if answer is None:
            raise OwnerLostError("The node went away.")
        error = answer.get("error")
        if isinstance(error, dict):
            details = error.get("details")
            facts = details if isinstance(details, dict) else None
            raise McpA2AError.rebuild(str(error["code"]), str(error["message"]), str(error["hint"]), facts)
        return answer_of(kind).model_validate(answer["view"])


@asynccontextmanager
async def connect_control(path: Path) -> AsyncIterator[ControlClient]:
    """Reach the owner's control socket.

    Raises:
        OSError: no program listens there (yet, or any more).
    """
    async with await anyio.connect_unix(path) as stream:
        if not is_same_user(_socket_of(stream)):
            raise PermissionError(f"{path} is the socket of another user")
        async with anyio.create_task_group() as tasks:
            client = ControlClient(stream)
            tasks.start_soon(client.run)
            try:
                yield client
            finally:
                tasks.cancel_scope.cancel()
