"""The remote twin of a node: asks the owner of a data folder over its control socket, many questions at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from mcp_a2a.api.request import A, Request, answer_of
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.delivery import TooLargeError
from mcp_a2a.front.frames import call_age
from mcp_a2a.node.ipc import wire
from mcp_a2a.node.ipc.stream import lines_of, set_fields, socket_of
from mcp_a2a.node.ipc.wire import ALIVE, SILENCE_SECONDS, line_of, raised
from mcp_a2a.store.owner_file import HALTED_SECONDS, is_halted
from mcp_a2a.store.socket_peer import is_same_user, pid_of_peer

if TYPE_CHECKING:
    from pydantic import JsonValue

LOOK_AGAIN_SECONDS = 15.0
"""Seconds between questions to the owner during a long wait, whether it lives."""

WRITE_SECONDS = 2.0
"""Seconds that a process that is stopping waits for an owner that does not read."""


class OwnerLostError(McpA2AError, code="owner_lost", retryable=True):
    """The process that owned the node went away before it answered. Never leaves `node.ipc.owner`."""


class OwnerSilentError(McpA2AError, code="owner_silent", retryable=True):
    """The process that owns the node lives and does not answer. Never leaves `node.ipc.owner`."""


@dataclass
class _Question:
    """A question that waits for its answer."""

    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: dict[str, JsonValue] | None = None


class ControlClient:
    """The node's remote twin. Make it with `connect_control`."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._owner = pid_of_peer(socket_of(stream))
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
            async for line in lines_of(BufferedByteReceiveStream(self._stream), wire.MAX_LINE):
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
        """Send a request to the owner of the node and wait for its answer.

        Raises:
            OwnerLostError: the owner is gone; it may have acted or not.
            OwnerSilentError: the owner lives and does not answer; the request is withdrawn.
            TooLargeError: the request is larger than a line of the socket may be.
            McpA2AError: the error that the owner raised.
        """
        number, question = next(self._numbers), _Question()
        self._questions[number] = question
        try:
            await self._send({"id": number, "op": request.operation, "request": set_fields(request)})
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
        line = line_of(message)
        if len(line) > wire.MAX_LINE:
            raise TooLargeError(len(line), wire.MAX_LINE)
        async with self._writing:
            try:
                # A cancelled caller still writes its line to the end: half a line would spoil those that follow.
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
            raise raised(error)
        return answer_of(kind).model_validate(answer["view"])


@asynccontextmanager
async def connect_control(path: Path) -> AsyncIterator[ControlClient]:
    """Reach the owner's control socket.

    Raises:
        OSError: no program listens there (yet, or any more).
    """
    async with await anyio.connect_unix(path) as stream:
        if not is_same_user(socket_of(stream)):
            raise PermissionError(f"{path} is the socket of another user")
        async with anyio.create_task_group() as tasks:
            client = ControlClient(stream)
            tasks.start_soon(client.run)
            try:
                yield client
            finally:
                tasks.cancel_scope.cancel()
