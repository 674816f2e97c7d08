"""The layout of text: measured in the cells of a terminal, fitted to its width, in letters that it has.

Three rules. A line breaks between words, never inside one. A command (`mcp-a2a …`) is one word, whatever spaces it
has, because a person copies it. A word wider than the terminal begins a line of its own and is left whole: the
terminal itself breaks it, and a copy of it has no line break.

Nothing but a terminal has a width: what goes into a pipe or a file is not fitted.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Literal, TextIO

from rich.cells import get_character_cell_size

from mcp_a2a.own_command import typeable
from mcp_a2a.streams import ERRORS, MARKS

Style = Literal["", "bold", "dim", "red", "yellow"]

_CODES: Mapping[Style, str] = {"bold": "1", "dim": "2", "red": "31", "yellow": "33"}

_DUMB = ("dumb", "unknown")
"""Values of TERM of terminals that know no escape codes."""

INDENT = 4
"""Columns before a word that is too wide to stand below the text before it."""

GLUE = "\u00a0"
"""A space inside a word (NO-BREAK SPACE); a plain one when it is written."""

_ARGUMENT = (
    r'"[^"\n]*"|\'[^\'\n]*\''  # a quoted word
    r"|-{1,2}[\w-]*(?:=\S+)?"  # an option, or standard input
    r"|\$?[A-Z][A-Z0-9_]*(?![a-z])\S*"  # a placeholder or a variable
    r"|<[^>\n]+>|\[[^\]\n]+\]|…|\.\.\."
    r"|[a-z]+:\S+|\S*[0-9_/@=]\S*"  # a key, a URL, a path, an id
)
"""An argument of a command, as opposed to a word of the sentence around it."""

_MARKED = re.compile(r"`([^`\n]*\bmcp[-_]a2a\b[^`\n]*)`")
_HEADER = re.compile(r"Authorization: Bearer (?=\S)")
_UNMARKED = re.compile(rf"(?<![\w/-])mcp-a2a(?: (?!--?\s)[a-z][a-z-]*)?(?: (?:{_ARGUMENT}))*")
_AFTER_COLON = re.compile(r"(?<=: )mcp-a2a(?: (?!or |and |\()\S*[^\s.;,)])*(?: \S+[.;,)])?")
_MODIFIERS = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
"""Colours of skin: cells of their own where a terminal does not draw them over what they follow."""

_CHUNK = re.compile(r"( *)([^ ]+)")
_LABEL = re.compile(r" +[a-z][\w-]{0,14} {2,}(?=\S)")
"""A label before a value: the later lines of the value begin where its first one does."""


def width(text: str) -> int:
    """The most cells that a line takes on a terminal: characters that terminals may join count each for itself."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(letter: str) -> int:
    return 2 if letter in _MODIFIERS else get_character_cell_size(letter)


def cut(text: str, columns: int, end: str = "…") -> str:
    """A line of at most so many cells; what does not fit is replaced by `end`."""
    if width(text) <= columns:
        return text
    room, kept = columns - width(end), ""
    for letter in text:
        room -= _cells(letter)
        if room < 0:
            break
        kept += letter
    return kept.rstrip() + end if columns >= width(end) else ""


def padded(text: str, columns: int) -> str:
    """A line with spaces up to so many cells."""
    return text + " " * max(0, columns - width(text))


def commands_whole(text: str) -> str:
    """Commands, and headers with a token, as single words.

    Backticks around a command disappear; others are found as far as they can be told from the sentence.
    """
    text = _MARKED.sub(lambda match: match[1].replace(" ", GLUE), text)
    for pattern in (_AFTER_COLON, _UNMARKED, _HEADER):
        text = pattern.sub(lambda match: match[0].replace(" ", GLUE), text)
    return text


