"""A question to a process that runs, asked over its local socket by a command that only shows the answer.

It imports none of the models that questions and answers are made of. `PlainClient` asks any process, and `Glance` the
owner of an identity. Where anything is unusual (no node runs, it ends or is silent, it belongs to another version)
there is no answer this way: the command asks as all others do. The protocol is that of `node.ipc.wire`.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Literal, cast

from mcp_a2a.errors.machine import ConfigurationError, NodeSilentError
from mcp_a2a.node.ipc.view_reader import Told
from mcp_a2a.node.ipc.wire import ALIVE, MAX_LINE, SILENCE_SECONDS, line_of, raised
from mcp_a2a.store.owner_file import HALTED_SECONDS, LOCK, has_stand_in, holder_of, is_halted, state_of
from mcp_a2a.store.short_places import socket_path
from mcp_a2a.store.socket_peer import is_same_user, pid_of_peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pydantic import JsonValue

Form = Literal["written", "programs"]
"""The form of an answer: field by field (`node.ipc.view_writer`), or as a program reads it."""

CHUNK = 256 * 1024

TICK_SECONDS = 0.5
"""Seconds between lines of a command that waits."""

LIFE = 0
"""The number of the question for a sign of life; those of a command begin at 1."""


class NoGlanceError(Exception):
    """No answer this way."""


class OtherVersionError(NoGlanceError):
    """The process at the other end says what this version does not understand."""


class SilentError(NoGlanceError):
    """The process at the other end lives, and does not answer."""


class PlainClient:
    """A connection to the owner of a data folder, for one question at a time.

    Args:
        stream: it is connected, and this client alone reads it.
        silence: seconds without a word, after which the owner is asked for a sign of life; it has as long for that.
        waiting: called now and then with the seconds that a question has been waiting for.
    """

    def __init__(self, stream: socket.socket, silence: float, waiting: Callable[[float], None]) -> None:
        self._stream = stream
        self._silence = silence
        self._waiting = waiting
        stream.settimeout(min(TICK_SECONDS, silence))
        self.owner = pid_of_peer(stream)
        """The process at the other end; None where the system does not tell."""
        self._unread = bytearray()
        self._number = LIFE

    def ask(
        self, operation: str, request: Mapping[str, JsonValue], form: Form | None = None
    ) -> Mapping[str, JsonValue]:
        """The fields of the answer, in a form.

        Raises:
            McpA2AError: what the owner raised.
            NoGlanceError: it cannot be asked this way.
        """
        self._number += 1
        question: dict[str, JsonValue] = {"id": self._number, "op": operation, "request": dict(request)}
        self._send(question | {"form": form} if form is not None else question)
        answer = self._answer()
        error, view = answer.get("error"), answer.get("view")
        if isinstance(error, dict):
            raise raised(error)
        if not isinstance(view, dict) or answer.get("form") != form:
            raise OtherVersionError("a process of another version")
        return view

    def _answer(self) -> dict[str, JsonValue]:
        began = heard = monotonic()
        asked_for_life = False
        while True:
            try:
                line = self._line()
            except TimeoutError:
                now = monotonic()
                self._waiting(now - began)
                if now - heard >= min(HALTED_SECONDS, self._silence) and is_halted(self.owner):
                    raise SilentError("a process that was stopped") from None
                if now - heard >= self._silence:
                    if asked_for_life:
                        raise SilentError("a silent process") from None
                    self._send({"id": LIFE, "op": ALIVE, "request": {}})
                    asked_for_life, heard = True, now
                continue
            heard, asked_for_life = monotonic(), False
            try:
                answer = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise OtherVersionError("a process that cannot be understood") from error
            if isinstance(answer, dict) and answer.get("id") == self._number:
                return cast("dict[str, JsonValue]", answer)

    def _send(self, message: dict[str, JsonValue]) -> None:
        try:
            self._stream.sendall(line_of(message))
        except OSError as error:
            raise NoGlanceError("a process that does not listen") from error

    def _line(self) -> bytes:
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched > MAX_LINE:
                raise NoGlanceError("an answer without an end")
            try:
                chunk = self._stream.recv(CHUNK)
            except TimeoutError:
                raise
            except OSError as error:
                raise NoGlanceError("a process that went away") from error
            if not chunk:
                raise NoGlanceError("a process that went away")
            self._unread += chunk
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line


@contextmanager
def plain_client(
    path: Path, silence: float = SILENCE_SECONDS, waiting: Callable[[float], None] = lambda _: None
) -> Iterator[PlainClient]:
    """Connect to a local socket.

    Raises:
        NoGlanceError: no process of this user listens there.
    """
    with _connected(path) as stream:
        yield PlainClient(stream, silence, waiting)


def _connected(path: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise NoGlanceError("a system without such sockets")
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(TICK_SECONDS)  # a full queue of connections is that of a silent process
        stream.connect(os.fspath(path))
        _check_user(stream)
    except OSError as error:
        stream.close()
        raise NoGlanceError(str(error)) from error
    except BaseException:
        stream.close()
        raise
    return stream


def _check_user(stream: socket.socket) -> None:
    if not is_same_user(stream):
        raise PermissionError("the socket of another user")


class Glance:
    """A connection to the owner of an identity."""

    def __init__(self, folder: Path, client: PlainClient, form: Form) -> None:
        self._folder = folder
        self._client = client
        self._form = form

    def ask(self, operation: str, request: Mapping[str, JsonValue]) -> Told:
        """The answer of the node.

        Raises:
            McpA2AError: what it raised; that it does not answer.
            NoGlanceError: it cannot be asked this way.
        """
        try:
            return Told(self._client.ask(operation, request, self._form))
        except SilentError:
            raise self._silent() from None
        except ConfigurationError as error:
            if type(error) is ConfigurationError:  # it did not understand the question; this process may say why
                raise NoGlanceError(str(error)) from error
            raise

    def _silent(self) -> Exception:
        """No other process can be asked where the silent process has the identity, as the system says."""
        pid = holder_of(self._folder / LOCK)
        if pid is None or pid != self._client.owner:
            return NoGlanceError("a silent process")
        return NodeSilentError(str(self._folder), pid, state_of(pid), "does not answer")


@contextmanager
def glance(
    folder: Path,
    form: Form,
    waiting: Callable[[float], None] = lambda _: None,
    *,
    silence: float = SILENCE_SECONDS,
) -> Iterator[Glance]:
    """Reach the process that runs the node of an identity's folder.

    `waiting` is called now and then with the seconds that a question has been waiting for.

    Raises:
        NoGlanceError: there is none, or it cannot be reached.
    """
    with plain_client(_path(folder), silence, waiting) as client:
        yield Glance(folder, client, form)


def _path(folder: Path) -> Path:
    if not folder.is_dir():
        raise NoGlanceError("no identity")
    if has_stand_in(folder):
        raise NoGlanceError("a process that only stands in, and would leave")
    try:
        return socket_path(folder)
    except ConfigurationError as error:
        raise NoGlanceError(str(error)) from error


def ask_to_leave(folder: Path) -> None:
    """Ask the process that stands in for an identity (`node.ipc.stand_in`) to leave; it does within a moment."""
    with suppress(OSError, ConfigurationError), socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(0)
        caller.connect(os.fspath(socket_path(folder)))
