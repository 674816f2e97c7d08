"""The output of a command: answers on stdout, everything else on stderr, and with `--json` a single object."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from mcp_a2a.cli.columns import Cell, Table
from mcp_a2a.cli.options import Options
from mcp_a2a.cli.remedies import WORDS
from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.ipc.view_reader import Told, fields_of
from mcp_a2a.own_command import typeable
from mcp_a2a.protocol.text import clean, cleaned_value
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.screen import Screen, Style, cut
from mcp_a2a.server.fence import Fence, shown_who

if TYPE_CHECKING:
    from pydantic import BaseModel, JsonValue

WIDE = 200
"""Columns of a terminal that does not say how many it has."""

MARKS_OF: Mapping[bool | None, tuple[str, Style]] = {True: ("✓", ""), False: ("✗", "red"), None: ("–", "dim")}  # noqa: RUF001  a dash
"""A check that is well, one that is not, and one of something that is not there."""

LOST = (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)
"""Errors of a standard output that is full or has no reader."""


def structured(view: BaseModel) -> dict[str, JsonValue]:
    """A view for a program: unset fields left out, but a list of agents always says why it is empty."""
    from mcp_a2a.server.outgoing import for_programs

    return _with_reason(for_programs(view))


def _with_reason(fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if {"agents", "total"} <= set(fields):
        fields.setdefault("reason", None)
    return fields


class Output:
    """The two streams of a command, as its options want them."""

    def __init__(self, options: Options, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.options = options
        # A stream that was closed before we started is None.
        self._out = self._screen(stdout or sys.stdout or io.StringIO())
        self._err = self._screen(stderr or sys.stderr or io.StringIO())
        self._progressing = False
        self._lost = False
        self._is_asking = False

    def _screen(self, stream: TextIO) -> Screen:
        return Screen(stream, color=self.options.color, ascii_only=self.options.ascii)

    @property
    def interactive(self) -> bool:
        """True if a person watches what is not the answer, and a line can be replaced by another.

        With -v the steps are told, and a line among them would be overwritten by the next one.
        """
        return self._err.obeys and self.options.verbosity == 0 and not self.options.json

    @property
    def is_watched(self) -> bool:
        """True if the answer goes to a terminal."""
        return self._out.is_terminal

    @property
    def columns(self) -> int:
        """The width of a line beside the answer, in cells."""
        return self._err.columns or WIDE

    def show(self, view: BaseModel, human: Callable[[], None]) -> None:
        """The answer: as JSON, or as `human` tells it."""
        self.show_fields(self.fields(view), human) if self.options.json else human()

    def fields(self, view: BaseModel) -> dict[str, JsonValue]:
        """A view as `--json` prints it: for a program that reads what we write; on a terminal, fenced as for a model.

        What is on a terminal is read as it stands, by a person or by an assistant that drives the terminal.
        """
        if isinstance(view, Told):
            return _with_reason(fields_of(view))
        if not self._out.is_terminal:
            return structured(view)
        from mcp_a2a.server.outgoing import for_terminals

        return for_terminals(view)

    def who(self, did: str) -> str:
        """The key of an agent, for `show_fields`: on a terminal a URL without the words in it, as in a view."""
        return shown_who(did) if self._out.is_terminal else did

    def show_fields(self, fields: Mapping[str, JsonValue], human: Callable[[], None]) -> None:
        """The same for an answer that no view describes."""
        if not self.options.json:
            human()
            return
        self._json(cleaned_value(dict(fields)))

    def _json(self, value: JsonValue) -> None:
        """One object in a line; every letter of it arrives, whatever the encoding of the stream."""
        self.verbatim(json.dumps(value, ensure_ascii=not self._out.has_every_letter))

    def line(self, text: str, style: Style = "") -> None:
        """A line of the answer in words of ours, or several: broken between words where the terminal ends."""
        self._answer(self._out.fitted(clean(text), style) + "\n")

    def verbatim(self, text: str) -> None:
        """A part of the answer that is copied, or that another has written: no line of it is broken or indented."""
        self._answer(clean(text) + "\n")

    def piece(self, text: str) -> None:
        """A part of a line of the answer, at once; nothing with `--json`, whose one object has it all."""
        if not self.options.json:
            self._answer(clean(text))

    def table(self, drawn: Table) -> None:
        """A part of the answer in columns."""
        self._answer("".join(f"{line}\n" for line in drawn.lines(self._out)))

    def _answer(self, text: str) -> None:
        self.progress("")
        try:
            self._out.write(text)
        except OSError:
            self._lost = True
            raise

    def note(self, text: str, style: Style = "") -> None:
        """Something to know beside the answer."""
        if self.options.verbosity >= 0:
            self._say(text, style)

    def drawing(self, draw: Callable[[Screen], None]) -> None:
        """Show something beside the answer that was asked for; so it is shown without a terminal too."""
        self.progress("")
        with suppress(OSError):
            draw(self._err)
            self._err.stream.flush()

    def mark(self, ok: bool | None) -> Cell:
        """The mark of a check: passed, failed, or not applicable (None). A word where there is no letter."""
        letter, style = MARKS_OF[ok]
        return Cell(letter, style)

    def ask(self, question: str) -> None:
        """Ask a person something, whatever else is asked for: a program that waits in silence looks broken."""
        self.progress("")
        text = clean(question)
        end = text[len(text.rstrip(" ")) :]
        with suppress(OSError):
            self._err.write(self._err.fitted(text.rstrip(" ")) + end)
        self._is_asking = not text.endswith("\n")

    def interrupted(self, text: str) -> None:
        """Say it after Ctrl-C, which the terminal has shown where the cursor was: behind a question, or alone."""
        if self._is_asking and self._err.is_terminal:
            self._is_asking = False
            text = f"\n{text}"
        elif self._err.obeys and self.options.verbosity >= 0:
            self._err.clear_line()
        self.note(text)

    def progress(self, text: str) -> None:
        """A line that the next one replaces, where a person watches. An empty one removes it."""
        if self.interactive and (text or self._progressing):
            self._progressing = bool(text)
            line = self._err.letters(" ".join(clean(text).split()))
            with suppress(OSError):
                # Of a line that the terminal broke, only the rest could be replaced.
                self._err.write("\r\x1b[K" + cut(line, self.columns - 1, self._err.letters("…")))

    def error(self, error: McpA2AError, code: str | None = None) -> None:
        """Why there is no answer: what was tried, and what to do."""
        message, hint = (with_short_urls(said, sys.argv) for said in (error.message, error.hint_in(WORDS)))
        if self.options.json and not self._lost:
            fields: dict[str, JsonValue] = {
                "code": code or error.code,
                "message": Fence().around(typeable(message)) if self._out.is_terminal else typeable(clean(message)),
                "hint": typeable(clean(hint)),
                "retryable": error.retryable,
            }
            try:
                self._json({"error": fields})
            except OSError as lost:
                self.give_up(lost)
            else:
                return
        self._say(message, "red")
        if hint:
            self._say(hint)

    def give_up(self, error: BaseException) -> bool:
        """True if this was the answer failing to get out. Then nothing more is tried, not even when we exit."""
        if not self._lost and not _is_loss(error):
            return False
        self._lost = True
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._out.stream.fileno())
            os.close(null)
        return True

    def lost(self, error: OSError, next_step: str) -> McpA2AError:
        """The error for an answer that failed to get out. Raised by a command whose answer cannot be had again."""
        self.give_up(error)
        return McpA2AError(f"The answer could not be written to standard output: {error.strerror or error}.", next_step)

    def _say(self, text: str, style: Style = "") -> None:
        self.progress("")
        self._is_asking = False
        text = clean(text)  # a quotation of an agent may hold something that controls a terminal
        # What goes wrong with words beside the answer does not spoil the answer.
        with suppress(OSError):
            self._err.write(self._err.fitted(text, style) + "\n")


def _is_loss(error: BaseException) -> bool:
    """An error of a stream: one of a file names it."""
    return isinstance(error, OSError) and error.filename is None and error.errno in LOST
