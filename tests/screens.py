"""Terminals for tests, of any width and encoding: in memory, and those of the system."""

from __future__ import annotations

import io
import os
import pty
import select
import termios

from typing_extensions import Buffer, override

from mcp_a2a.screen import Screen


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal, and keeps what is written to it."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, write_through=True)

    @override
    def isatty(self) -> bool:
        return True

    @property
    def said(self) -> bytes:
        """What was written."""
        return self.bytes.getvalue()


class _Line(io.RawIOBase):
    """The end of a pty(7) that a program writes to; the other end is read as it goes, so that it never fills."""

    PIECE = 1_024

    def __init__(self, columns: int) -> None:
        self._ours, self._theirs = pty.openpty()
        termios.tcsetwinsize(self._theirs, (40, columns))
        self._said = b""

    @override
    def fileno(self) -> int:
        return self._theirs

    @override
    def isatty(self) -> bool:
        return os.isatty(self._theirs)

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Buffer) -> int:
        written = os.write(self._theirs, memoryview(data)[: self.PIECE])
        while select.select([self._ours], [], [], 0)[0]:
            self._said += os.read(self._ours, 65_536)
        return written

    def everything(self) -> bytes:
        """Close it, and tell all that came out at the other end."""
        os.close(self._theirs)
        try:
            while more := os.read(self._ours, 65_536):
                self._said += more
        except OSError:  # Linux says EIO when the last program has closed it
            pass
        os.close(self._ours)
        return self._said


class RealTerminal(io.TextIOWrapper):
    """A terminal of the system, on which something is shown once."""

    def __init__(self, columns: int, encoding: str = "utf-8") -> None:
        self._line = _Line(columns)
        super().__init__(io.BufferedWriter(self._line, _Line.PIECE), encoding=encoding, write_through=True)

    def everything(self) -> bytes:
        """What was written, as a terminal gets it; nothing can be written any more."""
        self.flush()
        return self._line.everything()


class At(Screen):
    """A terminal of a given width."""

    def __init__(self, columns: int, encoding: str = "utf-8", *, color: bool = False) -> None:
        super().__init__(Terminal(encoding), color=color)
        self._columns = columns

    @property
    @override
    def columns(self) -> int:
        return self._columns