def wrapped(line: str, columns: int, hanging: int | None = None) -> list[str]:
    """A line broken between words into lines of at most so many cells.

    Later lines begin in column `hanging`, or where the first one does.
    """
    if width(line) <= columns:
        return [line]
    indent = len(line) - len(line.lstrip(" "))
    hanging = min(indent if hanging is None else hanging, columns // 2)
    lines, now = [], ""
    for gap, word in _CHUNK.findall(line):
        if width(now) + len(gap) + width(word) <= columns:
            now += gap + word
            continue
        if now.strip(" "):
            lines.append(now)
            now = " " * _place(hanging, columns - width(word))
        else:  # the first word, which is too wide where it stands
            now = " " * max(0, min(indent, columns - width(word)))
        now += word
    return [*lines, now]


def _place(hanging: int, room: int) -> int:
    """The column at which a word begins a line: below the text before it, or a little indented without room there."""
    return hanging if hanging <= room else max(0, min(INDENT, room))


def paragraphs(text: str, columns: int) -> Iterator[str]:
    """The lines of a text, fitted."""
    for line in text.split("\n"):
        label = _LABEL.match(line)
        yield from wrapped(line, columns, label.end() if label else None)


class Screen:
    """One stream, and how lines for it look."""

    def __init__(self, stream: TextIO, *, color: bool = True, ascii_only: bool = False) -> None:
        self.stream = stream
        self.is_terminal = stream.isatty()
        term = os.environ.get("TERM", "")
        self.obeys = self.is_terminal and term not in _DUMB
        """True if it knows escape codes."""
        self.color = color and self.obeys
        self._encoding = stream.encoding or "utf-8"
        self.has_every_letter = codecs.lookup(self._encoding).name.startswith("utf")
        """True if the encoding is one of Unicode."""
        self._shown_as = "ascii" if ascii_only else self._encoding
        self._lacking = str.maketrans({mark: plain for mark, plain in MARKS.items() if not self.can_write(mark)})

    @property
    def columns(self) -> int | None:
        """The present width of the terminal in cells; None without one, where nothing limits a line."""
        if not self.is_terminal:
            return None
        columns = 0
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(self.stream.fileno()).columns
        return columns or shutil.get_terminal_size().columns  # one that does not know its size says 0

    def can_write(self, letters: str) -> bool:
        """True if these letters are wanted and can be written there."""
        try:
            letters.encode(self._shown_as)
        except UnicodeEncodeError:
            return False
        return True

    def letters(self, text: str) -> str:
        """The text in letters that can be written there: our marks in ASCII where they must be, others as `?`."""
        if text.isascii():
            return text
        text = text.translate(self._lacking)
        if self.has_every_letter:
            return text
        return GLUE.join(part.encode(self._encoding, ERRORS).decode(self._encoding) for part in text.split(GLUE))

    def fitted(self, text: str, style: Style = "") -> str:
        """Lines of prose for this stream: in its letters, within its width, with commands whole."""
        columns = self.columns
        text = typeable(commands_whole(self.letters(text.expandtabs(INDENT))), space=GLUE)
        lines = list(paragraphs(text, columns)) if columns is not None else text.split("\n")
        return "\n".join(self.styled(line.replace(GLUE, " "), style) for line in lines)

    def styled(self, text: str, style: Style) -> str:
        """A piece of a line in a style, where the terminal has any."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text and self.color else text

    def clear_line(self) -> None:
        """Remove what stands in the line of the cursor, where the terminal can."""
        if self.obeys:
            with suppress(OSError, ValueError):
                self.write("\r\x1b[K")

    def write(self, text: str) -> None:
        """Write it as it is, but for letters that the stream lacks."""
        self.stream.write(self.letters(text.replace(GLUE, " ")))
        self.stream.flush()


def put(stream: TextIO | None, text: str, *, ascii_only: bool = False) -> None:
    """Write lines for a person, fitted to the terminal; nothing if the stream has no reader any more."""
    if stream is None:  # it was closed, or a skill has put it away
        return
    with suppress(OSError, ValueError):
        screen = Screen(stream, ascii_only=ascii_only)
        screen.write(screen.fitted(text) + "\n")


def put_end(stream: TextIO | None) -> None:
    """Say at a terminal that a program has ended, in place of the `^C` that it shows itself."""
    with suppress(OSError, ValueError):
        # A terminal that was stopped (Ctrl-S) must not keep a program that ends.
        if stream is not None and stream.isatty() and select.select([], [stream.fileno()], [], 0)[1]:
            Screen(stream).clear_line()
            put(stream, "Stopped.")
