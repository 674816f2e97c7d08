"""Where words go: answers to stdout, everything else to stderr, and with `--json` one object and nothing else."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from mcp_a2a.cli.options import Options
from mcp_a2a.cli.wording import for_people
from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.text import clean, cleaned_value
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.server.fence import Fence

if TYPE_CHECKING:
    from pydantic import BaseModel, JsonValue
    from rich.console import Console, RenderableType

WIDE = 200
"""Columns of a table that nobody's terminal limits: a line per row, for `grep`."""

LOST = (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)
"""How standard output fails when it is full or nobody reads it."""


def structured(view: BaseModel) -> dict[str, JsonValue]:
    """A view for a program: unset fields left out, but a list of agents always says why it is empty."""
    from mcp_a2a.server.outgoing import for_programs
    from mcp_a2a.views import DiscoverView

    fields = for_programs(view)
    if isinstance(view, DiscoverView):
        fields.setdefault("reason", None)
    return fields


class Output:
    """The two streams of a command, as its options want them."""

    def __init__(self, options: Options, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.options = options
        # A stream that was closed before we started is None.
        self._stdout: TextIO = stdout or sys.stdout or io.StringIO()
        self._stderr: TextIO = stderr or sys.stderr or io.StringIO()
        self._progressing = False
        self._lost = False

    @property
    def interactive(self) -> bool:
        """Whether a person watches what is not the answer."""
        return self._stderr.isatty() and self.options.verbosity >= 0 and not self.options.json

    def show(self, view: BaseModel, human: Callable[[], None]) -> None:
        """The answer: as JSON, or as `human` tells it."""
        self.show_fields(self.fields(view), human) if self.options.json else human()

    def fields(self, view: BaseModel) -> dict[str, JsonValue]:
        """A view as `--json` prints it: for a program that reads what we write; on a terminal, fenced as for a model.

        What is on a terminal is read as it stands, by a person or by an assistant that drives the terminal.
        """
        if not self._stdout.isatty():
            return structured(view)
        from mcp_a2a.server.outgoing import for_models

        return for_models(view, Fence())

    def show_fields(self, fields: Mapping[str, JsonValue], human: Callable[[], None]) -> None:
        """The same for an answer that no view describes."""
        if not self.options.json:
            human()
            return
        self.line(json.dumps(cleaned_value(dict(fields)), ensure_ascii=False))

    def line(self, text: str) -> None:
        """A line of the answer."""
        with self._answering():
            _write(self._stdout, clean(text) + "\n")

    def piece(self, text: str) -> None:
        """A part of a line of the answer, at once; nothing with `--json`, whose one object has it all."""
        if not self.options.json:
            self.progress("")
            with self._answering():
                _write(self._stdout, clean(text))

    def rich(self, *renderables: RenderableType) -> None:
        """A part of the answer that has form."""
        console = self._console(self._stdout)
        with self._answering():
            for renderable in renderables:
                console.print(renderable)

    def note(self, text: str) -> None:
        """Something to know beside the answer."""
        if self.options.verbosity >= 0:
            self._say(text)

    def drawing(self, draw: Callable[[TextIO], None]) -> None:
        """Something to look at beside the answer, asked for, so also shown where nobody watches."""
        with suppress(OSError):
            draw(self._stderr)
            self._stderr.flush()

    def mark(self, ok: bool) -> str:
        """Whether something is as it should be, in a letter; in a word where the letter cannot be written."""
        letter, word = ("✓", "ok") if ok else ("✗", "no")
        try:
            letter.encode(self._stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            return word
        return letter

    def ask(self, question: str) -> None:
        """Ask a person something, whatever else is asked for: a program that waits in silence looks broken."""
        self.progress("")
        with suppress(OSError):
            _write(self._stderr, clean(question))

    def progress(self, text: str) -> None:
        """A line that the next one replaces, where a person watches. An empty one removes it."""
        if self.interactive and (text or self._progressing):
            self._progressing = bool(text)
            text = " ".join(clean(text).split())
            with suppress(OSError):
                # Of a line that the terminal broke, only the rest could be replaced.
                _write(self._stderr, f"\r\x1b[K{text[: _columns(self._stderr) - 1]}")

    def error(self, error: McpA2AError, code: str | None = None) -> None:
        """Why there is no answer: what was tried, and what to do."""
        message, hint = (with_short_urls(said, sys.argv) for said in (error.message, error.typed_hint))
        if self.options.json and not self._lost:
            fields = {
                "code": code or error.code,
                "message": Fence().around(message) if self._stdout.isatty() else clean(message),
                "hint": clean(hint),
                "retryable": error.retryable,
            }
            try:
                self.line(json.dumps({"error": fields}, ensure_ascii=False))
            except OSError as lost:
                self.give_up(lost)
            else:
                return
        self._say(for_people("\n".join(filter(None, (message, hint)))))

    def give_up(self, error: BaseException) -> bool:
        """Whether this was the answer failing to get out. Then nothing more is tried, not even when we exit."""
        if not self._lost and not _is_loss(error):
            return False
        self._lost = True
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stdout.fileno())
            os.close(null)
        return True

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._lost = True
            raise

    def _say(self, text: str) -> None:
        text = clean(text)  # whoever quotes an agent here may have left something in it that controls a terminal
        # What goes wrong with words beside the answer does not spoil the answer.
        with suppress(OSError):
            _write(self._stderr, (_fitted(text, self._stderr) if self._stderr.isatty() else text) + "\n")

    def _console(self, stream: TextIO) -> Console:
        from rich.console import Console

        return Console(
            file=stream,
            no_color=not self.options.color,
            highlight=False,
            markup=False,
            emoji=False,
            width=None if stream.isatty() else WIDE,
        )


def _is_loss(error: BaseException) -> bool:
    """An error of a stream: one of a file names it."""
    return isinstance(error, OSError) and error.filename is None and error.errno in LOST


def _fitted(text: str, stream: TextIO) -> str:
    """Sentences broken between words; a command to copy stays in one piece, for the terminal to break."""
    columns = _columns(stream)
    return "\n".join(_fitted_line(line, columns) for line in text.split("\n"))


def _columns(stream: TextIO) -> int:
    """How wide a terminal is."""
    columns = 0
    with suppress(OSError, ValueError):
        columns = os.get_terminal_size(stream.fileno()).columns
    return columns or shutil.get_terminal_size().columns  # one that does not know its size says 0


def _fitted_line(line: str, columns: int) -> str:
    if len(line) <= columns or "  mcp-a2a " in line:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    broken = textwrap.wrap(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    return "\n".join(broken)


def _write(stream: TextIO, text: str) -> None:
    # A terminal or file with a narrow encoding shows a question mark rather than nothing.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
