"""A question to the node that runs, asked over its control socket by a command that only shows the answer.

It imports none of the models that questions and answers are made of. Where anything is unusual (no node runs, it ends
or is silent, it belongs to another version) there is no answer this way: the command asks as all others do.
The protocol is that of `node.ipc.server`.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Literal, cast

from mcp_a2a.errors import ConfigurationError, McpA2AError, NodeSilentError
from mcp_a2a.node.ipc.told import Told
from mcp_a2a.store.owner_file import HALTED_SECONDS, LOCK, has_stand_in, holder_of, is_halted, state_of
from mcp_a2a.store.short_places import socket_path
from mcp_a2a.store.socket_peer import is_same_user, pid_of_peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pydantic import JsonValue

Form = Literal["written", "programs"]
"""How an answer is wanted: field by field (`node.ipc.writing_down`), or as a program reads it."""

MAX_LINE = 256 * 1024 * 1024
CHUNK = 256 * 1024

TICK_SECONDS = 0.5
"""How often a command that waits may say so."""

SILENCE_SECONDS = 2.5
"""A node that has said nothing for so long is asked for a sign of life, and has as long again for it."""

ALIVE = 0
"""The number of that question; those of a command begin at 1."""


class NoGlanceError(Exception):
    """No answer this way."""


class Glance:
    """A connection to the owner of a node."""

    def __init__(
        self, folder: Path, stream: socket.socket, form: Form, waiting: Callable[[float], None], silence: float
    ) -> None:
        self._folder = folder
        self._stream = stream
        self._form = form
        self._waiting = waiting
        self._silence = silence
        stream.settimeout(min(TICK_SECONDS, silence))
        self._owner = pid_of_peer(stream)
        self._unread = bytearray()
        self._number = ALIVE

    def ask(self, operation: str, request: Mapping[str, JsonValue]) -> Told:
        """What the node answers.

        Raises:
            McpA2AError: what it raised; that it does not answer.
            NoGlanceError: it cannot be asked this way.
        """
        self._number += 1
        self._send({"id": self._number, "op": operation, "request": dict(request), "form": self._form})
        answer = self._answer()
        error, view = answer.get("error"), answer.get("view")
        if isinstance(error, dict):
            raise _rebuilt(error)
        if not isinstance(view, dict) or answer.get("form") != self._form:
            raise NoGlanceError("a node of another version")
        return Told(view)

    def _answer(self) -> dict[str, JsonValue]:
        began = heard = monotonic()
        asked_for_life = False
        while True:
            try:
                line = self._line()
            except TimeoutError:
                now = monotonic()
                self._waiting(now - began)
                if now - heard >= min(HALTED_SECONDS, self._silence) and is_halted(self._owner):
                    raise self._silent() from None
                if now - heard >= self._silence:
                    if asked_for_life:
                        raise self._silent() from None
                    self._send({"id": ALIVE, "op": "alive", "request": {}})
                    asked_for_life, heard = True, now
                continue
            heard, asked_for_life = monotonic(), False
            try:
                answer = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise NoGlanceError("a node that cannot be understood") from error
            if isinstance(answer, dict) and answer.get("id") == self._number:
                return cast("dict[str, JsonValue]", answer)

    def _silent(self) -> Exception:
        """No other process can be asked where the silent process has the identity, as the system says."""
        pid = holder_of(self._folder / LOCK)
        if pid is None or pid != self._owner:
            return NoGlanceError("a silent process")
        return NodeSilentError(str(self._folder), pid, state_of(pid), "does not answer")

    def _send(self, message: dict[str, JsonValue]) -> None:
        try:
            self._stream.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise NoGlanceError("a node that does not listen") from error

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
                raise NoGlanceError("a node that went away") from error
            if not chunk:
                raise NoGlanceError("a node that went away")
            self._unread += chunk
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line


def _rebuilt(error: Mapping[str, JsonValue]) -> Exception:
    """What the node raised; where it did not understand the question, this process may say why better."""
    details = error.get("details")
    facts = details if isinstance(details, dict) else None
    code, message, hint = (str(error.get(name, "")) for name in ("code", "message", "hint"))
    raised = McpA2AError.rebuild(code or ConfigurationError.code, message, hint, facts)
    return NoGlanceError(str(raised)) if type(raised) is ConfigurationError else raised


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
    with _connected(folder) as stream:
        yield Glance(folder, stream, form, waiting, silence)


def _connected(folder: Path) -> socket.socket:
    if not folder.is_dir() or not hasattr(socket, "AF_UNIX"):
        raise NoGlanceError("no identity")
    if has_stand_in(folder):
        raise NoGlanceError("a process that only stands in, and would leave")
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(TICK_SECONDS)  # a full queue of connections is that of a silent node
        stream.connect(os.fspath(socket_path(folder)))
        _check_user(stream)
    except (OSError, ConfigurationError) as error:
        stream.close()
        raise NoGlanceError(str(error)) from error
    except BaseException:
        stream.close()
        raise
    return stream


def _check_user(stream: socket.socket) -> None:
    if not is_same_user(stream):
        raise PermissionError("the socket of another user")


def ask_to_leave(folder: Path) -> None:
    """Ask the process that stands in for an identity (`node.ipc.stand_in`) to leave; it does within a moment."""
    with suppress(OSError, ConfigurationError), socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(0)
        caller.connect(os.fspath(socket_path(folder)))
