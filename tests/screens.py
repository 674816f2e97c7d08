"""Terminals for tests: in memory, of any width and encoding."""

from __future__ import annotations

import io

from typing_extensions import override

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


class At(Screen):
    """A terminal of a given width."""

    def __init__(self, columns: int, encoding: str = "utf-8", *, color: bool = False) -> None:
        super().__init__(Terminal(encoding), color=color)
        self._columns = columns

    @property
    @override
    def columns(self) -> int:
        return self._columns
